"""Experiment on meta-learning: first weights that adapt to dense traffic from two short demonstrations."""

import copy
from collections.abc import Mapping

import numpy as np
import torch
from gymnasium import spaces

from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.figure import BLUE, GREY, ORANGE, new_figure, save_figure
from deeptraffic.policies.builtin import make_builtin
from representation.beyond.meta import (
    OBSERVED,
    ClonedPolicy,
    ReptileConfig,
    adapted,
    cloning_model,
    density,
    gap_demonstrations,
    reptile,
    take_steps,
)
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Arrays
from representation.paradigms.dense import DenseEncoder
from representation.plots import REPORT_DPI
from representation.supervised import Classifier

KNOWN, NEW = (6, 10, 14, 18), 30  # vehicles; the contest's road has 20, and 31 is the most that a reset can place
TRAINING_RUNS, DECISIONS = 120, 40
EPISODES, DRAWS = 2, 3  # drives that are adapted to, and how often other ones are tried
STEPS = (0, 4, 16, 64, 256)
SHOWN = 16  # steps of the figure
EVALUATION_RUNS = 100
REPTILE, JOINT, SCRATCH = "Reptile", "all densities together", "from scratch"
COLOURS = {REPTILE: BLUE, JOINT: ORANGE, SCRATCH: GREY}
WEIGHTS = "encoder.safetensors"


class MetaLearning(Experiment):
    """First weights for every density of traffic, found on light traffic, tried on dense."""

    name, paradigm = "meta-learning", "beyond"
    summary = (
        f"Learns on {KNOWN[0]} to {KNOWN[-1]} vehicles to adapt to {NEW} in a few steps on two short demonstrations."
    )
    source = "Nichol, Achiam and Schulman 2018, arXiv:1803.02999, algorithm 1 (Reptile)"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Find first weights three ways, adapt each to the new density, and drive there."""
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
        """Return first weights by way; both that learn see the same lessons for the same number of minibatches."""
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
                driver = ClonedPolicy(adapted(model, new_drives(job, draw), steps, seed=draw))
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
    """Return a network of lane gaps with first weights that are always the same."""
    torch.manual_seed(0)
    encoder = DenseEncoder(spaces.Box(0.0, 1.0, (42,), np.float32), 64, hidden=(64,))
    encoder.observed = dict(OBSERVED)
    return cloning_model(encoder)


def new_drives(job: TrainingJob, draw: int) -> Arrays:
    """Return the lessons of a few drives on the new density, other ones for each draw."""
    return gap_demonstrations(density(NEW, runs=EPISODES, decisions=DECISIONS, first=draw * EPISODES), job.cache)


def save_adaptation(speeds: Mapping[str, list[float]], gap: float, job: TrainingJob) -> None:
    """Draw mean speed over steps, one line per way, and the teacher's."""
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
