"""Captions: scenes placed by hand, beside the sentence that they must get."""

import numpy as np
import pytest

from deeptraffic.sim.rules import Action
from representation.data.captions import TOKEN, VOCABULARY, WORDS, describe, sentence, slots, tokens
from representation.data.recording import Recording, observe


def scene(*cars: tuple[int, int, float], edge: int | None = None) -> np.ndarray:
    """A grid with cars at (column from the ego car, cells between, mph); no road in the column `edge` from the own."""
    grid = np.zeros((1, 4, 60, 7), np.float32)
    grid[0, 3, 50:54, 3] = grid[0, 0, 50:54, 3] = 1.0
    for side, cells, mph in cars:
        rows = slice(50 - cells - 4, 50 - cells)
        grid[0, 0, rows, 3 + side], grid[0, 1, rows, 3 + side] = 1.0, mph / 80.0
    if edge is not None:
        grid[0, 2, :, 3 + edge] = 1.0
    return grid


@pytest.mark.parametrize(
    ("grid", "action", "expected"),
    [
        (scene(), Action.ACCELERATE, "road ahead free, both lanes free, speeding up"),
        (scene((0, 2, 40.0), (1, 0, 50.0)), Action.LEFT, "slow car two cells ahead, left lane free, changing left"),
        (scene((0, 1, 50.0), edge=-1), Action.NOTHING, "fast car one cell ahead, right lane free, keeping on"),
        (scene((0, 10, 40.0)), Action.RIGHT, "slow car ten cells ahead, both lanes free, changing right"),
        (scene((0, 11, 40.0), (-1, 5, 40.0)), Action.DECELERATE, "road ahead free, right lane free, slowing down"),
        (scene((-1, 6, 40.0), (1, -9, 40.0)), Action.NOTHING, "road ahead free, both lanes free, keeping on"),
        (scene((-1, -8, 40.0), edge=1), Action.NOTHING, "road ahead free, no lane free, keeping on"),
    ],
)
def test_a_scene_has_one_sentence(grid: np.ndarray, action: Action, expected: str) -> None:
    words = describe(grid, np.array([action]))
    assert words.shape == (1, WORDS)
    assert sentence(words[0]) == expected


def test_every_sentence_of_real_traffic_fits_and_survives_the_vocabulary(driving: Recording) -> None:
    grids = observe(driving.rules, driving.states[:, :-1], "grid").reshape(-1, 4, 60, 7)
    words = describe(grids, driving.actions.ravel())
    assert (words[:, -1] == TOKEN["."]).all() and words.max() < len(VOCABULARY)
    for row in words[:50]:
        assert tokens(sentence(row)) == row[: len(tokens(sentence(row)))].tolist()


def test_slots_are_what_a_sentence_states() -> None:
    assert slots("slow car two cells ahead, left lane free, changing left") == {
        ("car", "slow"),
        ("distance", "two"),
        ("lanes", "left lane free"),
        ("action", "changing left"),
    }
    assert slots("road ahead free, free car, keeping on") == {("car", "none"), ("action", "keeping on")}


def test_a_grid_that_shows_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="give patches_ahead of at least 11"):
        describe(scene()[:, :, 45:], np.array([0]))
