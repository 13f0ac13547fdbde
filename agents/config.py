"""Configuration of a training run: frozen, checked when it is made, the same in JSON, TOML, `--set` and Python.

A run is an algorithm with its hyperparameters (`agent`), the road (`road`), the observation (`observation`), the
encoder between observation and agent if there is one (`encoder`), and the environments (`envs`).
`agents.settings.build_config` makes it from settings by name.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from agents.perception import EncoderConfig
from deeptraffic.envs.observations import Observation, make_observation
from deeptraffic.envs.reward import REWARDS
from deeptraffic.settings import Checked, choice, integer, integers, real
from deeptraffic.sim.rules import RoadConfig


@dataclass(frozen=True)
class AgentConfig(Checked):
    """Hyperparameters of an algorithm; a subclass declares them, and what they demand of the rest of a run."""

    @property
    def hidden_layers(self) -> int:
        """Hidden layers of the network."""
        raise NotImplementedError

    @property
    def uses_torch(self) -> bool:
        """Whether torch trains the network."""
        return False

    def check_run(self, run: "TrainConfig") -> None:
        """Raise ValueError if these hyperparameters do not fit the other sections of a run."""

    def for_later_stage(self, decisions: int) -> Self:
        """Return the hyperparameters of a curriculum stage of so many decisions that continues an earlier one."""
        return self


@dataclass(frozen=True)
class TorchConfig(AgentConfig):
    """Hyperparameters of every algorithm that trains a torch network: its layers and its optimiser.

    learning_rate, learning_rate_end: at the start and the end of training, linear in between
    max_grad_norm: gradient-norm clipping threshold
    hidden: units of each hidden layer
    activation: after each hidden layer; "tanh" or "relu"
    lane_units: units of a layer shared by all lanes of the sensor (`agents.lane_network`), before the hidden ones; 0:
        none
    """

    learning_rate: float = real(1e-3, 1e-8, 1.0)
    learning_rate_end: float = real(1e-4, 0.0, 1.0)
    max_grad_norm: float = real(0.5, 1e-6, 1e6)
    hidden: tuple[int, ...] = integers((64, 64), 1, 4096, 0, 8)
    activation: str = choice("tanh", "tanh", "relu")
    lane_units: int = integer(0, 0, 1024)

    @property
    def hidden_layers(self) -> int:
        """Hidden layers of the network."""
        return len(self.hidden)

    @property
    def uses_torch(self) -> bool:
        """Whether torch trains the network."""
        return True

    def check_run(self, run: "TrainConfig") -> None:
        """Raise ValueError if a network that reads lanes cannot read this observation."""
        if self.lane_units:
            self.check_lanes(run, ", or set lane_units=0")

    def check_lanes(self, run: "TrainConfig", remedy: str = "") -> None:
        """Raise ValueError unless the observation is the cells of the 2018 contest's sensor."""
        seen = run.observation
        is_plain = seen.kind == "vector" and not (seen.temporal_window or seen.is_weak)
        if not is_plain or run.encoder.is_used or run.road.rules != 2018:
            raise ValueError(
                f"lane_units={self.lane_units} reads the cells of the 2018 contest's sensor, not kind={seen.kind!r}, "
                f"temporal_window={seen.temporal_window}, encoder={run.encoder.name!r}, rules={run.road.rules}, "
                f"or a weakened sensor; set kind=vector and leave the others out{remedy}"
            )

    def check_no_lanes(self, run: "TrainConfig") -> None:
        """Raise ValueError if a layer shared by all lanes is asked for."""
        if self.lane_units:
            raise ValueError(f"lane_units={self.lane_units} is not for {run.algo}; set lane_units=0")


@dataclass(frozen=True)
class NetworkConfig(TorchConfig):
    """Hyperparameters of every algorithm that trains a torch network by reward, see `TorchConfig`.

    gamma: discount per decision
    """

    gamma: float = real(0.92, 0.0, 1.0)


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
        self.agent.check_run(self)

    def to_json(self) -> dict[str, Any]:
        """The configuration as nested plain values, as a config file holds it."""
        return json.loads(json.dumps(asdict(self)))
