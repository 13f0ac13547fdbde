"""Aggregates over tasks and seeds with stratified bootstrap intervals, as a table, JSON and a figure.

Interquartile mean of all normalised scores, performance profiles (fraction of trainings above a score), and the
probability that one agent's training beats another's on a task. Resamples draw seeds within each task. Source: Agarwal,
Schwarzer, Castro, Courville and Bellemare 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice",
arXiv:2108.13264, section 4; their library is `rliable`.

Letters in shapes: S seeds, K tasks, R resamples.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.analysis.tables import markdown_table, replace_section
from agents.benchmark.protocol import BenchmarkResult, read_result
from agents.benchmark.tasks import TASKS
from deeptraffic.evaluation.comparison import Estimate, interquartile_mean
from deeptraffic.figure import curve_style, empty_figure, format_count, save_figure, style_axes
from deeptraffic.run_dir import write_json

F64 = NDArray[np.float64]
RESAMPLES = 2000
PAGE = Path(__file__).with_name("BENCHMARK.md")
RESULTS = Path(__file__).with_name("results.json")
BEGIN, END = "<!-- table of results -->", "<!-- end of the table -->"


@dataclass(frozen=True)
class AgentSummary:
    """One agent with one budget.

    scores: (S, K) normalised; tasks: K names, those that all agents with this budget have
    iqm: over all of them, with its 95% interval; cpu_seconds: mean of a training on them
    mph: mean speed over seeds, on each task that this agent has
    """

    agent: str
    budget: int
    tasks: tuple[str, ...]
    scores: F64
    iqm: Estimate
    mph: dict[str, float]
    cpu_seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self) | {"scores": self.scores.tolist(), "iqm": self.iqm.to_json()}


@dataclass(frozen=True)
class AgentPair:
    """Probability that a training of the first beats one of the second on a task, ties counting half.

    seeds: of the one that has fewer
    """

    first: str
    second: str
    budget: int
    seeds: int
    improvement: Estimate


def summarise(results: Sequence[BenchmarkResult]) -> tuple[list[AgentSummary], list[AgentPair]]:
    """Return a summary per agent and budget, the best first, and every pair with the same budget and tasks.

    Scores are aggregated over the tasks that all agents with a budget have; if there is none, over each one's own.
    """
    groups: dict[tuple[str, int], list[BenchmarkResult]] = {}
    for result in results:
        groups.setdefault((result.agent, result.budget), []).append(result)
    own = {key: _whole_tasks(key[0], group) for key, group in groups.items()}
    summaries = []
    for key, group in groups.items():
        others = [tasks for (_, budget), tasks in own.items() if budget == key[1]]
        shared = tuple(name for name in own[key] if all(name in tasks for tasks in others))
        summaries.append(_summary(*key, group, own[key], shared or own[key]))
    summaries.sort(key=lambda each: (each.budget, -each.iqm.value))
    pairs = [_pair(a, b) for a, b in combinations(summaries, 2) if (a.budget, a.tasks) == (b.budget, b.tasks)]
    return summaries, pairs


def _whole_tasks(agent: str, results: Sequence[BenchmarkResult]) -> tuple[str, ...]:
    """Return the tasks that an agent has with all of its seeds."""
    seeds, found = {result.seed for result in results}, {(result.seed, result.task) for result in results}
    tasks = tuple(name for name in TASKS if all((seed, name) in found for seed in seeds))
    if not tasks:
        raise ValueError(f"{agent} has no task with all of seeds {sorted(seeds)}; run the benchmark to its end")
    return tasks


def _summary(
    agent: str, budget: int, results: Sequence[BenchmarkResult], own: tuple[str, ...], shared: tuple[str, ...]
) -> AgentSummary:
    seeds = sorted({result.seed for result in results})
    by_key = {(result.seed, result.task): result for result in results}
    scores = np.array([[by_key[seed, task].score for task in shared] for seed in seeds])
    mph = {task: float(np.mean([by_key[seed, task].mean_mph for seed in seeds])) for task in own}
    cpu = float(np.mean([by_key[seed, task].cpu_seconds for seed in seeds for task in shared]))
    return AgentSummary(agent, budget, shared, scores, stratified(iqm, scores), mph, cpu)


def _pair(first: AgentSummary, second: AgentSummary) -> AgentPair:
    seeds = min(len(first.scores), len(second.scores))
    chance = stratified(improvement, first.scores, second.scores)
    return AgentPair(first.agent, second.agent, first.budget, seeds, chance)


def iqm(scores: F64) -> float:
    """Return the mean of the middle half of all scores (S, K)."""
    return float(interquartile_mean(scores.ravel()))


def improvement(first: F64, second: F64) -> float:
    """Return the probability that a score of the first beats one of the second, mean over tasks; ties count half."""
    lead = first[:, None, :] - second[None, :, :]  # (S, S', K)
    return float(np.mean((lead > 0) + 0.5 * (lead == 0)))


def profile(scores: F64, thresholds: F64) -> F64:
    """Return the fraction of scores (S, K) above each threshold."""
    return (scores.reshape(-1, 1) > thresholds).mean(0)


def stratified(statistic: Callable[..., float], *groups: F64) -> Estimate:
    """Return a statistic of groups (S, K) and its 95% interval; resamples draw seeds within each task."""
    random, drawn = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        resample = [np.take_along_axis(scores, random.integers(len(scores), size=scores.shape), 0) for scores in groups]
        drawn.append(statistic(*resample))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Estimate(statistic(*groups), (float(low), float(high)))


# --- showing ----------------------------------------------------------------------------------------------------------


def table_cells(summaries: Sequence[AgentSummary]) -> list[list[str]]:
    """Return a table's cells, its head first."""
    tasks = [name for name in TASKS if any(name in summary.mph for summary in summaries)]
    head = ["agent", "decisions", "seeds", "IQM [95%]", *(f"{name} [mph]" for name in tasks), "CPU s"]
    rows = []
    for each in summaries:
        speeds = [f"{each.mph[name]:.2f}" if name in each.mph else "–" for name in tasks]
        score, seeds = _cell(each.iqm, 1, len(each.scores)), str(len(each.scores))
        rows.append([each.agent, format_count(each.budget), seeds, score, *speeds, f"{each.cpu_seconds:.0f}"])
    return [head, *rows]


def pair_cells(pairs: Sequence[AgentPair]) -> list[list[str]]:
    """Return the cells of a table of probabilities of improvement, its head first."""
    head = ["first", "second", "decisions", "P(first > second) [95%]"]
    rows = [
        [pair.first, pair.second, format_count(pair.budget), _cell(pair.improvement, 2, pair.seeds)] for pair in pairs
    ]
    return [head, *rows]


def _cell(estimate: Estimate, digits: int, seeds: int) -> str:
    """Return an estimate with its interval, which one seed does not have."""
    low, high = (f"{end:.{digits}f}" for end in estimate.interval)
    return f"{estimate.value:.{digits}f}" + (f" [{low}, {high}]" if seeds > 1 else "")


def benchmark_table(results: Sequence[BenchmarkResult]) -> str:
    """Return the tables of scores and of probabilities in Markdown."""
    summaries, pairs = summarise(results)
    scores, chances = markdown_table(table_cells(summaries), left=1), markdown_table(pair_cells(pairs), left=2)
    return f"{scores}\n{chances}"


def write_page(results: Sequence[BenchmarkResult], folder: Path = PAGE.parent) -> Path:
    """Keep results beside the page of this source checkout, write their tables and figure; return the page's path."""
    write_json(folder / RESULTS.name, [asdict(result) for result in results])
    save_benchmark_figure(summarise(results)[0], folder / "benchmark.png")
    replace_section(folder / PAGE.name, BEGIN, END, benchmark_table(results))
    return folder / PAGE.name


def stored_results() -> list[BenchmarkResult]:
    """Return the results of the page."""
    return [read_result(record) for record in json.loads(RESULTS.read_text(encoding="utf-8"))]


def save_report(results: Sequence[BenchmarkResult], folder: Path) -> list[Path]:
    """Write benchmark.json and benchmark.png into a folder; return their paths."""
    summaries, pairs = summarise(results)
    record = {
        "results": [asdict(result) for result in results],
        "agents": [summary.to_json() for summary in summaries],
        "pairs": [asdict(pair) for pair in pairs],
    }
    write_json(folder / "benchmark.json", record)
    return [folder / "benchmark.json", save_benchmark_figure(summaries, folder / "benchmark.png")]


def save_benchmark_figure(summaries: Sequence[AgentSummary], path: Path) -> Path:
    """Draw interquartile means with intervals, and performance profiles, a column per budget."""
    budgets = sorted({summary.budget for summary in summaries})
    figure = empty_figure((5.2 * max(2, len(budgets)), 7.2))
    names = list(dict.fromkeys(summary.agent for summary in summaries))
    low = min(float(summary.scores.min()) for summary in summaries)
    high = max(float(summary.scores.max()) for summary in summaries)
    for column, budget in enumerate(budgets):
        group = [summary for summary in summaries if summary.budget == budget]
        means = figure.add_subplot(2, len(budgets), column + 1)
        profiles = figure.add_subplot(2, len(budgets), len(budgets) + column + 1)
        style_axes(means, f"{format_count(budget)} decisions")
        style_axes(profiles)
        for row, summary in enumerate(group):
            style = curve_style(names.index(summary.agent))
            means.plot(summary.iqm.interval, [row, row], lw=7, alpha=0.45, color=style["color"])
            means.plot([summary.iqm.value] * 2, [row - 0.25, row + 0.25], lw=2.4, color=style["color"])
            thresholds = np.linspace(min(low, 0.0), max(high, 100.0), 201)
            line = style | {"marker": ""}
            profiles.plot(thresholds, profile(summary.scores, thresholds), lw=2.0, label=summary.agent, **line)
        means.set_yticks(range(len(group)), [_label(summary) for summary in group])
        means.set_ylim(len(group) - 0.5, -0.5)
        means.set_xlim(min(low, 0.0), max(high, 100.0))
        means.set_xlabel("interquartile mean of normalised scores")
        means.grid(axis="x", color="#dddddd", linewidth=0.7)
        profiles.set_xlabel("normalised score")
        profiles.set_ylabel("fraction of trainings above it")
        profiles.set_ylim(0.0, 1.02)
        profiles.legend(frameon=False, loc="lower left", fontsize=8)
    return save_figure(figure, path)


def _label(summary: AgentSummary) -> str:
    """Return an agent with what its scores are of: means over other tasks are not comparable."""
    return f"{summary.agent}\n{summary.tasks[0] if len(summary.tasks) == 1 else f'{len(summary.tasks)} tasks'}"
