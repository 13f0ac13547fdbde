"""Windows of driving, and the forecast that everybody goes on as now."""

import numpy as np
import pytest

from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.sim.rules import Action
from representation.data.motion import constant_velocity, persistence, windows
from representation.data.recording import Recording


@pytest.fixture
def grid() -> np.ndarray:
    """The ego car at 80 mph in the middle, a car at 60 mph 20 cells ahead in the same lane, no road on the far left."""
    grid = np.zeros((1, 4, 60, 7), np.float32)
    grid[0, [OCCUPIED, OWN], 50:54, 3], grid[0, SPEED, 50:54, 3] = 1.0, 1.0
    grid[0, OCCUPIED, 26:30, 3], grid[0, SPEED, 26:30, 3] = 1.0, 0.75
    grid[0, OFF_ROAD, :, :2] = 1.0
    return grid


def places(forecast: np.ndarray) -> tuple[int, int]:
    """First row and column of the cells that are taken by other cars."""
    others = forecast[0].copy()
    others[50:54, 3] = 0
    row, column = np.argwhere(others > 0)[0]
    return int(row), int(column)


def test_a_slower_car_comes_nearer_by_the_difference_of_speeds(grid: np.ndarray) -> None:
    moved = constant_velocity(grid, np.zeros((1, 3), np.int64))[0]
    assert [places(step) for step in moved] == [(29, 3), (32, 3), (35, 3)]  # 20 mph are 1 px/frame, 3 cells in 30
    assert moved[1, 1, 32, 3] == 0.75 and moved[1, 0].sum() == 8


def test_a_lane_change_moves_the_others_and_none_leaves_the_road(grid: np.ndarray) -> None:
    plan = np.array([[Action.LEFT, Action.LEFT, Action.RIGHT]])
    columns = [places(step)[1] for step in constant_velocity(grid, plan)[0]]
    assert columns == [4, 4, 3]  # the second lane to the left is none


def test_persistence_repeats_the_present(grid: np.ndarray) -> None:
    assert np.array_equal(persistence(grid, 2)[0, 1], grid[0, :2])


def test_windows_are_cut_from_runs_in_order(driving: Recording) -> None:
    rows = windows(driving, history=3, steps=8, every=3)
    count = len(driving.states)
    assert rows["history"].shape == (4 * count, 3, 4, 60, 7) and rows["future"].shape == (4 * count, 8, 4, 60, 7)
    assert np.array_equal(rows["history"][count : 2 * count, 0], rows["future"][:count, 0])  # 3 on, 2 back: 1 on
    assert np.array_equal(rows["before"][count : 2 * count, 0], rows["plan"][:count, 0])
    assert np.array_equal(rows["plan"][:count], driving.actions[:, 2:10]) and not rows["before"][:count, 0].any()
    with pytest.raises(ValueError, match="record at least 30 decisions"):
        windows(driving, history=3, steps=28)


def test_constant_velocity_beats_persistence_on_real_traffic(driving: Recording) -> None:
    rows = windows(driving, history=1, steps=3)
    true, moved = rows["future"][:, 0, OCCUPIED], constant_velocity(rows["history"][:, -1], rows["plan"])[:, 0, 0]
    still = rows["history"][:, -1, OCCUPIED]
    assert ((moved > 0) & (true > 0)).sum() > 1.3 * ((still > 0) & (true > 0)).sum()
