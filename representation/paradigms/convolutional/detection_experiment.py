"""Experiment on vehicle detection in an environment's images, and on driving with the detections.

The detector learns from images in the styles of the observation `seen-styles`, and is also tested on `unseen-styles`.
Driving is by the built-in `gap` on perceived cells; `deeptraffic join` puts the detector in front of any network over
the sensor's cells, as one policy file.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, root_mean_squared_error

from deeptraffic.envs.observations import make_observation
from deeptraffic.evaluation.protocol import evaluate_seeds
from deeptraffic.evaluation.seeds import SEED_SETS
from deeptraffic.policies.base import Policy
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.sim.rules import MPH_PER_PX, RoadConfig
from representation.data.cells import RoadCells, true_cells
from representation.data.recording import observe_runs
from representation.experiment import RUNS_OF_A_SEED, Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Arrays, FitConfig
from representation.paradigms.convolutional.detection import LANE_PIXELS, GridDetector
from representation.perception import PerceptionPolicy
from representation.plots import Detected, save_detections

EVERY = 3  # [decisions]
DECISIONS = 66  # of a run, as in an evaluation
WEIGHTS = "detector.safetensors"
SEEN, UNSEEN = "seen-styles", "unseen-styles"
SHOWN = (SEEN, UNSEEN, UNSEEN)  # scenes of the plot

Bools = NDArray[np.bool_]
Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Scenes:
    """Images (N, H, W, 6) and what is true in them."""

    images: Images
    cells: RoadCells

    def arrays(self) -> Arrays:
        """Return the training batch."""
        cells = self.cells
        speed = cells.speed.astype(np.float32)
        return {"obs": self.images, "occupied": cells.occupied, "speed": speed, "lane": cells.lane}


def record_scenes(job: TrainingJob, split: str, runs: int, observed: str = SEEN) -> Scenes:
    """Return scenes of `runs` runs at the job's scale, one and a half seconds apart, driven by `gap`."""
    recording = job.record(split, runs, least=5, decisions=DECISIONS, drivers=("gap",))
    images = observe_runs(recording, observed, EVERY)
    return Scenes(images.reshape(-1, *images.shape[2:]), true_cells(recording.states[:, ::EVERY].reshape(-1)))


def cell_f1(found: Bools, true: Bools) -> float:
    """Return the F1 of occupied cells."""
    return float(f1_score(true.ravel(), found.ravel()))


def cell_contrast(images: Images) -> NDArray[np.floating[Any]]:
    """Return how far each cell's mean colour in the last image is from that of most cells, (N, R, L) [levels]."""
    now = images[..., -3:].astype(np.float32)  # (N, R, 4 L, 3)
    colours = now.reshape(*now.shape[:2], -1, LANE_PIXELS, 3).mean(3)  # (N, R, L, 3)
    return np.abs(colours - np.median(colours, (1, 2))[:, None, None]).mean(3)


class ConvDetection(Experiment):
    """Vehicle detection to the true grid, and the mph of a policy on perceived in place of true cells."""

    name, paradigm = "conv-detection", "convolutional network"
    summary = "Detects vehicles and their speeds in two images of the road, and drives with the detections."
    source = "Long, Shelhamer and Darrell 2015, arXiv:1411.4038; Redmon et al. 2016, arXiv:1506.02640"
    config = FitConfig(epochs=8, batch_size=64, learning_rate=3e-3, learning_rate_end=1e-5, patience=0)
    runs = {"train": 600, "validation": 15, "test": 60}

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, compare cells with the truth on held-out runs, and drive on the reporting seeds."""
        train, validation = (record_scenes(job, split, self.runs[split]) for split in ("train", "validation"))
        test = {styles: record_scenes(job, "test", self.runs["test"], styles) for styles in (SEEN, UNSEEN)}
        detector = job.train(GridDetector, train.arrays(), validation.arrays(), self.config, WEIGHTS)
        found = {styles: detector.cells(scenes.images) for styles, scenes in test.items()}
        metrics = self._cell_metrics(train, test, found) + self._driving_metrics(job, detector)
        path = job.folder / "conv-detection.png"
        save_detections([self._example(test[styles], found[styles], k) for k, styles in enumerate(SHOWN)], path)
        caption = "Held-out scenes in seen and unseen styles: the present image, true cells, and detections."
        return ExperimentResult(metrics, [Plot(path.name, caption)], [WEIGHTS])

    def _example(self, scenes: Scenes, found: RoadCells, k: int) -> Detected:
        at = (2 * k + 1) * len(scenes.images) // (2 * len(SHOWN))
        styles = SHOWN[k].replace("-", " ")
        return Detected(styles, scenes.images[at, ..., -3:], scenes.cells.occupied[at], found.occupied[at])

    def _cell_metrics(self, train: Scenes, test: dict[str, Scenes], found: dict[str, RoadCells]) -> list[Metric]:
        contrast, levels = cell_contrast(train.images), np.arange(2.0, 60.0, 2.0)
        level = levels[np.argmax([cell_f1(contrast > level, train.cells.occupied) for level in levels])]
        metrics = []
        for styles, scenes in test.items():
            value = cell_f1(found[styles].occupied, scenes.cells.occupied)
            by_contrast = cell_f1(cell_contrast(scenes.images) > level, scenes.cells.occupied)
            note = f"{len(scenes.images):,} scenes of held-out runs, {scenes.cells.occupied[0].size} cells each"
            note += "; contrast: a threshold on a cell's difference from most"
            name = f"F1 of occupied cells, {styles.replace('-', ' ')}"
            metrics.append(Metric(name, value, {"contrast": by_contrast}, note=note))
        true, seen, lanes = test[SEEN].cells, found[SEEN], test[SEEN].cells.lane
        in_middle = float(accuracy_score(lanes, np.full_like(lanes, true.occupied.shape[2] // 2)))
        both, average = true.occupied & seen.occupied, float(train.cells.speed[train.cells.occupied].mean())
        error = MPH_PER_PX * float(root_mean_squared_error(true.speed[both], seen.speed[both]))
        by_mean = MPH_PER_PX * float(np.sqrt(np.mean((true.speed[both] - average) ** 2)))
        return [
            *metrics,
            Metric("accuracy of the ego lane", float(accuracy_score(lanes, seen.lane)), {"middle lane": in_middle}),
            Metric("RMSE of speeds", error, {"mean speed": by_mean}, "mph", False, note="of cells detected rightly"),
        ]

    def _driving_metrics(self, job: TrainingJob, detector: GridDetector) -> list[Metric]:
        """Return the mph of `gap` on runs of the reporting seeds, on perceived and on true cells; the same runs."""
        count, first = job.scaled(100, least=4), job.seed * RUNS_OF_A_SEED
        seeds, gap = SEED_SETS["reporting"][first : first + count], make_builtin("gap")

        def mph(policy: Policy) -> NDArray[np.float64]:
            return np.array(evaluate_seeds(policy, RoadConfig(), seeds).run_scores)

        true, blind = mph(gap), mph(make_builtin("accelerate"))
        metrics = []
        for styles in (SEEN, UNSEEN):
            perceived = mph(PerceptionPolicy(detector, gap, make_observation(styles)))
            lost = true - perceived
            note = f"mean of {count} open runs; on true cells {true.mean():.2f} mph; in the same run perception costs "
            note += f"{lost.mean():.2f} mph (standard error {lost.std() / np.sqrt(count):.2f})"
            baselines = {"nothing (full throttle)": float(blind.mean())}
            name = f"score of the policy gap on perceived cells, {styles.replace('-', ' ')}"
            metrics.append(Metric(name, float(perceived.mean()), baselines, "mph", note=note))
        return metrics
