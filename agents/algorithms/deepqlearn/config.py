"""Hyperparameters of deepqlearn, by the names of the original game's page; MIT's two examples are presets.

>>> build_config("deepqlearn", "mit-default", settings={"gamma": 0.9}).observation.temporal_window
3
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from agents.algorithms.deepqlearn.network import RELU, SIGMOID, TANH
from agents.config import AgentConfig
from deeptraffic.policies.network_policy import input_size
from deeptraffic.settings import integer, real
from deeptraffic.sim.rules import Action

if TYPE_CHECKING:
    from agents.config import TrainConfig

ACTIVATIONS = {"relu": RELU, "tanh": TANH, "sigmoid": SIGMOID}
MAX_REPLAY_BYTES = 8 * 2**30
MAX_PARAMETERS = 2_000_000  # float64 in a policy file of 16 MB


@dataclass(frozen=True)
class DeepQLearnConfig(AgentConfig):
    """Hyperparameters of deepqlearn; the defaults are those of MIT's basic network.

    layers: hidden layers, each (neurons, "relu", "tanh" or "sigmoid")
    gamma: discount per decision
    experience_size: replay capacity [transitions]
    start_learn_threshold: transitions that must be exceeded before learning starts
    learning_steps_total, learning_steps_burnin: [decisions] between which epsilon falls from 1
    epsilon_min: probability of a random action after that
    learning_rate, momentum, batch_size, l2_decay, l1_decay: of the SGD trainer
    """

    layers: tuple[tuple[int, str], ...] = field(default=((10, "relu"),))
    gamma: float = real(0.5, 0.0, 1.0)
    experience_size: int = integer(3000, 1, 100_000_000)
    start_learn_threshold: int = integer(500, 0, 100_000_000)
    learning_steps_total: int = integer(10_000, 1, 10**12)
    learning_steps_burnin: int = integer(1000, 0, 10**12)
    epsilon_min: float = real(0.0, 0.0, 1.0)
    learning_rate: float = real(0.001, 1e-12, 10.0)
    momentum: float = real(0.0, 0.0, 0.9999)
    batch_size: int = integer(64, 1, 65_536)
    l2_decay: float = real(0.01, 0.0, 1e6)
    l1_decay: float = real(0.0, 0.0, 1e6)

    @property
    def hidden_layers(self) -> int:
        """Hidden layers of the network."""
        return len(self.layers)

    def check(self) -> None:
        """Raise ValueError if settings that are possible alone are impossible together."""
        object.__setattr__(self, "layers", _canonical_layers(self.layers))
        if self.learning_steps_burnin >= self.learning_steps_total:
            raise ValueError(
                f"learning_steps_burnin={self.learning_steps_burnin} is not below "
                f"learning_steps_total={self.learning_steps_total}, so that epsilon cannot fall; lower the first"
            )
        if self.start_learn_threshold >= self.experience_size:
            raise ValueError(
                f"start_learn_threshold={self.start_learn_threshold} is never exceeded with "
                f"experience_size={self.experience_size}; lower the first or raise the second"
            )

    def check_run(self, run: "TrainConfig") -> None:
        """Raise ValueError if the run is not one of the original game, or its network or replay buffer is too large."""
        seen, envs = run.observation, run.envs
        if seen.kind != "vector" or seen.is_weak or run.encoder.is_used or run.device == "cuda":
            weak = "a weakened sensor, " if seen.is_weak else ""
            raise ValueError(
                f"deepqlearn learns from the game's own vector, on the CPU, not from {weak}kind={seen.kind!r}, "
                f"encoder={run.encoder.name!r}, device={run.device!r}; leave --obs, --encoder and --device out"
            )
        if (envs.num_envs, envs.reward) != (1, "mit"):
            raise ValueError(
                f"num_envs={envs.num_envs}, reward={envs.reward!r}: deepqlearn learns in one env from the reward "
                "'mit'; leave both out"
            )
        seen.sensor.check()
        inputs = input_size(seen.sensor, seen.temporal_window)
        widths = [inputs, *(neurons for neurons, _ in self.layers), len(Action)]
        parameters = sum((before + 1) * after for before, after in pairwise(widths))
        if parameters > MAX_PARAMETERS:
            raise ValueError(
                f"layers={self.layers} make a network of {parameters:,} weights and biases, but a policy file holds "
                f"{MAX_PARAMETERS:,}; take fewer neurons or a smaller sensor"
            )
        size = 16 * self.experience_size * inputs
        if size > MAX_REPLAY_BYTES:
            raise ValueError(
                f"experience_size={self.experience_size} needs {size / 2**30:.1f} GiB of replay buffer; at most "
                f"{MAX_REPLAY_BYTES / 2**30:.0f} GiB are allowed: lower it, the sensor or temporal_window"
            )


def _canonical_layers(value: Any) -> tuple[tuple[int, str], ...]:
    """Return layers as tuples, or raise ValueError."""
    remedy = 'give up to 8 pairs of 1 to 4096 neurons and relu, tanh or sigmoid, such as [[10, "relu"]]'
    if not isinstance(value, list | tuple) or len(value) > 8:
        raise ValueError(f"layers={value!r} is not possible; {remedy}")
    for layer in value:
        is_pair = isinstance(layer, list | tuple) and len(layer) == 2
        neurons, activation = layer if is_pair else (None, None)
        is_count = isinstance(neurons, int) and not isinstance(neurons, bool) and 1 <= neurons <= 4096
        if not is_count or activation not in ACTIVATIONS:
            raise ValueError(f"layer {layer!r} is not possible; {remedy}")
    return tuple((neurons, activation) for neurons, activation in value)
