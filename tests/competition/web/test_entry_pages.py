"""A scored submission's public pages."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deeptraffic.competition.models import Submission
from deeptraffic.competition.store import competitions
from deeptraffic.competition.store.submissions import find_scored
from deeptraffic.competition.web import entry_pages
from deeptraffic.competition.web.replays import Tracks, Videos, make_video
from deeptraffic.episodes.trace import Trace


@pytest.fixture
def driven(world) -> Any:
    return world.driven(world.person("Ada"), "gap")


def test_tracks_of_the_notable_runs_are_those_of_the_evaluation(world, driven, browse: Callable) -> None:
    browser, score = browse(), world.drive_of("gap")[0]
    for run, value in (("best", score.run_scores.max()), ("median", score.score), ("worst", score.run_scores.min())):
        assert f"{value:.2f} mph" in browser.get(f"/e/{driven.key}/replay?run={run}").text
        track = browser.get(f"/e/{driven.key}/track/{run}").json()
        assert (track["format"], track["frames"], track["label"]) == ("deeptraffic-track", 2000, "")
        number = int((score.run_scores == value).argmax())
        assert track["passed"][-1] == score.run_passed[number]
    kept = list((world.folder / "tracks").glob("*.track"))
    assert len(kept) == 3
    for path in kept:
        path.write_bytes(gzip.compress(json.dumps({"kept": True}).encode()))
    assert browser.get(f"/e/{driven.key}/track/best").json() == {"kept": True}


def test_an_entry_shows_its_runs_and_its_rank(world, driven, browse: Callable) -> None:
    world.scored(world.person("Bob"), 60.0)
    text = browse().get(f"/e/{driven.key}").text
    assert "73.35" in text and "1 <small>out of 2</small>" in text
    assert text.count("<rect") > 20


def test_an_entry_says_that_it_acts_at_random(world, driven, browse: Callable) -> None:
    assert "Random actions" not in browse().get(f"/e/{driven.key}").text
    with world.db.write() as session:
        row = session.get_one(Submission, driven.id)
        row.facts = row.facts | {"epsilon": 0.25}
    assert "25% of all decisions" in browse().get(f"/e/{driven.key}").text


def test_two_entries_stand_side_by_side(world, driven, browse: Callable) -> None:
    other = world.scored(world.person("Bob"), 66.0)
    text = browse().get(f"/e/{driven.key}/replay?run=worst&beside={other.key}").text
    assert text.count("data-track=") == 2 and f"/e/{other.key}/track/worst" in text
    assert browse().get(f"/e/{driven.key}/replay?beside=none").status_code == 404
    own = browse().get(f"/e/{driven.key}/replay?run=worst&beside=median").text
    assert f"/e/{driven.key}/track/worst" in own and f"/e/{driven.key}/track/median" in own
    assert "beside its median run" in own


@pytest.mark.parametrize("path", ["", "/replay", "/track/median", "/video/median.mp4"])
def test_what_has_no_public_score_has_no_public_page(world, browse: Callable, path: str) -> None:
    ada = world.person("Ada")
    waiting = world.submit(ada)
    assert browse(ada).get(f"/e/{waiting.key}{path}").status_code == 404
    world.work(None)
    assert browse(ada).get(f"/e/{waiting.key}{path}").status_code == 404


@pytest.mark.parametrize("run", ["first", "best.track", "%2e%2e%2fbest"])
def test_there_is_no_other_run(driven, browse: Callable, run: str) -> None:
    assert browse().get(f"/e/{driven.key}/track/{run}").status_code == 404


def test_without_kept_decisions_there_is_no_replay(world, browse: Callable) -> None:
    made = world.scored(world.person("Ada"))
    answer = browse().get(f"/e/{made.key}/track/median")
    assert answer.status_code == 404 and "No replay" in answer.text


def test_a_video_is_asked_for_by_participants_alone(world, driven, browse: Callable, monkeypatch: Any) -> None:
    asked: list[tuple[str, Trace, dict[str, Any]]] = []
    monkeypatch.setattr(Videos, "request", lambda self, *what: asked.append(what) or True)
    path = f"/e/{driven.key}/video/best"
    assert browse().fill(path, page="/enter").status_code == 401
    browser = browse(world.person("Bob"))
    assert browser.get(path).status_code == 405
    assert browser.fill(path, page="/me").status_code == 303
    [(name, trace, card)] = asked
    assert driven.key in name and trace.frames == 2000
    assert card == {"name": "Ada", "best_mph": 73.35, "trail": "yellow", "rank": 1, "of": 1}


def test_videos_are_made_one_after_another_and_a_broken_one_is_said(
    tmp_path: Path, driven, world, monkeypatch: Any
) -> None:
    made: list[str] = []
    videos = Videos(tmp_path)

    def make(self: Videos, name: str, trace: Any, card: Any) -> bool:
        made.append(name)
        self.path(name).write_bytes(b"video")
        return name != "bad" or self.path(name).unlink() is not None

    monkeypatch.setattr(Videos, "_make", make)
    for name in ("one", "bad", "two", "one"):
        assert videos.request(name, None, {})  # type: ignore[arg-type]
    while videos.state("two") != "ready":
        pass
    assert made == ["one", "bad", "two"]
    assert [videos.state(name) for name in ("one", "bad", "none")] == ["ready", "failed", "none"]


@pytest.mark.slow
def test_a_video_of_a_replay_is_an_mp4(tmp_path: Path, world, driven) -> None:
    submission = find_scored(world.db, driven.key)
    assert submission is not None
    trace = Tracks(tmp_path).trace(submission, "best")
    videos = Videos(tmp_path / "videos")
    assert videos._make("best", trace, {"name": "Ada", "best_mph": 80.0, "rank": 1, "of": 3})
    assert b"ftyp" in videos.path("best").read_bytes()[:16]
    assert videos.path("best").stat().st_size > 100_000
    assert list((tmp_path / "videos").iterdir()) == [videos.path("best")]


def test_a_video_needs_a_trace(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a readable trace"):
        make_video(tmp_path / "none.trace", tmp_path / "out.mp4", {"name": "Ada"})


def test_a_video_with_a_name_is_not_shown_once_the_board_is_anonymous(world, browse: Callable) -> None:
    made = world.driven(world.person("Ada Lovelace"))
    with_name = entry_pages._video_name(entry_pages.PublicEntry(find_scored(world.db, made.key)), "best")
    path = world.folder / "videos" / f"{with_name}.mp4"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"Ada Lovelace")
    browser = browse()
    assert browser.get(f"/e/{made.key}/video/best.mp4").content == b"Ada Lovelace"
    competitions.change_config(world.db, world.competition.id, {"anonymous": True}, "test")
    assert browser.get(f"/e/{made.key}/video/best.mp4").status_code == 404


def test_a_replay_says_that_it_needs_javascript(world, browse: Callable) -> None:
    made = world.driven(world.person("Ada"))
    text = browse().get(f"/e/{made.key}/replay").text
    assert "JavaScript" in text.partition("<noscript>")[2].partition("</noscript>")[0]
