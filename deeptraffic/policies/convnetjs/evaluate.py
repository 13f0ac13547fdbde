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

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from deeptraffic.policies.convnetjs import values as js
from deeptraffic.policies.convnetjs.effects import (
    BrainSettings,
    Break,
    Continue,
    Function,
    Return,
    Scope,
    Undecided,
)
from deeptraffic.policies.convnetjs.expressions import EXPRESSIONS, _Expressions
from deeptraffic.policies.convnetjs.parse import ConvNetJSError
from deeptraffic.policies.convnetjs.tree import FUNCTIONS, Node, leaves
from deeptraffic.policies.convnetjs.values import UNDEFINED, JSArray, JSObject, Unknown


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


class _Evaluator(_Expressions):
    """Evaluator of statements and of a whole file."""

    def run_program(self, root: Node) -> None:
        self.declare_functions(root, self.top)
        for node in root.parts:
            self.depth = 0
            try:
                self.run(node, self.top)
            except Undecided as undecided:
                self.spoil(node, self.top, undecided.unknown)
            except (Return, Break, Continue):
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
                raise Undecided(unknown)
        self.depth -= 1

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
            raise Undecided(unknown)

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
        except Break:
            self.depth = depth
            return False
        except Continue:
            self.depth = depth
        return True

    def run_return(self, node: Node, scope: Scope) -> NoReturn:
        given = node.parts
        raise Return(self.value(given[0], scope) if given else UNDEFINED)

    def run_leave(self, node: Node, scope: Scope) -> NoReturn:
        if node.fields.get("label") is not None:
            raise Undecided(self.skip(node, scope, "a jump to a label, which is not evaluated"))
        raise Break if node.kind == "break_statement" else Continue

    def run_throw(self, node: Node, scope: Scope) -> NoReturn:
        raise ConvNetJSError(node.line, "the code throws an error here, so the game would not load it")


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
