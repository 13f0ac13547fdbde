"""Runs driven by hand: countdown, standing and end card, questions before a run is lost, and the table of results."""

from pathlib import Path

import numpy as np
import pytest

from deeptraffic.episodes.episode import Episode
from deeptraffic.episodes.trace import Start
from deeptraffic.render.play import HandDrivenRun, Play, add_score, load_scores, score_table_path
from deeptraffic.render.theme import FEET_PER_PX
from deeptraffic.sim.rules import RULES_2018


def run(score: float, other_agents: int = 0, name: str = "a") -> HandDrivenRun:
    return HandDrivenRun(name, score, 3, 2018, other_agents, 1)


def test_places_count_among_runs_of_the_same_game(tmp_path):
    path = tmp_path / "deep" / "runs.json"
    assert add_score(run(60.0), path) == (1, 1)
    assert add_score(run(70.0), path) == (1, 2)
    assert add_score(run(65.0), path) == (2, 3)
    assert add_score(run(50.0, other_agents=10), path) == (1, 1)
    assert [entry.score_mph for entry in load_scores(path)] == [70.0, 65.0, 60.0, 50.0]


def test_a_file_that_is_no_table_is_left_alone(tmp_path):
    path = tmp_path / "runs.json"
    path.write_text("[{}]")
    with pytest.raises(ValueError, match="move it away"):
        add_score(run(1.0), path)
    assert path.read_text() == "[{}]"


def test_the_path_can_be_set_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPTRAFFIC_TABLE", str(tmp_path / "t.json"))
    add_score(run(1.0, name="x" * 500))
    assert score_table_path() == tmp_path / "t.json" and len(load_scores()[0].name) == 60


def test_without_a_setting_the_table_is_in_the_users_data_folder(monkeypatch):
    for name in ("DEEPTRAFFIC_TABLE", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert score_table_path() == Path.home() / ".local" / "share" / "deeptraffic" / "runs.json"


# --- the run ----------------------------------------------------------------------------------------------------------


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
