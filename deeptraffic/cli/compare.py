"""`deeptraffic compare`: policies on the same runs, with intervals and figures."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from deeptraffic.cli.policies import OTHERS_HELP, POLICY_HELP, Epsilon, complete_policy, load_announced
from deeptraffic.cli.terminal import Json, messages, print_json, print_table, progress_bar, results
from deeptraffic.extras import absence

if TYPE_CHECKING:
    from agents.analysis.comparison import Comparison
    from deeptraffic.evaluation.comparison import Estimate


def compare(
    policies: list[str] = typer.Argument(
        ..., autocompletion=complete_policy, metavar="POLICY...", help=f"{POLICY_HELP} Two or more."
    ),
    rules: int = typer.Option(2018, help="Rules of the contest: 2018 or 2017."),
    other_agents: int = typer.Option(0, help=OTHERS_HELP),
    runs: int = typer.Option(1000, help="Number of open runs, the same for all policies."),
    seed_set: str = typer.Option("tuning", help="Seed set of the runs: tuning, reporting or training."),
    epsilon: Epsilon = None,
    output: Path = typer.Option(Path("runs/compare"), "--output", "-o", help="Folder of the figures and the JSON."),
    json: Json = False,
) -> None:
    """Compare policies on the same runs: intervals, probability of improvement, learning curves."""
    from agents.analysis.comparison import SaveFigures, group_policies, write_comparison
    from deeptraffic.evaluation.protocol import evaluate_open

    if len(policies) < 2:
        raise ValueError(f"{policies[0]!r} alone cannot be compared; name two policies or more")
    scored = []
    for name in policies:
        policy = load_announced(name, rules, epsilon)
        with progress_bar(f"scoring {policy.label}") as progress:
            scored.append((name, evaluate_open(policy, rules, other_agents, runs, seed_set, progress=progress)))
    draw: SaveFigures | None = None
    if lack := absence("matplotlib"):
        messages.print(f"No figures: {lack}", markup=False, highlight=False, soft_wrap=True)
    else:
        from agents.analysis.comparison_figures import save_figures

        draw = save_figures
    comparison = write_comparison(group_policies(scored), output, draw)
    if json:
        print_json(comparison.to_json())
        return
    _print(comparison, runs, seed_set)
    for name, score in scored:
        if score.access != "contest":
            messages.print(f"{name} is {score.access}: it observes more than contest entries may.", highlight=False)


def _print(comparison: "Comparison", runs: int, seed_set: str) -> None:
    rows = []
    for group in comparison.groups:
        name = group.name if group.policies == 1 else f"{group.name} and {group.policies - 1} more seeds"
        rows.append((name, *(_cell(estimate) for estimate in (group.iqm, group.mean, group.median, group.p10))))
    headings = ("policy", "interquartile mean", "mean", "median", "10% quantile")
    print_table(f"{runs} runs on {seed_set} seeds, 95% intervals", headings, rows)
    results.print()
    pairs = [
        (pair.first, pair.second, _cell(pair.difference, " mph"), _cell(pair.improvement)) for pair in comparison.pairs
    ]
    pair_headings = ("faster", "slower", "difference of means", "probability that a run is faster")
    print_table("paired differences", pair_headings, pairs, left=2)
    for file in comparison.files:
        results.print(f"  {file}", highlight=False, soft_wrap=True)


def _cell(estimate: "Estimate", unit: str = "") -> str:
    low, high = estimate.interval
    return f"{estimate.value:.2f}{unit} [{low:.2f}, {high:.2f}]"
