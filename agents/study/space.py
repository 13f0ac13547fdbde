"""What a sweep varies: ranges and choices of settings, as a config file writes them and as Optuna draws them.

    [space]
    gamma = { float = [0.5, 0.99] }
    learning_rate = { float = [1e-4, 1e-1], log = true }
    lanes_side = { int = [0, 3] }
    experience_size = { int = [1000, 9000], step = 2000 }
    batch_size = { choices = [32, 64, 128] }
    layers = { layers = [1, 3], units = [5, 100], log = true }

The last is of networks: between 1 and 3 hidden layers, all of the same number of units. It is drawn as two numbers,
`layers.count` and `layers.units`.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Params = Mapping[str, Any]  # what was drawn, by the name of the draw


@dataclass(frozen=True)
class FloatRange:
    """A number from low to high, on a logarithmic scale or in steps if wanted."""

    name: str
    low: float
    high: float
    log: bool = False
    step: float | None = None

    def distributions(self) -> "dict[str, BaseDistribution]":
        """What Optuna draws from, by the name of the draw."""
        from optuna.distributions import FloatDistribution

        return {self.name: FloatDistribution(self.low, self.high, log=self.log, step=self.step)}

    def value(self, params: Params) -> float:
        """The setting's value for what was drawn."""
        return float(params[self.name])

    def grid(self) -> dict[str, list[Any]]:
        """All values of each draw; ValueError if they are without number."""
        if self.step is None:
            raise ValueError(f"{self.name} has no step, so that a grid has no end; give it one, or sampler='random'")
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        return {self.name: [self.low + k * self.step for k in range(count)]}

    def ends(self) -> Iterator[Any]:
        """Values of the setting that show whether all of them are possible."""
        yield from (self.low, self.high)


@dataclass(frozen=True)
class IntRange:
    """A whole number from low to high, on a logarithmic scale or in steps if wanted."""

    name: str
    low: int
    high: int
    log: bool = False
    step: int = 1

    def distributions(self) -> "dict[str, BaseDistribution]":
        """What Optuna draws from, by the name of the draw."""
        from optuna.distributions import IntDistribution

        return {self.name: IntDistribution(self.low, self.high, log=self.log, step=self.step)}

    def value(self, params: Params) -> int:
        """The setting's value for what was drawn."""
        return int(params[self.name])

    def grid(self) -> dict[str, list[Any]]:
        """All values of each draw."""
        return {self.name: list(range(self.low, self.high + 1, self.step))}

    def ends(self) -> Iterator[Any]:
        """Values of the setting that show whether all of them are possible."""
        yield from (self.low, self.high)


@dataclass(frozen=True)
class Choices:
    """One of some values; Optuna is given those that are lists as JSON text."""

    name: str
    values: tuple[Any, ...]

    def distributions(self) -> "dict[str, BaseDistribution]":
        """What Optuna draws from, by the name of the draw."""
        from optuna.distributions import CategoricalDistribution

        return {self.name: CategoricalDistribution([_plain(value) for value in self.values])}

    def value(self, params: Params) -> Any:
        """The setting's value for what was drawn."""
        return next(value for value in self.values if _plain(value) == params[self.name])

    def grid(self) -> dict[str, list[Any]]:
        """All values of each draw."""
        return {self.name: [_plain(value) for value in self.values]}

    def ends(self) -> Iterator[Any]:
        """Values of the setting that show whether all of them are possible."""
        yield from self.values


@dataclass(frozen=True)
class Layers:
    """Hidden layers: how many, and how many units each of them has.

    activation: of settings that want it named for each layer, as those of deepqlearn; else None
    """

    name: str
    counts: IntRange
    units: IntRange
    activation: str | None = None

    def distributions(self) -> "dict[str, BaseDistribution]":
        """What Optuna draws from, by the name of the draw."""
        return self.counts.distributions() | self.units.distributions()

    def value(self, params: Params) -> list[Any]:
        """The setting's value for what was drawn."""
        return self._layers(self.counts.value(params), self.units.value(params))

    def grid(self) -> dict[str, list[Any]]:
        """All values of each draw."""
        return self.counts.grid() | self.units.grid()

    def ends(self) -> Iterator[Any]:
        """Values of the setting that show whether all of them are possible."""
        yield from (self._layers(count, units) for count in self.counts.ends() for units in self.units.ends())

    def _layers(self, count: int, units: int) -> list[Any]:
        return [units if self.activation is None else [units, self.activation]] * count


Parameter = FloatRange | IntRange | Choices | Layers


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """How a config file writes a kind of parameter: the key that names it, and the options beside it."""

    options: tuple[str, ...]
    example: str = field(compare=False)


FORMS = {
    "float": Form(("log", "step"), "{ float = [0.5, 0.99] }"),
    "int": Form(("log", "step"), "{ int = [0, 3] }"),
    "choices": Form((), "{ choices = [32, 64] }"),
    "layers": Form(("units", "log", "activation"), "{ layers = [1, 3], units = [5, 100] }"),
}


def parse_space(given: Mapping[str, Any], section: str = "") -> Iterator[Parameter]:
    """Yield the parameters that a table of a config file names, nested by section or flat; ValueError for bad ones."""
    for key, value in given.items():
        name = f"{section}{key}"
        if isinstance(value, Mapping) and value and not any(kind in value for kind in FORMS):
            yield from parse_space(value, f"{name}.")
        else:
            yield _parse(name, value)


def _parse(name: str, given: Any) -> Parameter:
    examples = ", ".join(form.example for form in FORMS.values())
    kinds = [kind for kind in FORMS if isinstance(given, Mapping) and kind in given]
    if len(kinds) != 1:
        raise ValueError(f"space.{name}={given!r} is no range and no choice; write one of {examples}")
    kind, form = kinds[0], FORMS[kinds[0]]
    for option in given:
        if option not in (kind, *form.options):
            known = ", ".join(form.options) or "none"
            raise ValueError(f"space.{name} has no option {option!r}; there are for {kind}: {known}")
    return _PARSERS[kind](name, given)


def _parse_float(name: str, given: Mapping[str, Any]) -> FloatRange:
    low, high = _ends(name, given["float"])
    log, step = _scale(name, given, low)
    return FloatRange(name, float(low), float(high), log, None if step is None else float(step))


def _parse_int(name: str, given: Mapping[str, Any]) -> IntRange:
    low, high = _ends(name, given["int"])
    log, step = _scale(name, given, low)
    if not all(isinstance(value, int) for value in (low, high, step or 1)):
        raise ValueError(f"space.{name}={given!r} holds a fraction; write whole numbers, or float in place of int")
    return IntRange(name, low, high, log, step or 1)


def _parse_choices(name: str, given: Mapping[str, Any]) -> Choices:
    values = given["choices"]
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise ValueError(f"space.{name}.choices={values!r} is no list of values; write for example [32, 64]")
    if len({_plain(value) for value in values}) < len(values):
        raise ValueError(f"space.{name}.choices={values!r} names a value twice; leave one of them out")
    return Choices(name, tuple(values))


def _parse_layers(name: str, given: Mapping[str, Any]) -> Layers:
    if "units" not in given:
        raise ValueError(f"space.{name} does not say how many units a layer has; add for example units = [5, 100]")
    counts = _parse_int(f"{name}.count", {"int": given["layers"]})
    units = _parse_int(f"{name}.units", {"int": given["units"], "log": given.get("log", False)})
    return Layers(name, counts, units, given.get("activation"))


_PARSERS: dict[str, Callable[[str, Mapping[str, Any]], Parameter]] = {
    "float": _parse_float,
    "int": _parse_int,
    "choices": _parse_choices,
    "layers": _parse_layers,
}


def _ends(name: str, value: Any) -> tuple[Any, Any]:
    is_pair = isinstance(value, list | tuple) and len(value) == 2
    if not is_pair or not all(isinstance(end, int | float) and not isinstance(end, bool) for end in value):
        raise ValueError(f"space.{name}={value!r} is no pair of numbers; write [low, high]")
    if not value[0] <= value[1]:
        raise ValueError(f"space.{name}={value!r} is empty; write the lower number first")
    return value[0], value[1]


def _scale(name: str, given: Mapping[str, Any], low: float) -> tuple[bool, Any]:
    """Return whether the scale is logarithmic, and the step or None."""
    log, step = given.get("log", False), given.get("step")
    if not isinstance(log, bool):
        raise ValueError(f"space.{name}.log={log!r} is not possible; give true or false")
    if log and low <= 0:
        raise ValueError(f"space.{name} begins at {low:g}, which has no logarithm; begin above 0 or leave log out")
    if step is not None and (log or isinstance(step, bool) or not isinstance(step, int | float) or step <= 0):
        raise ValueError(f"space.{name}.step={step!r} is not possible; give a number above 0, and no log beside it")
    return log, step


def _plain(value: Any) -> Any:
    """Return a value as Optuna keeps it: a list as JSON text."""
    return json.dumps(value) if isinstance(value, list | tuple | Mapping) else value
