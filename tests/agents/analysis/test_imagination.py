"""Figure of predictions: observations beside decoded ones, and errors that can be checked."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agents.algorithms.world_model.agent import WorldModelAgent
from agents.analysis.imagination import (
    Prediction,
    cell_shades,
    gap_cells,
    predict,
    save_imagination,
    typical_env,
)
from agents.config import TrainConfig
from agents.perception import encoder_settings
from agents.sb3 import make_model, make_vec_env
from deeptraffic.envs.observations import Observer, make_observation
from deeptraffic.evaluation.seeds import choose_seeds
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018, Sensor
from representation.registry import make_encoder

Config = Callable[..., TrainConfig]


def new_agent(config: TrainConfig) -> WorldModelAgent:
    model = make_model(config, make_vec_env(config))
    assert isinstance(model, WorldModelAgent)
    return model


def test_a_prediction_holds_what_the_driver_saw(small_config: Config) -> None:
    config = small_config("world_model")
    prediction = predict(new_agent(config), config, ahead=3, envs=5)
    assert prediction.observed.shape == prediction.predicted.shape == (4, 5, 42) and prediction.actions.shape == (3, 5)
    sim = Simulator(config.road.build(), 5)
    sim.reset_open(choose_seeds("tuning", 5))
    observer, agent = Observer(sim.rules, config.observation, 5), new_agent(config)
    sim.step(sim.idle)
    for _ in range(20):
        sim.step(agent.predict(observer.observe(sim), deterministic=True)[0])
    for k in range(4):
        np.testing.assert_array_equal(prediction.observed[k], observer.observe(sim))
        if k < 3:
            sim.step(prediction.actions[k])


def test_errors_are_those_of_the_model_and_of_the_baselines() -> None:
    seen = np.repeat(np.array([[[0.0]], [[1.0]], [[5.0]]], np.float32), 2, 1)
    errors = Prediction(seen, seen + np.float32(0.5), np.zeros((2, 2), np.int64)).errors()
    np.testing.assert_allclose(errors["model"], [[0.5] * 3] * 3)
    np.testing.assert_allclose(errors["first observation"][:, 0], [0.0, 1.0, 5.0])
    np.testing.assert_allclose(errors["mean observation"][:, 0], [2.0, 1.0, 3.0])


def test_errors_have_intervals_over_environments() -> None:
    seen = np.array([[[0.0], [2.0], [1.0]]], np.float32)  # squares 0, 4 and 1
    errors = Prediction(seen, np.zeros_like(seen), np.zeros((0, 3), np.int64)).errors()["model"][0]
    half = 4.303 * np.std([0, 4, 1], ddof=1) / 3**0.5  # Student's t, 2 degrees of freedom
    np.testing.assert_allclose(errors**2, [5 / 3, max(0.0, 5 / 3 - half), 5 / 3 + half], rtol=1e-3)


def test_the_game_that_is_shown_is_neither_the_best_nor_the_worst() -> None:
    actions = np.full((2, 6), 3)
    actions[:, 5] = 0  # it keeps its lane, and is not chosen
    imagined = np.zeros((3, 6, 1), np.float32)
    imagined[:, :, 0] = [4.0, 1.0, 3.0, 5.0, 2.0, 0.0]
    assert typical_env(Prediction(np.zeros((3, 6, 1), np.float32), imagined, actions)) == 2


def test_lane_gaps_are_drawn_as_cells() -> None:
    gaps = np.zeros((3, 6), np.float32)
    gaps[:] = 1.0
    gaps[0] = 0.0  # beside the road
    gaps[2, 0], gaps[2, 2] = 0.5, 0.25  # free: 5 of 10 cells ahead, 1 of 4 behind
    shades = gap_cells(gaps, Sensor(1, 10, 4))
    assert shades.shape == (14, 3)
    assert (shades[:, 0] == 0.0).all() and (shades[:, 1] == 1.0).all()
    assert np.flatnonzero(shades[:, 2] == 0.5).tolist() == [1, 2, 3, 4, 11, 12, 13]


def test_cells_are_drawn_as_the_sensor_shows_them() -> None:
    cells = np.ones((60, 7), np.float32)
    cells[:, 0] = 0.0
    cells[10:14, 2] = 0.02
    shades = cell_shades(cells.ravel(), make_observation("vector"))
    assert (shades[:, 0] == 0.0).all() and (shades[:, 1] == 1.0).all()
    np.testing.assert_allclose(shades[10:14, 2], 0.51)


@pytest.mark.parametrize("kind", ["gaps", "vector"])
def test_the_picture_is_written(small_config: Config, tmp_path: Path, kind: str) -> None:
    config = small_config("world_model", kind=kind)
    picture = np.asarray(Image.open(save_imagination(new_agent(config), config, tmp_path / "a.png", 2)).convert("RGB"))
    assert (picture == (213, 94, 0)).all(-1).sum() > 1000  # the own car


@pytest.mark.parametrize("frozen", [False, True])
def test_predictions_of_images_are_shown_as_the_nearest_image_of_another_run(
    small_config: Config, tmp_path: Path, frozen: bool
) -> None:
    options = {"kind": "pixels", "height": 35, "width": 21, "temporal_window": 1}
    encoder = make_encoder("conv", make_observation(options).space(RULES_2018), 8, channels=[4])
    encoder.save(tmp_path / "encoder.safetensors")
    named = {"encoder.architecture": {"channels": [4]}, "encoder.features_dim": 8, "encoder.name": "conv"}
    settings = encoder_settings(tmp_path / "encoder.safetensors") if frozen else named
    config = small_config("world_model", num_envs=2, **options, **settings)
    agent = new_agent(config)
    assert agent.policy.is_frozen == frozen
    prediction = predict(agent, config, ahead=2, envs=5)
    assert prediction.predicted.shape == (3, 5, 8 if frozen else 35 * 21 * 6)
    assert prediction.images is not None and prediction.images.shape == (23, 5, 35, 21, 3)
    prediction.predicted[1, 3] = prediction.recorded[7, 2]  # type: ignore[index]
    np.testing.assert_array_equal(prediction.nearest_image(1, 3), prediction.images[7, 2])
    assert (prediction.nearest_image(1, 2) != prediction.images[7, 2]).any()
    assert save_imagination(agent, config, tmp_path / "a.png", 2).stat().st_size > 10_000


def test_what_has_no_cells_is_refused(small_config: Config, tmp_path: Path) -> None:
    config = small_config("world_model", kind="grid")
    with pytest.raises(ValueError, match="must be vector, gaps .* or pixels to be drawn, got 'grid'"):
        save_imagination(new_agent(config), config, tmp_path / "a.png")
