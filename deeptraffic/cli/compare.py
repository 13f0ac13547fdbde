"""`deeptraffic compare`: drivers side by side on the same runs, with intervals and figures."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.table import Table

from deeptraffic.cli.policies import OTHERS_HELP, resolve_policy
from deeptraffic.cli.terminal import messages, print_json, progress_bar, results

if TYPE_CHECKING:
    from agents.analysis.comparison import Comparison
    from deeptraffic.evaluation.comparison import Estimate


def compare(
    drivers: list[str] = typer.Argument(..., help="Built-in policies, policy files or run folders, two or more."),
    rules: int = typer.Option(2018, help="2018 or 2017."),
    other_agents: int = typer.Option(0, help=OTHERS_HELP),
    runs: int = typer.Option(1000, help="Open runs, the same for all."),
    seed_set: str = typer.Option("tuning", help="tuning or reporting: report on seeds that nothing was chosen by."),
    output: Path = typer.Option(Path("runs/compare"), "--output", "-o", help="Folder of the figures and the JSON."),
    json: bool = typer.Option(False, "--json", help="Print one JSON object instead of tables."),
) -> None:
    """Compare drivers on the same runs: intervals, probability of improvement, learning curves."""
    from agents.analysis.comparison import group_drivers, write_comparison
    from deeptraffic.evaluation.protocol import evaluate_open

    if len(drivers) < 2:
        raise ValueError(f"{drivers[0]!r} alone cannot be compared; name two drivers or more")
    scored = []
    for name in drivers:
        policy = resolve_policy(name, rules)
        with progress_bar(f"scoring {policy.label}") as progress:
            scored.append((name, evaluate_open(policy, rules, other_agents, runs, seed_set, progress=progress)))
    comparison = write_comparison(group_drivers(scored), output)
    if json:
        print_json(_to_json(comparison))
        return
    _print(comparison, runs, seed_set)
    for name, score in scored:
        if score.access != "contest":
            messages.print(f"{name} is {score.access}: it knows more than a contest's entrant could.", highlight=False)


def _to_json(comparison: "Comparison") -> dict:
    from dataclasses import asdict

    return {
        "groups": [asdict(group) for group in comparison.groups],
        "pairs": [asdict(pair) for pair in comparison.pairs],
        "files": [str(file) for file in comparison.files],
    }


def _print(comparison: "Comparison", runs: int, seed_set: str) -> None:
    table = Table(title=f"{runs} runs on {seed_set} seeds, 95% intervals", title_justify="left", box=box.SIMPLE)
    for column in ("driver", "interquartile mean", "mean", "median", "worst tenth below"):
        table.add_column(column, justify="left" if column == "driver" else "right")
    for group in comparison.groups:
        name = group.name if group.policies == 1 else f"{group.name} and {group.policies - 1} more seeds"
        table.add_row(name, *(_cell(estimate) for estimate in (group.iqm, group.mean, group.median, group.p10)))
    results.print(table)
    pairs = Table(title="pairs, run by run", title_justify="left", box=box.SIMPLE)
    for column in ("faster", "slower", "difference of means", "probability that a run is faster"):
        pairs.add_column(column)
    for pair in comparison.pairs:
        pairs.add_row(pair.first, pair.second, _cell(pair.difference, " mph"), _cell(pair.improvement))
    results.print(pairs)
    for file in comparison.files:
        results.print(f"  {file}", highlight=False)


def _cell(estimate: "Estimate", unit: str = "") -> str:
    low, high = estimate.interval
    return f"{estimate.value:.2f}{unit} [{low:.2f}, {high:.2f}]".replace("[", "\\[")
