"""Aggregates of the benchmark, by hand."""

from pathlib import Path

import numpy as np
import pytest

from agents.benchmark.protocol import BenchmarkResult
from agents.benchmark.report import (
    benchmark_table,
    improvement,
    iqm,
    pair_cells,
    profile,
    save_report,
    stratified,
    summarise,
    table_cells,
)


def result(agent: str, task: str, seed: int, score: float) -> BenchmarkResult:
    return BenchmarkResult(agent, task, 1000, seed, 990, 2.0, 10, score / 2, (0.0, 1.0), score, None)


SCORES = {("a", 0): (10.0, 20.0), ("a", 1): (30.0, 80.0), ("b", 0): (20.0, 20.0), ("b", 1): (20.0, 20.0)}
RESULTS = [
    result(agent, task, seed, score)
    for (agent, seed), scores in SCORES.items()
    for task, score in zip(("solo", "2017"), scores, strict=True)
]


def test_the_interquartile_mean_is_of_the_middle_half_of_all_scores() -> None:
    assert iqm(np.array([[10.0, 20.0], [30.0, 80.0]])) == 25.0


def test_the_probability_of_improvement_is_the_mean_over_tasks_with_ties_counting_half() -> None:
    first, second = np.array([[10.0, 20.0], [30.0, 80.0]]), np.full((2, 2), 20.0)
    # first task: 10 loses, 30 wins: 0.5; second: 20 ties, 80 wins: 0.75
    assert improvement(first, second) == pytest.approx(0.625)
    assert improvement(first, first) == pytest.approx(0.5)


def test_a_profile_is_the_fraction_above_each_score() -> None:
    assert profile(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.0, 2.0, 4.0])).tolist() == [1.0, 0.5, 0.0]


def test_resamples_draw_seeds_within_each_task() -> None:
    scores = np.array([[0.0, 100.0], [0.0, 100.0]])  # no spread between seeds: strata that mix tasks would show one
    assert stratified(lambda drawn: float(drawn.mean()), scores).interval == (50.0, 50.0)
    spread = stratified(lambda drawn: float(drawn.mean()), np.array([[0.0], [10.0]] * 50))
    assert spread.value == 5.0 and spread.interval == pytest.approx((4.0, 6.0), abs=0.2)  # 1.96 * 5 / sqrt(100)


def test_a_table_has_the_best_first_and_its_speeds() -> None:
    summaries, pairs = summarise(RESULTS)
    assert [(each.agent, each.tasks, each.iqm.value) for each in summaries] == [
        ("a", ("solo", "2017"), 25.0),
        ("b", ("solo", "2017"), 20.0),
    ]
    assert [(pair.first, pair.second, pair.improvement.value) for pair in pairs] == [("a", "b", 0.625)]
    head, first, _ = table_cells(summaries)
    assert head == ["agent", "decisions", "seeds", "IQM [95%]", "solo [mph]", "2017 [mph]", "CPU s"]
    assert first[:3] == ["a", "1k", "2"] and first[4:] == ["10.00", "25.00", "2"]
    assert benchmark_table(RESULTS).count("\n") == 8


def test_scores_are_aggregated_over_the_tasks_that_all_agents_have() -> None:
    summaries, pairs = summarise([*RESULTS[:4], RESULTS[4], RESULTS[6]])  # b: seeds 0 and 1 of the first task only
    assert [(each.agent, each.tasks, each.iqm.value) for each in summaries] == [
        ("a", ("solo",), 20.0),
        ("b", ("solo",), 20.0),
    ]
    assert [pair.improvement.value for pair in pairs] == [0.5]  # 10 and 30 against 20 and 20
    assert [row[4:6] for row in table_cells(summaries)[1:]] == [["10.00", "25.00"], ["10.00", "–"]]


def test_agents_without_a_common_task_are_not_compared() -> None:
    summaries, pairs = summarise([result("a", "solo", 0, 10.0), result("b", "2017", 0, 20.0)])
    assert [(each.agent, each.tasks) for each in summaries] == [("b", ("2017",)), ("a", ("solo",))] and pairs == []


def test_an_agent_needs_a_task_with_all_of_its_seeds() -> None:
    with pytest.raises(ValueError, match=r"a has no task with all of seeds \[0, 1\]"):
        summarise([result("a", "solo", 0, 1.0), result("a", "2017", 1, 1.0)])


def test_one_seed_has_no_interval() -> None:
    summaries, pairs = summarise([each for each in RESULTS if each.seed == 0])
    assert table_cells(summaries)[1][3] == "20.0" and pair_cells(pairs)[1][3] == "0.75"


def test_the_figure_and_the_numbers_are_written(tmp_path: Path) -> None:
    assert all(path.exists() for path in save_report(RESULTS, tmp_path))
