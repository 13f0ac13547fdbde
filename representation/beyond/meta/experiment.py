"""Meta-learning (Reptile): initial weights that adapt to dense traffic from two short demonstrations.

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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import nn

from deeptraffic.envs.observations import make_observation
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.figure import BLUE, GREY, ORANGE, new_figure, save_figure
from deeptraffic.policies.base import Policy
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.settings import Checked, integer, real
from deeptraffic.sim.rules import Action, RoadConfig
from deeptraffic.sim.state import I64
from representation.data.recording import Recording, RecordingConfig, observe, record
from representation.encoder import Encoder
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Arrays, length_of
from representation.paradigms.feedforward.model import DenseEncoder
from representation.plots import REPORT_DPI
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

    def act(self, obs: NDArray[Any], agent_indices: I64) -> I64:
        """Return the actions (B,) for lane gaps (B, n)."""
        return self.model.predict(obs).argmax(1).astype(np.int64)


KNOWN, NEW = (6, 10, 14, 18), 30  # vehicles; the contest's road has 20, and 31 is the most that a reset can place
TRAINING_RUNS, DECISIONS = 120, 40
EPISODES, DRAWS = 2, 3  # demonstrations for the adaptation, and how many draws of them are averaged
STEPS = (0, 4, 16, 64, 256)
SHOWN = 16  # steps of the figure
EVALUATION_RUNS = 100
REPTILE, JOINT, SCRATCH = "Reptile", "all densities together", "from scratch"
COLOURS = {REPTILE: BLUE, JOINT: ORANGE, SCRATCH: GREY}
WEIGHTS = "encoder.safetensors"


class MetaLearning(Experiment):
    """Initial weights for every density of traffic, learned on light traffic, tested on dense."""

    name, paradigm = "meta-learning", "beyond"
    summary = (
        f"Learns on {KNOWN[0]} to {KNOWN[-1]} vehicles to adapt to {NEW} in a few steps on two short demonstrations."
    )
    source = "Nichol, Achiam and Schulman 2018, arXiv:1803.02999, algorithm 1 (Reptile)"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Learn initial weights in three ways, adapt each to the new density, and drive there."""
        starts = self._starts(job)
        starts[REPTILE].encoder.save(job.folder / WEIGHTS)
        speeds = {way: self._adaptation(job, model) for way, model in starts.items()}
        road, runs = density(NEW).road, job.scaled(EVALUATION_RUNS, 5)
        gap = evaluate_open(make_builtin("gap"), road, runs=runs, seed_set="reporting").mean_mph
        save_adaptation(speeds, gap, job)
        caption = (
            f"Mean speed with {NEW} vehicles over steps on {EPISODES} short demonstrations; mean of {DRAWS} draws."
        )
        return ExperimentResult(self._metrics(speeds, gap, runs), [Plot("meta-learning.png", caption)], [WEIGHTS])

    def _starts(self, job: TrainingJob) -> dict[str, Classifier]:
        """Return initial weights by method; both that learn see the same demonstrations for as many minibatches."""
        runs = job.scaled(TRAINING_RUNS, 4)
        tasks = [gap_demonstrations(density(vehicles, runs=runs, decisions=DECISIONS), job.cache) for vehicles in KNOWN]
        everything = {name: np.concatenate([task[name] for task in tasks]) for name in tasks[0]}
        config = ReptileConfig(rounds=job.scaled(400, 10))
        fresh = new_driver()
        found, joint = copy.deepcopy(fresh), copy.deepcopy(fresh)
        reptile(found, tasks, config)
        steps = config.rounds * config.inner_steps
        take_steps(
            joint, everything, steps, config.inner_learning_rate, config.batch_size, np.random.default_rng(config.seed)
        )
        return {REPTILE: found, JOINT: joint, SCRATCH: fresh}

    def _adaptation(self, job: TrainingJob, model: Classifier) -> list[float]:
        """Return the mean speed on the new density [mph] after each number of steps."""
        runs, speeds = job.scaled(EVALUATION_RUNS, 5), []
        for steps in STEPS:
            each = []
            for draw in range(DRAWS if steps else 1):
                driver = ClonedPolicy(adapted(model, new_demonstrations(job, draw), steps, seed=draw))
                score = evaluate_open(driver, density(NEW).road, runs=runs, seed_set="reporting")
                each.append(score.mean_mph)
            speeds.append(float(np.mean(each)))
        return speeds

    def _metrics(self, speeds: Mapping[str, list[float]], gap: float, runs: int) -> list[Metric]:
        metrics = []
        for steps in (0, SHOWN, STEPS[-1]):
            at = {way: values[STEPS.index(steps)] for way, values in speeds.items()}
            note = f"{runs} open runs; the expert, gap, scores {gap:.2f} mph there"
            metrics.append(Metric(f"{NEW} vehicles, after {steps} steps", at.pop(REPTILE), at, "mph", note=note))
        return metrics


def new_driver() -> Classifier:
    """Return a network of lane gaps with fixed initial weights."""
    torch.manual_seed(0)
    encoder = DenseEncoder(spaces.Box(0.0, 1.0, (42,), np.float32), 64, hidden=(64,))
    encoder.observed = dict(OBSERVED)
    return cloning_model(encoder)


def new_demonstrations(job: TrainingJob, draw: int) -> Arrays:
    """Return a few demonstrations on the new density, different ones for each draw."""
    return gap_demonstrations(density(NEW, runs=EPISODES, decisions=DECISIONS, first=draw * EPISODES), job.cache)


def save_adaptation(speeds: Mapping[str, list[float]], gap: float, job: TrainingJob) -> None:
    """Plot mean speed over steps, one line per method, and the expert's."""
    figure, axes = new_figure(f"Adapting to {NEW} vehicles from {EPISODES} short drives", (6.4, 3.8))
    places = np.arange(len(STEPS))
    for (way, values), style in zip(speeds.items(), ("-", "--", ":"), strict=True):
        axes.plot(places, values, style, marker="o", ms=4, color=COLOURS[way], label=way)
    axes.axhline(gap, color="#999999", lw=1.0)
    axes.annotate("the teacher, gap", (0, gap), xytext=(0, 3), textcoords="offset points", fontsize=9)
    axes.set_xticks(places, [str(steps) for steps in STEPS])
    axes.set_xlabel("steps on the new density")
    axes.set_ylabel("mean speed [mph]")
    axes.legend(frameon=False)
    save_figure(figure, job.folder / "meta-learning.png", REPORT_DPI)
