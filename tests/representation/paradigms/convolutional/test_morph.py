"""The morphing video: it begins and ends where it should, in even steps, and passes through its scenes."""

import numpy as np
import pytest

from deeptraffic.sim.rules import RULES_2018
from representation.data.labels import SCENES, free_ahead, scene_class
from representation.paradigms.convolutional.experiment import TOUR, morph


def test_the_tour_passes_through_every_kind_of_scene() -> None:
    states = morph(RULES_2018, TOUR, steps=8)
    named = [SCENES[k] for k in scene_class(RULES_2018, states)]
    assert named[::8] == ["free", "following", "gap right", "boxed in", "gap left", "free"]


def test_vehicles_move_in_even_steps_between_their_placings() -> None:
    states = morph(RULES_2018, [[(0, 100.0), (-1, 50.0)], [(1, 60.0), (-1, 50.0)]], steps=4)
    assert states.shape == (5,)
    assert np.diff(states["x"][:, 1]) == pytest.approx([5.0] * 4)  # one lane in four steps
    assert np.diff(states["y"][:, 1]) == pytest.approx([10.0] * 4)
    assert np.ptp(states["y"][:, 2]) == 0.0
    assert free_ahead(RULES_2018, states)[0].tolist() == [525.0, 525.0, 50.0, 100.0, 525.0, 525.0, 525.0]


def test_a_video_needs_two_arrangements_of_the_same_vehicles() -> None:
    with pytest.raises(ValueError, match="at least two arrangements of the same vehicles"):
        morph(RULES_2018, [[(0, 1.0)], [(0, 1.0), (1, 1.0)]], steps=4)
