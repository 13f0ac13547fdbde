"""Invariance: moved traffic is the same traffic to maps that are averaged, and not to a feed-forward network."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from representation.data.recording import Recording, observe
from representation.paradigms.convolutional.invariance_experiment import count_cells, feature_change, move_traffic
from representation.paradigms.convolutional.model import ConvEncoder
from representation.paradigms.feedforward.model import DenseEncoder

SPACE = spaces.Box(0.0, 1.0, (4, 60, 7), np.float32)


@pytest.fixture(scope="module")
def grids(driving: Recording) -> np.ndarray:
    return observe(driving.rules, driving.states[:, 10], "grid")


def test_cars_move_ahead_around_the_end_and_the_road_stays(grids: np.ndarray) -> None:
    moved = move_traffic(grids, 7)
    assert np.array_equal(moved[:, :2, 0:53], grids[:, :2, 7:60])  # line 0 is the farthest ahead
    assert np.array_equal(moved[:, :2, 53:60], grids[:, :2, 0:7])
    assert np.array_equal(moved[:, 2:], grids[:, 2:])
    assert np.array_equal(count_cells(moved), count_cells(grids))
    assert np.array_equal(move_traffic(grids, 60), grids)


def test_occupied_cells_are_counted() -> None:
    grid = np.zeros((1, 4, 60, 7), np.float32)
    grid[0, 0, 3:5, 2] = 1.0
    grid[0, 2, :, 6] = 1.0  # beside the road is no car
    assert count_cells(grid).tolist() == [2.0]


def test_change_is_0_for_the_same_scenes_and_1_for_others(grids: np.ndarray) -> None:
    torch.manual_seed(0)
    encoder = DenseEncoder(SPACE, 16)
    assert feature_change(encoder, grids, grids) == 0.0
    others = np.roll(grids, len(grids) // 2, axis=0)
    assert feature_change(encoder, grids, others) == pytest.approx(1.0)


def test_averaged_maps_change_far_less_than_features_of_a_feed_forward_network(grids: np.ndarray) -> None:
    torch.manual_seed(0)
    mean = feature_change(ConvEncoder(SPACE, 16, channels=(8,), reading="mean"), grids, move_traffic(grids, 5))
    dense = feature_change(DenseEncoder(SPACE, 16), grids, move_traffic(grids, 5))
    assert mean < 0.5 * dense
