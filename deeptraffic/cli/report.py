"""`deeptraffic report ...`: pages, tables and figures about the models, the encoders, and where drivers lose speed."""

from pathlib import Path

import typer

from deeptraffic.cli.policies import OTHERS_HELP, OWN, POLICY_HELP, resolve_policy, trained_for
from deeptraffic.cli.represent import run_all_recipes
from deeptraffic.cli.terminal import print_json, progress_bar, results

PAGE_FOLDER = Path("representation")
RUNS = typer.Option(Path("runs"), help="Where runs/pretrain and runs/driving are, or will be.")
PAGE = typer.Option(PAGE_FOLDER, "--output", "-o", help="The folder of the page and the table.")
SCALE = typer.Option(1.0, help="Share of the full data, epochs and decisions.")
DEVICE = typer.Option(None, help="cpu or cuda.")


def representation(
    runs: Path = RUNS,
    output: Path = PAGE,
    scale: float = SCALE,
    device: str | None = DEVICE,
    missing: bool = typer.Option(True, help="Train what is missing; --no-missing writes the page from what there is."),
) -> None:
    """Train all models that are missing, measure them, and write representation/REPORT.md; resumes."""
    from representation.report import write_report

    output.mkdir(parents=True, exist_ok=True)
    if missing:
        run_all_recipes(runs / "pretrain", scale, device)
    results.print(f"{write_report(runs / 'pretrain', output)}", highlight=False)


def driving(runs: Path = RUNS, output: Path = PAGE, scale: float = SCALE, device: str | None = DEVICE) -> None:
    """Train a driver behind every encoder and write the table of what each is worth; resumes."""
    from agents.analysis.encoder_table import DECISIONS, driving_table

    output.mkdir(parents=True, exist_ok=True)
    budget = max(1, round(DECISIONS * scale))
    driving_table(output / "driving.csv", runs / "driving", runs / "pretrain", budget, device=device or "cpu")
    results.print(f"{output / 'driving.csv'}", highlight=False)


def losses(
    policies: list[str] = typer.Argument(..., metavar="POLICY...", help=f"{POLICY_HELP} Several: side by side."),
    runs: int = typer.Option(500, help="Open runs of each."),
    other_agents: int | None = typer.Option(None, help=OTHERS_HELP, show_default=OWN),
    seed_set: str = typer.Option("tuning", help="Of the runs: tuning, reporting or training."),
    output: Path = typer.Option(Path("runs/losses"), "--output", "-o", help="The folder of the figures and the JSON."),
    page: bool = typer.Option(False, "--page", help="Write the table and two figures into agents/CHAMPIONS.md, too."),
    json: bool = typer.Option(False, "--json", help="Print one JSON object instead of a table."),
) -> None:
    """Find where drivers lose miles per hour: every frame's loss by its cause, as a table, JSON and pictures."""
    from agents.analysis.losses import find_losses, losses_table, write_losses, write_page

    found = []
    for name in policies:
        policy = resolve_policy(name)
        rules, own_others = trained_for(policy)
        others = own_others if other_agents is None else other_agents
        with progress_bar(f"driving {policy.label}") as progress:
            found.append(find_losses(policy, rules, others, runs, seed_set, progress))
    files = [*write_losses(found, output), *(write_page(found) if page else ())]
    if json:
        print_json({"policies": [one.to_json() for one in found], "files": [str(file) for file in files]})
        return
    results.print(losses_table(found), highlight=False, markup=False, soft_wrap=True)
    for file in files:
        results.print(f"  {file}", highlight=False, soft_wrap=True)
