"""The camera's driver: on true cells it is the built-in driver, to the last digit; frames are of the right time."""

import numpy as np
import pytest
import torch

from deeptraffic.evaluation.protocol import evaluate_seeds
from deeptraffic.evaluation.seeds import SEED_SETS
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.sim.rules import RULES_2018, RoadConfig, Sensor
from representation.data.recording import Recording
from representation.paradigms.convolutional.detection import GridDetector
from representation.paradigms.convolutional.detection_experiment import (
    SPACING,
    camera_frames,
    camera_perception,
    drive,
    states_before,
    true_perception,
)

SEEDS = SEED_SETS["tuning"][:6]
FRAMES = 310  # ends between two decisions


@pytest.mark.parametrize("name", ["gap", "accelerate"])
def test_driving_on_true_cells_scores_as_the_open_evaluation_does(name: str) -> None:
    see = true_perception(RULES_2018, Sensor()) if name == "gap" else None
    scores = drive(RULES_2018, SEEDS, see, FRAMES)
    assert np.array_equal(scores, evaluate_seeds(make_builtin(name), RoadConfig(), SEEDS, frames=FRAMES).run_scores)


def test_driving_on_pictures_is_the_same_each_time_and_depends_on_them() -> None:
    torch.manual_seed(0)
    see = camera_perception(GridDetector(width=4), RULES_2018, Sensor())
    assert np.array_equal(drive(RULES_2018, SEEDS, see, 90), drive(RULES_2018, SEEDS, see, 90))
    shown: list[tuple[int, int]] = []

    def watched(before: np.ndarray, now: np.ndarray) -> np.ndarray:
        shown.append((int(before["frame"][0]), int(now["frame"][0])))
        return see(before, now)

    drive(RULES_2018, SEEDS, watched, 90)
    assert shown == [(0, 0), (30 - SPACING, 30), (60 - SPACING, 60)]


def test_assumed_speeds_take_the_place_of_those_that_are_seen(driving: Recording) -> None:
    torch.manual_seed(0)
    detector = GridDetector(width=4)
    with torch.no_grad():
        detector.cells[-1].bias[0] = 5.0  # type: ignore[operator]  # a car in every cell
    states = driving.states[:3, 4]
    cells = camera_perception(detector, driving.rules, Sensor(0, 10, 0), assumed_speed=2.5)(states, states)
    assert np.unique(cells).tolist() == [0.025]


def test_pictures_before_a_decision_are_of_the_recorded_game(driving: Recording) -> None:
    before, now = states_before(driving), driving.states[:, 1:-1]
    assert (now["frame"] - before["frame"] == SPACING).all()
    moved = now["y"][..., 0] - before["y"][..., 0]
    assert np.abs(moved).max() < 10.0  # the ego car hardly moves in the frame
    frames = camera_frames(driving.rules, before[0, :2], now[0, :2])
    assert frames.shape == (2, 2, 3, 140, 32)
    assert not np.array_equal(frames[:, 0], frames[:, 1])
