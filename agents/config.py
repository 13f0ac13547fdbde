"""What a training run is told, as data: frozen, checked at the door, the same in JSON, TOML, `--set` and Python.

    >>> from agents.config import build_config
    >>> config = build_config("ppo", preset="quick", settings=["gamma=0.9", "road.other_agents=3"])
    >>> config.agent.gamma, config.road.other_agents
    (0.9, 3)

A run is an algorithm (`agent`), the road it drives on (`road`), what it sees there (`observation`), the encoder between
the two if there is one (`encoder`), and how many games run side by side (`games`). A setting is named by its section
and name, `agent.gamma`, or by the name alone where only one section has it. Later settings win: the algorithm's
defaults, the preset, the file, then `--set`.
"""

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from agents.agent_config import AgentConfig
from agents.algorithms import AGENTS, DQNConfig, PPOConfig, PQNConfig, RecurrentPPOConfig, TeamPPOConfig
from agents.expert_config import ExpertConfig
from agents.perception import NONE, EncoderConfig
from agents.presets import DEFAULTS, PRESETS
from agents.world_model_config import WorldModelConfig
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
    real,
)
from deeptraffic.sim.rules import RoadConfig

# --- sections -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GamesConfig(Checked):
    """The games that training plays.

    num_envs: games side by side
    reward: "mit", "speed" or "passed", see `deeptraffic.envs.gym_env.DeepTrafficEnv`
    max_steps: [decisions] of one game; 67 is a run of the 2018 contest
    """

    num_envs: int = integer(256, 1, 65_536)
    reward: str = choice("mit", *REWARDS)
    max_steps: int = integer(67, 1, 100_000)


WARM = ("ppo", "team_ppo", "expert_iteration")  # can begin from a network that drives already


@dataclass(frozen=True)
class TrainConfig(Checked):
    """One training run.

    algo: one of `AGENTS`
    total_timesteps: decisions of training, all games together
    seed: of the network, the exploration and the games; training games never are those of an evaluation
    device: of the network: "cpu", "cuda" or "auto"
    torch_threads: CPU threads of the network; small ones are fastest on one
    evaluate_every: [decisions] between evaluations on tuning seeds, by which the best checkpoint is chosen
    evaluation_runs: open runs of such an evaluation; 0 for none
    checkpoint_every: [decisions] between checkpoints, from which a killed run resumes
    init: run folder or policy file that one of `WARM` begins from, see `agents.warm_start`; "" for a new network
    init_gain: times which that network's outputs are the actor's
    critic_first: [decisions] of such a run in which only the critic learns
    """

    algo: str = choice("ppo", *AGENTS)
    total_timesteps: int = integer(1_000_000, 1, 10**12)
    seed: int = integer(0, 0, 999_000_000)  # games start as open runs seed, seed + 1, ...: the training seeds
    device: str = choice("cpu", "cpu", "cuda", "auto")
    torch_threads: int = integer(1, 1, 1024)
    evaluate_every: int = integer(100_000, 1, 10**12)
    evaluation_runs: int = integer(500, 0, 100_000)
    checkpoint_every: int = integer(200_000, 1, 10**12)
    init: str = ""
    init_gain: float = real(1.0, 1e-3, 1e4)
    critic_first: int = integer(0, 0, 10**12)
    road: RoadConfig = field(default_factory=RoadConfig)
    observation: Observation = field(default_factory=lambda: make_observation("gaps"))
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    games: GamesConfig = field(default_factory=GamesConfig)
    agent: AgentConfig = field(default_factory=PPOConfig)

    def check(self) -> None:
        """Raise ValueError if the parts do not fit together."""
        if self.observation.kind == "full":
            raise ValueError("observation.kind='full' is no input for a network; choose gaps, vector or kinematics")
        self._check_lanes()
        if (self.init or self.critic_first) and (self.algo not in WARM or self.encoder.name != NONE):
            raise ValueError(
                f"init={self.init!r}, critic_first={self.critic_first}: only {', '.join(WARM)} without an encoder "
                "begin from a network that drives already; leave them out"
            )
        if isinstance(self.agent, TeamPPOConfig) and self.observation.ego_only:
            kind = self.observation.kind
            raise ValueError(f"observation.kind={kind!r} does not show which car decides; choose another for team_ppo")
        drivers = 1 + min(self.road.other_agents, 9) if isinstance(self.agent, TeamPPOConfig) else 1  # 10 never decides
        rollout = getattr(self.agent, "n_steps", 0) * self.games.num_envs * drivers
        if isinstance(self.agent, PPOConfig | PQNConfig) and (self.agent.batch_size > rollout or rollout < 2):
            raise ValueError(
                f"batch_size={self.agent.batch_size} is more than n_steps={self.agent.n_steps} x "
                f"num_envs={self.games.num_envs}{f' x {drivers} drivers' if drivers > 1 else ''} = {rollout} decisions "
                "hold; lower batch_size or raise n_steps"
            )
        if isinstance(self.agent, DQNConfig) and self.games.num_envs > self.agent.buffer_size:
            raise ValueError(
                f"buffer_size={self.agent.buffer_size} is less than num_envs={self.games.num_envs}; raise buffer_size"
            )

    def _check_lanes(self) -> None:
        """Raise ValueError if a network that reads lanes cannot read this observation."""
        seen, agent = self.observation, self.agent
        if not agent.lane_units:
            return
        if seen.kind != "vector" or seen.temporal_window or self.encoder.name != NONE or self.road.rules != 2018:
            raise ValueError(
                f"lane_units={agent.lane_units} reads the cells of the 2018 contest's sensor, not "
                f"kind={seen.kind!r}, temporal_window={seen.temporal_window}, encoder={self.encoder.name!r}, "
                f"rules={self.road.rules}; set kind=vector and leave the others out"
                f"{'' if isinstance(agent, ExpertConfig) else ', or set lane_units=0'}"
            )
        if isinstance(agent, RecurrentPPOConfig | WorldModelConfig):
            raise ValueError(f"lane_units={agent.lane_units} is not for {self.algo}; set lane_units=0")
        if isinstance(agent, ExpertConfig) and self.games.reward != "mit":
            raise ValueError(f"reward={self.games.reward!r}: expert_iteration learns from 'mit'; leave reward out")
        if isinstance(agent, ExpertConfig) and self.road.other_agents and agent.value_coef:
            raise ValueError(
                f"value_coef={agent.value_coef} with other_agents={self.road.other_agents}: a team learns from "
                "rollouts alone; set value_coef=0 and rollout_lambda=1"
            )

    def to_json(self) -> dict[str, Any]:
        """The configuration as nested plain values, as a config file holds it."""
        return json.loads(json.dumps(asdict(self)))


# --- building -----------------------------------------------------------------------------------------------------


def build_config(
    algo: str = "ppo",
    preset: str = "default",
    file: str | Path | None = None,
    settings: Iterable[str] | Settings = (),
) -> TrainConfig:
    """Return a run's configuration: defaults, then the preset, the JSON or TOML file, then settings.

    settings: "key=value" strings, or a mapping (nested by section, or flat)

    Raises ValueError for whatever is unknown or impossible, with the value, the limit and the remedy.
    """
    if algo not in AGENTS:
        raise ValueError(f"algorithm {algo!r} does not exist; choose one of {', '.join(AGENTS)}")
    if preset not in PRESETS:
        raise ValueError(f"preset {preset!r} does not exist; choose one of {', '.join(PRESETS)}")
    if not isinstance(settings, Mapping):
        settings = dict(parse_setting(setting) for setting in settings)
    layers = [DEFAULTS[algo], PRESETS[preset][algo], read_settings(file) if file else {}, settings]
    chosen: dict[str, Any] = {}
    for layer in layers:
        for key, value in flatten(layer):
            chosen[resolve_key(algo, key)] = value
    if chosen.pop("algo", algo) != algo:
        raise ValueError(f"the settings are for another algorithm than {algo!r}; train the one they name")
    return _assemble(algo, chosen)


def _sections(algo: str) -> dict[str, tuple[Iterable[str], Callable[..., Any]]]:
    """Names of each section's settings, and what makes the section from them."""
    classes = {"road": RoadConfig, "encoder": EncoderConfig, "games": GamesConfig, "agent": AGENTS[algo]}
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
