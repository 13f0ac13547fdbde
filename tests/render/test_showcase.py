"""The presentation video."""

import numpy as np
import pytest

from deeptraffic.episodes.episode import Episode
from deeptraffic.episodes.trace import Start
from deeptraffic.render.showcase import SHOWCASE_FPS, Showcase, showcase_frames
from deeptraffic.render.theme import DARK
from deeptraffic.sim.rules import RULES_2018


def episode() -> Episode:
    return Episode(RULES_2018, Start.open(3), lambda sim, agent: 1)


def test_the_video_is_30_frames_a_second_of_1280_by_720():
    frames = list(showcase_frames(episode(), Showcase("A"), seconds=2))
    assert len(frames) == 2 * SHOWCASE_FPS
    assert all(frame.shape == (720, 1280, 3) and frame.dtype == np.uint8 for frame in frames)


def test_it_fades_in_and_out():
    frames = list(showcase_frames(episode(), Showcase("A"), seconds=2))
    assert frames[0].mean() < 0.2 * frames[30].mean() and frames[-1].mean() < 0.2 * frames[30].mean()


def test_two_game_frames_pass_from_one_picture_to_the_next():
    driven = episode()
    frames = showcase_frames(driven, Showcase("A"), seconds=1)
    next(frames)
    next(frames)
    assert driven.frame == 2


def test_the_ego_car_is_shown_enlarged_and_on_the_map():
    frame = list(showcase_frames(episode(), Showcase("A"), seconds=2))[30].astype(int)
    red = np.abs(frame - DARK.ego).max(axis=2) < 25
    assert red[:, 560:1040].sum() > 1000 and 50 < red[:, 1088:].sum() < 600


@pytest.mark.parametrize(
    "card, changed",
    [
        ({"best_mph": 74.21}, np.s_[560:640, 64:500]),
        ({"rank": 3, "of": 120}, np.s_[560:640, 64:500]),
        ({"name": "Somebody else"}, np.s_[80:160, 64:500]),
        ({"speed_limit_mph": 20}, np.s_[196:360, 64:190]),
        ({"trail": "fuchsia"}, np.s_[480:720, 560:1040]),
    ],
)
def test_what_the_card_says_is_shown_where_it_belongs(card, changed):
    plain = list(showcase_frames(episode(), Showcase("A"), seconds=1.5))[20]
    other = list(showcase_frames(episode(), Showcase(**{"name": "A", **card}), seconds=1.5))[20]
    assert np.abs(plain[changed].astype(int) - other[changed]).max() > 50


def test_a_long_name_stays_off_the_road():
    frame = list(showcase_frames(episode(), Showcase("The " + "very " * 12 + "long team name"), seconds=1.5))[20]
    plain = list(showcase_frames(episode(), Showcase("A"), seconds=1.5))[20]
    assert np.array_equal(frame[:, 560:], plain[:, 560:])
