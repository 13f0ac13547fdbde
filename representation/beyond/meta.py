"""Meta-learning (Reptile): initial weights from which a new task is learned in a few steps.

    >>> reptile(model, tasks, ReptileConfig(), progress)   # tasks: one set of arrays per density of traffic
    >>> quick = adapted(model, few_episodes, steps=16)     # a copy, after 16 steps on the new density
    >>> evaluate_open(ClonedPolicy(quick), RoadConfig(vehicles=30))

Source: Nichol, Achiam and Schulman 2018, "On first-order meta-learning algorithms", arXiv:1803.02999, algorithm 1: take
k steps on one task, from w to w', then move the initial weights a part of the way, w <- w + e (w' - w).

The task is to imitate the built-in policy `gap` (behaviour cloning, Pomerleau 1991) from lane gaps, on roads with few
to many vehicles.

Letters in shapes: N examples, B of a minibatch.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deeptraffic.envs.observations import make_observation
from deeptraffic.policies.base import Policy
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.settings import Checked, integer, real
from deeptraffic.sim.rules import Action, RoadConfig
from deeptraffic.sim.state import I64
from representation.data.recording import Recording, RecordingConfig, observe, record
from representation.encoder import Encoder
from representation.fit import Arrays, length_of
from representation.supervised import Classifier

OBSERVED = {"kind": "gaps"}


@dataclass(frozen=True)
class ReptileConfig(Checked):
    """Hyperparameters of meta-learning.

    rounds: tasks visited, one after another
    inner_steps: k, minibatches on each
    inner_learning_rate: of Adam on a task (beta1 = 0, as in the paper's section 6)
    batch_size: examples of one minibatch
    step_size: e at the start; it falls linearly to 0
    seed: of tasks and minibatches
    """

    rounds: int = integer(300, 1, 1_000_000)
    inner_steps: int = integer(8, 1, 10_000)
    inner_learning_rate: float = real(2e-3, 1e-8, 1.0)
    batch_size: int = integer(64, 1, 100_000)
    step_size: float = real(0.5, 1e-6, 1.0)
    seed: int = integer(0, 0, 2**31 - 1)


def reptile(model: Classifier, tasks: Sequence[Arrays], config: ReptileConfig) -> None:
    """Meta-train a model's weights in place."""
    random = np.random.default_rng(config.seed)
    for done in range(config.rounds):
        task = tasks[int(random.integers(len(tasks)))]
        inner = copy.deepcopy(model)
        take_steps(inner, task, config.inner_steps, config.inner_learning_rate, config.batch_size, random)
        part = config.step_size * (1.0 - done / config.rounds)
        with torch.no_grad():
            for weight, moved in zip(model.parameters(), inner.parameters(), strict=True):
                weight.add_(part * (moved - weight))


def adapted(
    model: Classifier,
    episodes: Arrays,
    steps: int,
    learning_rate: float = 2e-3,
    batch_size: int = 64,
    seed: int = 0,
) -> Classifier:
    """Return a copy of a model after `steps` on a few episodes."""
    quick = copy.deepcopy(model)
    take_steps(quick, episodes, steps, learning_rate, batch_size, np.random.default_rng(seed))
    return quick.eval()


def take_steps(
    model: Classifier, data: Arrays, steps: int, learning_rate: float, batch_size: int, random: np.random.Generator
) -> None:
    """Train a model in place on minibatches drawn from the data."""
    optimizer = torch.optim.Adam(model.parameters(), learning_rate, betas=(0.0, 0.999))
    count = length_of(data)
    model.train()
    for _ in range(steps):
        chosen = random.integers(count, size=min(batch_size, count))
        loss, _ = model.loss({name: torch.from_numpy(array[chosen]) for name, array in data.items()})
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


# --- the task: to imitate `gap` ---------------------------------------------------------------------------------------


def gap_demonstrations(config: RecordingConfig, cache: Any = None) -> dict[str, NDArray[Any]]:
    """Return scenes of recorded driving: obs (N, n), lane gaps; label (N,), the actions of the policy `gap`."""
    recording = record(config, cache)
    states = recording.states[:, :-1].ravel()
    return {"obs": observe(recording.rules, states, OBSERVED), "label": gap_decisions(recording, states)}


def gap_decisions(recording: Recording, states: NDArray[Any]) -> I64:
    """Return the actions of the policy `gap` in states (N,)."""
    cells = observe(recording.rules, states, make_observation("vector"))  # (N, 420) float64
    return make_builtin("gap", recording.rules.year).act(np.ascontiguousarray(cells), np.arange(len(cells)))


def density(vehicles: int, **fields: Any) -> RecordingConfig:
    """Return the configuration of recordings with a number of vehicles (the contest's road has 20)."""
    return RecordingConfig(road=RoadConfig(vehicles=vehicles), **fields)


def cloning_model(encoder: Encoder) -> Classifier:
    """Return an encoder with a head for the five actions."""
    return Classifier(encoder, len(Action))


class ClonedPolicy(Policy):
    """Drives by a classifier of lane gaps: the most likely action."""

    def __init__(self, model: Classifier, label: str = "cloned") -> None:
        self.model, self.label = model, label
        self.observation = make_observation(OBSERVED)

    def act(self, obs: NDArray[Any], rows: I64) -> I64:
        """Return the actions (B,) for lane gaps (B, n)."""
        return self.model.predict(obs).argmax(1).astype(np.int64)
