"""Experiment on vehicle detection in camera frames, and on driving with the detections.

The camera policy paints frames, perceives the sensor's cells in them, and decides from the cells.

    >>> scores = drive(RULES_2018, range(100), camera_perception(detector, RULES_2018))      # (100,) mph of each run

The policy is the built-in `gap`, which observes the sensor's cells alone: the speed that it loses with perceived
cells in place of true ones is the cost of perception. With `true_perception` it scores as `evaluate_open` does.

Letters in shapes: B envs, D cells of the sensor.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, root_mean_squared_error

from deeptraffic.evaluation.protocol import OPEN_FRAMES
from deeptraffic.evaluation.seeds import SEED_SETS
from deeptraffic.evaluation.statistics import run_score
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import MPH_PER_PX, Rules, Sensor
from representation.data.frames import paint_frames
from representation.data.recording import Recording
from representation.experiment import RUNS_OF_A_SEED, Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Arrays, FitConfig
from representation.paradigms.convolutional.detection import (
    LANE_PIXELS,
    ROW_PIXELS,
    Detections,
    GridDetector,
    image_size,
    own_lanes,
    sensor_cells,
    true_cells,
    whole_vehicles,
)
from representation.plots import save_detection
from representation.weights import save_module

SPACING = 6  # frames of the simulation between the two camera frames

F64 = NDArray[np.float64]
Perception = Callable[[NDArray[Any], NDArray[Any]], F64]  # (states before (B,), states now (B,)) -> cells (B, D)


def camera_frames(
    rules: Rules, before: NDArray[Any], now: NDArray[Any], styles: str = "clean", seed: int = 0
) -> NDArray[np.uint8]:
    """Return two frames of each scene, (N, 2, 3, H, W), of the whole road."""
    states = np.stack([before, now], 1)
    return paint_frames(rules, states, *image_size(rules.rows, rules.lanes), styles, seed, clips=True)


def states_before(recording: Recording) -> NDArray[Any]:
    """Return the states SPACING frames before every decision but the first, (R, T - 1), as recorded."""
    period = recording.rules.decision_period
    before = np.empty_like(recording.states[:, 1:-1])
    sim = Simulator(recording.rules, len(before))
    for t in range(before.shape[1]):
        sim.games[:] = recording.states[:, t]
        sim.run_to_frame(sim.games["frame"] + period - SPACING, recording.actions[:, t])
        before[:, t] = sim.games
    return before


def true_perception(rules: Rules, sensor: Sensor) -> Perception:
    """Return the perception of the true grid."""
    return lambda before, now: sensor_cells(true_cells(now), sensor, rules)


def camera_perception(
    detector: GridDetector, rules: Rules, sensor: Sensor, assumed_speed: float | None = None
) -> Perception:
    """Return the perception by a detector's output on camera frames.

    assumed_speed: [px/frame] of every car, in place of the detected speeds
    """

    def see(before: NDArray[Any], now: NDArray[Any]) -> F64:
        seen = detector.detect(camera_frames(rules, before, now))
        if assumed_speed is not None:
            seen = _with_speed(seen, assumed_speed)
        return sensor_cells(whole_vehicles(seen), sensor, rules)

    return see


def drive(rules: Rules, seeds: Iterable[int], see: Perception | None, frames: int = OPEN_FRAMES) -> F64:
    """Return the score of each open run [mph], (B,), driven by `gap` on the cells that `see` returns.

    see: None drives at full throttle without perception. There are no other agents.
    """
    policy = make_builtin("gap" if see else "accelerate", rules.year)
    seeds = list(seeds)
    sim = Simulator(rules, len(seeds))
    sim.reset_open(seeds)
    actions = np.zeros(len(seeds), np.int64)
    for decision in range(0, frames, rules.decision_period):
        if decision:
            sim.run_to_frame(decision - SPACING, actions)
        before = sim.games.copy()
        sim.run_to_frame(frames)  # to the decision
        cells = see(before if decision else sim.games, sim.games) if see else np.empty((len(seeds), 0))
        actions = policy.act(cells, np.arange(len(seeds)))
    sim.run_to_frame(frames, actions)
    return run_score(sim.games["score_sum"], frames)


def _with_speed(seen: Detections, speed: float) -> Detections:
    return replace(seen, speed=np.full_like(seen.speed, speed))


EVERY = 3  # [decisions]
WEIGHTS = "detector.safetensors"
PERCEIVED, TRUE, ASSUMED, DEGRADED = (
    "perceived cells",
    "true cells",
    "perceived, speeds assumed",
    "nothing (full throttle)",
)  # what the policy observes

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class DetectionData:
    """DetectionData as frames and as true cells: frames (N, 2, 3, H, W) uint8."""

    rules: Rules
    frames: NDArray[np.uint8]
    cells: Detections

    def arrays(self) -> Arrays:
        """Return the training batch."""
        speed = self.cells.speed.astype(np.float32)
        return {"frames": self.frames, "occupied": self.cells.occupied, "own": self.cells.own, "speed": speed}


def scenes(job: TrainingJob, split: str, runs: int) -> DetectionData:
    """Return scenes of `runs` runs at the job's scale."""
    recording = job.record(split, runs, least=5)
    before = states_before(recording)[:, ::EVERY].reshape(-1)
    now = recording.states[:, 1:-1:EVERY].reshape(-1)
    frames = camera_frames(recording.rules, before, now, seed=recording.config.seeds.start)
    return DetectionData(recording.rules, frames, true_cells(now))


def cell_f1(found: Bools, true: Bools) -> float:
    """Return the F1 of occupied cells."""
    return float(f1_score(true.ravel(), found.ravel()))


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
    config = FitConfig(epochs=5, batch_size=32, learning_rate=2e-3, learning_rate_end=1e-5, patience=0)

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, compare cells with the truth on held-out runs, and drive on the reporting seeds."""
        train, validation, test = (
            scenes(job, split, runs) for split, runs in (("train", 120), ("validation", 15), ("test", 60))
        )
        detector = job.new(lambda: GridDetector(train.rules.rows, train.rules.lanes))
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
        in_middle = float(accuracy_score(true_lanes, np.full_like(true_lanes, test.rules.lanes // 2)))
        lanes_right = float(accuracy_score(true_lanes, own_lanes(seen)))
        cars = test.cells.occupied & ~test.cells.own
        error = MPH_PER_PX * float(root_mean_squared_error(test.cells.speed[cars], seen.speed[cars]))
        by_mean = MPH_PER_PX * float(np.sqrt(np.mean((test.cells.speed[cars] - mean_speed) ** 2)))
        note = f"{len(test.frames):,} scenes of held-out runs, {test.cells.occupied[0].size} cells each"
        return [
            Metric(
                "F1 of occupied cells",
                cell_f1(seen.occupied, test.cells.occupied),
                {"contrast": by_contrast},
                goal=0.98,
                note=f"{note}; contrast: a threshold on a cell's difference from most",
            ),
            Metric("accuracy of the ego lane", lanes_right, {"middle lane": in_middle}),
            Metric("RMSE of other cars' speeds", error, {"mean speed": by_mean}, "mph", False),
        ]

    def _drive(self, job: TrainingJob, detector: GridDetector, rules: Rules, mean_speed: float) -> dict[str, F64]:
        """Return the mph of runs of the reporting seeds, by perception; the same runs for each."""
        runs, first = job.scaled(60, least=4), job.seed * RUNS_OF_A_SEED
        seeds, sensor = SEED_SETS["reporting"][first : first + runs], Sensor()
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
