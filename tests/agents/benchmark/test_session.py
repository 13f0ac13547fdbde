"""A session's environments: every decision is counted before it is made, in all kinds, and none exceeds the budget."""

from typing import Any

import numpy as np
import pytest

from agents.benchmark.session import BenchmarkSession, BudgetSpent
from agents.benchmark.tasks import TASKS, normalised_score
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.sim.rules import RoadConfig


@pytest.mark.parametrize("name", TASKS)
def test_environments_are_of_the_task(name: str) -> None:
    task = TASKS[name]
    session = BenchmarkSession(task, 100)
    env, envs = session.make_env(), session.make_vec(2)
    assert env.unwrapped.rules == envs.batch.rules == task.road.build()  # type: ignore[attr-defined]
    assert env.observation_space == envs.single_observation_space == task.observation.space(task.road.build())


def test_a_step_that_would_exceed_the_budget_is_not_made() -> None:
    session = BenchmarkSession(TASKS["solo"], 10)
    envs = session.make_vec(4)
    envs.reset(seed=0)
    for _ in range(2):
        envs.step(np.ones(4, np.int64))
    frames = envs.batch.sim.state.frame.copy()
    with pytest.raises(BudgetSpent, match="8 of 10 decisions are made, and a step of 4"):
        envs.step(np.ones(4, np.int64))
    assert np.array_equal(envs.batch.sim.state.frame, frames) and (session.used, session.remaining) == (8, 2)


def test_environments_of_a_session_share_its_budget() -> None:
    session = BenchmarkSession(TASKS["solo"], 9)
    env, envs, venv = session.make_env(), session.make_vec(2), session.make_sb3(3)
    env.reset()
    envs.reset()
    venv.reset()
    env.step(1)
    envs.step(np.ones(2, np.int64))
    venv.step(np.ones(3, np.int64))
    assert session.used == 6
    venv.step(np.ones(3, np.int64))
    with pytest.raises(BudgetSpent):
        env.step(1)


def test_resets_cost_nothing() -> None:
    session = BenchmarkSession(TASKS["solo"], 100)
    envs = session.make_vec(2, max_steps=2)
    envs.reset(seed=0)
    for _ in range(5):  # decisions, decisions, reset, decisions, decisions
        envs.step(np.ones(2, np.int64))
    assert session.used == 8


@pytest.mark.parametrize("name", ["solo", "2017", "wide"])
def test_the_scores_of_the_normalisation_are_those_of_its_policies(name: str) -> None:
    task = TASKS[name]
    found = evaluate_open(make_builtin("random", task.road.rules), task.road, runs=1000, seed_set="reporting")
    assert found.mean_mph == pytest.approx(task.random_mph, abs=0.001)
    assert task.normalised(task.random_mph) == 0.0 and task.normalised(task.reference_mph) == 100.0
    assert normalised_score(task.reference_mph, RoadConfig(lanes=3)) is None


def test_arguments_reach_the_environments() -> None:
    made: Any = BenchmarkSession(TASKS["solo"], 10).make_env(max_steps=3).unwrapped
    assert made.max_steps == 3
