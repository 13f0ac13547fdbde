"""Forecasts: better than everybody going on as now, and nothing learned where the future is another's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deeptraffic.envs.observations.grid import OCCUPIED, OWN
from representation.data.recording import Recording, observe
from representation.fit import FitConfig, fit
from representation.paradigms.autoencoder.grids import occupancy_iou
from representation.paradigms.encoder_decoder.forecast import (
    GridPredictor,
    calibrated,
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


def test_it_learns_64_transitions_by_heart(train: Rows) -> None:
    few = {name: array[:64] for name, array in train.items()}
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
