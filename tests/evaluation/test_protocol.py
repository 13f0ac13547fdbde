"""The official evaluation gives the published game's scores; open evaluation gives what single runs give."""

import json

import numpy as np
import pytest

from deeptraffic.envs.observations import make_observation
from deeptraffic.evaluation.play import PolicyRunner
from deeptraffic.evaluation.protocol import evaluate_official, evaluate_open
from deeptraffic.evaluation.statistics import run_score
from deeptraffic.policies.base import Policy
from deeptraffic.policies.builtin import ConstantPolicy, make_builtin
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2017, RULES_2018, Action, RoadConfig, Sensor
from deeptraffic.sim.runs import Runs


class Counting(Policy):
    """Decision n of the whole evaluation is (n * 7919 + 13) % 5, as in the recorded traces."""

    label = "counting"

    def __init__(self, observation: object = None) -> None:
        self.observation = observation or Sensor()
        self.decisions = 0
        self.resets: list[np.ndarray] = []
        self.seen: list[tuple[int, ...]] = []

    def reset(self, rows: np.ndarray) -> None:
        self.resets.append(rows)

    def act(self, obs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        self.seen.append(tuple(rows))
        action = (self.decisions * 7919 + 13) % 5
        self.decisions += 1
        return np.full(len(rows), action)


class Decided(ConstantPolicy):
    """A constant policy without its compiled loop."""

    def official_loop(self) -> None:  # type: ignore[override]
        """There is none."""


@pytest.mark.parametrize(
    ("name", "other_agents", "score", "passed"),
    [
        ("idle", 0, 51.57, 6849),
        ("idle", 10, 58.65, None),
        ("accelerate", 0, 51.57, 6849),
        ("accelerate", 10, 62.74, 3598),
        ("decelerate", 0, 44.46, -692),
    ],
)
def test_official_score_equals_the_published_games(
    name: str, other_agents: int, score: float, passed: int | None
) -> None:
    result = evaluate_official(make_builtin(name), other_agents=other_agents)
    assert result.score == score
    assert passed is None or result.run_passed.sum() == passed
    assert (result.runs, result.frames, result.rules, result.other_agents) == (500, 2000, 2018, other_agents)


def test_official_score_of_a_policy_that_counts_its_decisions_equals_the_published_games() -> None:
    policy = Counting()
    assert evaluate_official(policy).score == 62.09
    assert policy.decisions == 500 * 67
    assert len(policy.resets) == 1


def test_compiled_runs_equal_runs_through_act() -> None:
    compiled = evaluate_official(make_builtin("accelerate"), other_agents=3)
    decided = evaluate_official(Decided("accelerate", Action.ACCELERATE), other_agents=3)
    assert np.array_equal(compiled.run_scores, decided.run_scores)
    assert np.array_equal(compiled.run_passed, decided.run_passed)


@pytest.mark.parametrize("kind", ["vector", "kinematics"])
def test_runs_are_the_same_whatever_a_policy_observes(kind: str) -> None:
    config = make_observation(kind, dtype="float32" if kind == "vector" else None)
    sims = [Simulator(RULES_2018._replace(other_agents=2), threads=1) for _ in range(2)]
    results = []
    for sim, observation in zip(sims, (Sensor(), config), strict=True):
        sim.start_program(1)
        runs = Runs.official(sim, 1, 3, 600)
        PolicyRunner(Counting(observation), sim).play(runs)
        results.append((runs.speed_sums, runs.passed))
    assert np.array_equal(results[0], results[1])


def test_every_agent_decides_at_its_own_time_with_its_own_memory() -> None:
    sim = Simulator(RULES_2018._replace(other_agents=10), threads=1)
    sim.start_program(1)
    policy = Counting()
    PolicyRunner(policy, sim).play(Runs.official(sim, 1, 1, 61))
    assert list(policy.resets[0]) == list(range(11))
    assert policy.seen == [(0,), *[(i,) for i in range(1, 10)], (0,), *[(i,) for i in range(1, 10)], (0,)]


def test_2017_is_ten_long_runs() -> None:
    calls: list[tuple[int, int]] = []
    result = evaluate_official(make_builtin("accelerate"), rules=2017, progress=lambda *done: calls.append(done))
    sim = Simulator(RULES_2017, threads=1)
    sim.start_program(1)
    sim.reset(1)
    while sim.run_to_frame(100_000, 1)[0] >= 0:
        pass
    assert result.run_scores[0] == run_score(sim.state.score_sum[0], 100_000)
    assert result.runs == 10
    assert calls[-1] == (1_000_000, 1_000_000)


def test_evaluation_ends_at_once_when_progress_raises() -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    policy = Counting()
    with pytest.raises(KeyboardInterrupt):
        evaluate_official(policy, progress=interrupt)
    assert policy.decisions < 1000


@pytest.mark.parametrize("other_agents", [0, 3])
def test_open_runs_equal_single_runs(other_agents: int) -> None:
    together = evaluate_open(make_builtin("gap"), other_agents=other_agents, runs=5, seed_set="tuning", frames=300)
    sim = Simulator(RULES_2018._replace(other_agents=other_agents))
    for k, score in enumerate(together.run_scores):
        sim.reset_open([1_000_000_000 + k])
        runner = PolicyRunner(make_builtin("gap"), sim)
        agent = sim.run_to_frame(300)[0]
        while agent >= 0:
            agent = sim.run_to_frame(300, runner.decide(agent))[0]
        assert run_score(sim.state.score_sum[0], 300) == score
        assert sim.state.passed[0] == together.run_passed[k]


def test_open_score_summarises_its_runs() -> None:
    result = evaluate_open(make_builtin("random"), runs=200, seed_set="reporting")
    assert result.score == np.median(result.run_scores)
    assert result.median_interval[0] <= result.score <= result.median_interval[1]
    assert result.mean_interval[0] < result.mean_mph < result.mean_interval[1]
    assert result.quantiles_mph["p10"] < result.quantiles_mph["p50"] < result.quantiles_mph["p90"]
    written = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert written["seed_set"] == "reporting"
    assert len(written["run_scores"]) == written["runs"] == 200


def test_open_runs_of_different_seed_sets_differ() -> None:
    one, other = (evaluate_open(make_builtin("idle"), runs=20, seed_set=name) for name in ("tuning", "reporting"))
    assert not np.array_equal(one.run_scores, other.run_scores)


def test_gap_scores_what_it_scored_when_it_was_tuned() -> None:
    result = evaluate_official(make_builtin("gap"))
    assert result.score == 73.35
    assert result.mean_mph == pytest.approx(71.65976)


def test_research_road_can_be_scored() -> None:
    road = RoadConfig(lanes=4, vehicles=10, other_agents=1)
    result = evaluate_open(Decided("idle", Action.NOTHING, Sensor(2, 20, 5)), road, runs=4, frames=100)
    assert (result.runs, result.other_agents) == (4, 1)


def test_scores_say_what_a_policy_may_know() -> None:
    class Privileged(Counting):
        access = "privileged"

        def attach(self, sim: Simulator) -> None:
            self.sim = sim

    privileged = Privileged()
    assert evaluate_open(privileged, runs=2, frames=40).access == "privileged"
    assert privileged.sim.num_envs == 2
    assert evaluate_open(Counting(make_observation("full")), runs=2, frames=40).access == "open"
    assert evaluate_open(Counting(make_observation("gaps")), runs=2, frames=40).access == "contest"


@pytest.mark.parametrize("answer", [np.array([5]), np.array([-1]), np.array([0, 0])])
def test_impossible_answer_is_refused_and_the_policy_named(answer: np.ndarray) -> None:
    class Wrong(Counting):
        def act(self, obs: np.ndarray, rows: np.ndarray) -> np.ndarray:
            return answer

    with pytest.raises(ValueError, match="policy counting returned"):
        evaluate_open(Wrong(), runs=1, frames=40)
    if answer.size == 1:
        with pytest.raises(ValueError, match="policy counting returned"):
            evaluate_official(Wrong())


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="one of 2017, 2018"):
        evaluate_official(make_builtin("idle"), rules=2019)
    with pytest.raises(ValueError, match="got 11"):
        evaluate_official(make_builtin("idle"), other_agents=11)
    with pytest.raises(ValueError, match="frames=0"):
        evaluate_open(make_builtin("idle"), runs=1, frames=0)
