"""Digest of what a function's machine code depends on: its bytecode, and the values that it refers to.

It stays the same when comments, docstrings, other functions of the file or plain Python code change (from Python 3.14
on, a first docstring changes it, since constants move in the bytecode), and changes with a constant, a callee, a
default, a NamedTuple's fields, or an option of the compiler, in whatever file they are.
"""

import enum
import hashlib
import os
from collections.abc import Iterable, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numba.core import types
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic

VERSIONED = ("builtins", "llvmlite", "math", "numba", "numpy")  # packages whose versions the cache holds, too
PLAIN = (int, float, complex, str, bytes, bool, type(None), type(Ellipsis))


def digest(function: Dispatcher) -> str:
    """Return a digest of a compiled function, 16 hexadecimal digits; another one on each call if there is none."""
    return hashlib.sha256(repr(_Reader().of(function)).encode()).hexdigest()[:16]


class _Reader:
    """Turns values into nested tuples of plain values."""

    def __init__(self) -> None:
        self.places: dict[int, int] = {}  # id of a function -> in which order it was met

    def of(self, value: Any) -> Any:
        """Return what compiled code makes of a value."""
        if isinstance(value, enum.Enum):
            return "enum", type(value).__qualname__, value.name, self.of(value.value)
        if isinstance(value, PLAIN):
            return type(value).__name__, value.hex() if isinstance(value, float) else repr(value)
        if isinstance(value, np.ndarray | np.generic):
            return "array", str(value.dtype), value.shape, value.tobytes().hex()
        name = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
        if isinstance(value, types.Type | np.dtype):
            return type(value).__name__, str(value)
        if isinstance(value, types.ExternalFunction):
            return "external", value.symbol, str(value.sig)
        if isinstance(value, ModuleType):
            return "module", value.__name__
        if isinstance(value, _Intrinsic):
            return "intrinsic", self.of(value._defn)
        if _is_versioned(name) or isinstance(value, BuiltinFunctionType):
            return name
        if isinstance(value, Dispatcher):
            return self._once(value.py_func, value.targetoptions)
        if isinstance(value, FunctionType):
            return self._once(value, {})
        if isinstance(value, tuple | list | frozenset | set):
            parts = [self.of(each) for each in value]
            return type(value).__qualname__, sorted(parts, key=repr) if isinstance(value, frozenset | set) else parts
        if isinstance(value, Mapping):
            return "mapping", [(self.of(key), self.of(each)) for key, each in value.items()]
        if isinstance(value, type):
            return self._of_class(value)
        return "unknown", os.urandom(16).hex()  # compiled anew rather than mistaken for another

    def _of_class(self, kind: type) -> Any:
        name = f"{kind.__module__}.{kind.__qualname__}"
        if issubclass(kind, enum.Enum):
            return name, [self.of(member) for member in kind]
        fields = getattr(kind, "_fields", ())
        return name, fields, self.of(getattr(kind, "_field_defaults", {}))

    def _once(self, function: FunctionType, options: Mapping[str, Any]) -> Any:
        if id(function) in self.places:
            return "again", self.places[id(function)]
        self.places[id(function)] = len(self.places)
        cells = [self.of(cell.cell_contents) for cell in function.__closure__ or ()]
        defaults = self.of(function.__defaults__), self.of(function.__kwdefaults__)
        return function.__qualname__, self.of(options), cells, defaults, self._of_code(function.__code__, function)

    def _of_code(self, code: CodeType, function: FunctionType) -> Any:
        documented = code.co_consts[:1] == (function.__doc__,)
        constants = [
            self._of_code(each, function) if isinstance(each, CodeType) else self.of(each)
            for each in ((None, *code.co_consts[1:]) if documented else code.co_consts)
        ]
        head = code.co_code.hex(), code.co_exceptiontable.hex(), code.co_flags, code.co_argcount
        names = code.co_names, code.co_varnames, code.co_cellvars, code.co_freevars
        return head, names, constants, self._of_names(code.co_names, function.__globals__)

    def _of_names(self, names: Iterable[str], scope: Mapping[str, Any]) -> Any:
        """Return the values of those names that are the module's, and of a module's attributes among them."""
        found: list[tuple[Any, ...]] = []
        for name in names:
            if name not in scope:
                continue
            value = scope[name]
            found.append((name, self.of(value)))
            if isinstance(value, ModuleType) and not _is_versioned(value.__name__):
                inside = [each for each in names if hasattr(value, each)]
                found += [(name, each, self.of(getattr(value, each))) for each in inside]
        return found


def _is_versioned(name: str) -> bool:
    return name.partition(".")[0] in VERSIONED
