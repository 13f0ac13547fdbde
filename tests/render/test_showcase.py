"""The presentation video."""

import numpy as np
import pytest

from deeptraffic.episodes.episode import Episode
from deeptraffic.episodes.trace import Start
from deeptraffic.render.showcase import FADE, SHOWCASE_FPS, TALL, Showcase, showcase_frames
from deeptraffic.render.theme import DARK
from deeptraffic.sim.rules import RULES_2018


def episode() -> Episode:
    return Episode(RULES_2018, Start.open(3), lambda sim, agent: 1)


@pytest.fixture(scope="module")
def film() -> list[np.ndarray]:
    """Two seconds without a card's details."""
    return list(showcase_frames(episode(), Showcase("A"), seconds=2))


def shown(card: Showcase) -> np.ndarray:
    """The 21st image of two seconds."""
    frames = showcase_frames(episode(), card, seconds=2)
    return next(frame for k, frame in enumerate(frames) if k == 20)


def test_the_video_is_30_frames_a_second_of_1280_by_720_and_fades_in_and_out(film):
    assert len(film) == 2 * SHOWCASE_FPS
    assert all(frame.shape == (720, 1280, 3) and frame.dtype == np.uint8 for frame in film)
    assert film[0].mean() < 0.2 * film[30].mean() and film[-1].mean() < 0.2 * film[30].mean()


def test_two_game_frames_pass_from_one_picture_to_the_next():
    driven = episode()
    frames = showcase_frames(driven, Showcase("A"), seconds=1)
    next(frames)
    next(frames)
    assert driven.frame == 2


def test_the_ego_car_is_shown_enlarged_and_on_the_map(film):
    red = np.abs(film[30].astype(int) - DARK.ego).max(axis=2) < 25
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
def test_what_the_card_says_is_shown_where_it_belongs(film, card, changed):
    other = shown(Showcase(**{"name": "A", **card}))
    assert np.abs(film[20][changed].astype(int) - other[changed]).max() > 50


def test_a_long_name_stays_off_the_road(film):
    frame = shown(Showcase("The " + "very " * 12 + "long team name"))
    assert np.array_equal(frame[:, 560:], film[20][:, 560:])


def test_the_tall_video_fills_a_phone_and_enlarges_the_road_more():
    frame = list(showcase_frames(episode(), Showcase("A"), seconds=2, stage=TALL))[30].astype(int)
    assert frame.shape == (1920, 1080, 3)
    red = np.abs(frame - DARK.ego).max(axis=2) < 25
    assert red[560:, :760].sum() > 2500 and 100 < red[560:, 790:].sum() < 1500
    assert frame[:500].std() > 10, "no name, counter or graph"


CARD = Showcase("Ada", best_mph=74.21, rank=3, of=120, facts=(("INPUT", "420 cells"),))


def test_a_video_of_twelve_seconds_ends_with_a_card_of_three():
    frames = list(showcase_frames(episode(), CARD, seconds=12))
    assert len(frames) == 12 * SHOWCASE_FPS
    assert np.array_equal(frames[-80], frames[-30]) and not np.array_equal(frames[-91], frames[-92])
    assert frames[-1].mean() < 0.2 * frames[-30].mean()


def test_the_end_card_has_score_rank_and_facts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("deeptraffic.render.showcase.END_SECONDS", 0.5)
    first, *others = (
        list(showcase_frames(episode(), card, seconds=2))[-FADE].astype(int)
        for card in (CARD, CARD._replace(best_mph=70.0), CARD._replace(rank=4), CARD._replace(facts=()))
    )
    for other in others:
        assert np.abs(first - other)[100:620, 410:870].max() > 100


def test_a_short_video_has_no_card():
    frames = list(showcase_frames(episode(), Showcase("A"), seconds=4))
    assert not np.array_equal(frames[-20], frames[-30])
