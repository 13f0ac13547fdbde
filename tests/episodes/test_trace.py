"""Traces: small, exact, and safe to take from anybody."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from deeptraffic.episodes.episode import Episode
from deeptraffic.episodes.trace import Start, Trace, TraceError, is_trace, rules_from_json
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2017, RULES_2018, RoadConfig

TEN = RULES_2018._replace(other_agents=10)


@dataclass
class Counting:
    """The rules' test policy: the n-th decision is (n*7919+13) % 5."""

    decisions: int = 0

    def __call__(self, sim: Simulator, agent: int) -> int:
        self.decisions += 1
        return ((self.decisions - 1) * 7919 + 13) % 5


def driven(rules=RULES_2018, frames=300, start=None) -> Episode:
    return Episode(rules, start or Start.open(3), Counting(), frames=frames, label="counting").finish()


OWN = RoadConfig(lanes=3, rows=40, vehicles=6, traffic_factor_min=0.7, lane_change_rate=0.07).build()


@pytest.mark.parametrize("rules", [RULES_2018, TEN, RULES_2017, OWN], ids=["2018", "ten", "2017", "own"])
def test_a_loaded_trace_replays_to_the_last_bit(tmp_path, rules, same_games):
    episode = driven(rules)
    trace = Trace.load(episode.trace().save(tmp_path / "a.trace"))
    replay = Episode.replay(trace).finish()
    assert same_games(replay.sim, episode.sim)
    assert trace.label == "counting" and trace.rules == rules and trace.frames == 300


def test_a_contest_episode_takes_a_few_kilobytes(tmp_path):
    path = driven(TEN, 2000).trace().save(tmp_path / "a.trace")
    assert path.stat().st_size < 10_000


def test_the_episode_is_the_one_the_simulator_plays(same_games):
    episode, policy = driven(TEN, 200), Counting()
    sim = Simulator(TEN, 1, threads=1)
    sim.reset_open([3])
    while sim.state.frame[0] < 200:
        agent = int(sim.run_to_frame(200, policy(sim, 0) if sim.state.waiting[0] >= 0 else 0)[0])
        assert agent < 10, "agent 10 never decides"
    assert same_games(sim, episode.sim)


def test_an_official_run_later_in_the_chain_replays(tmp_path):
    sim = Simulator(RULES_2017, 1, threads=1)
    sim.start_program(1)
    sim.reset(1)
    for _ in range(5):
        sim.step([1])
    start = Start.of(sim, 2)
    sim.reset(2)
    before = sim.games.copy()
    episode = Episode(RULES_2017, start, Counting())
    for field in ("x", "y", "rng", "speed_factor", "action"):
        assert np.array_equal(episode.sim.games[field], before[field])
    assert start.action == 1


def test_winding_back_and_forth_ends_in_the_same_game_without_asking_the_policy_again(same_games):
    policy = Counting()
    episode = Episode(RULES_2018, Start.open(5), policy, frames=400)
    episode.seek(333)
    asked, there = policy.decisions, driven(frames=333, start=Start.open(5))
    for frame in (0, 250, 100, 99, 333):
        episode.seek(frame)
        assert episode.frame == frame
    assert policy.decisions == asked and same_games(episode.sim, there.sim)
    assert same_games(episode.finish().sim, driven(frames=400, start=Start.open(5)).sim)


def test_a_trace_taken_after_winding_back_holds_all_that_was_driven():
    episode = Episode(RULES_2018, Start.open(5), Counting(), frames=400)
    episode.seek(123)
    whole = episode.trace()
    episode.seek(15)
    again = episode.trace()
    assert again.frames == 123 and again.checksum == whole.checksum and np.array_equal(again.actions, whole.actions)
    assert episode.frame == 15


def test_the_score_is_that_of_the_official_protocol():
    episode = Episode(RULES_2018, Start.official(RULES_2018), lambda sim, agent: 1).finish()
    total = float(episode.state.score_sum[0])
    assert episode.score_mph() == np.floor(total / 2000 * 2000) / 100 > 40


@pytest.mark.parametrize("change", ["action", "position", "stream", "factor"])
def test_a_changed_trace_is_found_out(change):
    trace = driven().trace()
    if change == "action":
        trace.actions[2] = 1 if trace.actions[2] == 2 else 2
    elif change == "position":
        trace.checks[20, 7, 1] += 1
    elif change == "stream":
        trace = trace._replace(start=trace.start._replace(stream=trace.start.stream + 1))
    else:
        trace = trace._replace(rules=trace.rules._replace(turn_threshold=0.9))
    with pytest.raises(TraceError, match="deviates from the trace at frame"):
        Episode.replay(trace).finish()


def test_a_difference_below_a_pixel_is_found_by_the_checksum():
    trace = driven().trace()
    with pytest.raises(TraceError, match="at frame 300"):
        Episode.replay(trace._replace(checksum=trace.checksum ^ 1)).finish()


def test_a_trace_with_too_few_actions_says_so():
    trace = driven().trace()
    with pytest.raises(TraceError, match="lacks decisions"):
        Episode.replay(trace._replace(actions=trace.actions[:3])).finish()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no trace at all" * 10])
def test_what_is_no_trace_is_refused(tmp_path, content):
    path = tmp_path / "x.trace"
    path.write_bytes(content)
    assert not is_trace(path)
    with pytest.raises(TraceError, match=r"x\.trace"):
        Trace.load(path)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"version": 9}, "version 1"),
        ({"frames": 0}, "frames must be an integer in"),
        ({"frames": 10**9}, "frames"),
        ({"start": {"stream": 0, "run": 1, "action": 0}}, "stream must be an integer in"),
        ({"checksum": "x"}, "checksum"),
        ({"rules": {"lanes": 7}}, "missing or unknown"),
    ],
)
def test_impossible_contents_are_refused(tmp_path, change, words):
    path = driven().trace().save(tmp_path / "a.trace")
    with np.load(path) as arrays:
        members = dict(arrays)
    members["meta"] = np.array(json.dumps(json.loads(str(members["meta"])) | change))
    with path.open("wb") as file:
        np.savez_compressed(file, **members)
    with pytest.raises(TraceError, match=words):
        Trace.load(path)


@pytest.mark.parametrize(
    "field, value",
    [
        ("lanes", 17),
        ("vehicles", 0),
        ("vehicles", 200),
        ("rows", 10**9),
        ("empty", float("nan")),
        ("lanes", "7"),
        ("year", True),
        ("ego_row", 69),
        ("turn_slope", float("inf")),
    ],
)
def test_impossible_rules_are_refused(field, value):
    with pytest.raises(TraceError, match="rules" if field == "year" else field):
        rules_from_json(RULES_2018._asdict() | {field: value})


def test_an_archive_that_unpacks_too_large_is_refused_unread(tmp_path):
    path = tmp_path / "bomb.trace"
    with path.open("wb") as file:
        np.savez_compressed(file, meta=np.array("{}"), actions=np.zeros(100_000_000, np.uint8), checks=np.zeros(1))
    assert path.stat().st_size < 200_000
    with pytest.raises(TraceError, match="unpacks to more"):
        Trace.load(path)
