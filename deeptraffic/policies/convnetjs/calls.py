"""Names, members, and calls in the code of a submission: of its functions, its Brain, and built-in functions."""

import json
from collections.abc import Callable
from typing import Any

from deeptraffic.policies.convnetjs import values as js
from deeptraffic.policies.convnetjs.effects import (
    CODE_RUNNERS,
    MAX_STEPS,
    PLAIN_FUNCTIONS,
    TRAINING,
    BrainSettings,
    Break,
    Builtin,
    Continue,
    Function,
    Return,
    Scope,
    Undecided,
    ValueNet,
    _Effects,
    is_silent,
)
from deeptraffic.policies.convnetjs.parse import ConvNetJSError
from deeptraffic.policies.convnetjs.tree import PAGE, Node, declared_variables, is_global, path_of, walk
from deeptraffic.policies.convnetjs.values import UNDEFINED, JSArray, JSObject, Undefinable, Unknown


class _Calls(_Effects):
    """Evaluator of names, members, and calls."""

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

    def inner_value(self, node: Node, scope: Scope) -> Any:
        result: Any = UNDEFINED
        for child in node.parts:
            result = self.value(child, scope)
        return result

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

    def member_key(self, node: Node, scope: Scope) -> Any:
        property_ = node.fields.get("property")
        key = self.value(node.fields["index"], scope) if property_ is None else property_.text
        if key == "__proto__":
            self.replaced(key, node)
        return key

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
        except Return as result:
            return result.value
        except Undecided as undecided:
            self.spoil(body, scope, undecided.unknown)
            return self.derived(undecided.unknown, node)
        except (Break, Continue):
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
METHODS: dict[str, Callable[..., Any]] = {
    "push": _Calls.push,
    "pop": _Calls.pop,
    "concat": _Calls.concat,
    "fill": _Calls.fill,
    "forEach": _Calls.for_each,
    "map": _Calls.map,
}
