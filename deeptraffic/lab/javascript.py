"""Translation to JavaScript, layers.js: layers of policy files, the assembly of a network, and ConvNetJS's weights.

A page opens policy files without Python. What it needs for that is not written a second time: the methods of the
layers' classes (`deeptraffic/policies/layers.py`), of `Network` and of its `Assembler`, and the reader of the original
game's weights (`deeptraffic/policies/convnetjs/read.py`) are plain enough to be translated, word for word, by
`Translator`. Numba's functions, compiled to WebAssembly, then run what they assemble.
"""

import ast
import inspect
import json
import math
import textwrap
from collections.abc import Iterable
from dataclasses import MISSING, fields
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from deeptraffic.policies import layer, network
from deeptraffic.policies.convnetjs import read
from deeptraffic.policies.convnetjs.parse import ConvNetJSError
from deeptraffic.policies.layer import Layer
from deeptraffic.policies.layers import LAYER_KINDS
from deeptraffic.policies.network import Assembler, Network, all_finite

HEADER = """// Made from deeptraffic/policies by `python -m deeptraffic.lab.build`; change it there.

const len = (values) => (Array.isArray(values) ? values : Object.keys(values)).length;
const sum = (values) => values.reduce((total, value) => total + value, 0);
const prod = (values) => values.reduce((total, value) => total * value, 1);
const zip = (...lists) => lists[0].map((_, k) => lists.map((list) => list[k]));
const enumerate = (values, start = 0) => values.map((value, k) => [k + start, value]);
const range = (start, stop) => (stop === undefined ? range(0, start)
  : Array.from({ length: stop - start }, (_, k) => start + k));
const text = (value) => (Array.isArray(value) ? `(${value.map(text).join(", ")})` : String(value));
const same = (a, b) => a === b || (Array.isArray(a) && Array.isArray(b) && a.length === b.length
  && a.every((value, k) => same(value, b[k])));
const distinct = (values) => values.filter((value, k) => values.findIndex((other) => same(value, other)) === k);
const contains = (all, value) => (Array.isArray(all) ? all.some((each) => same(each, value))
  : Object.hasOwn(all, value));
const get = (record, key, otherwise) => (Object.hasOwn(record, key) ? record[key] : otherwise);
const isDict = (value) => value !== null && typeof value === "object" && value.constructor === Object;

/** An array with axes: shape, strides [elements] and values. */
export class Tensor {
  constructor(values, shape, strides = shape.map((_, k) => prod(shape.slice(k + 1)))) {
    Object.assign(this, { values, shape, strides });
  }
  reshape(...shape) {
    return new Tensor(this.values, shape);
  }
  get T() {
    return new Tensor(this.values, this.shape.slice().reverse(), this.strides.slice().reverse());
  }
}
const transpose = ({ values, shape, strides }, axes) =>
  new Tensor(values, axes.map((axis) => shape[axis]), axes.map((axis) => strides[axis]));
const ravel = (value) => {
  if (!(value instanceof Tensor)) return [value].flat(Infinity);
  const walk = (axis, at) => (axis === value.shape.length ? value.values[at]
    : Array.from({ length: value.shape[axis] }, (_, k) => walk(axis + 1, at + k * value.strides[axis])));
  return [walk(0, 0)].flat(Infinity);
};
const zeros = (shape) => new Tensor(new Float64Array(prod([shape].flat())), [shape].flat());
const array = (values) => {
  const whole = Float64Array.from(values.flatMap((each) => (each instanceof Tensor ? [...each.values] : each)));
  return new Tensor(whole, [whole.length]);
};
const allFinite = (tensor) => tensor.values.every(Number.isFinite);

/** What is wrong in a line of a file. */
class LineError extends Error {
  constructor(line, reason) {
    super(`line ${line}: ${reason}`);
  }
}

const check = (name, value, schema) => {
  const inside = (x) => x >= schema.minimum && x <= schema.maximum;
  const fits = schema.enum ? schema.enum.includes(value)
    : schema.type === "array" ? Array.isArray(value) && value.length >= schema.minItems
      && value.length <= schema.maxItems && value.every((each) => check(name, each, schema.items) === each)
    : schema.type === "boolean" ? typeof value === "boolean"
    : schema.type === "integer" ? Number.isInteger(value) && inside(value) : typeof value === "number" && inside(value);
  if (!fits) throw new Error(`${name} must be ${JSON.stringify(schema)}, got ${JSON.stringify(value)}`);
  return value;
};
const fill = (self, record) => {
  for (const [name, field] of Object.entries(self.constructor.fields)) {
    const value = record[name] ?? field.default;
    if (value === undefined) throw new Error(`${self.kind}: ${name} is missing`);
    self[name] = check(`${self.kind}.${name}`, value, field.schema);
  }
};
"""
FOOTER = """
/** The layer that stands in a manifest. */
export const layerFromJson = (record) => {
  if (!(record.type in LAYERS)) throw new Error(`unknown layer type ${JSON.stringify(record.type)}`);
  return new LAYERS[record.type](record);
};

/** The network that ConvNetJS would build from this object, on `inputs` values, with one output per action. */
export const networkFromConvNetJS = (record, inputs) => _fit(new _NetworkReader(record).read(), inputs, 1);
"""
# Python's functions by their names in JavaScript.
FUNCTIONS: dict[Any, str] = {
    **{len: "len", sum: "sum", zip: "zip", enumerate: "enumerate", range: "range", float: "Number"},
    **{math.prod: "prod", np.transpose: "transpose", np.ravel: "ravel", set: "distinct", ValueError: "Error"},
    **{min: "Math.min", max: "Math.max", str: "text", all_finite: "allFinite", int: "Math.trunc"},
    **{np.array: "array", np.zeros: "zeros", math.isfinite: "Number.isFinite", ConvNetJSError: "LineError"},
}
KINDS: dict[Any, str] = {  # tests of a value's type
    **{dict: "isDict(VALUE)", list: "Array.isArray(VALUE)", str: 'typeof VALUE === "string"'},
    **{int: 'typeof VALUE === "number"', float: 'typeof VALUE === "number"', bool: 'typeof VALUE === "boolean"'},
}
METHODS = {"append": "push", "copy": "slice", "index": "indexOf"}
OPERATORS: dict[type, str] = {
    **{ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%", ast.And: "&&", ast.Or: "||"},
    **{ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Not: "!", ast.USub: "-"},
}


class Untranslatable(ValueError):
    """A piece of Python that `Translator` does not know."""


class Translator:
    """Translates functions of plain Python, in the scope of their module.

    names: classes and functions that are translated, by what they are
    """

    def __init__(self, scope: dict[str, Any], names: dict[Any, str]) -> None:
        self.scope, self.names = scope, names

    # --- statements ---------------------------------------------------------------------------------------------------

    def function(self, function: Any, name: str) -> str:
        """Return a function, or a method where it has `self`."""
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        assert isinstance(tree, ast.FunctionDef)
        parameters = [each.arg for each in tree.args.args if each.arg != "self"]
        if tree.args.kwarg is not None:
            parameters.append(tree.args.kwarg.arg)
        assigned = {
            node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        self.local = {*parameters, *assigned, "error"}
        inner = {node.id for each in comprehensions(tree) for node in ast.walk(each) if isinstance(node, ast.Name)}
        declared = sorted(assigned - {*parameters} - inner | assigned & loop_names(tree))
        head = f"let {', '.join(declared)};\n" if declared else ""
        if tree.args.kwarg is not None:
            parameters[-1] += " = {}"
        return f"{name}({', '.join(parameters)}) {{\n{indent(head + self.block(tree.body))}}}\n"

    def block(self, body: Iterable[ast.stmt]) -> str:
        """Return statements, one below the other."""
        return "".join(f"{self.statement(each)}\n" for each in body if not is_docstring(each))

    def statement(self, node: ast.stmt) -> str:
        """Return a statement."""
        match node:
            case ast.Return(value=value):
                return f"return {self.of(value)};" if value else "return;"
            case ast.Raise(exc=error):
                return f"throw new {self.of(error)};"
            case ast.If(test=test, body=body, orelse=orelse):
                also = f" else {{\n{indent(self.block(orelse))}}}" if orelse else ""
                return f"if ({self.of(test)}) {{\n{indent(self.block(body))}}}{also}"
            case ast.For(target=target, iter=values, body=body):
                return f"for ({self.of(target)} of {self.of(values)}) {{\n{indent(self.block(body))}}}"
            case ast.Try(body=body, handlers=[ast.ExceptHandler(body=handler)]):
                return f"try {{\n{indent(self.block(body))}}} catch (error) {{\n{indent(self.block(handler))}}}"
            case ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=value) if value:
                return f"{self.of(target)} = {self.of(value)};"
            case ast.AugAssign(target=target, op=op, value=value):
                return f"{self.of(target)} {OPERATORS[type(op)]}= {self.of(value)};"
            case ast.Expr(value=value):
                return f"{self.of(value)};"
        raise Untranslatable(ast.unparse(node))

    # --- expressions --------------------------------------------------------------------------------------------------

    def of(self, node: Any) -> str:
        """Return an expression."""
        match node:
            case ast.Constant(value=value):
                return json.dumps(value)
            case ast.Name(id="self"):
                return "this"
            case ast.Name(id=name):
                return name if name in self.local else self.value(self.lookup(name), name)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return f"[{', '.join(map(self.of, parts))}]"
            case ast.Starred(value=value):
                return f"...{self.of(value)}"
            case ast.Dict(keys=keys, values=values):
                pairs = zip(keys, values, strict=True)
                return "({" + ", ".join(f"[{self.of(k)}]: {self.of(v)}" for k, v in pairs) + "})"
            case ast.Attribute():
                return self.attribute(node)
            case ast.Subscript(value=value, slice=index):
                return f"{self.of(value)}{self.subscript(index)}"
            case ast.Call():
                return self.call(node)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return f"({self.of(test)} ? {self.of(body)} : {self.of(orelse)})"
            case ast.UnaryOp(op=op, operand=value):
                return f"{OPERATORS[type(op)]}({self.of(value)})"
            case ast.BoolOp(op=op, values=values):
                return "(" + f" {OPERATORS[type(op)]} ".join(map(self.of, values)) + ")"
            case ast.BinOp(left=left, op=ast.FloorDiv(), right=right):
                return f"Math.floor({self.of(left)} / {self.of(right)})"
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return f"({{ ...{self.of(left)}, ...{self.of(right)} }})"
            case ast.BinOp(left=left, op=op, right=right):
                return f"({self.of(left)} {OPERATORS[type(op)]} {self.of(right)})"
            case ast.Compare(left=left, ops=ops, comparators=rights):
                lefts = [left, *rights[:-1]]
                return "(" + " && ".join(map(self.compare, lefts, ops, rights)) + ")"
            case ast.JoinedStr(values=values):
                return "`" + "".join(map(self.template, values)) + "`"
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp():
                found = self.comprehension(node.elt, node.generators)
                return f"distinct({found})" if isinstance(node, ast.SetComp) else found
            case ast.DictComp(key=key, value=value, generators=generators):
                return f"Object.fromEntries({self.comprehension(ast.Tuple([key, value]), generators)})"
        raise Untranslatable(ast.unparse(node))

    def lookup(self, name: str) -> Any:
        """Return the value of a global name."""
        builtins = vars(__builtins__) if isinstance(__builtins__, ModuleType) else __builtins__
        return self.scope[name] if name in self.scope else builtins[name]

    def value(self, value: Any, name: str) -> str:
        """Return a global value: a constant as it is, a class or a function by its name."""
        if isinstance(value, bool | int | float | str | None):
            return json.dumps(value)
        if callable(value) and value in (known := {**self.names, **FUNCTIONS}):
            return known[value]
        if isinstance(value, dict | tuple):
            return json.dumps(value)
        raise Untranslatable(name)

    def attribute(self, node: ast.Attribute) -> str:
        """Return an attribute: of a module its value."""
        if isinstance(node.value, ast.Name) and node.value.id not in self.local and node.value.id != "self":
            owner = self.lookup(node.value.id)
            if isinstance(owner, ModuleType):
                return self.value(getattr(owner, node.attr), ast.unparse(node))
        return f"{self.of(node.value)}.{node.attr}"

    def subscript(self, index: ast.expr) -> str:
        """Return an index or a slice."""
        match index:
            case ast.Slice(lower=lower, upper=upper):
                first = self.of(lower) if lower else "0"
                return f".slice({first}{', ' + self.of(upper) if upper else ''})"
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant()):
                return f".at({ast.unparse(index)})"
        return f"[{self.of(index)}]"

    def call(self, node: ast.Call) -> str:
        """Return a call."""
        if isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            tested = self.of(node.args[0])
            return "(" + " || ".join(self.test_of(each, tested) for each in alternatives(node.args[1])) + ")"
        arguments = [self.of(each) for each in node.args]
        called = self.global_of(node.func)
        if called is enumerate:
            arguments += [self.of(each.value) for each in node.keywords]
        match node.func:
            case ast.Name(id="any" | "all" as name):
                return f"{arguments[0]}.{'some' if name == 'any' else 'every'}(Boolean)"
            case ast.Name(id="map"):
                return f"{arguments[1]}.map((each) => {arguments[0]}(each))"
            case ast.Name(id="list" | "tuple"):
                return f"[...{arguments[0]}]"
            case ast.Name(id="min" | "max" as name) if len(arguments) == 1:
                return f"Math.{name}(...{arguments[0]})"
            case ast.Name(id="super"):
                return "super"
            case ast.Attribute(value=value, attr="join"):
                return f"{arguments[0]}.join({self.of(value)})"
            case ast.Attribute(value=value, attr="items" | "values" | "keys" as name):
                return f"Object.{'entries' if name == 'items' else name}({self.of(value)})"
            case ast.Attribute(value=value, attr="get"):
                return f"get({', '.join([self.of(value), *arguments])})"
            case ast.Attribute(value=value, attr=name) if name in METHODS and not is_self(value):
                return f"{self.of(value)}.{METHODS[name]}({', '.join(arguments)})"
        is_class = isinstance(called, type) and called in self.names
        if is_class and issubclass(called, Layer) or node.keywords and is_self(getattr(node.func, "value", None)):
            arguments.append(self.record(node.keywords))
        return f"{'new ' if is_class else ''}{self.of(node.func)}({', '.join(arguments)})"

    def global_of(self, node: ast.expr) -> Any:
        """Return the value of a global name or of a module's attribute, None for all else."""
        match node:
            case ast.Name(id=name) if name not in self.local:
                return self.lookup(name)
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if name not in self.local and name != "self":
                return getattr(self.lookup(name), attr, None)
        return None

    def record(self, keywords: list[ast.keyword]) -> str:
        """Return the keywords of a call as an object."""
        pairs = [f"{each.arg}: {self.of(each.value)}" if each.arg else f"...{self.of(each.value)}" for each in keywords]
        return "{ " + ", ".join(pairs) + " }" if pairs else "{}"

    def test_of(self, kind: ast.expr, value: str) -> str:
        """Return the test whether a value is of a class."""
        known = KINDS.get(self.global_of(kind))
        return f"{value} instanceof {self.of(kind)}" if known is None else known.replace("VALUE", value)

    def compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> str:
        """Return a comparison; arrays are equal if their values are."""
        a, b = self.of(left), self.of(right)
        match op:
            case ast.Is() | ast.IsNot():
                return f"{a} {'!' if isinstance(op, ast.IsNot) else '='}= {b}"
            case ast.Eq() | ast.NotEq():
                return f"{'!' if isinstance(op, ast.NotEq) else ''}same({a}, {b})"
            case ast.In() | ast.NotIn():
                return f"{'!' if isinstance(op, ast.NotIn) else ''}contains({b}, {a})"
        return f"{a} {OPERATORS[type(op)]} {b}"

    def template(self, node: ast.expr) -> str:
        """Return a part of a formatted string."""
        match node:
            case ast.Constant(value=value):
                return str(value).replace("`", "\\`")
            case ast.FormattedValue(value=ast.Name(id="error")):
                return "${error.message}"
            case ast.FormattedValue(value=value):
                return f"${{text({self.of(value)})}}"
        raise Untranslatable(ast.unparse(node))

    def comprehension(self, result: ast.expr, generators: list[ast.comprehension]) -> str:
        """Return the list of a comprehension."""
        first, *others = generators
        target, values = self.of(first.target), self.of(first.iter)
        for test in first.ifs:
            values += f".filter(({target}) => {self.of(test)})"
        inner = self.comprehension(result, others) if others else self.of(result)
        return f"{values}.{'flatMap' if others else 'map'}(({target}) => {inner})"


def comprehensions(tree: ast.AST) -> list[ast.expr]:
    """Return the targets of all comprehensions, whose names are their own."""
    kinds = ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
    return [each.target for node in ast.walk(tree) if isinstance(node, kinds) for each in node.generators]


def loop_names(tree: ast.AST) -> set[str]:
    """Return the names that loops and assignments give values to."""
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.For | ast.Assign | ast.AnnAssign)]
    targets = [t for node in statements for t in (node.targets if isinstance(node, ast.Assign) else [node.target])]
    return {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}


def alternatives(node: ast.expr) -> list[ast.expr]:
    """Return the classes of `A | B | C`."""
    if isinstance(node, ast.BinOp):
        return [*alternatives(node.left), *alternatives(node.right)]
    return [node]


def is_self(node: ast.expr | None) -> bool:
    """Whether an expression is the object of a method."""
    return isinstance(node, ast.Name) and node.id == "self"


def is_docstring(node: ast.stmt) -> bool:
    """Whether a statement is text alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def indent(code: str) -> str:
    """Return code two columns to the right."""
    return textwrap.indent(code, "  ")


# --- what is translated -----------------------------------------------------------------------------------------------


def layers_js() -> str:
    """Return the content of layers.js."""
    kinds: list[type[Layer]] = [Layer]
    for kind in LAYER_KINDS.values():
        kinds += [each for each in reversed(kind.__mro__) if issubclass(each, Layer) and each not in kinds]
    reading = [read.is_number, read.whole, read.real, read._fit]
    functions: list[Any] = [layer.size, layer.expect_axes, *helpers(kinds), *reading]
    classes = [Network, Assembler, read._NetworkReader]
    names: dict[Any, str] = {each: each.__name__ for each in (*functions, *kinds, *classes)}
    parts = [HEADER]
    for function in functions:
        parts.append("function " + Translator(function.__globals__, names).function(function, names[function]))
    for kind in kinds:
        parts.append(class_js(kind, names))
    parts += [f"export {class_js(kind, names)}" for kind in classes[:2]] + [class_js(classes[2], names)]
    listed = ", ".join(f"{json.dumps(name)}: {kind.__name__}" for name, kind in LAYER_KINDS.items())
    return "\n".join([*parts, f"export const LAYERS = {{ {listed} }};", FOOTER])


def helpers(kinds: Iterable[type]) -> list[FunctionType]:
    """Return the functions that the layers' own modules define beside the classes and that their methods call."""
    found = {}
    for kind in kinds:
        for method in methods_of(kind):
            for name in method.__code__.co_names:
                value = method.__globals__.get(name)
                if isinstance(value, FunctionType) and value.__module__.startswith("deeptraffic.policies"):
                    found[value.__name__] = value
    return [value for name, value in found.items() if name not in ("size", "expect_axes", "check_value")]


TRANSLATED_OF_NETWORK = ("shapes", "sources", "given_shapes", "tensor_shapes", "check_size", "check_tensors")
OMITTED = {"__init__", "__post_init__", "to_json", "__eq__", "__hash__", "__repr__", "__setattr__", "__delattr__"}


def methods_of(kind: type) -> list[FunctionType]:
    """Return the methods of a class that are translated: all that it writes itself, of a network those marked."""
    found = [each for name, each in vars(kind).items() if isinstance(each, FunctionType) and name not in OMITTED]
    if kind is Network:
        found = [each for each in found if each.__name__ in TRANSLATED_OF_NETWORK]
    return [each for each in found if each.__name__ not in ("program",) and not each.__name__.startswith("__")]


def class_js(kind: type, names: dict[Any, str]) -> str:
    """Return a class with its methods, its fields and their limits."""
    parts = []
    if kind is Layer:
        parts.append("constructor(record) {\n  fill(this, record);\n}\n")
    elif kind is Network:
        parts.append("constructor(inputs, layers, tensors) {\n  Object.assign(this, { inputs, layers, tensors });\n}\n")
    elif not issubclass(kind, Layer):
        init: Any = vars(kind)["__init__"]
        parts.append(Translator(init.__globals__, names).function(init, "constructor"))
    if kind is Network:
        outputs: Any = Network.outputs
        parts.append(Translator(vars(network), names).function(outputs.fget, "get outputs"))
    for method in methods_of(kind):
        translator = Translator({**method.__globals__, "__class__": kind}, names)
        parts.append(translator.function(method, method.__name__))
    above = kind.__mro__[1].__name__
    base = f" extends {above}" if issubclass(kind, Layer) and kind is not Layer else ""
    code = f"class {names[kind]}{base} {{\n{indent(''.join(parts))}}}\n"
    if issubclass(kind, Layer):
        inherited = "" if kind is Layer else f"...{above}.fields, "
        own = [f for f in fields(kind) if f.name in inspect.get_annotations(kind)]
        listed = (f"{f.name}: {json.dumps({'schema': f.metadata['schema'], **default_of(f)})}" for f in own)
        code += f"{kind.__name__}.fields = {{ {inherited}{', '.join(listed)} }};\n"
        for name in ("kind", "arity", "gates"):
            if name in vars(kind):
                code += f"{kind.__name__}.prototype.{name} = {json.dumps(vars(kind)[name])};\n"
    return code


def default_of(field: Any) -> dict[str, Any]:
    """Return a field's default, if it has one."""
    return {} if field.default is MISSING else {"default": field.default}
