"""Windows of driving, and the forecast that everybody goes on as now."""

import numpy as np
import pytest

from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.sim.rules import Action
from representation.data.motion import constant_velocity
from representation.data.recording import Recording, observe


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


def test_constant_velocity_beats_persistence_on_real_traffic(driving: Recording) -> None:
    grids = observe(driving.rules, driving.states, "grid")  # (R, T + 1, 4, H, W)
    now, true = grids[:, 4], grids[:, 5, OCCUPIED]
    moved = constant_velocity(now, driving.actions[:, 4:5])[:, 0, 0]
    assert ((moved > 0) & (true > 0)).sum() > 1.3 * ((now[:, OCCUPIED] > 0) & (true > 0)).sum()
