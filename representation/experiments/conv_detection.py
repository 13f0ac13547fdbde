"""Experiment on vehicle detection in camera frames, and on driving with the detections."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deeptraffic.evaluation.seeds import SEED_SETS
from deeptraffic.sim.rules import MPH_PER_PX, Rules, Sensor
from representation.data.recording import RecordingConfig, record
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Arrays, FitConfig
from representation.metrics.predictions import accuracy, class_f1, confusion, rmse
from representation.paradigms.detection import LANE_PIXELS, ROW_PIXELS, Detections, GridDetector, own_lanes, true_cells
from representation.plots import save_detection
from representation.policies.camera import camera_frames, camera_perception, drive, states_before, true_perception
from representation.weights import save_module

EVERY = 3  # [decisions]
WEIGHTS = "detector.safetensors"
OCCUPIED = 1
PERCEIVED, TRUE, ASSUMED, DEGRADED = (
    "perceived cells",
    "true cells",
    "perceived, speeds assumed",
    "nothing (full throttle)",
)  # what the driver sees

F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class DetectionData:
    """DetectionData as frames and as true cells: frames (N, 2, 3, H, W) uint8."""

    rules: Rules
    frames: NDArray[np.uint8]
    cells: Detections

    def arrays(self) -> Arrays:
        """Return them for training."""
        speed = self.cells.speed.astype(np.float32)
        return {"frames": self.frames, "occupied": self.cells.occupied, "own": self.cells.own, "speed": speed}


def scenes(job: TrainingJob, split: str, runs: int) -> DetectionData:
    """Return scenes of so many runs at the job's scale."""
    recording = record(RecordingConfig(split=split, runs=job.scaled(runs, least=5)), job.cache)
    before = states_before(recording)[:, ::EVERY].reshape(-1)
    now = recording.states[:, 1:-1:EVERY].reshape(-1)
    frames = camera_frames(recording.rules, before, now, seed=recording.config.seeds.start)
    return DetectionData(recording.rules, frames, true_cells(now))


def cell_f1(found: Bools, true: Bools) -> float:
    """Return the F1 of occupied cells."""
    return float(class_f1(confusion(found.astype(np.int64), true.astype(np.int64), 2))[OCCUPIED])


def cell_contrast(frames: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
    """Return how far each cell's mean colour in the last frame is from that of most cells, (N, R, L) [levels]."""
    road = frames[:, -1, :, :, LANE_PIXELS // 2 : -LANE_PIXELS // 2].astype(np.float32)  # (N, 3, 2R, 4L)
    count, channels, height, width = road.shape
    sides = (count, channels, height // ROW_PIXELS, ROW_PIXELS, width // LANE_PIXELS, LANE_PIXELS)
    colours = road.reshape(sides).mean((3, 5))  # (N, 3, R, L)
    return np.abs(colours - np.median(colours, (0, 2, 3))[:, None, None]).mean(1)


class ConvDetection(Experiment):
    """Vehicle detection to the true grid, and the mph of a grid driver on perceived in place of true grids."""

    name, paradigm = "conv-detection", "convolutional network"
    summary = "Detects vehicles and their speeds in two frames of the road, and drives with the detections."
    source = "Long, Shelhamer and Darrell 2015, arXiv:1411.4038; Redmon et al. 2016, arXiv:1506.02640"
    config = FitConfig(epochs=9, batch_size=32, learning_rate=2e-3, learning_rate_end=1e-5, patience=0)

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, compare cells with the truth on held-out runs, and drive on the reporting seeds."""
        train, validation, test = (
            scenes(job, split, runs) for split, runs in (("train", 250), ("validation", 30), ("test", 100))
        )
        torch.manual_seed(0)
        detector = GridDetector(train.rules.rows, train.rules.lanes)
        result = job.fit("detector", detector, train.arrays(), validation.arrays(), self.config)
        facts = {
            "architecture": {"name": "grid-detector"},
            "summary": result.summary(self.name),
        }
        save_module(job.folder / WEIGHTS, detector.state_dict(), facts)
        seen = detector.detect(test.frames)
        mean_speed = float(train.cells.speed[train.cells.occupied & ~train.cells.own].mean())
        scores = self._drive(job, detector, test.rules, mean_speed)
        medians = {name: float(np.median(runs)) for name, runs in scores.items()}
        path = job.folder / "conv-detection.png"
        save_detection(test.frames[0, -1], test.cells.occupied[0], seen.occupied[0], medians, path)
        caption = "A held-out scene with true and perceived cells, and the scores of the same policy on either."
        metrics = [*self._cell_metrics(train, test, seen, mean_speed), self._driving_metric(scores)]
        return ExperimentResult(metrics, [Plot(path.name, caption)], [WEIGHTS])

    def _cell_metrics(
        self, train: DetectionData, test: DetectionData, seen: Detections, mean_speed: float
    ) -> list[Metric]:
        contrast, levels = cell_contrast(train.frames), np.arange(1.0, 60.0)
        level = levels[np.argmax([cell_f1(contrast > level, train.cells.occupied) for level in levels])]
        by_contrast = cell_f1(cell_contrast(test.frames) > level, test.cells.occupied)
        true_lanes = own_lanes(test.cells)
        in_middle = accuracy(np.full_like(true_lanes, test.rules.lanes // 2), true_lanes)
        cars = test.cells.occupied & ~test.cells.own
        error = MPH_PER_PX * rmse(seen.speed[cars], test.cells.speed[cars])
        by_mean = MPH_PER_PX * rmse(np.full(int(cars.sum()), mean_speed), test.cells.speed[cars])
        note = f"{len(test.frames):,} scenes of held-out runs, {test.cells.occupied[0].size} cells each"
        return [
            Metric(
                "F1 of occupied cells",
                cell_f1(seen.occupied, test.cells.occupied),
                {"contrast": by_contrast},
                goal=0.98,
                note=f"{note}; contrast: a threshold on a cell's difference from most",
            ),
            Metric("accuracy of the ego lane", accuracy(own_lanes(seen), true_lanes), {"middle lane": in_middle}),
            Metric("RMSE of other cars' speeds", error, {"mean speed": by_mean}, "mph", False),
        ]

    def _drive(self, job: TrainingJob, detector: GridDetector, rules: Rules, mean_speed: float) -> dict[str, F64]:
        """Return the mph of runs of the reporting seeds, by what the driver sees; the same runs for each."""
        seeds, sensor = SEED_SETS["reporting"][: job.scaled(150, least=4)], Sensor()
        sights = {
            PERCEIVED: camera_perception(detector, rules, sensor),
            TRUE: true_perception(rules, sensor),
            ASSUMED: camera_perception(detector, rules, sensor, mean_speed),
            DEGRADED: None,
        }
        return {name: drive(rules, seeds, see) for name, see in sights.items()}

    def _driving_metric(self, scores: dict[str, F64]) -> Metric:
        median = {name: float(np.median(runs)) for name, runs in scores.items()}
        lost = scores[TRUE] - scores[PERCEIVED]
        error = lost.std() / np.sqrt(lost.size)
        note = (
            f"median of {lost.size} open runs; on true cells {median[TRUE]:.2f} mph; in the same run perception costs "
            f"{lost.mean():.2f} mph on average (standard error {error:.2f})"
        )
        baselines = {name: median[name] for name in (DEGRADED, ASSUMED)}
        return Metric("score of the policy gap on perceived cells", median[PERCEIVED], baselines, "mph", note=note)
