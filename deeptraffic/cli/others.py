"""`deeptraffic others`: the command line of `agents/analysis/other_agents.py`."""

from pathlib import Path

import typer
from rich import box
from rich.table import Table

from deeptraffic.cli.policies import POLICY_HELP, resolve_policy
from deeptraffic.cli.terminal import messages, print_json, results


def others(
    policy: str = typer.Argument(..., help=POLICY_HELP),
    numbers: str = typer.Option("0,1,2,3,4,5,6,7,8,9,10", help="Of other agents, with commas between them."),
    runs: int = typer.Option(1000, help="Open runs of each number."),
    seed_set: str = typer.Option("tuning", help="Of the runs: tuning to choose by, reporting to look."),
    output: Path | None = typer.Option(None, "--output", "-o", help="A picture, PNG or SVG."),
    json: bool = typer.Option(False, "--json", help="Print one JSON object instead of a table."),
) -> None:
    """Find with how many copies of itself in the traffic a policy scores best."""
    from agents.analysis.other_agents import save_numbers, score_numbers

    driver = resolve_policy(policy)
    with messages.status("scoring") as status:
        found = score_numbers(
            driver,
            parse_numbers(numbers),
            runs,
            seed_set,
            lambda score: status.update(f"scored {score.other_agents} other agents: {score.median_mph:.2f} mph"),
        )
    if output:
        save_numbers(found, output)
    if json:
        print_json(found.to_json())
        return
    table = Table(title=f"{driver.label}: {seed_set} runs", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("others", "median", "95% interval", "mean", "95% interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for score in found.scores:
        intervals = [f"{low:.2f} to {high:.2f}" for low, high in (score.median_interval, score.mean_interval)]
        cells = [f"{score.median_mph:.2f}", intervals[0], f"{score.mean_mph:.2f}", intervals[1]]
        is_best = score is found.best
        table.add_row(f"{score.other_agents}", *cells, style="bold" if is_best else None)
    results.print(table)
    results.print(f"Best: {found.best.other_agents} other agents, median {found.best.median_mph:.2f} mph")
    if output:
        results.print(f"  {output}", highlight=False, soft_wrap=True)


def parse_numbers(text: str) -> list[int]:
    """Return the numbers in "0,3,10"; ValueError if one is none."""
    parts = text.split(",")
    for part in parts:
        if not part.strip().isdecimal():
            raise ValueError(f"{part!r} in {text!r} is no whole number; write numbers with commas, such as 0,3,10")
    return [int(part) for part in parts]
