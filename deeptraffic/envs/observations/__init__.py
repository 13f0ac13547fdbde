"""Registry of observations: one module per kind, found by itself.

    >>> observation = make_observation("gaps", lanes_side=2)
    >>> observer = Observer(sim.rules, observation, num_envs=sim.num_envs)
    >>> obs = observer.observe(sim)                      # (B, 30) float32

Contest kinds are computed from the cells of the contest's sensor alone; open kinds know more than an entrant could.
A kind's module says all about it: options with limits, shape, dtype and bounds, and how it is computed.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from deeptraffic.envs.observations.observation import Observation, Observer, select_env
from deeptraffic.envs.observations.presets import PRESETS

__all__ = [
    "OBSERVATIONS",
    "OPTIONS",
    "PRESETS",
    "Observation",
    "ObservationLike",
    "Observer",
    "describe",
    "make_observation",
    "preset_of",
    "select_env",
]

ObservationLike = Observation | Mapping[str, Any] | str


def _kinds() -> dict[str, type[Observation]]:
    """Import the modules of this folder; return the observations that they define, contest kinds first."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    defined = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    kinds = {value for value in defined if issubclass(value, Observation) and value.kind}
    return {kind.kind: kind for kind in sorted(kinds, key=lambda kind: (not kind.contest_kind, kind.kind))}


OBSERVATIONS = _kinds()
OPTIONS = tuple(dict.fromkeys(each.name for kind in OBSERVATIONS.values() for each in fields(kind)))


def make_observation(value: ObservationLike, **options: Any) -> Observation:
    """Return the observation named by its kind or preset, by a mapping of kind and options, or by itself.

    An option that is None, or that only other kinds have and that is at their default, is taken as left out.
    Raises ValueError with the value, the limit and the remedy.
    """
    if isinstance(value, Observation) and not options:
        return value
    if isinstance(value, str):
        options = {"kind": value, **options}
    elif isinstance(value, Mapping):
        options = {**value, **options}
    else:
        raise ValueError(
            f"observation must be a kind ({', '.join(OBSERVATIONS)}), a mapping of options or an Observation, "
            f"got {value!r:.80}"
        )
    name = options.pop("kind", "vector")
    if isinstance(name, str) and name in PRESETS:
        options = {**PRESETS[name].options, **options}
        name = options.pop("kind")
    if not isinstance(name, str) or name not in OBSERVATIONS:
        raise ValueError(
            f"observation kind must be one of {', '.join(OBSERVATIONS)}, or a preset ({', '.join(PRESETS)}), "
            f"got {name!r:.80}"
        )
    kind = OBSERVATIONS[name]
    own = [each.name for each in fields(kind) if each.init]
    given = {option: choice for option, choice in options.items() if choice is not None}
    for option in [option for option in given if option not in own]:
        _check_foreign(name, own, option, given.pop(option))
    return kind(**given)


def preset_of(observation: Observation) -> str | None:
    """Return the name of the preset that an observation is, or else that it is a longer stack of; None if of none."""
    found = next((name for name in PRESETS if make_observation(name) == observation), None)
    options = asdict(observation)
    if found is None and options.get("temporal_window"):
        return preset_of(make_observation({**options, "temporal_window": 0}))
    return found


def _check_foreign(kind: str, own: list[str], option: str, value: Any) -> None:
    """Raise ValueError for an option that this kind does not have, unless it has another kind's default."""
    if option not in OPTIONS:
        near = difflib.get_close_matches(str(option), OPTIONS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown observation option {option!r}{hint} (options: {', '.join(OPTIONS)})")
    defaults = [each.default for other in OBSERVATIONS.values() for each in fields(other) if each.name == option]
    if value not in defaults:
        raise ValueError(
            f"{option}={value!r} has no meaning for observation kind {kind!r}; "
            f"leave it out, or choose a kind that has it (options of {kind}: {', '.join(own) or 'none'})"
        )


def describe(kind: str) -> str:
    """Return the one-line description of a kind."""
    return (OBSERVATIONS[kind].__doc__ or "").partition("\n")[0]
