"""Configuration of a training run: frozen, checked when it is made, the same in JSON, TOML, `--set` and Python.

    >>> from agents.config import build_config
    >>> config = build_config("ppo", preset="quick", settings=["gamma=0.9", "road.other_agents=3"])
    >>> config.agent.gamma, config.road.other_agents
    (0.9, 3)

A run is an algorithm with its hyperparameters (`agent`), the road (`road`), the observation (`observation`), the
encoder between observation and agent if there is one (`encoder`), and the environments (`envs`). A setting is named by
its section and name, `agent.gamma`, or by the name alone where only one section has it. Later settings win: the
algorithm's defaults, the preset, the file, then `--set`.
"""

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from agents.algorithm import AgentConfig
from agents.perception import EncoderConfig
from agents.registry import WARM_STARTABLE, entry_of
from deeptraffic.envs.observations import OPTIONS, Observation, make_observation
from deeptraffic.envs.reward import REWARDS
from deeptraffic.settings import (
    Checked,
    Settings,
    choice,
    flatten,
    integer,
    parse_setting,
    read_settings,
)
from deeptraffic.sim.rules import RoadConfig

# settings by preset that all algorithms share; an algorithm's own come after them
SHARED_PRESETS: dict[str, Settings] = {
    "quick": {"total_timesteps": 120_000, "evaluate_every": 40_000, "checkpoint_every": 40_000},
}

# --- sections -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VecEnvConfig(Checked):
    """The environments.

    num_envs: number of parallel environments
    reward: "mit", "speed" or "passed", see `deeptraffic.envs.gym_env.DeepTrafficEnv`
    max_steps: [decisions] of an episode; 67 is a run of the 2018 contest
    """

    num_envs: int = integer(256, 1, 65_536)
    reward: str = choice("mit", *REWARDS)
    max_steps: int = integer(67, 1, 100_000)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Checked):
    """One training run.

    algo: name of the algorithm, see `agents.registry.ALGORITHMS`
    total_timesteps: decisions of training, over all envs
    seed: random seed of the network, the exploration and the envs; training seeds never are those of an evaluation
    device: of the network: "cpu", "cuda" or "auto"
    torch_threads: CPU threads of the network; small ones are fastest on one
    evaluate_every: [decisions] between evaluations on tuning seeds, by which the best network is chosen
    evaluation_runs: open runs of such an evaluation; 0 for none
    checkpoint_every: [decisions] between checkpoints, from which a killed run resumes
    init: run folder or policy file that the network is initialised from, see `agents.warm_start`; "" for random weights
    """

    algo: str
    total_timesteps: int = integer(1_000_000, 1, 10**12)
    seed: int = integer(0, 0, 999_000_000)  # envs start as open runs seed, seed + 1, ...: the training seeds
    device: str = choice("cpu", "cpu", "cuda", "auto")
    torch_threads: int = integer(1, 1, 1024)
    evaluate_every: int = integer(100_000, 1, 10**12)
    evaluation_runs: int = integer(500, 0, 100_000)
    checkpoint_every: int = integer(200_000, 1, 10**12)
    init: str = ""
    road: RoadConfig = field(default_factory=RoadConfig)
    observation: Observation = field(default_factory=lambda: make_observation("gaps"))
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    envs: VecEnvConfig = field(default_factory=VecEnvConfig)
    agent: AgentConfig

    def check(self) -> None:
        """Raise ValueError if the sections do not fit together; narrow the observation's sensor to the road."""
        object.__setattr__(self, "observation", self.observation.on_road(self.road.build()))
        if self.observation.kind == "full":
            raise ValueError("observation.kind='full' is no input for a network; choose gaps, vector or kinematics")
        if self.init and self.algo not in WARM_STARTABLE:
            raise ValueError(
                f"init={self.init!r}: only {', '.join(WARM_STARTABLE)} can be initialised from a policy; leave init out"
            )
        self.agent.check_run(self)

    def to_json(self) -> dict[str, Any]:
        """The configuration as nested plain values, as a config file holds it."""
        return json.loads(json.dumps(asdict(self)))


# --- building -----------------------------------------------------------------------------------------------------


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
