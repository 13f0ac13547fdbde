"""Runs driven by hand: countdown, standing and end card, and questions before a run is lost."""

from pathlib import Path

import numpy as np
import pytest

from deeptraffic.episodes.episode import Episode
from deeptraffic.episodes.trace import Start
from deeptraffic.render.play import Play
from deeptraffic.render.screen import ViewerOptions
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


RIVALRY = ViewerOptions(rivals=[rival])


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
    assert play.viewer.countdown == 3 * 60


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
    targets = [("far", 99.9), ("near", 20.0), ("next", 60.0)]
    play = ticked(made(tmp_path, countdown=0, targets=targets), 60)
    score = play.viewer.episode.score_mph()
    name, mph = next(each for each in (("near", 20.0), ("next", 60.0), ("far", 99.9)) if each[1] > score)
    assert play.standing() == [("TIME LEFT", "0:01.0", ""), ("TO BEAT", f"{mph:.2f} mph", name)]
    against = ticked(made(tmp_path, countdown=0, options=RIVALRY), 90)
    mine, other = (episode.score_mph() for episode in against.viewer.episodes)
    feet = against.viewer.log.lead() * FEET_PER_PX
    assert feet == pytest.approx((mine - other) * 5280 / 3600 * 90 / 60, abs=0.05)  # by the mean speeds
    for px, words in ((-100.0, "behind rival"), (0.1, "level with rival"), (100.0, "ahead of rival")):
        against.viewer.log.lead = lambda px=px: px
        gap = ("GAP", f"{abs(px) * FEET_PER_PX:,.0f} ft", words)
        assert feet < -0.1 and against.standing()[1:] == [("TO BEAT", f"{other:.2f} mph", "rival"), gap]


def test_the_end_card_ranks_the_run_and_enter_starts_another(tmp_path):
    play = made(tmp_path, countdown=0, targets=[(f"t{k}", 10.0 * k) for k in range(9)])
    plain = ticked(play, 119).viewer.image()
    ticked(play, 5)
    ranking, score = play.ranking(), play.viewer.episode.score_mph()
    assert ranking == sorted(ranking, key=lambda row: -row[1]) and len(ranking) == 5 and ("Ada", score) in ranking
    assert "place 1 of 1" in play.viewer.message
    image = play.viewer.image()
    assert image[5, 5].max() <= plain[5, 5].max() // 2 + 1  # dimmed around the card
    play.viewer.press("return")
    assert play.viewer.episode.frame == 0 and play.viewer.message == ""


def test_the_end_card_says_who_won(tmp_path):
    for keys, title in (([], "rival won by 0.0"), (["down"], "A draw with rival")):
        play = made(tmp_path, countdown=0, options=RIVALRY)
        for key in keys:
            play.viewer.press(key)
        ticked(play, 125)
        assert play.title().startswith(title) and ("rival", play.rival.score_mph()) in play.ranking()


def test_driving_by_hand_takes_taps_and_held_keys(tmp_path):
    play = made(tmp_path, 200, countdown=0)
    viewer = play.viewer
    viewer.press("left")
    viewer.release("left")
    ticked(play, 61)  # decisions at frames 0, 30 and 60
    viewer.press("down")
    ticked(play, 60)
    assert viewer.episode.actions[:5] == [3, 0, 0, 2, 2]
    viewer.press("space")
    assert viewer.controls.paused


def test_a_finished_drive_gets_its_score_its_place_and_a_demonstration(tmp_path, same_games):
    for place, key in ((1, "right"), (2, "down")):
        play = made(tmp_path, 150, countdown=0)
        play.viewer.press(key)
        ticked(play, 160)
        result = play.result()
        assert (result.place, result.of) == (place, place)
        assert result.score_mph == play.viewer.episode.score_mph()
        assert f"place {place} of {place}" in play.viewer.message
    with np.load(result.demonstration.save(tmp_path / "d.npz"), allow_pickle=False) as saved:
        assert saved["observations"].shape == (4, 420) and saved["actions"].tolist() == [2, 2, 2, 2]
        assert saved["rewards"].shape == (4,) and (saved["rewards"] != 0).any()
    replay = Episode.replay(result.trace).finish()
    assert same_games(replay.sim, play.viewer.episode.sim)


def test_demonstrated_rewards_and_observations_are_those_of_the_game(tmp_path):
    play = made(tmp_path, 100, countdown=0)
    ticked(play, 100)
    sim = Episode(RULES_2018, Start.open(1), lambda sim, agent: 0).sim
    demonstration = play.demonstration
    for step in range(3):
        sim.step([0])
        assert np.array_equal(demonstration._observations[step], sim.sense(play.sensor)[0].astype(np.float32))
        if step:
            assert demonstration._rewards[step - 1] == sim.state.reward[0]
