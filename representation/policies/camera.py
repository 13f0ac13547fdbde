"""A driver that sees the road through a camera: frames, then a perceived grid, then the decision of a grid driver.

    >>> scores = drive(RULES_2018, range(100), camera_perception(detector, RULES_2018))      # (100,) mph of each run

The policy is the built-in `gap`, which knows nothing but the sensor's cells: the speed that it loses with perceived
cells in place of true ones is the cost of perception. With `true_perception` it scores as `evaluate_open` does.

Letters in shapes: B games, D numbers of the sensor.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.evaluation.protocol import OPEN_FRAMES
from deeptraffic.evaluation.statistics import run_score
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Rules, Sensor
from representation.data.frames import paint_frames
from representation.data.recording import Recording
from representation.paradigms.detection import (
    Detections,
    GridDetector,
    image_size,
    sensor_cells,
    true_cells,
    whole_vehicles,
)

SPACING = 6  # frames of the game between the two frames

F64 = NDArray[np.float64]
Perception = Callable[[NDArray[Any], NDArray[Any]], F64]  # (states before (B,), states now (B,)) -> cells (B, D)


def camera_frames(
    rules: Rules, before: NDArray[Any], now: NDArray[Any], styles: str = "clean", seed: int = 0
) -> NDArray[np.uint8]:
    """Return two frames of each scene, (N, 2, 3, H, W), of the whole road."""
    states = np.stack([before, now], 1)
    return paint_frames(rules, states, *image_size(rules.rows, rules.lanes), styles, seed, clips=True)


def states_before(recording: Recording) -> NDArray[Any]:
    """Return the games SPACING frames before every decision but the first, (R, T - 1), as recorded."""
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
    """Return the score of each open run [mph], (B,), driven by `gap` on what `see` shows it.

    see: None drives blindly at full throttle. The game of one driver, no other agents.
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
