"""The benchmark: agents train within the budget, results are kept, and one command does it all."""

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import deeptraffic
from agents.benchmark import protocol
from agents.benchmark.protocol import OURS, BenchmarkPlan, all_results, label_of, run_benchmark
from agents.benchmark.report import PAGE
from agents.benchmark.session import BenchmarkSession
from agents.benchmark.tasks import TASKS
from deeptraffic.cli.app import app
from deeptraffic.run_dir import Interrupted, stop_requests

AGENT = """
import numpy as np
from agents.benchmark.session import BudgetSpent

def make(session):
    envs = session.make_vec(8)
    envs.reset(seed=session.seed)
    try:
        while True:
            envs.step(envs.action_space.sample())
    except BudgetSpent:
        return lambda obs: np.full(len(obs), 1)
"""
PLAN = BenchmarkPlan(("solo",), budget=1100, seeds=2, runs=4)


@pytest.fixture
def agent(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(AGENT)
    return f"{tmp_path / 'mine.py'}:make"


def test_an_agent_of_ones_own_is_scored(tmp_path: Path, agent: str) -> None:
    results = run_benchmark([agent], PLAN, tmp_path / "out")
    assert [(each.agent, each.seed, each.decisions) for each in results] == [
        ("mine.py-make", 0, 1096),
        ("mine.py-make", 1, 1096),
    ]
    assert results[0].mean_mph == results[1].mean_mph and results[0].score < 50.0


def test_the_agent_of_the_page_trains_within_the_budget() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "BENCHMARK.md", "exec"), names)
    session = BenchmarkSession(TASKS["solo"], 2500)
    model = names["make"](session)
    assert session.used == 2048 and deeptraffic.evaluate(model, protocol="open", runs=2).runs == 2


def test_results_are_kept_and_only_what_is_missing_is_trained(
    tmp_path: Path, agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run_benchmark([agent], BenchmarkPlan(("solo",), budget=1100, seeds=1, runs=4), tmp_path)
    trained: list[int] = []
    one = protocol.benchmark_one
    monkeypatch.setattr(protocol, "benchmark_one", lambda *given: (trained.append(given[1].seed), one(*given))[1])
    results = run_benchmark([agent], PLAN, tmp_path)
    assert trained == [1] and results[0] == before[0]
    assert all_results(tmp_path) == results


def test_a_request_stops_an_agent_at_its_next_step_and_whatever_comes_after_a_training(
    tmp_path: Path, agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spend = BenchmarkSession.spend

    def spend_and_signal(session: BenchmarkSession, decisions: int) -> None:
        spend(session, decisions)
        if session.used == 80:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(BenchmarkSession, "spend", spend_and_signal)
    with pytest.raises(Interrupted, match="resumes with a new training"):
        run_benchmark([agent], PLAN, tmp_path)
    monkeypatch.undo()

    def train_and_signal(*given: Any) -> Any:
        result = one(*given)
        with stop_requests():  # as a trainer that is all but done
            signal.raise_signal(signal.SIGINT)
        return result

    one = protocol.benchmark_one
    monkeypatch.setattr(protocol, "benchmark_one", train_and_signal)
    with pytest.raises(Interrupted, match="stopped after 1 of 2 trainings"):
        run_benchmark([agent], PLAN, tmp_path)


def test_an_algorithm_of_this_package_stays_within_the_budget(tmp_path: Path) -> None:
    (result,) = run_benchmark(["pqn"], BenchmarkPlan(("wide",), budget=2500, seeds=1, runs=4), tmp_path)
    assert result.decisions == 2048  # rounds of 128 envs and 8 steps
    run = json.loads((tmp_path / "pqn" / "wide-2500-4-0" / "config.json").read_text())
    assert run["road"]["lanes"] == 10 and run["evaluation_runs"] == 0


def test_a_budget_below_one_round_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pqn makes 1,024 decisions in a round, more than the budget of 100"):
        run_benchmark(["pqn"], BenchmarkPlan(("solo",), budget=100, seeds=1, runs=4), tmp_path)


def test_the_command_prints_scores_and_probabilities(tmp_path: Path, agent: str) -> None:
    command = ["benchmark", agent, "pqn", "--task", "solo", "--budget", "2048", "--seeds", "2", "--runs", "4"]
    run = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "out")], terminal_width=120)
    assert run.exit_code == 0, run.output
    assert "mine.py-make" in run.stdout and "probability of improvement" in run.stdout
    record = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert len(record["results"]) == 4 and {"first", "second", "improvement", "budget", "seeds"} == set(
        record["pairs"][0]
    )
    assert (tmp_path / "out" / "benchmark.png").stat().st_size > 10_000
    refused = CliRunner().invoke(app, ["benchmark", "sarsa", "-o", str(tmp_path / "out")])
    assert refused.exit_code == 2 and "file.py:make" in refused.output


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tasks": ("moon",)}, "there is no task 'moon'; choose of solo"),
        ({"budget": 0}, r"budget must be an integer in \[1, "),
        ({"seeds": 0}, r"seeds must be an integer in \[1, "),
    ],
)
def test_an_impossible_plan_is_refused(settings: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BenchmarkPlan(**settings)  # type: ignore[arg-type]


def test_algorithms_that_do_not_learn_by_counted_decisions_are_left_out() -> None:
    assert {"ppo", "pqn", "dqn"} < set(OURS) and not {"distil", "bc", "cql", "expert_iteration"} & set(OURS)
    assert label_of("a/b/mine.py:make") == "mine.py-make"
