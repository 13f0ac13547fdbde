"""Comparison of generators of road scenes: data sets of scenes, metrics beside baselines, and plots.

    >>> data = road_data(job, "train", 200)                        # scenes of recorded runs
    >>> test = one_per_run(job, "test", 1500)                      # independent scenes
    >>> metrics = compare_sets(data.rules, {"model": drawn, "baseline": others}, data, test, more)

Letters in shapes: N scenes, R rows, L lanes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Rules
from representation.data.labels import SCENES, scene_class
from representation.data.rasters import PlacedScenes, decode_rasters, rasterise, settle
from representation.experiment import Metric, Plot, TrainingJob
from representation.paradigms.gan.metrics import (
    Sample,
    copied_ratio,
    descriptors,
    precision_recall,
    two_sample_accuracy,
)
from representation.plots import save_roads, scene_images

RUNS_AT_A_TIME = 500  # recorded in memory

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class RoadData:
    """Recorded roads.

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


def road_data(job: TrainingJob, split: str, runs: int, every: int = 1) -> RoadData:
    """Return every so-manieth decision of so many runs at the job's scale."""
    recording = job.record(split, runs, least=10)
    return as_drawn(recording.rules, rasterise(recording.rules, recording.states[:, ::every].reshape(-1)))


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


# --- metrics ----------------------------------------------------------------------------------------------------------

# name, whether higher is better
MEASURES = (
    ("two-sample accuracy, real or generated", False),
    ("fraction of valid scenes, before any repair", True),
    ("precision of generated scenes", True),
    ("recall of real scenes", True),
    ("distance to the training data, relative to held-out scenes", True),
)


# parameters: the sets that are compared
def compare_sets(
    rules: Rules,
    sets: Mapping[str, PlacedScenes],
    train: RoadData,
    real: RoadData,
    reference: RoadData,
    goals: Sequence[float] = (),
) -> list[Metric]:
    """Return the metrics of the first set of drawn scenes beside the same metrics of the others.

    train: to measure copies; real: held-out scenes, one per run; reference: others, to show what real scenes reach
    goals: of the first metrics
    """
    known = descriptors(rules, real.states)
    values: dict[str, list[float]] = {}
    for name, scenes in [*sets.items(), ("real scenes", None)]:
        states = reference.states if scenes is None else scenes.states
        rasters = rasterise(rules, states)
        valid = 1.0 if scenes is None else float(scenes.is_valid.mean())
        precision, recall = precision_recall(known, descriptors(rules, states))
        copied = 1.0 if scenes is None else copied_ratio(rasters, real.rasters, train.rasters)
        distinguished = two_sample_accuracy(Sample.independent(real.rasters), Sample.independent(rasters))
        values[name] = [distinguished, valid, precision, recall, copied]
    first, *others = sets
    out = []
    for k, (name, higher) in enumerate(MEASURES):
        baselines = {other: values[other][k] for other in others}
        goal = goals[k] if k < len(goals) else None
        ceiling = f"real scenes of other runs {values['real scenes'][k]:.3g}; {len(real.rasters):,} scenes, one per run"
        out.append(Metric(name, values[first][k], baselines, "", higher, goal, ceiling))
    return out


def class_metric(rules: Rules, states: NDArray[Any], asked: NDArray[np.int64], goal: float | None = None) -> Metric:
    """Return how many scenes (N,) are of the class that was asked for, by the simulator's own labels."""
    is_right = scene_class(rules, states) == asked
    right = [float(is_right[asked == k].mean()) for k in range(len(SCENES))]
    each = ", ".join(f"{name} {value:.2f}" for name, value in zip(SCENES, right, strict=True))
    note = f"{len(states):,} scenes; {each}"
    random = {"random real scenes": 1.0 / len(SCENES)}
    return Metric("fraction of scenes of the requested class", float(np.mean(right)), random, goal=goal, note=note)


# --- plots ------------------------------------------------------------------------------------------------------------


def draw_examples(path: Path, rules: Rules, lines: Mapping[str, NDArray[Any]], caption: str) -> Plot:
    """Draw a line of scenes before their first frame per name."""
    save_roads({name: scene_images(rules, settle(rules, states)) for name, states in lines.items()}, path)
    return Plot(path.name, caption)


def continued(rules: Rules, start: NDArray[Any], moments: int = 8) -> NDArray[Any]:
    """Return how the simulator continues a scene (1,) before its first frame, second by second, (moments,)."""
    sim, states = Simulator(rules), []
    sim.games[:] = start
    sim.step(sim.idle)
    for _ in range(moments):
        states.append(sim.games.copy())  # of one game alone, np.array would be a view
        sim.step(sim.idle, periods=2)
    return np.concatenate(states)


def draw_future(path: Path, rules: Rules, start: NDArray[Any]) -> Plot:
    """Draw how the simulator continues a drawn scene."""
    states = continued(rules, start)
    save_roads({"continued": scene_images(rules, states)}, path, [f"{k} s" for k in range(len(states))])
    return Plot(path.name, "A generated scene and its continuation by the simulator, in steps of one second.")
