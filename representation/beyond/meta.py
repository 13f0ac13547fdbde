"""Meta-learning (Reptile): initial weights that adapt to dense traffic from two short demonstrations.

    >>> reptile(model, tasks, rounds=300)                  # tasks: one set of arrays per density of traffic
    >>> quick = adapted(model, few_episodes, steps=16)     # a copy, after 16 steps on the new density

Source: Nichol, Achiam and Schulman 2018, "On first-order meta-learning algorithms", arXiv:1803.02999, algorithm 1: take
k steps on one task, from w to w', then move the initial weights a part of the way, w <- w + e (w' - w).

The task is to predict the decisions of the built-in policy `gap` from lane gaps, on roads with few to many vehicles.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import nn

from deeptraffic.evaluation.statistics import mean_interval
from deeptraffic.figure import curve_style, new_figure
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.sim.rules import Action, RoadConfig
from representation.comparison import WEIGHTS
from representation.data.recording import observe
from representation.encoders.dense import DenseEncoder
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Arrays, length_of
from representation.plots import save_plot
from representation.supervised import Classifier

INNER_STEPS, BATCH_SIZE = 8, 64  # k; examples of a minibatch
LEARNING_RATE = 2e-3  # of Adam on a task, with beta1 = 0 as in the paper's section 6
STEP_SIZE = 0.5  # e at the start; it falls linearly to 0


def reptile(
    model: Classifier, tasks: Sequence[Arrays], rounds: int, seed: int = 0, learning_rate: float = LEARNING_RATE
) -> None:
    """Meta-train a model's weights in place: visit so many tasks, one after another."""
    random = np.random.default_rng(seed)
    for done in range(rounds):
        task = tasks[int(random.integers(len(tasks)))]
        inner = copy.deepcopy(model)
        take_steps(inner, task, INNER_STEPS, random, learning_rate)
        part = STEP_SIZE * (1.0 - done / rounds)
        with torch.no_grad():
            for weight, moved in zip(model.parameters(), inner.parameters(), strict=True):
                weight.add_(part * (moved - weight))


def adapted(model: Classifier, examples: Arrays, steps: int, learning_rate: float = LEARNING_RATE) -> Classifier:
    """Return a copy of a model after `steps` on a few examples."""
    quick = copy.deepcopy(model)
    take_steps(quick, examples, steps, np.random.default_rng(0), learning_rate)
    return quick.eval()


def take_steps(
    model: Classifier, data: Arrays, steps: int, random: np.random.Generator, learning_rate: float = LEARNING_RATE
) -> None:
    """Train a model in place on minibatches drawn from the data."""
    optimizer = torch.optim.Adam(model.parameters(), learning_rate, betas=(0.0, 0.999))
    count = length_of(data)
    model.train()
    for _ in range(steps):
        chosen = random.integers(count, size=min(BATCH_SIZE, count))
        loss, _ = model.loss({name: torch.from_numpy(array[chosen]) for name, array in data.items()})
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


KNOWN, NEW = (6, 10, 14, 18), 30  # vehicles; the contest's road has 20, and 31 is the most that a reset can place
EPISODES, DRAWS = 2, 3  # demonstrations for the adaptation, and how many draws of them are averaged
DECISIONS = 40  # of each run
STEPS, SHOWN = (0, 4, 16, 64, 256), 16  # of the adaptation: plotted, and of the metric
REPTILE, JOINT, SCRATCH = "Reptile", "all densities together", "from scratch"


def demonstrations(job: TrainingJob, split: str, runs: int, vehicles: int) -> dict[str, NDArray[Any]]:
    """Return obs (N, 42), lane gaps, and label (N,), the decisions of `gap`, on roads with so many vehicles."""
    recording = job.record(split, runs, decisions=DECISIONS, road=RoadConfig(vehicles=vehicles))
    states = recording.states[:, :-1].ravel()
    gap = make_builtin("gap", recording.rules.year)
    label = gap.act(observe(recording.rules, states, "vector"), np.arange(len(states)))
    return {"obs": observe(recording.rules, states, "gaps"), "label": label}


def new_model() -> Classifier:
    """Return an untrained classifier of decisions."""
    encoder = DenseEncoder(spaces.Box(0.0, 1.0, (42,), np.float32), 64, hidden=(64,))
    encoder.observed = {"kind": "gaps"}
    return Classifier(encoder, len(Action))


class MetaLearning(Experiment):
    """Initial weights for every density of traffic, learned on light traffic, tested on dense."""

    name, paradigm = "meta-learning", "beyond"
    summary = (
        f"Learns on {KNOWN[0]} to {KNOWN[-1]} vehicles to adapt to {NEW} in a few steps on two short demonstrations."
    )
    source = "Nichol, Achiam and Schulman 2018, arXiv:1803.02999, algorithm 1 (Reptile)"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Learn initial weights in three ways, adapt each to the new density, and predict decisions there."""
        tasks = [demonstrations(job, "train", 120, vehicles) for vehicles in KNOWN]
        test = demonstrations(job, "test", 100, NEW)
        shown, size = demonstrations(job, "train", EPISODES * DRAWS, NEW), EPISODES * DECISIONS
        draws = [{name: a[k * size : (k + 1) * size] for name, a in shown.items()} for k in range(DRAWS)]
        rounds = job.scaled(300, 10)
        starts = {way: job.new(new_model) for way in (REPTILE, JOINT, SCRATCH)}
        reptile(starts[REPTILE], tasks, rounds, job.seed)
        together = {name: np.concatenate([task[name] for task in tasks]) for name in tasks[0]}
        take_steps(starts[JOINT], together, rounds * INNER_STEPS, np.random.default_rng(job.seed))
        starts[REPTILE].encoder.save(job.folder / WEIGHTS)

        def agreement(start: Classifier, count: int) -> list[float]:
            answers = [adapted(start, few, count).predict(test["obs"]).argmax(1) for few in draws]
            return [float(np.mean(answer == test["label"])) for answer in answers]

        found = {way: [agreement(start, count) for count in STEPS] for way, start in starts.items()}
        figure, axes = new_figure(f"Adapting to {NEW} vehicles from {EPISODES} short demonstrations", (6.4, 3.8))
        for k, (way, values) in enumerate(found.items()):
            reach = [mean_interval(each)[1] - np.mean(each) for each in values]
            places = np.arange(len(STEPS)) + 0.06 * (k - 1)  # side by side
            axes.errorbar(places, np.mean(values, 1), reach, capsize=3, **curve_style(k), ms=4, label=way)
        axes.set_xticks(range(len(STEPS)), [str(steps) for steps in STEPS])
        axes.set_xlabel("steps on the new density")
        axes.set_ylabel("fraction of the expert's decisions")
        axes.set_ylim(0.0, 1.0)
        axes.legend(frameon=False)
        save_plot(figure, job.folder / "meta-learning.png")
        at = {way: float(np.mean(values[STEPS.index(SHOWN)])) for way, values in found.items()}
        note = f"mean of {DRAWS} draws of {EPISODES} demonstrations"
        metric = Metric(f"decisions of gap predicted, {NEW} vehicles, {SHOWN} steps", at.pop(REPTILE), at, note=note)
        caption = (
            f"Predicted decisions with {NEW} vehicles over steps on {EPISODES} demonstrations; mean of {DRAWS} draws, "
            "with 95% intervals."
        )
        return ExperimentResult([metric], [Plot("meta-learning.png", caption)], [WEIGHTS])
