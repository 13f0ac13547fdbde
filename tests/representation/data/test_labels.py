"""Labels of a scene: placed by hand, beside what the label must be."""

import numpy as np
import pytest

from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018
from representation.data.labels import SCENES, best_lane, free_ahead, scene_class
from representation.data.recording import Recording

OWN_LANE, FRONT = 3, 525.0


def scene(*cars: tuple[int, float]) -> np.ndarray:
    """The ego car in the middle lane and cars (lane, distance ahead of its front [px]); all others far behind."""
    sim = Simulator(RULES_2018)
    sim.reset_open([0])
    game = sim.games
    game["lane"][0, 0], game["x"][0, 0], game["y"][0, 0] = OWN_LANE, 64.0, FRONT
    game["y"][0, 1:], game["x"][0, 1:] = 5000.0, 4.0
    for k, (lane, distance) in enumerate(cars, start=1):
        game["x"][0, k], game["lane"][0, k] = 20.0 * lane + 4.0, lane
        game["y"][0, k] = FRONT - 34.0 - distance  # its tail is `distance` ahead of our front
    return game


def class_of(*cars: tuple[int, float]) -> str:
    return SCENES[int(scene_class(RULES_2018, scene(*cars))[0])]


@pytest.mark.parametrize(
    ("cars", "expected"),
    [
        ([], "free"),
        ([(3, 100.0)], "free"),
        ([(3, 99.0)], "following"),
        ([(3, 50.0), (2, 20.0)], "gap right"),
        ([(3, 50.0), (4, 20.0)], "gap left"),
        ([(3, 50.0), (4, 20.0), (2, -40.0)], "boxed in"),
        ([(3, 50.0), (2, 60.0), (4, -78.0)], "following"),  # both just out of the gap's reach
        ([(3, 50.0), (2, 59.0), (4, -77.0)], "boxed in"),
        ([(2, 0.0), (4, 0.0)], "free"),
    ],
)
def test_scenes_are_classed_by_the_road_ahead_and_beside(cars: list[tuple[int, float]], expected: str) -> None:
    assert class_of(*cars) == expected


def test_the_edge_of_the_road_is_no_gap() -> None:
    game = scene((6, 50.0), (5, 0.0))
    game["lane"][0, 0], game["x"][0, 0] = 6, 124.0
    assert SCENES[int(scene_class(RULES_2018, game)[0])] == "boxed in"


def test_free_road_is_measured_to_the_nearest_tail_in_each_lane() -> None:
    free = free_ahead(RULES_2018, scene((3, 80.0), (3, 30.0), (2, -10.0), (1, -70.0)))[0]
    assert free.tolist() == [525.0, 525.0, 0.0, 30.0, 525.0, 525.0, 525.0]
    changing = scene((3, 80.0))
    changing["x"][0, 1] += 8.0  # in two lanes at once
    assert free_ahead(RULES_2018, changing)[0].tolist() == [525.0, 525.0, 525.0, 80.0, 80.0, 525.0, 525.0]


def test_the_best_lane_is_the_freest_and_of_equals_the_nearest() -> None:
    assert best_lane(RULES_2018, scene())[0] == 3
    assert best_lane(RULES_2018, scene((3, 80.0)))[0] == 2
    assert best_lane(RULES_2018, scene((3, 80.0), (2, 200.0), (4, 10.0)))[0] == 1


def test_all_classes_occur_in_traffic_and_keep_the_states_shape(driving: Recording) -> None:
    labels = scene_class(driving.rules, driving.states)
    assert labels.shape == driving.states.shape
    assert np.bincount(labels.ravel(), minlength=5).min() > 0.05 * labels.size
