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
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from agents.agent_config import AgentConfig
from agents.expert_config import ExpertConfig
from agents.perception import NONE, EncoderConfig
from agents.world_model_config import WorldModelConfig
from deeptraffic.envs.observation import ObservationConfig
from deeptraffic.envs.settings import REWARDS
from deeptraffic.settings import (
    Checked,
    Settings,
    choice,
    flatten,
    number,
    parse_setting,
    read_settings,
    switch,
    whole,
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

    num_envs: int = whole(256, 1, 65_536)
    reward: str = choice("mit", *REWARDS)
    max_steps: int = whole(67, 1, 100_000)


@dataclass(frozen=True)
class PPOConfig(AgentConfig):
    """Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347).

    n_steps: decisions of each game between two updates; n_steps * num_envs decisions make one batch of experience
    batch_size: decisions of one gradient step
    n_epochs: passes over the experience
    gae_lambda: weight of longer returns (Schulman et al. 2015, arXiv:1506.02438)
    clip_range: how far the ratio of new to old probability may move
    ent_coef, vf_coef: weights of the entropy and of the value's error in the loss
    """

    n_steps: int = whole(16, 1, 4096)
    batch_size: int = whole(1024, 2, 1_000_000)
    n_epochs: int = whole(4, 1, 100)
    gae_lambda: float = number(0.9, 0.0, 1.0)
    clip_range: float = number(0.2, 1e-3, 1.0)
    ent_coef: float = number(0.01, 0.0, 1.0)
    vf_coef: float = number(0.5, 0.0, 10.0)

    def ppo_settings(self) -> dict[str, Any]:
        """Return what PPO of any kind is told, by SB3's names."""
        names = ("n_steps", "batch_size", "n_epochs", "gae_lambda", "clip_range", "ent_coef", "vf_coef")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class TeamPPOConfig(PPOConfig):
    """PPO that drives the ego car and its copies in the traffic, and learns from all of them; see `agents.team`.

    n_steps, batch_size, ...: as in `PPOConfig`; every driver of a game decides in each of its n_steps rounds
    team_share: weight of the team's mean speed in a driver's reward; the rest is its own
    """

    team_share: float = number(0.5, 0.0, 1.0)


@dataclass(frozen=True)
class MaskablePPOConfig(PPOConfig):
    """PPO that never tries an action without an effect (Huang and Ontanon 2020, arXiv:2006.14171); see `PPOConfig`."""


@dataclass(frozen=True)
class RecurrentPPOConfig(PPOConfig):
    """PPO with an LSTM (Hochreiter and Schmidhuber 1997) that remembers earlier decisions; see `PPOConfig`.

    n_epochs: with this algorithm's own default
    lstm_units: numbers that it remembers
    """

    n_epochs: int = whole(2, 1, 100)
    lstm_units: int = whole(64, 1, 4096)


@dataclass(frozen=True)
class ReinforceConfig(AgentConfig):
    """REINFORCE (Williams 1992), see `agents.reinforce`; n_steps and ent_coef as in `PPOConfig`."""

    n_steps: int = whole(67, 1, 4096)
    ent_coef: float = number(0.01, 0.0, 1.0)


@dataclass(frozen=True)
class A2CConfig(AgentConfig):
    """Advantage actor-critic (Mnih et al. 2016, arXiv:1602.01783, synchronous); see `PPOConfig` for the names."""

    n_steps: int = whole(5, 1, 4096)
    gae_lambda: float = number(0.9, 0.0, 1.0)
    ent_coef: float = number(0.01, 0.0, 1.0)
    vf_coef: float = number(0.5, 0.0, 10.0)


@dataclass(frozen=True)
class DQNConfig(AgentConfig):
    """Deep Q-learning (Mnih et al. 2015, doi:10.1038/nature14236), with an exploration coin for each game.

    gamma, max_grad_norm, activation: as in `AgentConfig`, with this algorithm's own defaults
    buffer_size: decisions remembered
    learning_starts: decisions at random before the first update
    batch_size: decisions of one gradient step
    train_freq: decisions of each game between two rounds of updates
    gradient_steps: gradient steps of one round
    target_update_interval: [decisions] between copies of the network to the target network
    exploration_fraction: share of training over which the chance of a random action falls from 1
    exploration_final_eps: chance of a random action after that
    """

    gamma: float = number(0.9, 0.0, 1.0)
    max_grad_norm: float = number(10.0, 1e-6, 1e6)
    hidden: tuple[int, ...] = field(default=(128, 128), metadata={"hidden": True})
    activation: str = choice("relu", "tanh", "relu")
    buffer_size: int = whole(200_000, 100, 100_000_000)
    learning_starts: int = whole(10_000, 0, 100_000_000)
    batch_size: int = whole(512, 2, 1_000_000)
    train_freq: int = whole(1, 1, 10_000)
    gradient_steps: int = whole(2, 1, 10_000)
    target_update_interval: int = whole(8_000, 1, 100_000_000)
    exploration_fraction: float = number(0.3, 0.001, 1.0)
    exploration_final_eps: float = number(0.02, 0.0, 1.0)

    def check(self) -> None:
        """Raise ValueError if the memory is too small to learn from."""
        if self.learning_starts > self.buffer_size or self.batch_size > self.buffer_size:
            raise ValueError(
                f"buffer_size={self.buffer_size} is less than learning_starts={self.learning_starts} or "
                f"batch_size={self.batch_size}; raise buffer_size or lower the other"
            )

    def off_policy_settings(self, num_envs: int) -> dict[str, Any]:
        """Return what DQN of any kind is told, by SB3's names."""
        memory = ("buffer_size", "learning_starts", "batch_size", "train_freq", "gradient_steps")
        names = (*memory, "exploration_fraction", "exploration_final_eps")
        target_update_interval = max(self.target_update_interval, num_envs)
        return {name: getattr(self, name) for name in names} | {"target_update_interval": target_update_interval}


@dataclass(frozen=True)
class QRDQNConfig(DQNConfig):
    """DQN that learns the distribution of returns (Dabney et al. 2018, arXiv:1710.10044); see `DQNConfig`.

    n_quantiles: of the return, for each action
    """

    n_quantiles: int = whole(25, 1, 1000)


@dataclass(frozen=True)
class PQNConfig(AgentConfig):
    """Parallelised Q-network (Gallici et al. 2024, arXiv:2407.04811), see `agents.pqn`.

    learning_rate, learning_rate_end, max_grad_norm, activation: as in `AgentConfig`, with this algorithm's own defaults
    n_steps, batch_size, n_epochs: as in `PPOConfig`
    q_lambda: weight of longer returns, 0 for one step, 1 for all n_steps
    exploration_initial_eps, exploration_final_eps: chance of a random action, tossed for each game, at the start and
        later
    exploration_fraction: share of training over which it falls in a line from the one to the other
    layer_norm: whether hidden layers are normalised; the original game's file format cannot hold that
    dueling: whether the network's head is a value plus advantages
    """

    max_grad_norm: float = number(10.0, 1e-6, 1e6)
    activation: str = choice("relu", "tanh", "relu")
    n_steps: int = whole(8, 1, 4096)
    batch_size: int = whole(128, 2, 1_000_000)
    n_epochs: int = whole(4, 1, 100)
    q_lambda: float = number(0.65, 0.0, 1.0)
    exploration_initial_eps: float = number(1.0, 0.0, 1.0)
    exploration_final_eps: float = number(0.05, 0.0, 1.0)
    exploration_fraction: float = number(0.3, 0.001, 1.0)
    layer_norm: bool = switch(True)
    dueling: bool = switch(False)


AGENTS: dict[str, type[AgentConfig]] = {
    "reinforce": ReinforceConfig,
    "a2c": A2CConfig,
    "ppo": PPOConfig,
    "team_ppo": TeamPPOConfig,
    "maskable_ppo": MaskablePPOConfig,
    "recurrent_ppo": RecurrentPPOConfig,
    "dqn": DQNConfig,
    "qrdqn": QRDQNConfig,
    "pqn": PQNConfig,
    "world_model": WorldModelConfig,
    "expert_iteration": ExpertConfig,
}


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
    total_timesteps: int = whole(1_000_000, 1, 10**12)
    seed: int = whole(0, 0, 999_000_000)  # games start as open runs seed, seed + 1, ...: the training seeds
    device: str = choice("cpu", "cpu", "cuda", "auto")
    torch_threads: int = whole(1, 1, 1024)
    evaluate_every: int = whole(100_000, 1, 10**12)
    evaluation_runs: int = whole(500, 0, 100_000)
    checkpoint_every: int = whole(200_000, 1, 10**12)
    init: str = ""
    init_gain: float = number(1.0, 1e-3, 1e4)
    critic_first: int = whole(0, 0, 10**12)
    road: RoadConfig = field(default_factory=RoadConfig)
    observation: ObservationConfig = field(default_factory=lambda: ObservationConfig("gaps"))
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
        if isinstance(self.agent, TeamPPOConfig) and self.observation.kind == "pixels":
            raise ValueError("observation.kind='pixels' does not show which car decides; choose another for team_ppo")
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
                f"rules={self.road.rules}; set kind=vector and leave the others out, or set lane_units=0"
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


# --- presets ------------------------------------------------------------------------------------------------------

_DQN_DEFAULTS: Settings = {
    "num_envs": 64,
    "learning_rate": 5e-4,
    "learning_rate_end": 5e-5,
    "total_timesteps": 300_000,
    "evaluate_every": 25_000,
    "checkpoint_every": 50_000,
}
_WORLD_MODEL_DEFAULTS: Settings = {
    "num_envs": 32,
    "total_timesteps": 10_000,
    "evaluate_every": 2_500,
    "checkpoint_every": 5_000,
}
_EXPERT_DEFAULTS: Settings = {
    "kind": "vector",
    "dtype": "float32",
    "num_envs": 512,
    "total_timesteps": 1_000_000,
    "evaluate_every": 100_000,
    "checkpoint_every": 500_000,
}
_DEFAULTS: dict[str, Settings] = {
    "reinforce": {"learning_rate": 5e-3, "learning_rate_end": 5e-4, "num_envs": 64},
    "a2c": {"learning_rate": 2e-3, "learning_rate_end": 2e-4, "num_envs": 64},
    "ppo": {},
    "team_ppo": {"road.other_agents": 10, "num_envs": 64, "total_timesteps": 2_000_000, "evaluate_every": 200_000},
    "maskable_ppo": {},
    "recurrent_ppo": {},
    "dqn": _DQN_DEFAULTS,
    "qrdqn": _DQN_DEFAULTS,
    "pqn": {"num_envs": 128},
    "world_model": _WORLD_MODEL_DEFAULTS,
    "expert_iteration": _EXPERT_DEFAULTS,
}
_QUICK: Settings = {"total_timesteps": 120_000, "evaluate_every": 40_000, "checkpoint_every": 40_000}
_LONG: Settings = {"total_timesteps": 500_000, "evaluate_every": 50_000, "checkpoint_every": 100_000}
_FEWER_UPDATES: Settings = {"num_envs": 128, "updates_per_decision": 0.05, "learning_rate_end": 5e-5}
_TO_70_MPH: Settings = {"total_timesteps": 400_000, "evaluate_every": 100_000, "checkpoint_every": 400_000}
_TO_72_MPH: Settings = {
    "num_envs": 1024,
    "torch_threads": 2,
    "total_timesteps": 960_000,
    "evaluate_every": 140_000,
    "checkpoint_every": 480_000,
}
PRESETS: dict[str, dict[str, Settings]] = {
    "default": {algo: {} for algo in AGENTS},
    "demo": {algo: {} for algo in AGENTS} | {"world_model": {**_LONG, **_FEWER_UPDATES}},
    "quick": {algo: _QUICK for algo in AGENTS} | {"world_model": {**_QUICK, **_FEWER_UPDATES}},
    "fast": {algo: {} for algo in AGENTS} | {"ppo": _TO_70_MPH, "expert_iteration": _TO_72_MPH},
}


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
    layers = [_DEFAULTS[algo], PRESETS[preset][algo], read_settings(file) if file else {}, settings]
    chosen: dict[str, Any] = {}
    for layer in layers:
        for key, value in flatten(layer):
            chosen[resolve_key(algo, key)] = value
    if chosen.pop("algo", algo) != algo:
        raise ValueError(f"the settings are for another algorithm than {algo!r}; train the one they name")
    return _assemble(algo, chosen)


def _sections(algo: str) -> dict[str, Any]:
    return {
        "road": RoadConfig,
        "observation": ObservationConfig,
        "encoder": EncoderConfig,
        "games": GamesConfig,
        "agent": AGENTS[algo],
    }


def setting_names(algo: str) -> list[str]:
    """Full names of all settings of an algorithm's run: top-level ones, then section.name."""
    sections = _sections(algo)
    top = [setting.name for setting in fields(TrainConfig) if setting.name not in sections]
    return top + [f"{section}.{setting.name}" for section, kind in sections.items() for setting in fields(kind)]


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
    for section, kind in _sections(algo).items():
        given = {key.partition(".")[2]: value for key, value in chosen.items() if key.startswith(f"{section}.")}
        if section == "observation":
            given = {"kind": "gaps", **given}
        parts[section] = kind(**given)
    return TrainConfig(**parts, **{key: value for key, value in chosen.items() if "." not in key})


def difference(old: TrainConfig, new: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """Settings by full name in which two configurations differ, as (old, new)."""
    first, second = dict(flatten(old.to_json())), dict(flatten(new.to_json()))
    names = [*first, *(name for name in second if name not in first)]
    return {name: (first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)}
