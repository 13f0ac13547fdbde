"""Evaluator of a small, bounded subset of JavaScript: the settings that a submission's code computes.

    >>> script = evaluate(parse(text).root)
    >>> script.settings["lanesSide"], script.brain

Evaluated are numbers, strings, arrays, objects, variables, arithmetic, conditions, loops and functions of these. All
else is `Unknown`, with the line and the reason, and so is whatever it could have changed (`_Evaluator.spoil`): the page
(`document`, `window`), random numbers, classes, other functions. A reader that needs an unknown value refuses the file
with that line; code that does not touch driving is never in its way. `learn` is called once with an unknown state and
reward: what it returns must be the network's own answer.

Time and memory are bounded by MAX_STEPS (nodes of the syntax tree, characters and entries made), depth by MAX_NESTING.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from deeptraffic.policies.convnetjs import values as js
from deeptraffic.policies.convnetjs.parse import ConvNetJSError
from deeptraffic.policies.convnetjs.tree import (
    FUNCTIONS,
    PAGE,
    TARGETS,
    Node,
    declared_variables,
    is_global,
    leaves,
    leftmost,
    path_of,
    set_names,
    walk,
)
from deeptraffic.policies.convnetjs.values import UNDEFINED, JSArray, JSObject, Undefinable, Unknown

MAX_STEPS = 300_000
MAX_NESTING = 150  # of expressions, statements and calls together
SILENT = ("console", "alert", "draw_net", "draw_stats")  # calls that show something, and change nothing
LIBRARIES = ("deepqlearn", "convnetjs")
CODE_RUNNERS = ("eval", "Function", "execScript")  # which could change everything
TRAINING = {  # settings of a built Brain that its driving does not depend on
    "learning", "age", "epsilon", "epsilon_min", "gamma", "experience", "experience_size", "start_learn_threshold",
    "learning_steps_total", "learning_steps_burnin", "latest_reward", "tdtrainer", "tdtrainer_options",
    "average_reward_window", "average_loss_window",
}  # fmt: skip
READ = ("identifier", "shorthand_property_identifier", "this")
PLAIN_FUNCTIONS = ("function_declaration", "function_expression", "arrow_function", "method_definition")
DRIVING = ("epsilon_test_time", "random_action_distribution")  # settings of a built Brain that may be changed


@dataclass(eq=False)
class BrainSettings:
    """A `new deepqlearn.Brain(num_inputs, num_actions, opt)`.

    opt: its settings, with later changes to the Brain
    weights, weights_line: what value_net.fromJSON was called with last, None if it was not
    unknown: why it may drive in another way than its network says, if it may
    decisions: calls of `forward`
    """

    line: int
    num_inputs: Any
    num_actions: Any
    opt: JSObject
    weights: Any = None
    weights_line: int = 0
    unknown: Unknown | None = None
    decisions: int = 0


@dataclass(eq=False)
class ValueNet:
    """The value_net of a Brain."""

    brain: BrainSettings


@dataclass(frozen=True, eq=False)
class Builtin:
    """An object of the language itself, with the constants that it holds."""

    name: str
    constants: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Function:
    """A function of the file, with the scope that it was written in."""

    node: Node
    scope: "Scope"


@dataclass(eq=False)
class Scope:
    """Names and their values, in a block or function of the code."""

    parent: "Scope | None"
    is_function: bool = False
    names: dict[str, Any] = field(default_factory=dict)

    def holder(self, name: str) -> "Scope | None":
        """The nearest scope that has this name."""
        scope: Scope | None = self
        while scope is not None and name not in scope.names:
            scope = scope.parent
        return scope


@dataclass
class Script:
    """What the code of a file does.

    settings: the global names and their values; lines: where each was set last
    brain: the global `brain`, if it is one
    """

    settings: dict[str, Any]
    lines: dict[str, int]
    brain: BrainSettings | None


def evaluate(root: Node) -> Script:
    """Evaluate a file's code; ConvNetJSError if it takes too long, is too deep, or if more than the network drives."""
    evaluator = _Evaluator()
    try:
        evaluator.run_program(root)
        brain = evaluator.top.names.get("brain")
        if isinstance(brain, BrainSettings):
            evaluator.check_learn(brain)
    except RecursionError:
        raise ConvNetJSError(1, "the code is nested too deeply") from None
    brain = evaluator.top.names.get("brain")
    return Script(evaluator.top.names, evaluator.lines, brain if isinstance(brain, BrainSettings) else None)


class _Return(Exception):
    def __init__(self, value: Any) -> None:
        self.value = value


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Undecided(Exception):
    """Whether a return, break or continue is reached depends on an unknown value."""

    def __init__(self, unknown: Unknown) -> None:
        self.unknown = unknown


class _Evaluator:
    def __init__(self) -> None:
        self.top = Scope(None, is_function=True)
        self.lines: dict[str, int] = {}
        self.variables: dict[Node, list[str]] = {}  # of functions
        self.steps = self.depth = 0
        self.state: Unknown | None = None  # what learn is called with, until it is changed
        self.action: Unknown | None = None  # what the network answers
        self.given: tuple[Unknown, ...] = ()  # what differs from call to call

    def spend(self, count: int, node: Node) -> None:
        self.steps += count
        if self.steps > MAX_STEPS:
            raise ConvNetJSError(node.line, f"the code takes more than {MAX_STEPS} steps; write values as they are")

    # --- the whole file -------------------------------------------------------------------------------------------

    def run_program(self, root: Node) -> None:
        self.declare_functions(root, self.top)
        for node in root.parts:
            self.depth = 0
            try:
                self.run(node, self.top)
            except _Undecided as undecided:
                self.spoil(node, self.top, undecided.unknown)
            except (_Return, _Break, _Continue):
                raise ConvNetJSError(node.line, "a return, break or continue outside of functions") from None

    def check_learn(self, brain: BrainSettings) -> None:
        """Raise ConvNetJSError unless `learn` returns what the Brain answers to the state, and leaves all else alone.

        What it changes from call to call is unknown in each, so it is spoiled before.
        """
        learn = self.top.names.get("learn", UNDEFINED)
        if isinstance(learn, Unknown):
            raise ConvNetJSError(learn.line, f"learn depends on {learn.reason}")
        if not isinstance(learn, Function):
            raise ConvNetJSError(
                brain.weights_line or brain.line,
                "no learn = function (state, lastReward) {...}: the game has nothing to call",
            )
        line = learn.node.line
        changing = Unknown(line, "what learn changes from call to call")
        self.spoil(learn.node, learn.scope, changing, spare=brain)
        self.state = Unknown(line, "the state that the game gives")
        self.action = Unknown(line, "what it computes from the network's answer")
        reward = Unknown(line, "the reward that the game gives")
        self.given = (self.state, self.action, reward, changing)
        weights = brain.weights
        answer = self.call(learn, [self.state, reward], learn.node)
        reason = ""
        if answer is not self.action:
            what = answer if isinstance(answer, Unknown) else Unknown(line, "a value of its own")
            line, reason = what.line, f"its action depends on {what.reason}"
        elif self.top.names.get("brain") is not brain or brain.weights is not weights:
            reason = "it replaces the network"
        elif brain.decisions != 1:
            reason = f"it calls brain.forward {brain.decisions} times"
        if reason:
            raise ConvNetJSError(
                line,
                f"learn does more than the standard call: {reason}; the actions must be the network's alone: "
                "brain.backward(lastReward), action = brain.forward(state), return action",
            )

    # --- what is not evaluated ------------------------------------------------------------------------------------

    def spoil(self, node: Node, scope: Scope, unknown: Unknown, spare: Any = None) -> None:
        """Make unknown whatever this code could change, as it may run or not, now or later.

        spare: a Brain that is left alone
        """
        seen: set[Node] = set()
        work: list[tuple[Node, Scope, bool]] = [(node, scope, True)]
        while work:
            part, where, open_ = work.pop()
            self.spend(1, part)
            for name in set_names(part):
                self.spend(1, part)
                holder = where.holder(name) or self.top
                self.spoil_value(holder.names.get(name), unknown, spare)
                self.bind(holder, name, unknown, part)
            open_ = (open_ or part.kind in TARGETS) and not is_silent(part)
            if part.kind == "identifier" and part.text in CODE_RUNNERS:
                self.refuse_code(part)
            found = where.holder(part.text) if open_ and part.kind in READ else None
            if found is not None:
                value = found.names[part.text]
                self.spoil_value(value, unknown, spare)
                if isinstance(value, Function) and value.node not in seen:
                    seen.add(value.node)
                    work.append((value.node, value.scope, True))
            work.extend((child, where, open_) for child in part.parts)

    def spoil_value(self, value: Any, unknown: Unknown, spare: Any = None) -> None:
        """Make everything inside a value unknown."""
        work = [value]
        while work:
            value = work.pop()
            if isinstance(value, Unknown) and value.owner is not None:
                value = value.owner
            elif isinstance(value, ValueNet):
                value = value.brain
            if value is self.state and value is not None:
                self.state = None  # it is no longer what the game gave
            if isinstance(value, BrainSettings | JSArray | JSObject) and value.unknown is None and value is not spare:
                value.unknown = unknown
                entries = value.values() if isinstance(value, JSObject) else value if isinstance(value, JSArray) else ()
                self.steps += len(entries)
                work.extend(entries)

    def skip(self, node: Node, scope: Scope, reason: str) -> Unknown:
        """The value of code outside the subset."""
        unknown = Unknown(node.line, reason)
        self.spoil(node, scope, unknown)
        return unknown

    # --- statements -----------------------------------------------------------------------------------------------

    def run(self, node: Node, scope: Scope) -> None:
        """Execute a statement."""
        method = STATEMENTS.get(node.kind)
        self.enter(node)
        if method is not None:
            method(self, node, scope)
        elif node.kind in EXPRESSIONS:
            self.value(node, scope)
        else:
            unknown = self.skip(node, scope, f"a {node.kind.replace('_', ' ')}, which is not evaluated")
            if leaves(node):
                raise _Undecided(unknown)
        self.depth -= 1

    def enter(self, node: Node) -> None:
        self.spend(1, node)
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise ConvNetJSError(node.line, f"code nested more than {MAX_NESTING} deep")

    def run_nothing(self, node: Node, scope: Scope) -> None:
        pass

    def run_expression(self, node: Node, scope: Scope) -> None:
        for child in node.parts:
            self.value(child, scope)

    def run_block(self, node: Node, scope: Scope) -> None:
        inner = Scope(scope)
        self.declare_functions(node, inner)
        for child in node.parts:
            self.run(child, inner)

    def declare_functions(self, node: Node, scope: Scope) -> None:
        for child in node.parts:
            if child.kind in FUNCTIONS:
                self.bind(scope, child.fields["name"].text, Function(child, scope), child)

    def run_declaration(self, node: Node, scope: Scope) -> None:
        target = scope
        while node.kind == "variable_declaration" and not target.is_function and target.parent is not None:
            target = target.parent
        for child in node.parts:
            name, given = child.fields["name"], child.fields.get("value")
            if name.kind != "identifier":
                self.skip(child, target, "a pattern of names, which is not evaluated")
            elif given is not None:
                self.bind(target, name.text, self.value(given, scope), child)
            elif name.text not in target.names:
                self.bind(target, name.text, UNDEFINED, child)

    def bind(self, scope: Scope, name: str, value: Any, node: Node) -> None:
        scope.names[name] = value
        if scope is self.top:
            self.lines[name] = node.line

    def run_if(self, node: Node, scope: Scope) -> None:
        condition = self.value(node.fields["condition"], scope)
        parts = [node.fields.get("consequence"), node.fields.get("alternative")]
        if isinstance(condition, Unknown):
            self.spoil_branches(parts, scope, self.derived(condition, node))
            return
        part = parts[0] if js.is_true(condition) else parts[1]
        if part is not None:
            self.run(part, scope)

    def spoil_branches(self, parts: list[Node | None], scope: Scope, unknown: Unknown) -> None:
        for part in parts:
            if part is not None:
                self.spoil(part, scope, unknown)
        if any(part is not None and leaves(part) for part in parts):
            raise _Undecided(unknown)

    def run_while(self, node: Node, scope: Scope) -> None:
        self.loop(node, scope, node.fields["condition"], None)

    def run_for(self, node: Node, scope: Scope) -> None:
        inner = Scope(scope)
        self.run(node.fields["initializer"], inner)
        self.loop(node, inner, node.fields["condition"], node.fields.get("increment"), own_scope=True)

    def loop(self, node: Node, scope: Scope, condition: Node, increment: Node | None, own_scope: bool = False) -> None:
        body, first = node.fields["body"], node.kind == "do_statement"
        while True:
            self.spend(1, node)
            holds = True if first or condition.kind == "empty_statement" else self.value(condition, scope)
            first = False
            if isinstance(holds, Unknown):
                self.spoil_branches([body, condition, increment], scope, self.derived(holds, node))
                return
            if not js.is_true(holds) or not self.run_body(body, scope):
                return
            scope = Scope(scope.parent, names=dict(scope.names)) if own_scope else scope  # functions keep the old one
            if increment is not None:
                self.value(increment, scope)

    def run_for_in(self, node: Node, scope: Scope) -> None:
        kind, operator = node.fields.get("kind"), node.fields["operator"].text
        target, body = node.fields["left"], node.fields["body"]
        given = self.value(node.fields["right"], scope)
        if operator == "of" and isinstance(given, JSArray) and given.unknown is None:
            items: list[Any] = list(given)
        elif (
            operator == "in" and isinstance(given, JSObject) and not any(map(str.isdigit, given)) and not given.unknown
        ):
            items = list(given)
        else:
            items, target = [], node
        if target.kind != "identifier":
            unknown = (
                self.derived(given, node) if isinstance(given, Unknown) else Unknown(node.line, "a loop like this")
            )
            self.spoil_branches([node], scope, unknown)
            return
        inner = Scope(scope)
        self.spend(len(items), node)
        for item in items:
            self.spend(1, node)
            if kind is None:
                self.assign_name(target.text, item, inner, node)
            else:
                inner.names[target.text] = item
            if not self.run_body(body, inner):
                return

    def run_body(self, body: Node, scope: Scope) -> bool:
        """Execute a loop's body; False after a break."""
        depth = self.depth
        try:
            self.run(body, scope)
        except _Break:
            self.depth = depth
            return False
        except _Continue:
            self.depth = depth
        return True

    def run_return(self, node: Node, scope: Scope) -> NoReturn:
        given = node.parts
        raise _Return(self.value(given[0], scope) if given else UNDEFINED)

    def run_leave(self, node: Node, scope: Scope) -> NoReturn:
        if node.fields.get("label") is not None:
            raise _Undecided(self.skip(node, scope, "a jump to a label, which is not evaluated"))
        raise _Break if node.kind == "break_statement" else _Continue

    def run_throw(self, node: Node, scope: Scope) -> NoReturn:
        raise ConvNetJSError(node.line, "the code throws an error here, so the game would not load it")

    # --- expressions ----------------------------------------------------------------------------------------------

    def value(self, node: Node, scope: Scope) -> Any:
        """Return the value of an expression; Unknown outside the subset."""
        method = EXPRESSIONS.get(node.kind)
        self.enter(node)
        try:
            if method is None:
                return self.skip(node, scope, f"a {node.kind.replace('_', ' ')}, which is not evaluated")
            return method(self, node, scope)
        except Undefinable as reason:
            return Unknown(node.line, str(reason))
        finally:
            self.depth -= 1

    def inner_value(self, node: Node, scope: Scope) -> Any:
        result: Any = UNDEFINED
        for child in node.parts:
            result = self.value(child, scope)
        return result

    def number(self, node: Node, scope: Scope) -> Any:
        text = node.text.replace("_", "")
        if text.endswith("n") and text[:2] not in ("0x", "0X"):
            raise Undefinable("a number with the suffix n")
        if len(text) > 1 and text[0] == "0" and text.isdigit():
            raise Undefinable("a number that begins with 0")
        return js.text_to_number(text)

    def string(self, node: Node, scope: Scope) -> str:
        parts = [self.escape(c) if c.kind == "escape_sequence" else c.text for c in node.parts]
        return self.made("".join(parts), node)

    def made(self, text: str, node: Node) -> str:
        """A string, whose memory is counted."""
        self.spend(len(text) // 8, node)
        return text

    def escape(self, node: Node) -> str:
        text = node.text[1:]
        if text in ESCAPES:
            return ESCAPES[text]
        if text[:1].isalnum():
            raise Undefinable("a string with escaped characters")
        return text

    def template(self, node: Node, scope: Scope) -> Any:
        result = ""
        for child in node.parts:
            if child.kind == "template_substitution":
                given = self.inner_value(child, scope)
                if isinstance(given, Unknown):
                    return self.derived(given, node)
                result += js.to_text(given)
            else:
                result += self.escape(child) if child.kind == "escape_sequence" else child.text
        return self.made(result, node)

    def constant(self, node: Node, scope: Scope) -> Any:
        return {"true": True, "false": False, "null": None}.get(node.kind, UNDEFINED)

    def items(self, node: Node, scope: Scope) -> list[Any]:
        """The entries of an array or of a call's arguments."""
        found: list[Any] = []
        for child in node.parts:
            if child.kind == "spread_element":
                spread = self.inner_value(child, scope)
                if not isinstance(spread, JSArray) or spread.unknown:
                    raise Undefinable("a spread of such a value")
                self.spend(len(spread), node)
                found.extend(spread)
            else:
                found.append(self.value(child, scope))
        return found

    def array(self, node: Node, scope: Scope) -> JSArray:
        return JSArray(self.items(node, scope))

    def object(self, node: Node, scope: Scope) -> JSObject:
        made = JSObject()
        for child in node.parts:
            if child.kind == "pair":
                made[self.key(child.fields["key"], scope)] = self.value(child.fields["value"], scope)
            elif child.kind == "shorthand_property_identifier":
                made[child.text] = self.name(child, scope)
            elif child.kind == "method_definition":
                made[child.fields["name"].text] = Function(child, scope)
            else:
                spread = self.inner_value(child, scope)
                if not isinstance(spread, JSObject) or spread.unknown:
                    raise Undefinable("a spread of such a value")
                self.spend(len(spread), node)
                made.update(spread)
        return made

    def key(self, node: Node, scope: Scope) -> str:
        if node.kind == "property_identifier":
            return node.text
        given = self.inner_value(node, scope) if node.kind == "computed_property_name" else self.value(node, scope)
        if isinstance(given, Unknown):
            raise Undefinable(given.reason)
        return js.to_text(given)

    def function(self, node: Node, scope: Scope) -> Function:
        return Function(node, scope)

    def name(self, node: Node, scope: Scope) -> Any:
        name = node.text
        holder = scope.holder(name)
        if holder is not None:
            return holder.names[name]
        if name in NAMES:
            return NAMES[name]
        if name in CODE_RUNNERS:
            self.refuse_code(node)
        if name in (*PAGE, "document", "navigator", "location"):
            return Unknown(node.line, f"`{name}`, which belongs to the page")
        return Unknown(node.line, f"`{name:.40}`, which is not defined above")

    def unary(self, node: Node, scope: Scope) -> Any:
        operator, argument = node.fields["operator"].text, node.fields["argument"]
        if operator == "delete":
            return self.skip(node, scope, "the operator delete, which is not evaluated")
        given = self.value(argument, scope)
        if isinstance(given, Unknown):
            return self.derived(given, node)
        if operator == "typeof":
            kinds: list[tuple[Any, str]] = [
                (bool, "boolean"), (float, "number"), (str, "string"), (Function, "function")
            ]  # fmt: skip
            named = (name for kind, name in kinds if isinstance(given, kind))
            return next(named, "undefined" if given is UNDEFINED else "object")
        return js.UNARY[operator](given)

    def derived(self, unknown: Unknown, node: Node) -> Unknown:
        """What is computed from an unknown value."""
        return Unknown(node.line if unknown in self.given else unknown.line, unknown.reason)

    def binary(self, node: Node, scope: Scope) -> Any:
        """A chain of operators that is nested to the left is as deep as one."""
        operator = node.fields["operator"].text
        chain = [node]
        while operator not in LOGIC and chain[-1].fields["left"].kind == "binary_expression":
            chain.append(chain[-1].fields["left"])
            self.spend(1, node)
        left = self.value(chain[-1].fields["left"], scope)
        for part in reversed(chain):
            left = self.operate(part, left, scope)
        return left

    def operate(self, node: Node, left: Any, scope: Scope) -> Any:
        operator, right = node.fields["operator"].text, node.fields["right"]
        if operator in LOGIC:
            if isinstance(left, Unknown):
                left = self.derived(left, node)
                self.spoil(right, scope, left)
                return left
            return self.value(right, scope) if LOGIC[operator](left) else left
        return self.combine(operator, left, self.value(right, scope), node)

    def combine(self, operator: str, left: Any, right: Any, node: Node) -> Any:
        for given in (left, right):
            if isinstance(given, Unknown):
                return self.derived(given, node)
        if operator not in js.BINARY:
            raise Undefinable(f"the operator {operator}, which is not evaluated")
        result = js.BINARY[operator](left, right)
        return self.made(result, node) if isinstance(result, str) else result

    def ternary(self, node: Node, scope: Scope) -> Any:
        condition = self.value(node.fields["condition"], scope)
        parts = [node.fields["consequence"], node.fields["alternative"]]
        if isinstance(condition, Unknown):
            unknown = self.derived(condition, node)
            for part in parts:
                self.spoil(part, scope, unknown)
            return unknown
        return self.value(parts[0] if js.is_true(condition) else parts[1], scope)

    # --- assignments ----------------------------------------------------------------------------------------------

    def assignment(self, node: Node, scope: Scope) -> Any:
        target, right = node.fields["left"], node.fields["right"]
        operator = node.fields.get("operator")
        if operator is None:
            result = self.value(right, scope)
        else:
            result = self.operate_in_place(node, target, operator.text[:-1], scope)
        self.assign(target, result, scope)
        return result

    def operate_in_place(self, node: Node, target: Node, operator: str, scope: Scope) -> Any:
        old = self.value(target, scope)
        if operator in LOGIC:
            raise Undefinable(f"the operator {operator}=, which is not evaluated")
        try:
            return self.combine(operator, old, self.value(node.fields["right"], scope), node)
        except Undefinable as reason:
            return Unknown(node.line, str(reason))

    def update(self, node: Node, scope: Scope) -> Any:
        target = node.fields["argument"]
        old = self.value(target, scope)
        before = old if isinstance(old, Unknown) else js.to_number(old)
        sign = "+" if node.fields["operator"].text == "++" else "-"
        after = self.combine(sign, before, 1.0, node)
        self.assign(target, after, scope)
        return after if next(iter(node.fields)) == "operator" else before

    def assign(self, target: Node, value: Any, scope: Scope) -> None:
        while target.kind == "parenthesized_expression":
            target = target.parts[0]
        if target.kind == "identifier":
            self.assign_name(target.text, value, scope, target)
        elif target.kind in ("member_expression", "subscript_expression"):
            if is_global(target) and scope.holder(target.fields["object"].text) is None:
                self.bind(self.top, target.fields["property"].text, value, target)
                return
            holder, root = self.value(target.fields["object"], scope), leftmost(target).text
            if scope.holder(root) is None and root in (*LIBRARIES, *NAMES):
                self.replaced(root, target)
            self.set_member(holder, self.member_key(target, scope), value, target, scope)
        else:
            unknown = self.skip(target, scope, "a pattern of names, which is not evaluated")
            for part in walk(target):
                if part.kind in ("identifier", "shorthand_property_identifier_pattern"):
                    self.spend(1, part)
                    self.assign_name(part.text, unknown, scope, part)

    def assign_name(self, name: str, value: Any, scope: Scope, node: Node) -> None:
        holder = scope.holder(name)
        if holder is None and name in NAMES:
            self.replaced(name, node)
        self.bind(holder or self.top, name, value, node)

    def refuse_code(self, node: Node) -> NoReturn:
        raise ConvNetJSError(node.line, f"{node.text} runs text as code, which may change anything; write that code")

    def replaced(self, name: str, node: Node) -> NoReturn:
        raise ConvNetJSError(node.line, f"{name} is replaced, which may change how everything is computed")

    def member_key(self, node: Node, scope: Scope) -> Any:
        property_ = node.fields.get("property")
        key = self.value(node.fields["index"], scope) if property_ is None else property_.text
        if key == "__proto__":
            self.replaced(key, node)
        return key

    def set_member(self, holder: Any, key: Any, value: Any, node: Node, scope: Scope) -> None:
        if isinstance(holder, Builtin):
            self.replaced(holder.name, node)
        if isinstance(holder, BrainSettings):
            self.set_brain(holder, key, value, node)
        elif isinstance(holder, JSArray) and isinstance(key, float) and 0 <= key <= len(holder) and key.is_integer():
            holder[int(key) : int(key) + 1] = [value]
            self.spend(1, node)
        elif isinstance(holder, JSObject) and isinstance(key, str | float):
            holder[js.to_text(key)] = value
            self.spend(1, node)
        else:
            unknown = key if isinstance(key, Unknown) else Unknown(node.line, "an entry that is set here")
            self.spoil_value(holder, unknown)
            if not isinstance(holder, Unknown | JSArray | JSObject | ValueNet):
                self.spoil(node, scope, unknown)

    def set_brain(self, brain: BrainSettings, key: Any, value: Any, node: Node) -> None:
        if key in DRIVING:
            brain.opt[key] = value
        elif key not in TRAINING:
            brain.unknown = Unknown(node.line, f"brain.{key!s:.40}, which is set here")

    # --- members and calls ----------------------------------------------------------------------------------------

    def member(self, node: Node, scope: Scope) -> Any:
        if is_global(node) and scope.holder(node.fields["object"].text) is None:
            return self.name(node.fields["property"], self.top)
        return self.get_member(self.value(node.fields["object"], scope), self.member_key(node, scope), node)

    def get_member(self, holder: Any, key: Any, node: Node) -> Any:
        line = node.line
        if isinstance(holder, Unknown):
            return Unknown(holder.line, holder.reason, holder.owner)
        if isinstance(key, Unknown):
            return self.derived(key, node)
        if isinstance(holder, BrainSettings):
            if key == "value_net":
                return ValueNet(holder)
            owner = None if key in TRAINING else holder
            return Unknown(line, f"brain.{key!s:.40}, which is not evaluated", owner)
        if isinstance(holder, ValueNet):
            return Unknown(line, "a part of brain.value_net, which is not evaluated", holder.brain)
        if isinstance(holder, Builtin):
            return holder.constants.get(key, Unknown(line, f"{holder.name}.{key!s:.40}, which is not evaluated"))
        if isinstance(holder, JSArray | JSObject) and holder.unknown is not None:
            return holder.unknown
        if isinstance(holder, JSObject):
            return holder.get(js.to_text(key), UNDEFINED)
        if isinstance(holder, JSArray | str):
            if key == "length":
                return float(len(holder))
            if isinstance(key, float):
                return holder[int(key)] if key.is_integer() and 0 <= key < len(holder) else UNDEFINED
        return Unknown(line, f"the member {key!s:.40} of a value that has none here")

    def new(self, node: Node, scope: Scope) -> Any:
        made, given = path_of(node.fields["constructor"]), node.fields.get("arguments")
        arguments = self.items(given, scope) if given is not None else []
        if made == "deepqlearn.Brain" and scope.holder("deepqlearn") is None:
            return self.new_brain(arguments, node)
        if made in ("Array", "Object") and scope.holder(made) is None:
            return self.call_builtin(made, arguments, node)
        unknown = Unknown(node.line, f"new {made:.40}(...), which is not evaluated")
        for argument in (self.value(node.fields["constructor"], scope), *arguments):
            self.pass_on(argument, unknown)
        return unknown

    def new_brain(self, arguments: list[Any], node: Node) -> BrainSettings:
        num_inputs, num_actions, opt, *_ = [*arguments, UNDEFINED, UNDEFINED, UNDEFINED]
        brain = BrainSettings(node.line, num_inputs, num_actions, JSObject())
        if isinstance(opt, JSObject):
            brain.opt.update(opt)
            brain.unknown = opt.unknown
        elif isinstance(opt, Unknown):
            brain.unknown = opt
        return brain

    def pass_on(self, value: Any, unknown: Unknown) -> None:
        """A value is given to code that is not evaluated."""
        self.spoil_value(value, unknown)
        if isinstance(value, Function):
            self.spoil(value.node, value.scope, unknown)

    def call_expression(self, node: Node, scope: Scope) -> Any:
        callee, given = node.fields["function"], node.fields["arguments"]
        while callee.kind == "parenthesized_expression":
            callee = callee.parts[-1]
        if given.kind != "arguments":
            return self.skip(node, scope, "a tagged template, which is not evaluated")
        holder, name, function = self.callee(callee, scope)
        arguments = self.items(given, scope)
        if isinstance(function, Function):
            return self.call(function, arguments, node, holder)
        if is_silent(node) and isinstance(function, Unknown):
            return UNDEFINED
        if isinstance(holder, BrainSettings):
            return self.call_brain(holder, name, arguments, node)
        if isinstance(holder, ValueNet) and name == "fromJSON":
            holder.brain.weights = arguments[0] if arguments else UNDEFINED
            holder.brain.weights_line = node.line
            return UNDEFINED
        if isinstance(holder, JSArray) and holder.unknown is None and name in METHODS:
            return METHODS[name](self, holder, arguments, node)
        if isinstance(holder, Builtin) or (isinstance(function, Builtin) and holder is None):
            path = f"{holder.name}.{name}" if isinstance(holder, Builtin) else name
            return self.call_builtin(path, arguments, node)
        unknown = (
            function
            if isinstance(function, Unknown)
            else Unknown(node.line, f"{name:.40}(...), which is not evaluated")
        )
        if not (isinstance(holder, ValueNet) and name == "toJSON"):
            for value in (holder, *arguments):
                self.pass_on(value, unknown)
        return self.derived(unknown, node)

    def callee(self, node: Node, scope: Scope) -> tuple[Any, str, Any]:
        """The object whose method is called, if there is one; the name of what is called; the function, if known."""
        if node.kind != "member_expression" or is_global(node):
            return None, node.text, self.value(node, scope)
        holder, name = self.value(node.fields["object"], scope), node.fields["property"].text
        function = (
            None if isinstance(holder, JSArray | BrainSettings | ValueNet) else self.get_member(holder, name, node)
        )
        return holder, name, function

    def call(self, function: Function, arguments: list[Any], node: Node, holder: Any = None) -> Any:
        """Call a function of the file, as a method of the holder if there is one."""
        written, scope = function.node, Scope(function.scope, is_function=True)
        if written.marks or written.kind not in PLAIN_FUNCTIONS:
            unknown = Unknown(written.line, "a class, generator or async function, which is not evaluated")
            for value in (function, holder, *arguments):
                self.pass_on(value, unknown)
            return unknown
        body, own_name = written.fields["body"], written.fields.get("name")
        if written.kind == "function_expression" and own_name is not None:
            scope.names[own_name.text] = function
        if isinstance(holder, JSObject):
            scope.names["this"] = holder
        self.bind_parameters(function, arguments, scope)
        for name in self.variables_of(body):
            self.spend(1, node)
            scope.names.setdefault(name, UNDEFINED)
        depth = self.depth
        try:
            if body.kind != "statement_block":
                return self.value(body, scope)
            self.run(body, scope)
            return UNDEFINED
        except _Return as result:
            return result.value
        except _Undecided as undecided:
            self.spoil(body, scope, undecided.unknown)
            return self.derived(undecided.unknown, node)
        except (_Break, _Continue):
            raise ConvNetJSError(written.line, "a break or continue outside of loops") from None
        finally:
            self.depth = depth

    def variables_of(self, body: Node) -> list[str]:
        if body not in self.variables:
            self.variables[body] = declared_variables(body)
        return self.variables[body]

    def bind_parameters(self, function: Function, arguments: list[Any], scope: Scope) -> None:
        single = function.node.fields.get("parameter")
        parameters = [single] if single is not None else function.node.fields["parameters"].parts
        for i, parameter in enumerate(parameters):
            given = arguments[i] if i < len(arguments) else UNDEFINED
            if parameter.kind == "assignment_pattern":
                given = self.value(parameter.fields["right"], scope) if given is UNDEFINED else given
                parameter = parameter.fields["left"]
            if parameter.kind == "identifier":
                self.spend(1, parameter)
                scope.names[parameter.text] = given
                continue
            unknown = Unknown(parameter.line, "a pattern of parameters, which is not evaluated")
            for value in arguments[i:]:
                self.pass_on(value, unknown)
            for part in walk(parameter):
                self.spend(1, part)
                scope.names[part.text] = unknown

    def call_brain(self, brain: BrainSettings, name: str, arguments: list[Any], node: Node) -> Any:
        if name == "backward":  # it learns in training alone
            return UNDEFINED
        if name == "forward":
            brain.decisions += 1
            if arguments and arguments[0] is self.state and self.state is not None:
                return self.action
            return Unknown(node.line, "an answer to something else than the state that the game gave")
        brain.unknown = Unknown(node.line, f"brain.{name:.40}(...), which is called here")
        return Unknown(node.line, f"brain.{name:.40}(...), which is not evaluated")

    def call_builtin(self, path: str, arguments: list[Any], node: Node) -> Any:
        owner, _, name = path.rpartition(".")
        if owner != "Math" and path not in ("JSON.parse", "Object", "Array", *js.FUNCTIONS):
            unknown = Unknown(node.line, f"{path:.40}(...), which is not evaluated")
            for given in arguments:
                self.pass_on(given, unknown)
            return unknown
        for given in arguments:
            if isinstance(given, Unknown):
                return self.derived(given, node)
        if owner == "Math":
            return js.maths(name, arguments)
        if path == "JSON.parse":
            return self.parse_json(js.to_text(arguments[0] if arguments else UNDEFINED), node)
        if path == "Object":
            return JSObject()
        if path == "Array" and len(arguments) == 1 and isinstance(arguments[0], float):
            return self.empty_array(arguments[0], node)
        return JSArray(arguments) if path == "Array" else js.FUNCTIONS[path](*arguments)

    def empty_array(self, length: float, node: Node) -> JSArray:
        if not 0 <= length <= MAX_STEPS or not length.is_integer():
            raise Undefinable(f"an array of length {length:g}")
        self.spend(int(length), node)
        return JSArray([UNDEFINED] * int(length))

    def parse_json(self, text: str, node: Node) -> Any:
        try:
            self.spend(len(text), node)
            return json.loads(text, object_pairs_hook=JSObject, parse_int=float)
        except (ValueError, RecursionError):
            raise ConvNetJSError(node.line, "JSON.parse is given text that is not JSON") from None

    # --- methods of arrays ----------------------------------------------------------------------------------------

    def push(self, array: JSArray, arguments: list[Any], node: Node) -> Any:
        array.extend(arguments)
        return float(len(array))

    def pop(self, array: JSArray, arguments: list[Any], node: Node) -> Any:
        return array.pop() if array else UNDEFINED

    def concat(self, array: JSArray, arguments: list[Any], node: Node) -> Any:
        if any(isinstance(x, Unknown) or (isinstance(x, JSArray) and x.unknown) for x in arguments):
            return Unknown(node.line, "an array that is not known")
        joined = JSArray(array)
        for given in arguments:
            joined.extend(given if isinstance(given, JSArray) else [given])
        self.spend(len(joined), node)
        return joined

    def fill(self, array: JSArray, arguments: list[Any], node: Node) -> Any:
        if len(arguments) != 1:
            raise Undefinable("a part of an array that is filled")
        self.spend(len(array), node)
        array[:] = arguments * len(array)
        return array

    def for_each(self, array: JSArray, arguments: list[Any], node: Node) -> Any:
        self.map(array, arguments, node)
        return UNDEFINED

    def map(self, array: JSArray, arguments: list[Any], node: Node) -> Any:
        if not arguments or not isinstance(arguments[0], Function):
            raise Undefinable("a function that is not known")
        self.spend(len(array), node)
        made = JSArray()
        for i, item in enumerate(list(array)):
            made.append(self.call(arguments[0], [item, float(i), array], node))
        return made


NAMES: dict[str, Any] = {
    **{name: Builtin(name) for name in ("JSON", "Array", "Object", *js.FUNCTIONS)},
    "Math": Builtin("Math", js.CONSTANTS),
    "NaN": float("nan"),
    "Infinity": float("inf"),
}
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": ""}
LOGIC: dict[str, Callable[[Any], bool]] = {  # whether the right side is evaluated
    "&&": js.is_true,
    "||": lambda left: not js.is_true(left),
    "??": lambda left: left is None or left is UNDEFINED,
}
METHODS: dict[str, Callable[..., Any]] = {
    "push": _Evaluator.push,
    "pop": _Evaluator.pop,
    "concat": _Evaluator.concat,
    "fill": _Evaluator.fill,
    "forEach": _Evaluator.for_each,
    "map": _Evaluator.map,
}
STATEMENTS: dict[str, Callable[[_Evaluator, Node, Scope], None]] = {
    "expression_statement": _Evaluator.run_expression,
    "else_clause": _Evaluator.run_block,
    "statement_block": _Evaluator.run_block,
    "variable_declaration": _Evaluator.run_declaration,
    "lexical_declaration": _Evaluator.run_declaration,
    **dict.fromkeys(FUNCTIONS, _Evaluator.run_nothing),  # declared when its block begins
    "empty_statement": _Evaluator.run_nothing,
    "if_statement": _Evaluator.run_if,
    "while_statement": _Evaluator.run_while,
    "do_statement": _Evaluator.run_while,
    "for_statement": _Evaluator.run_for,
    "for_in_statement": _Evaluator.run_for_in,
    "return_statement": _Evaluator.run_return,
    "break_statement": _Evaluator.run_leave,
    "continue_statement": _Evaluator.run_leave,
    "throw_statement": _Evaluator.run_throw,
}
EXPRESSIONS: dict[str, Callable[[_Evaluator, Node, Scope], Any]] = {
    "parenthesized_expression": _Evaluator.inner_value,
    "sequence_expression": _Evaluator.inner_value,
    "number": _Evaluator.number,
    "string": _Evaluator.string,
    "template_string": _Evaluator.template,
    **dict.fromkeys(("true", "false", "null", "undefined"), _Evaluator.constant),
    "array": _Evaluator.array,
    "object": _Evaluator.object,
    **dict.fromkeys(FUNCTIONS, _Evaluator.function),
    **dict.fromkeys(("identifier", "this", "property_identifier"), _Evaluator.name),
    "unary_expression": _Evaluator.unary,
    "binary_expression": _Evaluator.binary,
    "ternary_expression": _Evaluator.ternary,
    "assignment_expression": _Evaluator.assignment,
    "augmented_assignment_expression": _Evaluator.assignment,
    "update_expression": _Evaluator.update,
    "member_expression": _Evaluator.member,
    "subscript_expression": _Evaluator.member,
    "new_expression": _Evaluator.new,
    "call_expression": _Evaluator.call_expression,
}


def is_silent(node: Node) -> bool:
    """Whether a node is a call that only shows something."""
    if node.kind != "call_expression":
        return False
    callee = node.fields["function"]
    return callee.fields.get("object", callee).text in SILENT
