"""Scenes as tokens: they say where vehicles are, and come back as what they say."""

from dataclasses import replace

import numpy as np
import pytest

from deeptraffic.sim.rules import RoadConfig
from representation.data.recording import Recording, RecordingConfig, record
from representation.data.tokens import PATTERNS, VOCABULARY, scene_of, scene_tokens


@pytest.fixture(scope="module")
def runs() -> Recording:
    return record(RecordingConfig(split="validation", runs=4, decisions=10))


def test_tokens_say_where_every_vehicle_in_the_picture_is(runs: Recording) -> None:
    tokens = scene_tokens(runs)
    assert tokens.shape == (4, 10, 21)
    assert (tokens[..., 0] >= PATTERNS).all()
    assert (tokens[..., 1:] < PATTERNS).all()
    assert tokens.max() < VOCABULARY
    cars, lane, _ = scene_of(tokens)
    states = runs.states[:, :-1]
    np.testing.assert_array_equal(lane, np.floor((states["x"][..., 0] + 7.5) / 20))
    game, moment = 1, 6
    places = {
        (int(y // 35), int((x + 7.5) // 20))
        for x, y in zip(states["x"][game, moment, 1:], states["y"][game, moment, 1:], strict=True)
        if 0 <= y < 700
    }
    assert set(zip(*np.nonzero(cars[game, moment]), strict=True)) == places


def test_the_own_speed_comes_back_within_its_class(runs: Recording) -> None:
    _, _, speed = scene_of(scene_tokens(runs))
    assert np.abs(speed[:, 1:] - np.minimum(runs.speeds[:, :-1], 80.0)).max() <= 5.0 + 1e-9


def test_another_road_is_refused(runs: Recording) -> None:
    with pytest.raises(ValueError, match="7 lanes"):
        scene_tokens(replace(runs, rules=RoadConfig(lanes=5).build()))
