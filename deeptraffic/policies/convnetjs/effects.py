"""State of the evaluator of submissions, and the effects of code that is not evaluated."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, NoReturn

from deeptraffic.policies.convnetjs.parse import ConvNetJSError
from deeptraffic.policies.convnetjs.tree import TARGETS, Node, set_names
from deeptraffic.policies.convnetjs.values import JSArray, JSObject, Unknown

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


class Return(Exception):
    """A return of this value."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Break(Exception):
    """A break."""


class Continue(Exception):
    """A continue."""


class Undecided(Exception):
    """Whether a return, break or continue is reached depends on an unknown value."""

    def __init__(self, unknown: Unknown) -> None:
        self.unknown = unknown


class _Effects(ABC):
    """Names, budgets, and what unevaluated code makes unknown. Subclasses run statements and compute expressions."""

    def __init__(self) -> None:
        self.top = Scope(None, is_function=True)
        self.lines: dict[str, int] = {}
        self.variables: dict[Node, list[str]] = {}  # of functions
        self.steps = self.depth = 0
        self.state: Unknown | None = None  # what learn is called with, until it is changed
        self.action: Unknown | None = None  # what the network answers
        self.given: tuple[Unknown, ...] = ()  # what differs from call to call

    @abstractmethod
    def run(self, node: Node, scope: Scope) -> None:
        """Execute a statement."""

    @abstractmethod
    def value(self, node: Node, scope: Scope) -> Any:
        """Return the value of an expression; Unknown outside the subset."""

    def spend(self, count: int, node: Node) -> None:
        self.steps += count
        if self.steps > MAX_STEPS:
            raise ConvNetJSError(node.line, f"the code takes more than {MAX_STEPS} steps; write values as they are")

    def enter(self, node: Node) -> None:
        self.spend(1, node)
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise ConvNetJSError(node.line, f"code nested more than {MAX_NESTING} deep")

    def bind(self, scope: Scope, name: str, value: Any, node: Node) -> None:
        scope.names[name] = value
        if scope is self.top:
            self.lines[name] = node.line

    def derived(self, unknown: Unknown, node: Node) -> Unknown:
        """What is computed from an unknown value."""
        return Unknown(node.line if unknown in self.given else unknown.line, unknown.reason)

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

    def pass_on(self, value: Any, unknown: Unknown) -> None:
        """A value is given to code that is not evaluated."""
        self.spoil_value(value, unknown)
        if isinstance(value, Function):
            self.spoil(value.node, value.scope, unknown)

    def skip(self, node: Node, scope: Scope, reason: str) -> Unknown:
        """The value of code outside the subset."""
        unknown = Unknown(node.line, reason)
        self.spoil(node, scope, unknown)
        return unknown

    def refuse_code(self, node: Node) -> NoReturn:
        raise ConvNetJSError(node.line, f"{node.text} runs text as code, which may change anything; write that code")

    def replaced(self, name: str, node: Node) -> NoReturn:
        raise ConvNetJSError(node.line, f"{name} is replaced, which may change how everything is computed")


def is_silent(node: Node) -> bool:
    """Whether a node is a call that only shows something."""
    if node.kind != "call_expression":
        return False
    callee = node.fields["function"]
    return callee.fields.get("object", callee).text in SILENT
