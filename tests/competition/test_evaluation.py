"""Evaluations of jobs in the sandbox: equal to those in this process, whatever the batch size."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from deeptraffic.competition.evaluation import evaluate_job, evaluate_private, idle_policy
from deeptraffic.competition.sandbox.errors import InvalidSubmission
from deeptraffic.competition.store.evaluations import Job
from deeptraffic.evaluation.protocol import evaluate_official, evaluate_seeds
from deeptraffic.evaluation.replays import notable_runs, official_traces
from deeptraffic.evaluation.seeds import choose_seeds
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.policies.file import pack_policy, policy_content
from deeptraffic.policies.layers import Dense
from deeptraffic.policies.network import Network
from deeptraffic.sim.rules import RoadConfig, Sensor

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
    score, drive, _, losses = evaluate_job(replace(JOB, kind=kind), lambda *_: None)
    seeds = choose_seeds("tuning", 3) if kind == "validation" else SEEDS
    expected = evaluate_seeds(idle_policy().policy(), RoadConfig(), seeds)
    assert score.run_scores.tolist() == expected.run_scores.tolist() and drive is losses is None


def test_an_official_job_scores_as_in_this_process_and_can_be_watched_again() -> None:
    done: list[tuple[int, int]] = []
    score, drive, used, losses = evaluate_job(JOB, lambda *count: done.append(count))
    expected = evaluate_official(idle_policy().policy())
    assert score.score == expected.score == 51.57
    assert np.array_equal(score.run_scores, expected.run_scores)
    assert score.unrounded_mean_mph == expected.unrounded_mean_mph != score.mean_mph
    assert done[-1] == (500, 500) and 0.0 < used < 60.0
    assert drive is not None and losses is not None
    assert sum(losses["causes"].values()) + score.unrounded_mean_mph == pytest.approx(80.0, abs=1e-9)
    assert losses["slow"] == [26, 2000]  # from when it meets traffic to the end
    traces = official_traces(drive, 2018, 0, notable_runs(score.run_scores, score.score).values(), "idle")
    assert len(traces) == 3


def large_network() -> bytes:
    """A policy file near the most multiplications that a decision may take."""
    sizes, layers, numbers = (420, 1000, 1000, 470, 5), [], {}
    for k, (inputs, outputs) in enumerate(pairwise(sizes), 1):
        layers.append(Dense(outputs=outputs))
        numbers |= {f"{k}.weight": np.full((outputs, inputs), 1e-310), f"{k}.bias": np.ones(outputs)}
    return policy_content(pack_policy(Network(420, tuple(layers), numbers), Sensor(3, 50, 10), "slow"))


def test_a_validation_ends_as_soon_as_it_predicts_too_long_an_evaluation() -> None:
    job = replace(JOB, kind="validation", content=large_network(), runs=20, other_agents=10, cpu_budget=2.0)
    done: list[int] = []
    with pytest.raises(InvalidSubmission, match=r"about [\d,]+ s of processor time; at most 2 s are allowed") as found:
        evaluate_job(job, lambda runs, _: done.append(runs))
    predicted = int(re.search(r"about ([\d,]+) s", str(found.value))[1].replace(",", ""))
    assert found.value.code == "time" and 20 < predicted < 20_000  # of 368,500 decisions, 50 us to 50 ms each
    assert 0.08 < found.value.cpu_seconds < 2.0 and done[-1] < 20


def test_no_evaluation_may_take_more_than_ten_minutes() -> None:
    limits = {kind: replace(JOB, kind=kind, cpu_budget=400.0).cpu_limit for kind in ("official", "again", "final")}
    assert limits == {"official": 600, "again": 600, "final": 600}
    assert replace(JOB, cpu_budget=120.0).cpu_limit == 240
