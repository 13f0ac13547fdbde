"""Settings of a training run by name: the algorithm's defaults, presets, files and `--set` make its configuration.

    >>> from agents.settings import build_config
    >>> config = build_config("ppo", preset="quick", settings=["gamma=0.9", "road.other_agents=3"])
    >>> config.agent.gamma, config.road.other_agents
    (0.9, 3)

A setting is named by its section and name, `agent.gamma`, or by the name alone where only one section has it. Later
settings win: the algorithm's defaults, the preset, the file, then `--set`.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from agents.config import TrainConfig, VecEnvConfig
from agents.perception import EncoderConfig
from agents.registry import WARM_STARTABLE, entry_of
from deeptraffic.envs.observations import OPTIONS, make_observation
from deeptraffic.settings import Settings, flatten, parse_setting, read_settings
from deeptraffic.sim.rules import RoadConfig

# settings by preset that all algorithms share; an algorithm's own come after them
SHARED_PRESETS: dict[str, Settings] = {
    "quick": {"total_timesteps": 120_000, "evaluate_every": 40_000, "checkpoint_every": 40_000},
}


def build_config(
    algo: str = "ppo",
    preset: str | None = None,
    file: str | Path | None = None,
    settings: Iterable[str] | Settings = (),
) -> TrainConfig:
    """Return a run's configuration: defaults, then the preset, the JSON or TOML file, then settings.

    preset: one of the algorithm's (`agents.registry.Entry.presets`); None for its first
    settings: "key=value" strings, or a mapping (nested by section, or flat)

    Raises ValueError for an unknown or impossible setting, with the value, the limit and the remedy.
    """
    entry = entry_of(algo)
    chosen_preset = entry.presets[0] if preset is None else preset
    if chosen_preset not in entry.presets:
        raise ValueError(f"preset {preset!r} does not exist for {algo}; choose one of {', '.join(entry.presets)}")
    if not isinstance(settings, Mapping):
        settings = dict(parse_setting(setting) for setting in settings)
    algorithm = entry.load()
    presets = (SHARED_PRESETS.get(chosen_preset, {}), algorithm.presets.get(chosen_preset, {}))
    chosen: dict[str, Any] = {}
    for layer in (algorithm.defaults, *presets, read_settings(file) if file else {}, settings):
        for key, value in flatten(layer):
            chosen[resolve_key(algo, key)] = value
    if chosen.pop("algo", algo) != algo:
        raise ValueError(f"the settings are for another algorithm than {algo!r}; train the one they name")
    return _assemble(algo, chosen)


def _sections(algo: str) -> dict[str, tuple[Iterable[str], Callable[..., Any]]]:
    """Names of each section's settings, and what makes the section from them."""
    agent = entry_of(algo).load().config
    classes = {"road": RoadConfig, "encoder": EncoderConfig, "envs": VecEnvConfig, "agent": agent}
    sections = {name: ([each.name for each in fields(kind)], kind) for name, kind in classes.items()}
    return sections | {"observation": (OPTIONS, partial(make_observation, "gaps"))}


def setting_names(algo: str) -> list[str]:
    """Full names of all settings of an algorithm's run: top-level ones, then section.name."""
    sections = _sections(algo)
    top = [setting.name for setting in fields(TrainConfig) if setting.name not in sections]
    return top + [f"{section}.{name}" for section, (names, _) in sections.items() for name in names]


def resolve_key(algo: str, key: str) -> str:
    """Return a setting's full name, or raise ValueError with the nearest one."""
    names = setting_names(algo)
    matches = [name for name in names if name == key] or [name for name in names if name.rpartition(".")[2] == key]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ValueError(f"setting {key!r} could be {' or '.join(matches)}; write the one you mean")
    short = {name.rpartition(".")[2]: name for name in names}
    near = difflib.get_close_matches(key.rpartition(".")[2], short, 1)
    hint = f"did you mean {short[near[0]]!r}? " if near else ""
    raise ValueError(f"there is no setting {key!r} for {algo}; {hint}There are: {', '.join(names)}")


def _assemble(algo: str, chosen: Settings) -> TrainConfig:
    if (init := chosen.get("init")) and algo not in WARM_STARTABLE:
        raise ValueError(
            f"init={init!r}: only {', '.join(WARM_STARTABLE)} can be initialised from a policy; leave init out"
        )
    parts: dict[str, Any] = {"algo": algo}
    for section, (_, make) in _sections(algo).items():
        given = {key.partition(".")[2]: value for key, value in chosen.items() if key.startswith(f"{section}.")}
        parts[section] = make(**given)
    return TrainConfig(**parts, **{key: value for key, value in chosen.items() if "." not in key})


def difference(old: TrainConfig, new: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """Settings by full name in which two configurations differ, as (old, new)."""
    first, second = dict(flatten(old.to_json())), dict(flatten(new.to_json()))
    names = [*first, *(name for name in second if name not in first)]
    return {name: (first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)}
