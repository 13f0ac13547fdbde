"""The command `evaluate`: official score of the contest, or score over open runs, of one policy or of many."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.table import Table

from agents.loader import load_policy
from deeptraffic.cli.evaluate_many import evaluate_all, is_many
from deeptraffic.cli.policies import OTHERS_HELP, OWN, POLICY_HELP
from deeptraffic.cli.terminal import messages, print_json, progress_bar, results

if TYPE_CHECKING:
    from deeptraffic.evaluation.batch import Plan
    from deeptraffic.evaluation.score import Score

OPEN_RUNS, OPEN_SEED_SET = 1000, "tuning"


class ProtocolName(StrEnum):
    """Evaluation protocol."""

    official = "official"
    open = "open"


def evaluate(
    policy: list[str] = typer.Argument(
        ..., help=f"{POLICY_HELP} Several, or a folder or pattern of them: all at once."
    ),
    rules: int | None = typer.Option(None, help="Rules of the contest: 2018 or 2017.", show_default=OWN),
    other_agents: int | None = typer.Option(None, help=OTHERS_HELP, show_default=OWN),
    protocol: ProtocolName = typer.Option(
        ProtocolName.official, help="Protocol. official: the contest's 500 runs (2017: 10). open: independent runs."
    ),
    runs: int | None = typer.Option(None, help="Number of open runs.", show_default=str(OPEN_RUNS)),
    seed_set: str | None = typer.Option(
        None, help="Seed set of open runs: tuning, reporting or training.", show_default=OPEN_SEED_SET
    ),
    seed: int = typer.Option(0, help="Random seed of a stochastic policy, such as random."),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="CSV file of the scores; a rerun evaluates only what is missing in it."
    ),
    ray: str = typer.Option(
        "", metavar="ADDRESS", help="Address of a Ray cluster to evaluate on: auto, HOST:PORT or local."
    ),
    json: bool = typer.Option(False, "--json", help="Print one JSON object instead of a table."),
) -> None:
    """Score policies by the official score of the contest, or by open runs."""
    if protocol == ProtocolName.official and not (runs is None and seed_set is None):
        raise ValueError("--runs and --seed-set belong to --protocol open; the official evaluation has its own runs")
    from deeptraffic.evaluation.batch import Plan

    plan = Plan(protocol.value, rules, other_agents, OPEN_RUNS if runs is None else runs, seed_set or OPEN_SEED_SET)
    if output is None and not ray and not is_many(policy):
        _evaluate_one(policy[0], plan, seed, json)
    else:
        evaluate_all(policy, plan, seed, output, json, ray)


def _evaluate_one(name: str, plan: "Plan", seed: int, json: bool) -> None:
    from deeptraffic.evaluation.protocol import evaluate_official, evaluate_open

    policy = load_policy(name, plan.rules, seed)
    own_rules, own_others = policy.rules, policy.other_agents
    rules = own_rules if plan.rules is None else plan.rules
    other_agents = (own_others if rules == own_rules else 0) if plan.other_agents is None else plan.other_agents
    with progress_bar(f"scoring {policy.label}") as progress:
        if plan.protocol == ProtocolName.official:
            score = evaluate_official(policy, rules, other_agents, progress)
        else:
            score = evaluate_open(policy, rules, other_agents, plan.runs, plan.seed_set, progress=progress)
    if json:
        print_json(score.to_json())
    else:
        print_score(score)


def print_score(score: "Score") -> None:
    """Print a score as a table."""
    kind = "official score" if score.protocol == "official" else f"score on {score.seed_set} seeds"
    others = f"{score.other_agents} other agent{'' if score.other_agents == 1 else 's'}"
    title = f"{score.policy}: {kind}, {score.rules} rules, {others}"
    table = Table(title=title, title_justify="left", show_header=False, box=box.SIMPLE)
    table.add_column()
    table.add_column(justify="right")
    low, high = score.median_interval if score.protocol == "open" else score.mean_interval
    interval = f"{low:.2f} to {high:.2f}"
    quantiles = score.quantiles_mph
    table.add_row("[bold]score", f"[bold]{score.score:.2f} mph")
    if score.protocol == "open":
        table.add_row("95% interval of the score", f"{interval} mph")
    table.add_row("mean", f"{score.mean_mph:.2f} mph")
    if score.protocol == "official":
        table.add_row("95% interval of the mean", f"{interval} mph")
    table.add_row("standard deviation between runs", f"{score.sd_mph:.2f} mph")
    table.add_row("slowest tenth below", f"{quantiles['p10']:.2f} mph")
    table.add_row("fastest tenth above", f"{quantiles['p90']:.2f} mph")
    table.add_row("vehicles passed per run", f"{score.run_passed.mean():.1f}")
    table.add_row("runs", f"{score.runs} of {score.frames:,} frames")
    table.add_row("time", f"{score.seconds:.1f} s")
    results.print(table)
    if score.access != "contest":
        messages.print(f"This policy is {score.access}: it observes more than a contest entry may. Do not compare.")
