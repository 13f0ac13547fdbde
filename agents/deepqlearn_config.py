"""What a deepqlearn training is told: the original page's settings, by its names, and MIT's two examples as presets.

>>> from agents.deepqlearn_config import build_deepqlearn_config
>>> build_deepqlearn_config("mit-default", {"gamma": 0.9}).temporal_window
3
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

from agents.deepqlearn_network import RELU, SIGMOID, TANH
from deeptraffic.policies.network_policy import input_size
from deeptraffic.settings import Checked, choice, integer, real
from deeptraffic.sim.rules import MAX_OTHER_AGENTS, Action, RoadConfig, Sensor

ACTIVATIONS = {"relu": RELU, "tanh": TANH, "sigmoid": SIGMOID}
MAX_REPLAY_BYTES = 8 * 2**30
MAX_PARAMETERS = 2_000_000  # float64 in a policy file of 16 MB


@dataclass(frozen=True)
class DeepQLearnConfig(Checked):
    """The original's settings, by the names of its page; the defaults are those of MIT's basic network.

    rules, other_agents: the game to train in
    lanes_side, patches_ahead, patches_behind: the sensor
    temporal_window: earlier decisions that the network sees
    layers: hidden layers, each (neurons, "relu", "tanh" or "sigmoid")
    gamma: discount per decision
    experience_size: entries of the replay memory
    start_learn_threshold: entries that must be exceeded before learning starts
    learning_steps_total, learning_steps_burnin: [decisions] between which epsilon falls from 1
    epsilon_min: chance of a random action after that
    learning_rate, momentum, batch_size, l2_decay, l1_decay: of the trainer
    iterations: decisions of training
    seed: of the weights, the exploration, the replay and the game
    checkpoint_every: [decisions]; evaluation_runs: open runs on tuning seeds at the end, 0 for none
    """

    algo: str = choice("deepqlearn", "deepqlearn")
    rules: int = integer(2018, 2017, 2018)
    other_agents: int = integer(0, 0, MAX_OTHER_AGENTS)
    lanes_side: int = integer(1, 0, 6)
    patches_ahead: int = integer(10, 0, 70)
    patches_behind: int = integer(0, 0, 70)
    temporal_window: int = integer(0, 0, 100)
    layers: tuple[tuple[int, str], ...] = ((10, "relu"),)
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
    iterations: int = integer(30_000, 1, 10**12)
    seed: int = integer(0, 0, 999_000_000)
    checkpoint_every: int = integer(100_000, 1, 10**12)
    evaluation_runs: int = integer(500, 0, 100_000)

    @property
    def sensor(self) -> Sensor:
        """The window of cells."""
        return Sensor(self.lanes_side, self.patches_ahead, self.patches_behind)

    @property
    def road(self) -> RoadConfig:
        """The game's rules."""
        return RoadConfig(rules=self.rules, other_agents=self.other_agents)

    def check(self) -> None:
        """Raise ValueError if settings that are possible alone are impossible together."""
        object.__setattr__(self, "layers", _canonical_layers(self.layers))
        self.sensor.check(self.road.build())
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
        inputs = input_size(self.sensor, self.temporal_window)
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
                f"experience_size={self.experience_size} needs {size / 2**30:.1f} GiB of replay memory; at most "
                f"{MAX_REPLAY_BYTES / 2**30:.0f} GiB are taken: lower it, the sensor or temporal_window"
            )

    def to_json(self) -> dict[str, Any]:
        """The configuration as plain values, as a config file holds it."""
        return json.loads(json.dumps(asdict(self)))


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


PRESETS: dict[str, dict[str, Any]] = {
    "mit-basic": {},
    "mit-default": {
        "lanes_side": 0,
        "patches_ahead": 1,
        "temporal_window": 3,
        "layers": [[1, "relu"]],
        "gamma": 0.7,
        "iterations": 10_000,
    },
}


def build_deepqlearn_config(preset: str = "mit-basic", *settings: Mapping[str, Any]) -> DeepQLearnConfig:
    """Return a preset's configuration with these settings changed, later mappings winning; ValueError for bad ones."""
    if preset not in PRESETS:
        raise ValueError(f"preset {preset!r} does not exist for deepqlearn; choose one of {', '.join(PRESETS)}")
    names = [setting.name for setting in fields(DeepQLearnConfig)]
    chosen: dict[str, Any] = dict(PRESETS[preset])
    for mapping in settings:
        for name, value in mapping.items():
            if name not in names:
                near = difflib.get_close_matches(name, names, 1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise ValueError(f"there is no setting {name!r} for deepqlearn; {hint}There are: {', '.join(names)}")
            chosen[name] = value
    return DeepQLearnConfig(**chosen)
