"""Runs are watched again from the decisions of an evaluation, exactly as they were driven."""

import zlib

import numpy as np
import pytest

from deeptraffic.episodes.episode import Episode
from deeptraffic.evaluation.protocol import evaluate_official
from deeptraffic.evaluation.replays import ActionLog, ReplayError, notable_runs, official_traces
from deeptraffic.policies.builtin import make_builtin


@pytest.mark.parametrize("other_agents", [0, 3])
def test_a_run_driven_again_from_kept_decisions_has_its_score(other_agents: int) -> None:
    log = ActionLog(make_builtin("gap" if other_agents == 0 else "random"))
    score = evaluate_official(log, 2018, other_agents)
    assert score.run_scores.size == 500
    runs = notable_runs(score.run_scores, score.score)
    traces = official_traces(log.packed(), 2018, other_agents, runs.values(), log.label)
    for run in runs.values():
        episode = Episode.replay(traces[run]).finish()
        assert episode.score_mph() == score.run_scores[run]
        assert int(episode.state.passed[0]) == score.run_passed[run]


def test_a_log_changes_nothing_about_a_score() -> None:
    policy = make_builtin("gap")
    plain, logged = evaluate_official(policy), evaluate_official(ActionLog(policy))
    assert np.array_equal(plain.run_scores, logged.run_scores)
    assert (plain.policy, plain.access) == (logged.policy, logged.access)


def test_the_median_run_is_one_that_has_the_score() -> None:
    scores = np.array([70.0, 75.8, 75.04, 60.0, 75.0])
    assert notable_runs(scores, 75.0) == {"best": 1, "median": 4, "worst": 3}


def test_long_runs_are_shown_by_their_first_frames() -> None:
    log = ActionLog(make_builtin("idle", 2017))
    log.reset(np.arange(1))
    for _ in range(10 * 3334):
        log.act(np.zeros((1, 1)), np.arange(1))
    assert official_traces(log.packed(), 2017, 0, [1], "idle")[1].frames == 4000


@pytest.mark.parametrize(
    ("packed", "run"),
    [(b"none", 0), (zlib.compress(b"\x05"), 0), (zlib.compress(b"\0"), 400), (zlib.compress(b"\0" * 33500), 500)],
)
def test_decisions_that_do_not_fit_are_refused(packed: bytes, run: int) -> None:
    with pytest.raises(ReplayError):
        official_traces(packed, 2018, 0, [run], "idle")
