"""Scenes as rasters and back: what is legal, what is left out, and that the real game goes on from there."""

import numpy as np
import pytest

from deeptraffic.sim.rules import RULES_2018, RoadConfig
from representation.data.labels import scene_class
from representation.data.rasters import (
    FOLLOWING,
    OWN,
    POSITION,
    SPEED_FACTOR,
    VEHICLE,
    decode_rasters,
    rasterise,
    settle,
)
from representation.data.recording import Recording


def empty_pictures(count: int = 1) -> np.ndarray:
    """Roads with nothing but the ego car in lane 3, at 70 mph."""
    rasters = np.zeros((count, 5, 20, 7), np.float32)
    rasters[:, [VEHICLE, OWN]] = -1.0
    put(rasters, 15, 3, wanted=0.75)
    rasters[:, OWN, 15, 3] = 1.0
    return rasters


def put(rasters: np.ndarray, row: int, lane: int, place: float = -1.0, wanted: float = 0.0, sure: float = 1.0) -> None:
    rasters[:, [VEHICLE, POSITION, SPEED_FACTOR, FOLLOWING], row, lane] = (sure, place, wanted, 1.0)


def test_a_picture_is_read_as_the_game_that_it_shows() -> None:
    rasters = empty_pictures()
    put(rasters, 4, 2, place=0.2, wanted=1.0)
    scenes = decode_rasters(RULES_2018, rasters)
    assert scenes.is_valid.all()
    game = scenes.states[0]
    assert game["lane"][:2].tolist() == [3, 2]
    assert game["x"][:2].tolist() == [64.0, 44.0]
    speed = 2.0 * 1.75  # [px/frame] of the ego car
    assert game["y"][0] == pytest.approx(526.5 - speed)
    assert game["y"][1] - game["y"][0] == pytest.approx(35 * 4.6 - 525)
    assert game["speed_factor"][:2] == pytest.approx([1.75, 1.35])
    out_of_view = (game["y"][2:] > 700) | (game["y"][2:] < 0)
    assert out_of_view.all()


def test_scenes_survive_the_way_through_a_picture(driving: Recording) -> None:
    states = driving.states.reshape(-1)
    rasters = rasterise(driving.rules, states)
    assert rasters.shape == (len(states), 5, 20, 7)
    assert np.abs(rasters).max() <= 1.0
    scenes = decode_rasters(driving.rules, rasters)
    again = rasterise(driving.rules, scenes.states)
    legal = scenes.is_valid
    assert legal.mean() > 0.97  # cars that change lanes may be drawn into others
    assert np.abs(again - rasters)[legal].max() < 1e-5
    assert np.mean(scene_class(driving.rules, scenes.states) == scene_class(driving.rules, states)) > 0.95


def test_what_stands_in_another_car_is_left_out() -> None:
    rasters = empty_pictures()
    put(rasters, 8, 5, place=0.9, sure=0.5)
    put(rasters, 9, 5, place=0.0, sure=0.9)  # 19 px behind the other's front
    scenes = decode_rasters(RULES_2018, rasters)
    assert not scenes.is_valid[0]
    assert rasterise(RULES_2018, scenes.states)[0, VEHICLE, 8:10, 5].tolist() == [-1.0, 1.0]


def test_more_cars_than_the_road_has_are_left_out_the_least_sure_first() -> None:
    rasters = empty_pictures()
    for k in range(21):
        put(rasters, 2 * (k // 7), k % 7, sure=0.9 - 0.01 * k)
    scenes = decode_rasters(RULES_2018, rasters)
    assert scenes.is_valid.tolist() == [False]
    assert rasterise(RULES_2018, scenes.states)[0, VEHICLE, 4, 4:].tolist() == [1.0, -1.0, -1.0]


def test_one_own_car_is_chosen_among_several() -> None:
    rasters = empty_pictures()
    put(rasters, 15, 6)
    rasters[:, OWN, 15, 6] = 0.5
    scenes = decode_rasters(RULES_2018, rasters)
    assert not scenes.is_valid[0]
    assert scenes.states["lane"][0, 0] == 3


def test_the_simulator_continues_noise_as_legal_traffic() -> None:
    rasters = np.random.default_rng(0).normal(size=(200, 5, 20, 7)).astype(np.float32)
    scenes = decode_rasters(RULES_2018, rasters, seed=3)
    y, lane = scenes.states["y"], scenes.states["lane"]
    in_view = (y >= 0) & (y < 700)
    both = in_view[:, :, None] & in_view[:, None] & (lane[:, :, None] == lane[:, None]) & ~np.eye(20, dtype=bool)
    assert not (both & (np.abs(y[:, :, None] - y[:, None]) < 34)).any()
    after = settle(RULES_2018, scenes.states)
    assert (after["waiting"] == 0).all()
    assert (after["y"][:, 0] == y[:, 0]).all()  # the scrolling holds the ego car where it was put
    assert np.isfinite(after["y"]).all()


def test_the_future_of_a_scene_is_that_of_its_seed() -> None:
    rasters = np.random.default_rng(1).normal(size=(20, 5, 20, 7)).astype(np.float32)
    first, again, other = (decode_rasters(RULES_2018, rasters, seed).states for seed in (5, 5, 6))
    assert (first == again).all()
    assert not (first["rng"] == other["rng"]).all()


def test_roads_and_pictures_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="a road of 50 rows with 0 other agents has no raster"):
        decode_rasters(RoadConfig(rows=50).build(), empty_pictures())
    with pytest.raises(ValueError, match=r"rasters of shape \(1, 5, 20, 5\) are not"):
        decode_rasters(RULES_2018, empty_pictures()[..., :5])
