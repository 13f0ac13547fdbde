"""Runs driven by hand: countdown, standing and end card, and questions before a run is lost."""

from pathlib import Path

import numpy as np
import pytest

from deeptraffic.episodes.episode import Episode
from deeptraffic.episodes.trace import Start
from deeptraffic.render.play import Play
from deeptraffic.render.theme import FEET_PER_PX
from deeptraffic.sim.rules import RULES_2018


def made(tmp_path: Path, frames: int = 120, **options) -> Play:
    return Play(RULES_2018, frames=frames, table=tmp_path / "runs.json", name="Ada", size=(1060, 760), **options)


def ticked(play: Play, ticks: int) -> Play:
    for _ in range(ticks):
        play.viewer.tick()
    return play


def rival(seed: int) -> Episode:
    return Episode(RULES_2018, Start.open(seed), lambda sim, agent: 2, frames=120, label="rival")


def test_a_run_is_counted_down_and_keys_pressed_meanwhile_count(tmp_path):
    play = made(tmp_path)
    play.viewer.press("left")
    play.viewer.release("left")
    images = [ticked(play, 60).viewer.image() for _ in range(3)]
    assert play.viewer.episode.frame == 0 and not np.array_equal(images[0], images[1])
    ticked(play, 61)
    assert play.viewer.episode.frame == 61 and play.viewer.episode.actions == [3, 0, 0]
    play.viewer.press("space")
    play.viewer.press("r")
    play.viewer.press("return")
    assert play.viewer.countdown == 3


@pytest.mark.parametrize("key", ["escape", "q"])
def test_no_single_key_ends_a_run(key, tmp_path):
    viewer = ticked(made(tmp_path, countdown=0), 50).viewer
    viewer.press(key)
    ticked_on = viewer.episode.frame
    viewer.tick()
    assert not viewer.quit and viewer.episode.frame == ticked_on and "Leave this run?" in viewer._status()
    viewer.press("escape")
    viewer.tick()
    assert not viewer.quit and viewer.episode.frame == ticked_on + 1
    viewer.press(key)
    viewer.press("return")
    assert viewer.quit


def test_a_run_that_has_not_begun_or_has_ended_is_left_at_once(tmp_path):
    for ticks in (10, 400):
        viewer = ticked(made(tmp_path), ticks).viewer
        viewer.press("escape")
        assert viewer.quit


def test_the_standing_names_time_target_and_gap(tmp_path):
    play = made(tmp_path, countdown=0, targets=[("far", 99.9), ("near", 20.0), ("next", 60.0)])
    ticked(play, 60)
    standing = play._standing()
    assert standing.seconds_left == 1.0 and standing.gap is None
    score = play.viewer.episode.score_mph()
    assert standing.target == next(each for each in (("near", 20.0), ("next", 60.0), ("far", 99.9)) if each[1] > score)
    against = ticked(made(tmp_path, countdown=0, rival=rival), 90)
    label, feet = against._standing().gap
    assert label == "rival" and feet == pytest.approx(against.viewer.lead() * FEET_PER_PX)
    mine, other = (episode.score_mph() for episode in (against.viewer.episode, against.viewer.rival))
    assert feet == pytest.approx((mine - other) * 5280 / 3600 * 90 / 60, abs=0.05)  # by the mean speeds
    assert feet < -0.1
    assert against._standing().target == ("rival", against.viewer.rival.score_mph())


def test_the_end_card_ranks_the_run_and_enter_starts_another(tmp_path):
    play = made(tmp_path, countdown=0, targets=[(f"t{k}", 10.0 * k) for k in range(9)])
    plain = ticked(play, 119).viewer.image()
    ticked(play, 5)
    card, score = play._card(), play.viewer.episode.score_mph()
    assert card.score_mph == score and [row[1] for row in card.ranking] == sorted(row[1] for row in card.ranking)[::-1]
    assert len(card.ranking) == 5 and [row for row in card.ranking if row[2]] == [("Ada", score, True)]
    assert "place 1 of 1" in card.facts
    image = play.viewer.image()
    assert image[5, 5].max() <= plain[5, 5].max() // 2 + 1  # dimmed around the card
    play.viewer.press("return")
    assert play.viewer.episode.frame == 0 and play.viewer.message == ""


def test_the_end_card_says_who_won(tmp_path):
    for keys, title in (([], "rival won by 0.0"), (["down"], "A draw with rival")):
        play = made(tmp_path, countdown=0, rival=rival)
        for key in keys:
            play.viewer.press(key)
        card = ticked(play, 125)._card()
        assert card.title.startswith(title) and ("rival", play.viewer.rival.score_mph(), False) in card.ranking
