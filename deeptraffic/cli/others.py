"""`deeptraffic others`: the number of other agents, self-play copies of a policy, with which it scores best."""

from pathlib import Path

import typer

from deeptraffic.cli.policies import POLICY_HELP, Epsilon, complete_policy, load_announced
from deeptraffic.cli.terminal import Json, messages, print_json, print_table, results


def others(
    policy: str = typer.Argument(..., autocompletion=complete_policy, help=POLICY_HELP),
    numbers: str = typer.Option("0,1,2,3,4,5,6,7,8,9,10", help="Numbers of other agents, comma-separated."),
    runs: int = typer.Option(1000, help="Open runs for each number of other agents."),
    seed_set: str = typer.Option("tuning", help="Seed set of the runs: tuning, reporting or training."),
    epsilon: Epsilon = None,
    output: Path | None = typer.Option(None, "--output", "-o", help="Plot to write, PNG or SVG."),
    json: Json = False,
) -> None:
    """Find the number of other agents, self-play copies of a policy, with which it scores best."""
    from agents.analysis.other_agents import save_scores, score_numbers

    resolved = load_announced(policy, epsilon=epsilon)
    with messages.status("scoring") as status:
        scored = score_numbers(
            resolved,
            parse_numbers(numbers),
            runs,
            seed_set,
            lambda score: status.update(f"scored {score.other_agents} other agents: {score.median_mph:.2f} mph"),
        )
    if output:
        save_scores(scored, output)
    if json:
        print_json(scored.to_json())
        return
    rows = []
    for score in scored.scores:
        intervals = [f"{low:.2f} to {high:.2f}" for low, high in (score.median_interval, score.mean_interval)]
        cells = [f"{score.median_mph:.2f}", intervals[0], f"{score.mean_mph:.2f}", intervals[1]]
        rows.append((f"{score.other_agents}", *cells))
    headings = ("other agents", "median", "95% interval", "mean", "95% interval")
    best = [k for k, score in enumerate(scored.scores) if score is scored.best]
    print_table(f"{resolved.label}: {seed_set} runs", headings, rows, left=0, bold=best)
    results.print(f"Best: {scored.best.other_agents} other agents, median {scored.best.median_mph:.2f} mph")
    if output:
        results.print(f"  {output}", highlight=False, soft_wrap=True)


def parse_numbers(text: str) -> list[int]:
    """Return the integers in "0,3,10"; ValueError for anything else."""
    parts = text.split(",")
    for part in parts:
        if not part.strip().isdecimal():
            raise ValueError(f"{part!r} in {text!r} is no integer; write comma-separated integers, such as 0,3,10")
    return [int(part) for part in parts]
