"""Experiments with generative adversarial networks for road scenes, unconditional and class-conditional."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.figure import BLUE, GREY, ORANGE, empty_figure, style_axes
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Rules
from representation.data.labels import SCENES, scene_class
from representation.data.rasters import CELL, DecodedScenes, decode_rasters, rasterise, settle
from representation.data.recording import observe
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import FitConfig, FitResult
from representation.paradigms.gan.metrics import (
    Sample,
    abrupt_fraction,
    copied_ratio,
    descriptors,
    independent_scenes,
    marginal_distances,
    marginals,
    precision_recall,
    two_sample_accuracy,
)
from representation.paradigms.gan.model import ConditionalSceneGAN, SceneGAN, truncated_noise
from representation.plots import save_plot, save_roads

COMPARED = 1500  # scenes in each set that is compared
RUNS_AT_A_TIME = 500  # recorded in memory
PAPER = "Radford et al. 2015, arXiv:1511.06434; Miyato et al. 2018, arXiv:1802.05957, equations 8, 16 and 17"
TRUNCATIONS = (0.5, 0.75, 1.0, 1.5, np.inf)

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class RoadData:
    """Recorded roads as rasters.

    rasters: (N, 5, R, L) float32, of legal scenes
    states: (N,) of these scenes; label: (N,) int64 of `SCENES`
    """

    rules: Rules
    rasters: F32
    states: NDArray[Any]
    label: NDArray[np.int64]

    def some(self, count: int, seed: int = 0) -> "RoadData":
        """Return a random subset of `count` scenes, or all if there are fewer."""
        chosen = np.random.default_rng(seed).permutation(len(self.rasters))[:count]
        return RoadData(self.rules, self.rasters[chosen], self.states[chosen], self.label[chosen])


def road_data(job: TrainingJob, split: str, runs: int) -> RoadData:
    """Return all decisions of so many runs at the job's scale."""
    recording = job.record(split, runs, least=10)
    return as_drawn(recording.rules, rasterise(recording.rules, recording.states.reshape(-1)))


def one_per_run(job: TrainingJob, split: str, count: int, first: int = 0) -> RoadData:
    """Return one scene of each of `count` runs at the job's scale, at a random decision: independent real scenes.

    first: runs of the split to skip
    """
    states, job = [], replace(job, scale=1.0, cache=None)
    for start in range(0, count, RUNS_AT_A_TIME):
        recording = job.record(split, min(RUNS_AT_A_TIME, count - start), least=1, first=first + start)
        runs, decisions = recording.states.shape
        states.append(recording.states[np.arange(runs), np.random.default_rng(start).integers(decisions, size=runs)])
    return as_drawn(recording.rules, rasterise(recording.rules, np.concatenate(states)))


def as_drawn(rules: Rules, rasters: F32) -> RoadData:
    """Return rasters with what was left out of their scenes to make them legal."""
    states = decode_rasters(rules, rasters).states
    return RoadData(rules, rasterise(rules, states), states, scene_class(rules, states))


def fit_gan(job: TrainingJob, gan: SceneGAN, train: RoadData, validation: RoadData) -> FitResult:
    """Train a GAN on roads, for as many steps at every scale as its data give."""
    config = FitConfig(
        epochs=5, batch_size=64, learning_rate=5e-4, learning_rate_end=1e-4, beta1=0.0, max_grad_norm=1e3, patience=0
    )
    some = validation.some(512)
    pair = [{"image": data.rasters} | ({"scene": data.label} if gan.classes else {}) for data in (train, some)]
    return job.fit("gan", gan, pair[0], pair[1], config)


class SceneGan(Experiment):
    """GAN of road scenes, which are projected to valid states that the simulator continues."""

    name, paradigm = "scene-gan", "generative adversarial network"
    summary = "Generates road scenes from noise: position, lane, desired and actual speed of every car."
    source = PAPER
    weights = "scene-gan.safetensors"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, compare drawn scenes with held-out ones beside independent cells, and draw."""
        train, validation = (road_data(job, split, runs) for split, runs in (("train", 200), ("validation", 40)))
        rules, count = train.rules, job.scaled(COMPARED, least=100)
        test = one_per_run(job, "test", count)
        gan = job.new(lambda: SceneGAN(train.rasters.shape[1:], width=16, ego_row=int(rules.ego_y / CELL)))
        result = fit_gan(job, gan, train, validation)
        gan.save(job.folder / self.weights, result.summary(self.name))
        sets = {
            "gan": decode_rasters(rules, gan.sample(count, seed=1)),
            "independent cells": decode_rasters(rules, independent_scenes(train.rasters, count, seed=2)),
        }
        others = one_per_run(job, "validation", count, first=1000)
        metrics = compare_sets(rules, sets, train, test, others)
        plots = [
            draw_examples(job.folder / "scenes.png", rules, test.some(8).states, sets),
            draw_marginals(job.folder / "marginals.png", rules, test.states, {n: s.states for n, s in sets.items()}),
            draw_future(job.folder / "continued.png", rules, sets["gan"].states[:1]),
        ]
        return ExperimentResult(metrics, plots, [self.weights])


def compare_sets(
    rules: Rules, sets: Mapping[str, DecodedScenes], train: RoadData, real: RoadData, reference: RoadData
) -> list[Metric]:
    """Return the metrics of the first set of drawn scenes beside the same metrics of the others.

    train: to measure copies; real: held-out scenes, one per run; reference: others, to show what real scenes reach
    """
    known = descriptors(rules, real.states)
    values: dict[str, list[float]] = {}
    for name, scenes in [*sets.items(), ("real scenes", None)]:
        states = reference.states if scenes is None else scenes.states
        rasters = rasterise(rules, states)
        legal = 1.0 if scenes is None else float(scenes.is_valid.mean())
        precision, recall = precision_recall(known, descriptors(rules, states))
        copied = 1.0 if scenes is None else copied_ratio(rasters, real.rasters, train.rasters)
        away = marginal_distances(rules, states, real.states).values()
        distinguished = two_sample_accuracy(Sample.independent(real.rasters), Sample.independent(rasters))
        values[name] = [distinguished, precision, recall, legal, abrupt_fraction(rules, states), copied, *away]
    first, *others = sets
    out = []
    for k, (name, unit, higher, goal) in enumerate(MEASURES):
        baselines = {other: values[other][k] for other in others}
        ceiling = f"real scenes of other runs {values['real scenes'][k]:.3g}; {len(real.rasters):,} scenes, one per run"
        out.append(Metric(name, values[first][k], baselines, unit, higher, goal, ceiling))
    return out


# name, unit, whether higher is better, goal
MEASURES = (
    ("two-sample accuracy, real or generated", "", False, 0.6),
    ("precision of generated scenes", "", True, None),
    ("recall of real scenes", "", True, None),
    ("fraction of valid scenes", "", True, None),
    ("fraction of cars with an implausible speed", "", False, None),
    ("distance to the training data, relative to held-out scenes", "", True, None),
    ("Wasserstein distance of cars per scene", "cars", False, None),
    ("Wasserstein distance of gaps", "px", False, None),
    ("Wasserstein distance of speeds", "mph", False, None),
)


class ConditionalGan(Experiment):
    """Class-conditional GAN of road scenes."""

    name, paradigm = "conditional-gan", "generative adversarial network"
    summary = "Generates road scenes of a requested class: free, following, boxed in, gap left, gap right."
    source = "Mirza and Osindero 2014, arXiv:1411.1784; Miyato and Koyama 2018, arXiv:1802.05637, equation 3"
    weights = "conditional-gan.safetensors"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, and classify the generated scenes by the simulator's own labels."""
        train, validation = (road_data(job, split, runs) for split, runs in (("train", 200), ("validation", 40)))
        rules, kinds, count = train.rules, len(SCENES), job.scaled(COMPARED, least=100)
        some = one_per_run(job, "test", count)
        gan = job.new(lambda: ConditionalSceneGAN(train.rasters.shape[1:], 16, int(rules.ego_y / CELL), kinds))
        result = fit_gan(job, gan, train, validation)
        gan.save(job.folder / self.weights, result.summary(self.name))
        asked = np.arange(count) % kinds
        named = scene_class(rules, decode_rasters(rules, gan.sample(count, 1, classes=asked)).states)
        right = [float((named == asked)[asked == k].mean()) for k in range(kinds)]
        each = ", ".join(f"{name} {value:.2f}" for name, value in zip(SCENES, right, strict=True))
        drawn = {
            "gan": gan.sample(count, 1, classes=some.label),
            "independent cells": independent_scenes(train.rasters, count, seed=2),
        }
        distinguished = {
            name: two_sample_accuracy(
                Sample.independent(some.rasters),
                Sample.independent(rasterise(rules, decode_rasters(rules, rasters).states)),
            )
            for name, rasters in drawn.items()
        }
        fraction = {"random real scenes": 1.0 / kinds}
        metrics = [
            Metric(
                "fraction of scenes of the requested class",
                float(np.mean(right)),
                fraction,
                note=f"{count:,} scenes; {each}",
            ),
            Metric(
                "two-sample accuracy, real or generated",
                distinguished.pop("gan"),
                distinguished,
                "",
                False,
                0.6,
                "classes in the proportions of held-out runs; 0.5 is chance level",
            ),
        ]
        plots = [
            draw_classes(job.folder / "classes.png", rules, gan),
            draw_truncation(job.folder / "truncation.png", rules, gan, some),
        ]
        return ExperimentResult(metrics, plots, [self.weights])


# --- plots ---------------------------------------------------------------------------------------------------------


def grids_of(rules: Rules, states: NDArray[Any]) -> F32:
    """Return states at a decision as grids to draw, (B, 4, 40, 7)."""
    return observe(rules, states, {"kind": "grid", "patches_ahead": 30, "patches_behind": 10})


def draw_examples(path: Path, rules: Rules, real: NDArray[Any], sets: Mapping[str, DecodedScenes]) -> Plot:
    """Draw eight scenes of each kind."""
    lines = {"held-out runs": real, **{name: scenes.states[:8] for name, scenes in sets.items()}}
    save_roads({name: grids_of(rules, settle(rules, states)) for name, states in lines.items()}, path)
    return Plot(path.name, "Road scenes from above: real, generated, and the baseline.")


def draw_marginals(path: Path, rules: Rules, real: NDArray[Any], drawn: Mapping[str, NDArray[Any]]) -> Plot:
    """Plot the distributions of counts, gaps and speeds."""
    figure = empty_figure((9.0, 2.8))
    wanted = marginals(rules, real)
    found = [marginals(rules, states) for states in drawn.values()]
    for axes, (name, values) in zip(figure.subplots(1, len(wanted)), wanted.items(), strict=True):
        style_axes(axes)
        low, high = np.quantile(values, [0.0, 0.995])
        bins = np.linspace(low - 0.5, high + 0.5, int(high - low) + 2) if "cars" in name else np.linspace(low, high, 30)
        axes.hist(values, bins, density=True, color="#cccccc", label="held-out runs")
        for label, other, colour, line in zip(drawn, found, (BLUE, ORANGE), ("-", "--"), strict=False):
            axes.hist(other[name], bins, density=True, histtype="step", color=colour, ls=line, lw=1.5, label=label)
        axes.set_xlabel(name)
        axes.set_yticks([])
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside upper center", ncols=3)
    save_plot(figure, path)
    return Plot(path.name, "Distributions of car counts, gaps and speeds in real and in generated scenes.")


def draw_future(path: Path, rules: Rules, start: NDArray[Any]) -> Plot:
    """Draw how the simulator continues a drawn scene."""
    sim, moments = Simulator(rules), []
    sim.games[:] = start
    sim.step(sim.idle)
    for _ in range(8):
        moments.append(np.array(sim.games[0]))
        sim.step(sim.idle, periods=2)
    save_roads({"continued": grids_of(rules, np.array(moments))}, path, [f"{k} s" for k in range(8)])
    return Plot(path.name, "A generated scene and its continuation by the simulator, in steps of one second.")


def draw_classes(path: Path, rules: Rules, gan: SceneGAN) -> Plot:
    """Draw the same noise vectors as each class."""
    noise = truncated_noise(5, seed=5)
    lines = {name: decode_rasters(rules, gan.draw(noise, k)).states for k, name in enumerate(SCENES)}
    save_roads({name: grids_of(rules, settle(rules, states)) for name, states in lines.items()}, path)
    return Plot(path.name, "Five noise vectors, each generated as every class.")


def draw_truncation(path: Path, rules: Rules, gan: SceneGAN, real: RoadData) -> Plot:
    """Draw the effect of truncation: typical scenes against all scenes."""
    known, size = descriptors(rules, real.states), len(real.states)
    rates = []
    for truncation in TRUNCATIONS:
        states = decode_rasters(rules, gan.sample(size, 4, truncation, real.label)).states
        consistent = float((scene_class(rules, states) == real.label).mean())
        rates.append((*precision_recall(known, descriptors(rules, states)), consistent))
    figure = empty_figure((6.0, 3.2))
    axes = figure.subplots()
    style_axes(axes)
    curves = zip(("precision", "recall", "class asked for"), (BLUE, ORANGE, GREY), ("-", "--", ":"), strict=True)
    for k, (name, colour, line) in enumerate(curves):
        axes.plot(range(len(rates)), [rate[k] for rate in rates], line, marker="o", color=colour, label=name)
    axes.set_xticks(range(len(rates)), ["none" if np.isinf(t) else f"{t:g}" for t in TRUNCATIONS])
    axes.set_xlabel("noise further from 0 than this is drawn again")
    axes.set_ylim(0, 1)
    axes.legend(frameon=False)
    save_plot(figure, path)
    return Plot(path.name, "Truncation: less noise gives more typical and less diverse scenes.")
