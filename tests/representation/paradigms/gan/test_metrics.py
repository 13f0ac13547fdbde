"""What says how good drawn scenes are: each number against arithmetic, and against the baseline that it must expose."""

import numpy as np
import pytest

from deeptraffic.sim.rules import RULES_2018
from representation.data.rasters import OWN, VEHICLE, decode_rasters, rasterise
from representation.data.recording import Recording
from representation.paradigms.gan.metrics import (
    Sample,
    copied_ratio,
    descriptors,
    independent_scenes,
    precision_recall,
    two_sample_accuracy,
)


@pytest.fixture(scope="module")
def rasters(driving: Recording) -> np.ndarray:
    return rasterise(driving.rules, driving.states.reshape(-1))


def test_independent_cells_have_the_right_cells_and_one_own_car(rasters: np.ndarray) -> None:
    drawn = independent_scenes(rasters, 800, seed=1)
    own = drawn[:, OWN] > 0
    assert (own.sum((1, 2)) == 1).all()
    assert (drawn[:, VEHICLE][own] == 1).all()
    fraction, wanted = ((some[:, VEHICLE, :15] > 0).mean() for some in (drawn, rasters))
    assert fraction == pytest.approx(wanted, rel=0.05)


def test_a_classifier_tells_noise_from_traffic_but_not_traffic_from_traffic(rasters: np.ndarray) -> None:
    runs = np.arange(len(rasters)) // (len(rasters) // 40)
    noise = rasters[:, :, np.random.default_rng(0).permutation(rasters.shape[2])]  # rows in another order
    odd = runs % 2 == 1
    halves = [Sample(rasters[part], runs[part]) for part in (odd, ~odd)]
    alike = [two_sample_accuracy(*halves, seed) for seed in range(3)]
    apart = two_sample_accuracy(Sample(rasters, runs), Sample(noise, runs))
    assert np.mean(alike) < 0.56
    assert apart > 0.8


def test_a_split_by_run_keeps_runs_together_and_recognising_runs_is_no_help() -> None:
    random = np.random.default_rng(0)
    run = np.repeat(np.arange(30), 20)
    marks = random.integers(0, 2, (60, 1, 6, 6)) * 2.0 - 1.0  # each run of both samples has a pattern of its own
    first, second = (
        Sample((marks[start + run] + 0.1 * random.normal(size=(600, 1, 6, 6))).astype(np.float32), run)
        for start in (0, 30)
    )
    runs_of_parts = [
        {tuple(np.sign(image).ravel()) for image in part} for part in first.split(np.random.default_rng(0))
    ]
    assert [len(part) for part in runs_of_parts] == [18, 3, 9]
    assert not runs_of_parts[0] & runs_of_parts[2]
    by_run = np.mean([two_sample_accuracy(first, second, seed) for seed in range(3)])
    by_image = two_sample_accuracy(Sample.independent(first.images), Sample.independent(second.images))
    assert by_image > 0.95  # every run was trained on
    assert by_run < 0.7


def test_precision_and_recall_are_those_of_arithmetic() -> None:
    real = np.arange(10.0)[:, None]  # each third neighbour is 2 or 3 away: the union of balls is -3 .. 12
    drawn = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 100.0, 101.0, 102.0, 103.0, 104.0])[:, None]
    precision, recall = precision_recall(real, drawn)
    assert precision == 0.5
    assert recall == 0.8  # balls around 0 .. 4 reach from -3 to 7


def test_descriptors_are_those_of_the_game() -> None:
    raster = np.zeros((1, 5, 20, 7), np.float32)
    raster[:, [VEHICLE, OWN]] = -1
    for row, own in ((15, 1.0), (10, -1.0), (8, -1.0)):
        raster[0, :, row, 3] = (1.0, own, -1.0, 1.0 if own > 0 else 0.0, 1.0)
    states = decode_rasters(RULES_2018, raster).states
    row = descriptors(RULES_2018, states)[0]
    assert row[:7].tolist() == [0, 0, 0, 3, 0, 0, 0]
    assert row[7:14] == pytest.approx([3.5, 3.5, 3.5, (5 * 35 - 34) / 150, 3.5, 3.5, 3.5], rel=0.01)


def test_copies_are_nearer_to_the_training_data_than_other_runs(rasters: np.ndarray, held_out: Recording) -> None:
    others = rasterise(held_out.rules, held_out.states.reshape(-1))
    assert copied_ratio(rasters[:50], others[:50], rasters) == 0.0
    assert copied_ratio(others[50:], others[:50], rasters) == pytest.approx(1.0, abs=0.25)
