"""deepqlearn: the original game's own learner, in one compiled loop with the simulator.

    >>> from agents.settings import build_config
    >>> learner = DeepQLearn(build_config("deepqlearn", settings={"seed": 1}))
    >>> learner.learn(30_000)                                       # about a second
    >>> evaluate_official(learner.policy("mine", {})).score         # 65 to 67, or 51 to 60 where it failed to learn

Source: Andrej Karpathy's ConvNetJS (its deepqlearn module and SGD trainer), as the published game used it; Q-learning
with a replay buffer after Mnih et al. 2013 (arXiv:1312.5602), without a target network. What is reproduced:

- Each decision stores (s, a, r, s'); a full replay buffer replaces a random entry. Once more than
  `start_learn_threshold` are stored, each decision draws `batch_size` of them with replacement, one after another:
  target r + gamma * max Q(s', .) by the same network, squared loss on the taken action alone.
- One step per batch: (summed gradient + decay) / batch_size, momentum, then the weights; biases do not decay.
- Weights start as Gaussians of deviation sqrt(1 / inputs), biases as 0.1 before relu, else 0.
- A random action with probability epsilon, which falls from 1 after `learning_steps_burnin` decisions to `epsilon_min`
  at `learning_steps_total`. The page leaves that at 10,000, also for its basic network's 30,000 decisions, which
  therefore makes its last 20,000 without exploration: that is why some trainings fail to learn.

Assumed, where the published game is silent: training is one long run without resets, on an open run that the seed
chooses; other agents act by the current network, with the same epsilon, and nothing is learned from them; an
agent whose temporal window is not yet full acts at random. The original multiplies `l1_decay` by a layer setting that
is 0 unless a file sets it; here it acts as given.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from agents.algorithm import Notes
from agents.algorithms.deepqlearn.config import ACTIVATIONS, DeepQLearnConfig
from agents.algorithms.deepqlearn.loop import ARRAYS, Brain, epsilon_at, train_block
from agents.algorithms.deepqlearn.network import (
    BIASES,
    INPUTS,
    OUTPUTS,
    WEIGHTS,
    LearningSettings,
    place_layers,
    start_weights,
)
from agents.config import TrainConfig
from deeptraffic.policies.base import Policy
from deeptraffic.policies.file import PolicyFile, pack_policy, policy_content
from deeptraffic.policies.layer import Layer
from deeptraffic.policies.layers import Dense, Relu, Sigmoid, Tanh
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import input_size
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import MPH_PER_PX, Action
from deeptraffic.sim.state import F64, I64

LAYERS: dict[str, Layer] = {"relu": Relu(), "tanh": Tanh(form="convnetjs"), "sigmoid": Sigmoid()}
ROUND = 1000  # decisions
REPLAY = ("states", "next_states", "actions", "rewards")
MAX_LABEL = 100  # characters


# --- the learner ------------------------------------------------------------------------------------------------------


class DeepQLearn:
    """The original's network and learning rule, with its simulator, as `agents.algorithm.Learner`."""

    def __init__(self, config: TrainConfig) -> None:
        self.config, self.agent = config, _agent(config)
        self.layers = layer_table(config)
        self.brain = new_brain(config, self.layers)
        self.sim = Simulator(config.road.build(), num_envs=1, threads=1)
        self.sim.reset_open([config.seed])
        names = LearningSettings._fields
        self.settings = LearningSettings(**{name: getattr(self.agent, name) for name in names})

    @property
    def decisions(self) -> int:
        """Decisions of the ego car made so far."""
        return int(self.brain.tally["age"][0])

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return self.brain.params.size

    def learn(
        self, total_timesteps: int, between_rounds: Callable[[], None] = lambda: None, logger: Any = None
    ) -> None:
        """Train until `total_timesteps` decisions, see `agents.algorithm.Learner`; a round is 1,000 decisions."""
        if self.decisions < total_timesteps:
            between_rounds()
        while self.decisions < total_timesteps:
            self.advance(min(ROUND - self.decisions % ROUND, total_timesteps - self.decisions))
            between_rounds()

    def advance(self, decisions: int) -> None:
        """Let the ego car make this many decisions, and learn after each.

        Raises RuntimeError if the weights diverge.
        """
        sensor = self.config.observation.sensor
        train_block(self.sim.table, sensor, self.sim.games, self.layers, self.settings, self.brain, decisions)
        if not np.isfinite(self.brain.params).all():
            raise RuntimeError(
                f"the weights grew beyond all bounds within {self.decisions:,} decisions; lower "
                f"learning_rate={self.agent.learning_rate:g} or momentum={self.agent.momentum:g}"
            )

    def metrics(self) -> dict[str, float]:
        """Return the exploring policy's mean speed, the loss and epsilon, of the decisions since the last call.

        The loss is the mean squared error / 2 of all samples; there is none before learning starts.
        """
        tally = self.brain.tally[0]
        decisions = int(tally["age"] - tally["reported"])
        if not decisions:
            return {}
        mean_speed = (60.0 + 20.0 * tally["reward_sum"] / decisions) / 30.0  # [px/frame]: reward = (N - 60) / 20
        metrics = {"train_mph": MPH_PER_PX * float(mean_speed)}
        if tally["losses"]:
            metrics["loss"] = float(tally["loss_sum"] / tally["losses"])
        tally["reported"], tally["reward_sum"], tally["loss_sum"], tally["losses"] = tally["age"], 0.0, 0.0, 0
        return metrics | {"epsilon": float(epsilon_at(self.settings, self.decisions))}

    # --- the network --------------------------------------------------------------------------------------------------

    def network(self) -> Network:
        """Return the current network."""
        neurons = [*self.agent.layers, (len(Action), "")]
        layers: list[Layer] = []
        tensors: dict[str, F64] = {}
        for row, (outputs, activation) in zip(self.layers, neurons, strict=True):
            layers.append(Dense(outputs=outputs))
            weights = self.brain.params[row[WEIGHTS] : row[BIASES]].copy()
            tensors[f"{len(layers)}.weight"] = weights.reshape(outputs, row[INPUTS])
            tensors[f"{len(layers)}.bias"] = self.brain.params[row[BIASES] : row[BIASES] + outputs].copy()
            if activation:
                layers.append(LAYERS[activation])
        return Network(int(self.layers[0, INPUTS]), tuple(layers), tensors)

    def policy(self, label: str, notes: Notes) -> Policy:
        """Return the current network as a policy."""
        return self.export(label).policy()

    def content(self, label: str, notes: Notes) -> bytes:
        """Return the current network as the content of a policy file."""
        return policy_content(self.export(label))

    def export(self, label: str = "deepqlearn") -> PolicyFile:
        """Return the network as a policy file: the original agent at test time, without exploration."""
        road, seen = self.config.road, self.config.observation
        facts = {
            "algorithm": "deepqlearn",
            "decisions": self.decisions,
            "gamma": self.agent.gamma,
            "seed": self.config.seed,
        }
        return pack_policy(
            self.network(),
            seen.sensor,
            label[:MAX_LABEL],
            seen.temporal_window,
            road.rules,
            road.other_agents,
            training=facts,
        )

    # --- saving and restoring -----------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return copies of all that the future depends on, as arrays; the replay buffer's unused part is left out."""
        stored = int(self.brain.tally["stored"][0])
        parts = self._arrays().items()
        return {name: array[: stored if name in REPLAY else len(array)].copy() for name, array in parts}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state of a learner with the same configuration; ValueError if it is of another."""
        arrays = self._arrays()
        for name, array in arrays.items():
            saved = state.get(name, np.zeros(0))
            fits = len(saved) == len(array) or (name in REPLAY and len(saved) < len(array))
            if not fits or saved.shape[1:] != array.shape[1:] or saved.dtype != array.dtype:
                raise ValueError(f"the saved state's {name!r} is not of this configuration; train again")
        for name, array in arrays.items():
            array[: len(state[name])] = state[name]

    def _arrays(self) -> dict[str, np.ndarray]:
        """Return the state's arrays themselves, records as bytes."""
        records = {"tally": self.brain.tally, "games": self.sim.games}
        views = {name: array.view(np.uint8).reshape(-1) for name, array in records.items()}
        return {**self.brain._asdict(), **views}


# --- the network ------------------------------------------------------------------------------------------------------


def _agent(config: TrainConfig) -> DeepQLearnConfig:
    assert isinstance(config.agent, DeepQLearnConfig)
    return config.agent


def layer_table(config: TrainConfig) -> I64:
    """Return (layers, 7): sizes, activation and places of every dense layer; the columns are named in `network.py`."""
    seen, agent = config.observation, _agent(config)
    hidden = np.array([(neurons, ACTIVATIONS[name]) for neurons, name in agent.layers], np.int64).reshape(-1, 2)
    layers = np.zeros((len(hidden) + 1, 7), np.int64)
    place_layers(input_size(seen.sensor, seen.temporal_window), hidden, layers)
    return layers


def new_brain(config: TrainConfig, layers: I64) -> Brain:
    """Return the state of a new learner, its weights drawn from the seed."""
    seen, agents = config.observation, config.road.other_agents + 1
    sizes: dict[Any, int] = {
        "parameters": int(layers[-1, BIASES] + layers[-1, OUTPUTS]),
        "entries": _agent(config).experience_size,
        "width": int(layers[0, INPUTS]),
        "cells": seen.sensor.size,
        "window": seen.temporal_window,
        "agents": agents,
    }
    arrays: dict[str, Any] = {
        name: np.zeros([sizes.get(axis, axis) for axis in shape], dtype) for name, (dtype, shape) in ARRAYS.items()
    }
    brain = Brain(**arrays)
    generator = np.random.default_rng(config.seed)
    for row in layers:
        brain.params[row[WEIGHTS] : row[BIASES]] = generator.standard_normal(row[BIASES] - row[WEIGHTS])
    start_weights(layers, brain.params)
    brain.tally["rng"] = generator.integers(2**63)
    return brain
