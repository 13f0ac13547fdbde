"""Frozen dataclasses whose fields carry their limits, and settings from files and from the command line.

>>> @dataclass(frozen=True)
... class LearnerConfig(Checked):
...     batch_size: int = integer(128, 1, 1_000_000)
>>> LearnerConfig(batch_size=0)
ValueError: batch_size must be an integer in [1, 1000000], got 0

A field's limits are a JSON schema in its metadata: check, file format and documentation have one source.
"""

import json
import numbers
import operator
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, field, fields
from pathlib import Path
from typing import Any, ClassVar, cast

Settings = Mapping[str, Any]
REQUIRED: Any = MISSING  # in place of a default

# --- fields with limits ---------------------------------------------------------------------------------------------


def integer(default: int | None, low: int, high: int) -> Any:
    """Make a field that holds an integer in [low, high]; with the default None, `check` sets it from the others."""
    return field(default=default, metadata={"schema": {"type": "integer", "minimum": low, "maximum": high}})


def real(default: float, low: float, high: float) -> Any:
    """Make a field that holds a number in [low, high]."""
    return field(default=default, metadata={"schema": {"type": "number", "minimum": low, "maximum": high}})


def choice(default: Any, *values: Any) -> Any:
    """Make a field that holds one of some values."""
    return field(default=default, metadata={"schema": {"enum": list(values)}})


def boolean(default: bool) -> Any:
    """Make a field that holds True or False."""
    return field(default=default, metadata={"schema": {"type": "boolean"}})


def integers(default: tuple[int, ...], low: int, high: int, min_items: int, max_items: int) -> Any:
    """Make a field that holds a tuple of min_items to max_items integers in [low, high]."""
    items = {"type": "integer", "minimum": low, "maximum": high}
    schema = {"type": "array", "items": items, "minItems": min_items, "maxItems": max_items}
    return field(default=default, metadata={"schema": schema})


def reals(default: tuple[float, ...], low: float, high: float, min_items: int, max_items: int) -> Any:
    """Make a field that holds a tuple of min_items to max_items numbers in [low, high]."""
    items = {"type": "number", "minimum": low, "maximum": high}
    schema = {"type": "array", "items": items, "minItems": min_items, "maxItems": max_items}
    return field(default=default, metadata={"schema": schema})


class Checked:
    """A frozen dataclass that checks its fields against their limits when it is made.

    strict: whether an integer must be given as one; otherwise 1e6 is taken as 1000000
    """

    strict: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for each in fields(self):  # type: ignore[arg-type]
            given = getattr(self, each.name)
            if (schema := each.metadata.get("schema")) and not (given is None and each.default is None):
                value = check_value(each.name, given, schema, self.strict)
                object.__setattr__(self, each.name, value)
        self.check()

    def check(self) -> None:
        """Raise ValueError if values that are possible alone are impossible together."""


# --- checks ---------------------------------------------------------------------------------------------------------


def check_value(name: str, value: Any, schema: Mapping[str, Any], strict: bool = True) -> Any:
    """Return the value in its canonical type (a list becomes a tuple), or raise ValueError; strict: see `Checked`."""
    if "enum" in schema:
        return check_choice(name, value, schema["enum"])
    kind = schema["type"]
    if kind == "boolean":
        return check_boolean(name, value)
    if kind == "array":
        return _check_items(name, value, schema, strict)
    low, high = schema["minimum"], schema["maximum"]
    if kind == "number":
        return check_real(name, value, low, high)
    if not strict and isinstance(value, float) and value.is_integer():
        value = int(value)
    return check_integer(name, value, low, high)


def check_integer(name: str, value: Any, low: int, high: int | None = None, where: str = "") -> int:
    """Return an integer of any type as int; ValueError unless it lies in [low, high], or is at least low.

    where: said behind the limits if they hold somewhere in particular, such as " on a road of 7 lanes"
    """
    try:
        given = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        given = None
    if given is None or given < low or (high is not None and given > high):
        limits = f"in [{low}, {high}]" if high is not None else f"of at least {low}"
        raise ValueError(f"{name} must be an integer {limits}{where}, got {value!r:.80}")
    return given


def check_real(name: str, value: Any, low: float, high: float) -> float:
    """Return a number as float; ValueError unless it lies in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not low <= cast(float, value) <= high:
        raise ValueError(f"{name} must be a number in [{low:g}, {high:g}], got {value!r:.80}")
    return float(value)


def check_choice(name: str, value: Any, values: Sequence[Any]) -> Any:
    """Return the one of these values that equals this one and is of its kind; ValueError if there is none."""
    for each in values:
        kind = numbers.Integral if isinstance(each, int) else type(each)
        if isinstance(value, kind) and isinstance(value, bool) == isinstance(each, bool) and value == each:
            return each
    raise ValueError(f"{name} must be one of {', '.join(map(repr, values))}, got {value!r:.80}")


def check_boolean(name: str, value: Any) -> bool:
    """Return the value; ValueError unless it is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r:.80}")
    return value


def _check_items(name: str, value: Any, schema: Mapping[str, Any], strict: bool) -> tuple[Any, ...]:
    at_least, at_most, items = schema["minItems"], schema["maxItems"], schema["items"]
    if not isinstance(value, list | tuple) or not at_least <= len(value) <= at_most:
        what = f"{items['type']}s in [{items['minimum']}, {items['maximum']}]"
        raise ValueError(f"{name} must be a list of {at_least} to {at_most} {what}, got {value!r:.80}")
    return tuple(check_value(f"{name}[{k}]", item, items, strict) for k, item in enumerate(value))


# --- reading --------------------------------------------------------------------------------------------------------


def parse_setting(text: str) -> tuple[str, Any]:
    """Split "key=value"; the value is read as JSON where it is JSON, else it is a string."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"setting {text!r} is not of the form key=value; write for example gamma=0.9")
    try:
        return key.strip(), json.loads(value)
    except json.JSONDecodeError:
        named = {"True": True, "False": False, "None": None}
        return key.strip(), named.get(value.strip(), value.strip())


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read a JSON or TOML file of settings."""
    path = Path(path)
    readers: dict[str, Any] = {".json": json.loads, ".toml": tomllib.loads}
    if path.suffix not in readers:
        raise ValueError(f"config file {str(path)!r} does not end in .json or .toml; use one of these formats")
    try:
        settings = readers[path.suffix](path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"config file {str(path)!r} cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise ValueError(f"config file {str(path)!r} is no valid {path.suffix[1:].upper()}: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(f'config file {str(path)!r} holds no settings; write an object such as {{"gamma": 0.9}}')
    return settings


def flatten(settings: Settings, section: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting of nested ones by its full name; a mapping called `architecture` is one setting."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and key.rpartition(".")[2] != "architecture":
            yield from flatten(value, f"{section}{key}.")
        else:
            yield f"{section}{key}", value
