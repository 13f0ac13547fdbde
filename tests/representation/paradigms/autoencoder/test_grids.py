"""Measures of grids, the sensor that errs, and the simple ways to denoise what it says."""

import numpy as np
import pytest

from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.sim.rules import RULES_2018
from representation.data.recording import Recording, observe
from representation.paradigms.autoencoder.experiment import over_time
from representation.paradigms.autoencoder.grids import (
    FLOORS,
    GridPca,
    Grids,
    best_threshold,
    grid_to_cells,
    median_filtered,
    occupancy_iou,
    speed_rmse,
)


def empty_grid() -> Grids:
    """One grid of 6 x 3 cells: the right column off the road, the ego car in the middle of the last row."""
    grid = np.zeros((1, 4, 6, 3), np.float32)
    grid[0, OFF_ROAD, :, 2] = 1.0
    grid[0, [OCCUPIED, OWN], 5, 1] = 1.0
    return grid


def with_car(rows: slice, speed: float = 0.5) -> Grids:
    grid = empty_grid()
    grid[0, OCCUPIED, rows, 0] = 1.0
    grid[0, SPEED, rows, 0] = speed
    return grid


def test_iou_counts_cells_without_the_own_car() -> None:
    assert occupancy_iou(with_car(slice(2, 5)), with_car(slice(1, 5))) == pytest.approx(3 / 4)
    # two of the four true cells are found, and one that is none: 2 / 5
    assert occupancy_iou(with_car(slice(3, 6)), with_car(slice(1, 5))) == pytest.approx(2 / 5)
    assert occupancy_iou(empty_grid(), with_car(slice(1, 5))) == 0.0


def test_speed_errors_count_where_there_is_a_car() -> None:
    assert speed_rmse(with_car(slice(0, 6), 0.75), with_car(slice(1, 5), 0.5)) == pytest.approx(0.25 * 80.0)


def test_the_best_threshold_separates_chances() -> None:
    guess = with_car(slice(1, 5))
    guess[0, OCCUPIED] *= 0.33
    guess[0, OCCUPIED, :, 1] = 0.27
    assert best_threshold(guess, with_car(slice(1, 5))) == 0.3


def test_pca_with_all_components_gives_everything_back() -> None:
    random = np.random.default_rng(0)
    grids = np.zeros((40, 4, 3, 2), np.float32)
    grids[:, OCCUPIED] = random.random((40, 3, 2)) < 0.5
    grids[:, SPEED] = grids[:, OCCUPIED] * random.random((40, 3, 2))
    assert np.allclose(GridPca(grids, 24).reconstruct(grids)[:, OCCUPIED], grids[:, OCCUPIED], atol=1e-4)
    assert speed_rmse(GridPca(grids, 24).reconstruct(grids), grids) < 0.01
    assert speed_rmse(GridPca(grids, 3).reconstruct(grids), grids) > 1.0


def test_speeds_of_pca_are_divided_by_its_own_occupancy() -> None:
    # one component at most: a car of speed 0.5 is there in half the scenes, and PCA of no help gives half of both
    grids = np.zeros((40, 4, 2, 1), np.float32)
    grids[::2, OCCUPIED, 0], grids[::2, SPEED, 0] = 1.0, 0.5
    pca = GridPca(grids, 1)
    pca.pca.components_[:] = 0.0
    assert pca.reconstruct(grids)[:, OCCUPIED, 0] == pytest.approx(0.5)
    assert pca.reconstruct(grids)[:, SPEED, 0] == pytest.approx(0.5)  # not 0.25
    assert pca.reconstruct(grids)[:, SPEED, 1] == pytest.approx(0.5)  # never occupied: the mean of training


def test_the_floor_of_pca_is_chosen_on_validation() -> None:
    random = np.random.default_rng(0)
    grids = np.zeros((60, 4, 6, 3), np.float32)
    grids[:, OCCUPIED] = random.random((60, 6, 3)) < 0.3
    grids[:, SPEED] = grids[:, OCCUPIED] * (0.5 + 0.1 * random.random((60, 6, 3)))
    pca, errors = GridPca(grids, 2), {}
    for floor in FLOORS:
        pca.floor = floor
        errors[floor] = speed_rmse(pca.reconstruct(grids), grids)
    assert pca.tune(grids, grids).floor == min(errors, key=lambda floor: errors[floor])


def test_a_median_removes_ghosts_and_fills_holes() -> None:
    grid = with_car(slice(1, 5))
    grid[0, OCCUPIED, 3, 0] = grid[0, SPEED, 3, 0] = 0.0  # a hole in the car
    grid[0, OCCUPIED, 2, 1] = 1.0  # a ghost
    denoised = median_filtered(grid, (3, 1))
    assert denoised[0, OCCUPIED, :, 0].tolist() == [0, 1, 1, 1, 0, 0]
    assert denoised[0, OCCUPIED, 2, 1] == 0.0
    assert denoised[0, SPEED, 3, 0] == pytest.approx(0.5)
    assert denoised[0, OCCUPIED, 5, 1] == 1.0  # the ego car


def test_the_median_over_time_removes_what_is_seen_once() -> None:
    grids = np.concatenate([with_car(slice(1, 5))] * 3, 1)  # three decisions
    grids[0, 4 + OCCUPIED, 0, 1] = 1.0  # a ghost of the second
    grids[0, 8 + OCCUPIED, 2, 0] = 0.0  # missed in the last
    cleaned = over_time(grids)
    assert np.array_equal(cleaned[:, OCCUPIED], with_car(slice(1, 5))[:, OCCUPIED])


def test_cells_are_recovered_from_the_grid(driving: Recording) -> None:
    states = driving.states[:, 3]
    cells = observe(driving.rules, states, "vector")
    assert np.allclose(grid_to_cells(observe(driving.rules, states, "grid"), RULES_2018.empty), cells, atol=1e-8)
