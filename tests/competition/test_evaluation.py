"""Evaluations of jobs in the sandbox: equal to those in this process, whatever the batch size."""

from dataclasses import replace

import numpy as np
import pytest

from deeptraffic.competition.evaluation import evaluate_job, evaluate_private, idle_policy
from deeptraffic.competition.store.evaluations import Job
from deeptraffic.evaluation.protocol import evaluate_official, evaluate_seeds
from deeptraffic.evaluation.replays import notable_runs, official_traces
from deeptraffic.evaluation.seeds import choose_seeds
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.policies.file import policy_content
from deeptraffic.sim.rules import RoadConfig

SEEDS = tuple(range(1 << 41, (1 << 41) + 7))
JOB = Job(1, 1, "official", "", 2018, 0, 3, SEEDS, policy_content(idle_policy()), "", 1)


def test_private_runs_score_the_same_however_many_go_together() -> None:
    policy = make_builtin("gap")
    done: list[tuple[int, int]] = []
    whole = evaluate_seeds(policy, RoadConfig(other_agents=2), SEEDS)
    parts = evaluate_private(policy, 2018, 2, SEEDS, lambda *count: done.append(count), batch=3)
    assert whole.run_scores.tolist() == parts.run_scores.tolist()
    assert whole.unrounded_mean_mph == parts.unrounded_mean_mph
    assert (parts.seed_set, parts.runs, done[-1]) == ("private", 7, (7, 7))
    assert [count for count, _ in done] == sorted(count for count, _ in done)


@pytest.mark.parametrize("kind", ["validation", "final"])
def test_open_jobs_score_as_in_this_process(kind: str) -> None:
    score, drive = evaluate_job(replace(JOB, kind=kind), lambda *_: None)
    seeds = choose_seeds("tuning", 3) if kind == "validation" else SEEDS
    expected = evaluate_seeds(idle_policy().policy(), RoadConfig(), seeds)
    assert score.run_scores.tolist() == expected.run_scores.tolist() and drive is None


def test_an_official_job_scores_as_in_this_process_and_can_be_watched_again() -> None:
    done: list[tuple[int, int]] = []
    score, drive = evaluate_job(JOB, lambda *count: done.append(count))
    expected = evaluate_official(idle_policy().policy())
    assert score.score == expected.score == 51.57
    assert np.array_equal(score.run_scores, expected.run_scores)
    assert score.unrounded_mean_mph == expected.unrounded_mean_mph != score.mean_mph
    assert done[-1] == (500, 500)
    assert drive is not None
    traces = official_traces(drive, 2018, 0, notable_runs(score.run_scores, score.score).values(), "idle")
    assert len(traces) == 3
