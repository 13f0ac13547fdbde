"""Tokens of scenes: what they hold, and the states that they are turned into."""

import numpy as np
import pytest

from deeptraffic.sim.rules import RULES_2018, RoadConfig
from representation.data.labels import scene_class
from representation.data.rasters import FOLLOWING, POSITION, SPEED_FACTOR, VEHICLE, decode_rasters, rasterise
from representation.data.recording import Recording
from representation.data.tokens import (
    CARS,
    EGO_FACTORS,
    END,
    FACTORS,
    MATCHED,
    PLACE,
    SceneTokens,
    place_tokens,
    scene_tokens,
    there_are,
)


@pytest.fixture(scope="module")
def states(driving: Recording) -> np.ndarray:
    return decode_rasters(driving.rules, rasterise(driving.rules, driving.states[:, ::4].reshape(-1))).states


def scene(ego: tuple[int, int, int, int], *cars: tuple[int, int, int, int]) -> SceneTokens:
    listed = np.zeros((1, CARS + 1, 4), np.int64)
    listed[0, : len(cars)] = cars
    listed[0, len(cars), 0] = END
    return SceneTokens(np.array([ego]), listed)


def test_tokens_keep_scenes_up_to_their_bins(driving: Recording, states: np.ndarray) -> None:
    placed = place_tokens(driving.rules, scene_tokens(driving.rules, states), seed=1)
    assert placed.is_valid.mean() > 0.99
    before, after = rasterise(driving.rules, states), rasterise(driving.rules, placed.states)
    same = (before[:, VEHICLE] == after[:, VEHICLE]).all((1, 2))
    assert same.mean() > 0.99
    apart = np.abs(before - after)[same].max((0, 2, 3))
    assert apart[POSITION] < 2 * PLACE / 35 + 1e-5
    assert apart[SPEED_FACTOR] < 2 / FACTORS + 1e-5
    assert apart[FOLLOWING] < 0.3
    assert (np.abs(before - after)[same][:, FOLLOWING] < 0.02).mean() > 0.99
    assert (scene_class(driving.rules, placed.states) == scene_class(driving.rules, states)).mean() > 0.95


def test_a_scene_is_the_one_that_is_written() -> None:
    tokens = scene((2, 3, 100, MATCHED), (100, 3, 0, 4), (100, 0, 15, 3))
    placed = place_tokens(RULES_2018, tokens, seed=0)
    assert placed.is_valid.all()
    state = placed.states[0]
    assert state["lane"][:3].tolist() == [3, 3, 0]
    along = state["y"] - state["y"][0] + RULES_2018.ego_y
    assert 250.0 <= along[1] < 252.5 and 500.0 <= along[2] < 502.5
    assert 1.0 <= state["speed_factor"][1] < 1.0 + 0.35 / 16
    assert state["speed_factor"][0] == 2.0
    assert state["following_speed"][[1, 2]].tolist() == [2.0, 1.5]
    # the ego car goes at the speed of the car ahead in its lane
    assert state["following_speed"][0] * 2.0 == pytest.approx(2.0 * state["speed_factor"][1])
    assert there_are(tokens.cars).sum() == 2
    again = scene_tokens(RULES_2018, placed.states)
    np.testing.assert_array_equal(again.cars, tokens.cars)
    np.testing.assert_array_equal(again.ego[:, 1:], tokens.ego[:, 1:])


def test_cars_that_overlap_or_stand_beyond_the_road_make_a_scene_invalid() -> None:
    overlapping = scene((0, 3, 100, 4), (100, 2, 0, 4), (12, 2, 0, 4))
    beside = scene((0, 3, 100, 4), (100, 2, 0, 4), (12, 1, 0, 4))
    in_the_ego_car = scene((0, 3, 100, 4), (205, 3, 0, 4))
    beyond = scene((0, 3, 100, 4), (200, 2, 0, 4), (90, 1, 0, 4))
    valid = [bool(place_tokens(RULES_2018, one).is_valid[0]) for one in (overlapping, beside, in_the_ego_car, beyond)]
    assert valid == [False, True, False, False]


def test_numbers_of_tokens_are_in_their_ranges(driving: Recording, states: np.ndarray) -> None:
    tokens = scene_tokens(driving.rules, states)
    assert tokens.ego.shape == (len(states), 4) and tokens.cars.shape == (len(states), CARS + 1, 4)
    assert (tokens.cars >= 0).all() and (tokens.ego >= 0).all()
    assert tokens.ego[:, 2].max() < EGO_FACTORS
    assert ((tokens.cars[..., 0] == END).sum(1) == 1).all()


def test_roads_of_another_size_are_refused() -> None:
    rules = RoadConfig(lanes=5).build()
    with pytest.raises(ValueError, match="a road of 5 lanes.*has no scene tokens; take the contests' road of 7 lanes"):
        scene_tokens(rules, np.zeros(0))
