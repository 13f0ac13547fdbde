"""Search space of a sweep: ranges and choices of settings, as a config file writes them and as Optuna draws them.

    [space]
    gamma = { float = [0.5, 0.99] }
    learning_rate = { float = [1e-4, 1e-1], log = true }
    lanes_side = { int = [0, 3] }
    experience_size = { int = [1000, 9000], step = 2000 }
    batch_size = { choices = [32, 64, 128] }
    layers = { layers = [1, 3], units = [5, 100], log = true }

The last one is of networks with 1 to 3 hidden layers, all of the same number of units. It is drawn as two numbers,
`layers.count` and `layers.units`.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Params = Mapping[str, Any]  # values drawn by Optuna, by name


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included.

    log: whether they are drawn on a logarithmic scale; step: between them, None for any; is_int: whether integers
    """

    name: str
    low: float
    high: float
    log: bool = False
    step: float | None = None
    is_int: bool = False

    def distributions(self) -> "dict[str, BaseDistribution]":
        """What Optuna draws from, by name."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.is_int:
            return {self.name: IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))}
        return {self.name: FloatDistribution(self.low, self.high, log=self.log, step=self.step)}

    def value(self, params: Params) -> float:
        """The setting's value for what was drawn."""
        value = params[self.name]
        return int(value) if self.is_int else float(value)

    def grid(self) -> dict[str, list[Any]]:
        """All values, by name; ValueError if there is no end of them."""
        step = 1 if self.step is None and self.is_int else self.step
        if step is None:
            raise ValueError(f"{self.name} needs a step in a grid; give it one, or take sampler='random'")
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        return {self.name: [self.low + k * step for k in range(count)]}

    def ends(self) -> Iterator[Any]:
        """Values of the setting that show whether all of them are possible."""
        yield from (self.low, self.high)


@dataclass(frozen=True)
class Choices:
    """One of some values; Optuna is given lists as JSON text."""

    name: str
    values: tuple[Any, ...]

    def distributions(self) -> "dict[str, BaseDistribution]":
        """What Optuna draws from, by name."""
        from optuna.distributions import CategoricalDistribution

        return {self.name: CategoricalDistribution([_plain(value) for value in self.values])}

    def value(self, params: Params) -> Any:
        """The setting's value for what was drawn."""
        return next(value for value in self.values if _plain(value) == params[self.name])

    def grid(self) -> dict[str, list[Any]]:
        """All values, by name."""
        return {self.name: [_plain(value) for value in self.values]}

    def ends(self) -> Iterator[Any]:
        """Values of the setting that show whether all of them are possible."""
        yield from self.values


@dataclass(frozen=True)
class Layers:
    """Hidden layers: their count, and the units of each.

    activation: for settings that name one for each layer, as deepqlearn's do; else None
    """

    name: str
    counts: Range
    units: Range
    activation: str | None = None

    def distributions(self) -> "dict[str, BaseDistribution]":
        """What Optuna draws from, by name."""
        return self.counts.distributions() | self.units.distributions()

    def value(self, params: Params) -> list[Any]:
        """The setting's value for what was drawn."""
        return self._layers(self.counts.value(params), self.units.value(params))

    def grid(self) -> dict[str, list[Any]]:
        """All counts and units, by name."""
        return self.counts.grid() | self.units.grid()

    def ends(self) -> Iterator[Any]:
        """Values of the setting that show whether all of them are possible."""
        yield from (self._layers(count, units) for count in self.counts.ends() for units in self.units.ends())

    def _layers(self, count: float, units: float) -> list[Any]:
        return [units if self.activation is None else [units, self.activation]] * int(count)


Parameter = Range | Choices | Layers


# --- parsing ----------------------------------------------------------------------------------------------------------


def parse_space(given: Mapping[str, Any], section: str = "") -> Iterator[Parameter]:
    """Yield the parameters in a table of a config file, nested by section or flat; ValueError for impossible ones."""
    for key, value in given.items():
        name = f"{section}{key}"
        if isinstance(value, Mapping) and value and not any(kind in value for kind in KINDS):
            yield from parse_space(value, f"{name}.")
        else:
            yield _parse(name, value)


def _parse(name: str, given: Any) -> Parameter:
    kinds = [kind for kind in KINDS if isinstance(given, Mapping) and kind in given]
    if len(kinds) != 1:
        examples = ", ".join(kind.example for kind in KINDS.values())
        raise ValueError(f"space.{name} must be a range or choices, got {given!r}; write one of {examples}")
    kind = KINDS[kinds[0]]
    for option in given:
        if option not in (kinds[0], *kind.options):
            options = ", ".join(kind.options) or "none"
            raise ValueError(f"space.{name} has no option {option!r}; there are for {kinds[0]}: {options}")
    return kind.parse(name, given)


def _parse_range(name: str, given: Mapping[str, Any]) -> Range:
    is_int = "int" in given
    ends, log, step = given["int" if is_int else "float"], given.get("log", False), given.get("step")
    if not (isinstance(ends, list | tuple) and len(ends) == 2 and all(_is_number(end) for end in ends)):
        raise ValueError(f"space.{name} must be a pair of numbers, got {ends!r}; write [low, high]")
    low, high = ends
    if low > high:
        raise ValueError(f"space.{name}={ends!r} is empty; write the lower number first")
    if not isinstance(log, bool):
        raise ValueError(f"space.{name}.log must be true or false, got {log!r}")
    if log and low <= 0:
        raise ValueError(f"space.{name} starts at {low:g}, which has no logarithm; start above 0 or leave log out")
    if step is not None and (log or not _is_number(step) or step <= 0):
        raise ValueError(f"space.{name}.step must be a number above 0, without log beside it; got {step!r}")
    if not is_int:
        return Range(name, float(low), float(high), log, None if step is None else float(step))
    if not all(isinstance(value, int) for value in (low, high, step or 1)):
        raise ValueError(f"space.{name} must have integers, got {dict(given)!r}; write float in place of int")
    return Range(name, low, high, log, step, is_int)


def _parse_choices(name: str, given: Mapping[str, Any]) -> Choices:
    values = given["choices"]
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise ValueError(f"space.{name}.choices must be a list of values, got {values!r}; write for example [32, 64]")
    if len({_plain(value) for value in values}) < len(values):
        raise ValueError(f"space.{name}.choices={values!r} has a value twice; leave one of them out")
    return Choices(name, tuple(values))


def _parse_layers(name: str, given: Mapping[str, Any]) -> Layers:
    if "units" not in given:
        raise ValueError(f"space.{name} lacks the units of a layer; add for example units = [5, 100]")
    counts = _parse_range(f"{name}.count", {"int": given["layers"]})
    units = _parse_range(f"{name}.units", {"int": given["units"], "log": given.get("log", False)})
    return Layers(name, counts, units, given.get("activation"))


class Kind(NamedTuple):
    """A kind of parameter, as config files write it.

    parse: (name, what is given) -> the parameter; options: beside the key that names the kind
    """

    parse: Callable[[str, Mapping[str, Any]], Parameter]
    options: tuple[str, ...]
    example: str


KINDS = {
    "float": Kind(_parse_range, ("log", "step"), "{ float = [0.5, 0.99] }"),
    "int": Kind(_parse_range, ("log", "step"), "{ int = [0, 3] }"),
    "choices": Kind(_parse_choices, (), "{ choices = [32, 64] }"),
    "layers": Kind(_parse_layers, ("units", "log", "activation"), "{ layers = [1, 3], units = [5, 100] }"),
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """Return a value as Optuna keeps it: a list as JSON text."""
    return json.dumps(value) if isinstance(value, list | tuple | Mapping) else value
