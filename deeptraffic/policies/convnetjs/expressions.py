"""Expressions and assignments in the code of a submission."""

from collections.abc import Callable
from typing import Any

from deeptraffic.policies.convnetjs import values as js
from deeptraffic.policies.convnetjs.calls import NAMES, _Calls
from deeptraffic.policies.convnetjs.effects import (
    DRIVING,
    LIBRARIES,
    TRAINING,
    BrainSettings,
    Builtin,
    Function,
    Scope,
    ValueNet,
)
from deeptraffic.policies.convnetjs.tree import FUNCTIONS, Node, is_global, leftmost, walk
from deeptraffic.policies.convnetjs.values import UNDEFINED, JSArray, JSObject, Undefinable, Unknown


class _Expressions(_Calls):
    """Evaluator of expressions."""

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


ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": ""}
LOGIC: dict[str, Callable[[Any], bool]] = {  # whether the right side is evaluated
    "&&": js.is_true,
    "||": lambda left: not js.is_true(left),
    "??": lambda left: left is None or left is UNDEFINED,
}
EXPRESSIONS: dict[str, Callable[[_Expressions, Node, Scope], Any]] = {
    "parenthesized_expression": _Expressions.inner_value,
    "sequence_expression": _Expressions.inner_value,
    "number": _Expressions.number,
    "string": _Expressions.string,
    "template_string": _Expressions.template,
    **dict.fromkeys(("true", "false", "null", "undefined"), _Expressions.constant),
    "array": _Expressions.array,
    "object": _Expressions.object,
    **dict.fromkeys(FUNCTIONS, _Expressions.function),
    **dict.fromkeys(("identifier", "this", "property_identifier"), _Expressions.name),
    "unary_expression": _Expressions.unary,
    "binary_expression": _Expressions.binary,
    "ternary_expression": _Expressions.ternary,
    "assignment_expression": _Expressions.assignment,
    "augmented_assignment_expression": _Expressions.assignment,
    "update_expression": _Expressions.update,
    "member_expression": _Expressions.member,
    "subscript_expression": _Expressions.member,
    "new_expression": _Expressions.new,
    "call_expression": _Expressions.call_expression,
}
