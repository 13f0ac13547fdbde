"""Forecasts: better than everybody going on as now, and nothing learned where the future is another's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.sim.rules import Action
from representation.data.recording import Recording, observe
from representation.fit import FitConfig, fit
from representation.paradigms.autoencoder.grids import occupancy_iou
from representation.paradigms.encoder_decoder.forecast import (
    GridPredictor,
    calibrated,
    constant_velocity,
    occupied_bits,
    transitions,
)

CONFIG = FitConfig(epochs=10, batch_size=32, learning_rate=5e-3, learning_rate_end=5e-4)
Rows = dict[str, Any]


def steps_of(recording: Recording) -> Rows:
    """Transitions of the road just around the ego car: 24 rows of cells."""
    grids = observe(recording.rules, recording.states, {"kind": "grid", "patches_ahead": 16, "patches_behind": 8})
    before, after = (part.reshape(-1, *grids.shape[2:]) for part in (grids[:, :-1], grids[:, 1:]))
    return transitions(before, recording.actions.ravel(), after)


def bits(probability: np.ndarray, rows: Rows) -> float:
    """Bits per cell that probabilities (B, H, W) leave open, the ego car's cells excluded."""
    elsewhere = rows["next_obs"][:, OWN] == 0
    return occupied_bits(probability[elsewhere], rows["next_obs"][:, OCCUPIED][elsewhere])


def bits_of(model: GridPredictor, rows: Rows) -> float:
    return bits(model.predict(rows["obs"], rows["action"])[:, OCCUPIED], rows)


def constant_velocity_bits(train: Rows, rows: Rows) -> float:
    """The baseline, as sure as it deserves by training data."""
    known = train["expected"][:, 0]
    return bits(calibrated(rows["expected"][:, 0], known, train["next_obs"][:, OCCUPIED]), rows)


def new_predictor() -> GridPredictor:
    torch.manual_seed(0)
    return GridPredictor(width=8)


@pytest.fixture(scope="module")
def train(driving: Recording) -> Rows:
    return steps_of(driving)


@pytest.fixture(scope="module")
def validation(held_out: Recording) -> Rows:
    return steps_of(held_out)


@pytest.fixture(scope="module")
def trained(train: Rows, validation: Rows) -> GridPredictor:
    torch.set_num_threads(1)
    model = new_predictor()
    fit(model, train, validation, CONFIG)
    return model


def test_a_small_run_beats_constant_velocity(trained: GridPredictor, train: Rows, validation: Rows) -> None:
    assert bits_of(trained, validation) < 0.97 * constant_velocity_bits(train, validation)


def test_the_next_grids_of_others_teach_no_more_than_constant_velocity(train: Rows, validation: Rows) -> None:
    model, order = new_predictor(), np.random.default_rng(0).permutation(len(train["obs"]))
    fit(model, {**train, "next_obs": train["next_obs"][order]}, validation, CONFIG)
    assert bits_of(model, validation) > constant_velocity_bits(train, validation)


def test_it_learns_16_transitions_by_heart(train: Rows) -> None:
    few = {name: array[:16] for name, array in train.items()}
    torch.manual_seed(0)
    model = GridPredictor(width=24)
    fit(model, few, few, FitConfig(epochs=150, batch_size=16, learning_rate=1e-2, learning_rate_end=5e-4, patience=0))
    assert occupancy_iou(model.predict(few["obs"], few["action"]), few["next_obs"]) > 0.9


def test_a_saved_predictor_expects_the_same(trained: GridPredictor, validation: Rows, tmp_path: Path) -> None:
    trained.save(tmp_path / "model.safetensors")
    again = GridPredictor.load(tmp_path / "model.safetensors")
    obs, actions = validation["obs"][:50], validation["action"][:50]
    assert np.array_equal(again.predict(obs, actions), trained.predict(obs, actions))
    assert again.predict(obs, actions).shape == obs.shape


def test_measures_count_cells() -> None:
    true = np.array([1, 0], np.float32)
    assert occupied_bits(np.array([0.5, 0.25], np.float32), true) == pytest.approx((1 + np.log2(4 / 3)) / 2)
    known = np.array([1, 1, 0, 0], np.float32)
    assert calibrated(known[:3], known, np.array([1, 0, 0, 0], np.float32)).tolist() == [0.5, 0.5, 0.0]


# --- constant velocity ------------------------------------------------------------------------------------------------


@pytest.fixture
def grid() -> np.ndarray:
    """The ego car at 80 mph in the middle, a car at 60 mph 20 cells ahead in the same lane, no road on the right."""
    grid = np.zeros((1, 4, 60, 7), np.float32)
    grid[0, [OCCUPIED, OWN], 50:54, 3], grid[0, SPEED, 50:54, 3] = 1.0, 1.0
    grid[0, OCCUPIED, 26:30, 3], grid[0, SPEED, 26:30, 3] = 1.0, 0.75
    grid[0, OFF_ROAD, :, 4:] = 1.0
    return grid


def places(forecast: np.ndarray) -> tuple[int, int]:
    """First row and column of the cells that are taken by other cars."""
    others = forecast[0].copy()
    others[50:54, 3] = 0
    row, column = np.argwhere(others > 0)[0]
    return int(row), int(column)


def test_a_slower_car_comes_nearer_by_the_difference_of_speeds(grid: np.ndarray) -> None:
    moved = constant_velocity(grid, np.zeros(1, np.int64))[0]
    assert places(moved) == (29, 3)  # 20 mph are 1 px/frame, 3 cells in 30
    assert moved[1, 29, 3] == 0.75 and moved[0].sum() == 8


def test_a_lane_change_moves_the_others_and_none_leaves_the_road(grid: np.ndarray) -> None:
    columns = [places(constant_velocity(grid, np.array([action]))[0])[1] for action in (Action.LEFT, Action.RIGHT)]
    assert columns == [4, 3]  # there is no road on the right


def test_constant_velocity_beats_persistence_on_real_traffic(driving: Recording) -> None:
    grids = observe(driving.rules, driving.states, "grid")  # (R, T + 1, 4, H, W)
    now, true = grids[:, 4], grids[:, 5, OCCUPIED]
    moved = constant_velocity(now, driving.actions[:, 4])[:, 0]
    assert ((moved > 0) & (true > 0)).sum() > 1.3 * ((now[:, OCCUPIED] > 0) & (true > 0)).sum()
