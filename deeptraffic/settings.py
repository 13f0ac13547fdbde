"""Settings as frozen dataclasses whose fields carry their limits, and how settings are read from files and `--set`.

>>> @dataclass(frozen=True)
... class LearnerConfig(Checked):
...     batch_size: int = whole(128, 1, 1_000_000)
>>> LearnerConfig(batch_size=0)
ValueError: batch_size=0 is not possible; give a whole number from 1 to 1,000,000
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Any

Settings = Mapping[str, Any]

# --- fields and their limits ----------------------------------------------------------------------------------------


def whole(default: int, low: int, high: int) -> Any:
    """A setting that is a whole number from low to high."""
    return field(default=default, metadata={"whole": (low, high)})


def number(default: float, low: float, high: float) -> Any:
    """A setting that is a number from low to high."""
    return field(default=default, metadata={"number": (low, high)})


def choice(default: str, *names: str) -> Any:
    """A setting that is one of some names."""
    return field(default=default, metadata={"choice": names})


def switch(default: bool) -> Any:
    """A setting that is true or false."""
    return field(default=default, metadata={"switch": True})


class Checked:
    """Checks every setting of a frozen dataclass against the limits it was declared with."""

    def __post_init__(self) -> None:
        for setting in fields(self):  # type: ignore[arg-type]
            value = _canonical(setting.name, getattr(self, setting.name), setting.metadata)
            object.__setattr__(self, setting.name, value)
        self.check()

    def check(self) -> None:
        """Raise ValueError if settings that are possible alone are impossible together."""


def _canonical(name: str, value: Any, limits: Mapping[str, Any]) -> Any:
    """Return the value in its one form (1e6 becomes 1000000, a list a tuple), or raise ValueError."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if "whole" in limits:
        low, high = limits["whole"]
        if not is_number or value != value // 1 or not low <= value <= high:
            raise ValueError(f"{name}={value!r} is not possible; give a whole number from {low:,} to {high:,}")
        return int(value)
    if "number" in limits:
        low, high = limits["number"]
        if not is_number or not low <= value <= high:
            raise ValueError(f"{name}={value!r} is not possible; give a number from {low:g} to {high:g}")
        return float(value)
    if "choice" in limits and value not in limits["choice"]:
        raise ValueError(f"{name}={value!r} does not exist; choose one of {', '.join(limits['choice'])}")
    if "switch" in limits and not isinstance(value, bool):
        raise ValueError(f"{name}={value!r} is not possible; give true or false")
    if "hidden" in limits:
        return _canonical_layers(name, value)
    return value


def _canonical_layers(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or len(value) > 8:
        raise ValueError(f"{name}={value!r} is not possible; give a list of up to 8 layer sizes, such as [64, 64]")
    return tuple(_canonical(f"{name}[{k}]", units, {"whole": (1, 4096)}) for k, units in enumerate(value))


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


def flatten(settings: Settings, section: str = "", unopened: str = "architecture") -> Iterator[tuple[str, Any]]:
    """Yield every setting of nested ones by its full name; a mapping called `unopened` is one setting."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and key.rpartition(".")[2] != unopened:
            yield from flatten(value, f"{section}{key}.")
        else:
            yield f"{section}{key}", value
