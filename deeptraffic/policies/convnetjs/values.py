"""JavaScript values and operators of the evaluated subset: numbers are float64, as there.

Source: ECMA-262. What the language leaves to the browser (the last digit of an exponential, the digits of a fraction as
text) or what is rarely written (objects in sums) raises `Undefinable`.
"""

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


class Undefinable(Exception):
    """A value outside the subset; the message is a noun phrase that names it."""


@dataclass(eq=False)
class Unknown:
    """A value that the code computes from what is not evaluated.

    line, reason: what that is, a noun phrase
    owner: the Brain that it is a part of, which changes if it is written to
    """

    line: int
    reason: str
    owner: Any = None


class Undefined:
    """JavaScript's undefined (null is None)."""


UNDEFINED = Undefined()


class JSArray(list):
    """An array; `unknown` says why its entries are not known, if they are not."""

    unknown: Unknown | None = None


class JSObject(dict):
    """An object; `unknown` as of a `JSArray`."""

    unknown: Unknown | None = None


def to_number(value: Any) -> float:
    """JavaScript's Number(value) of a primitive value."""
    if isinstance(value, bool | float):
        return float(value)
    if value is None:
        return 0.0
    if value is UNDEFINED:
        return math.nan
    if isinstance(value, str):
        return text_to_number(value)
    raise Undefinable("a sum with an object or a function")


NUMBER = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?)")


def text_to_number(text: str) -> float:
    """Number(text)."""
    text = text.strip()
    if text.lstrip("+-") == "Infinity":
        raise Undefinable("the number of the text Infinity")
    if text[:2].lower() in ("0x", "0o", "0b"):
        try:
            return float(int(text.replace("_", " "), 0))
        except (ValueError, OverflowError):
            return math.nan
    return float(text) if NUMBER.fullmatch(text) else 0.0 if not text else math.nan


def to_text(value: Any) -> str:
    """JavaScript's String(value) of a primitive value."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or value is UNDEFINED:
        return "null" if value is None else "undefined"
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return str(int(value))
    if isinstance(value, float) and math.isfinite(value) and "e" not in repr(value):
        return repr(value)
    raise Undefinable("the text of an object or of a very small or large number")


def is_true(value: Any) -> bool:
    """Whether a condition with this value holds."""
    if isinstance(value, float):
        return value != 0 and not math.isnan(value)
    if isinstance(value, str | bool):
        return bool(value)
    return value is not None and value is not UNDEFINED


def to_int32(value: Any) -> int:
    """The 32 bits that bitwise operators work on."""
    x = to_number(value)
    bits = int(x) & 0xFFFFFFFF if math.isfinite(x) else 0
    return bits - (1 << 32) if bits >> 31 else bits


def same(left: Any, right: Any) -> bool:
    """The operator ===."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right if isinstance(left, float | str) and type(left) is type(right) else left is right


def alike(left: Any, right: Any) -> bool:
    """The operator ==."""
    if type(left) is type(right):
        return same(left, right)
    if any(x is None or x is UNDEFINED for x in (left, right)):
        return all(x is None or x is UNDEFINED for x in (left, right))
    return to_number(left) == to_number(right)


def add(left: Any, right: Any) -> Any:
    """The operator +."""
    if isinstance(left, str) or isinstance(right, str):
        return to_text(left) + to_text(right)
    return to_number(left) + to_number(right)


def divide(left: Any, right: Any) -> float:
    """The operator /."""
    with np.errstate(all="ignore"):
        return float(np.float64(to_number(left)) / np.float64(to_number(right)))


def remainder(left: Any, right: Any) -> float:
    """The operator %, whose sign is that of the left side."""
    with np.errstate(all="ignore"):
        return float(np.fmod(to_number(left), to_number(right)))


def power(left: Any, right: Any) -> float:
    """The operator **, of integers whose power is exact."""
    x, n = to_number(left), to_number(right)
    if x.is_integer() and n.is_integer() and 0 <= n <= 64 and abs(x) ** n <= 2**53:
        return float(int(x) ** int(n))
    raise Undefinable("a power of fractions, whose last digit depends on the browser")


def _compare(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        both_text = isinstance(left, str) and isinstance(right, str)
        return test(left, right) if both_text else test(to_number(left), to_number(right))

    return compare


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": add,
    "-": lambda a, b: to_number(a) - to_number(b),
    "*": lambda a, b: to_number(a) * to_number(b),
    "/": divide,
    "%": remainder,
    "**": power,
    "===": same,
    "!==": lambda a, b: not same(a, b),
    "==": alike,
    "!=": lambda a, b: not alike(a, b),
    "<": _compare(operator.lt),
    "<=": _compare(operator.le),
    ">": _compare(operator.gt),
    ">=": _compare(operator.ge),
    "|": lambda a, b: float(to_int32(a) | to_int32(b)),
    "&": lambda a, b: float(to_int32(a) & to_int32(b)),
    "^": lambda a, b: float(to_int32(a) ^ to_int32(b)),
    "<<": lambda a, b: float(to_int32(float(to_int32(a) << (to_int32(b) & 31)))),
    ">>": lambda a, b: float(to_int32(a) >> (to_int32(b) & 31)),
    ">>>": lambda a, b: float((to_int32(a) & 0xFFFFFFFF) >> (to_int32(b) & 31)),
}
UNARY: dict[str, Callable[[Any], Any]] = {
    "-": lambda x: -to_number(x),
    "+": to_number,
    "!": lambda x: not is_true(x),
    "~": lambda x: float(~to_int32(x)),
    "void": lambda x: UNDEFINED,
}


# --- functions of numbers -----------------------------------------------------------------------------------------


def _round(x: float) -> float:
    """The nearest integer, halves upward."""
    down = float(np.floor(x))
    return down + 1.0 if x - down >= 0.5 else down


def _extreme(choose: Callable[..., float], of_none: float) -> Callable[..., float]:
    def extreme(*numbers: float) -> float:
        return math.nan if any(map(math.isnan, numbers)) else choose(numbers, default=of_none)

    return extreme


def _parse_int(value: Any = UNDEFINED, radix: Any = 10.0) -> float:
    if radix not in (10.0, UNDEFINED):
        raise Undefinable("parseInt of another base than 10")
    digits = re.match(r"\s*([+-]?\d+)", to_text(value))
    if digits and digits.end() < len(to_text(value)) and to_text(value)[digits.end()] in "xX":
        raise Undefinable("parseInt of a hexadecimal number")
    return float(digits.group(1)) if digits else math.nan


def _parse_float(value: Any = UNDEFINED) -> float:
    found = NUMBER.match(to_text(value).strip())
    return float(found.group()) if found else math.nan


MATHS: dict[str, Callable[..., float]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "abs": np.abs,
    "sign": np.sign,
    "sqrt": np.sqrt,
    "round": _round,
    "max": _extreme(max, -math.inf),
    "min": _extreme(min, math.inf),
    "pow": power,
}
CONSTANTS = {"PI": math.pi, "E": math.e, "SQRT2": math.sqrt(2.0), "LN2": math.log(2.0), "LN10": math.log(10.0)}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Number": lambda x=0.0, *_: to_number(x),
    "String": lambda x="", *_: to_text(x),
    "Boolean": lambda x=UNDEFINED, *_: is_true(x),
    "parseInt": lambda *given: _parse_int(*given[:2]),
    "parseFloat": lambda *given: _parse_float(*given[:1]),
    "isNaN": lambda x=UNDEFINED, *_: math.isnan(to_number(x)),
}


def maths(name: str, given: list[Any]) -> float:
    """Return Math.name(...given)."""
    if name not in MATHS:
        raise Undefinable(f"Math.{name:.20}")
    numbers = [to_number(x) for x in given] if name in ("max", "min") else [*map(to_number, given), math.nan, math.nan]
    count = len(numbers) if name in ("max", "min") else 2 if name == "pow" else 1
    with np.errstate(all="ignore"):
        return float(MATHS[name](*numbers[:count]))
