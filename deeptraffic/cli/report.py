"""`deeptraffic report ...`: tables, pages and figures about speed losses, perception models, encoders and labels."""

from pathlib import Path

import typer

from deeptraffic.cli.policies import POLICY_HELP, Epsilon, OwnOthers, complete_policy, load_announced
from deeptraffic.cli.represent import run_all_experiments
from deeptraffic.cli.terminal import Json, print_json, progress_bar, report, results

PAGE_FOLDER = Path("representation")
FOLDER = typer.Option(Path("runs"), help="Folder of the trainings, with pretrain and driving in it; it may be new.")
PAGE = typer.Option(PAGE_FOLDER, "--output", "-o", help="Folder of the page and the table.")
SCALE = typer.Option(1.0, help="Fraction of the full data, epochs and decisions.")
DEVICE = typer.Option(None, help="Device: cpu or cuda.")


def representation(
    folder: Path = FOLDER,
    output: Path = PAGE,
    scale: float = SCALE,
    seeds: int = typer.Option(3, min=1, help="Seeds of every experiment; intervals need at least two."),
    device: str | None = DEVICE,
    missing: bool = typer.Option(True, help="Train missing models; --no-missing reports on those that exist."),
    workers: int = typer.Option(1, min=1, help="Processes that train at the same time, each on one CPU thread."),
    mixed: bool = typer.Option(False, "--mixed", help="Accept results of several commits or of changed files."),
    json: Json = False,
) -> None:
    """Train all missing models, measure them, and write representation/REPORT.md. Resumes."""
    from representation.report import write_report

    output.mkdir(parents=True, exist_ok=True)
    if missing:
        run_all_experiments(folder / "pretrain", scale, seeds, device, workers)
    _print_files(json, write_report(folder / "pretrain", output, mixed))


def driving(
    folder: Path = FOLDER,
    output: Path = PAGE,
    scale: float = SCALE,
    device: str | None = DEVICE,
    json: Json = False,
) -> None:
    """Train a policy on every encoder and write the table of their scores. Resumes."""
    from agents.analysis.encoder_table import DECISIONS, driving_table

    output.mkdir(parents=True, exist_ok=True)
    settings = {"total_timesteps": max(1, round(DECISIONS * scale)), "device": device or "cpu"}
    driving_table(output / "driving.csv", folder / "driving", folder / "pretrain", settings)
    _print_files(json, output / "driving.csv")


def labels(
    folder: Path = FOLDER,
    output: Path = PAGE,
    scale: float = typer.Option(1.0, help="Fraction of the data and epochs of pretraining."),
    seeds: int = typer.Option(3, min=1, help="Seeds of every pretraining and student; intervals need at least two."),
    frozen: bool = typer.Option(False, "--frozen", help="Train students with frozen encoders, too."),
    missing: bool = typer.Option(True, help="Train missing students; --no-missing draws the table that exists."),
    json: Json = False,
) -> None:
    """Measure how many labelled decisions pretraining saves: table, page and figure. Resumes."""
    from agents.analysis.label_efficiency import BUDGETS, TABLE, label_curve, read_table, write_page

    output.mkdir(parents=True, exist_ok=True)
    if missing:
        label_curve(output / TABLE, folder, range(seeds), BUDGETS if frozen else (), scale=scale)
    _print_files(json, output / TABLE, *write_page(read_table(output / TABLE), output))


def _print_files(json: bool, *files: Path) -> None:
    names = [str(file) for file in files]
    report(json, {"files": names}, *names)


def losses(
    policies: list[str] = typer.Argument(
        ..., autocompletion=complete_policy, metavar="POLICY...", help=f"{POLICY_HELP} Several: side by side."
    ),
    runs: int = typer.Option(500, help="Open runs of each policy."),
    other_agents: OwnOthers = None,
    seed_set: str = typer.Option("tuning", help="Seed set of the runs: tuning, reporting or training."),
    epsilon: Epsilon = None,
    output: Path = typer.Option(Path("runs/losses"), "--output", "-o", help="Folder of the figures and the JSON."),
    page: bool = typer.Option(False, "--page", help="Update the table and figures of agents/champions/CHAMPIONS.md."),
    json: Json = False,
) -> None:
    """Attribute every frame's loss of speed to its cause: a table, JSON and figures."""
    from agents.analysis.loss_report import losses_table, write_losses, write_page
    from agents.analysis.losses import measure_losses

    measured = []
    for name in policies:
        policy = load_announced(name, epsilon=epsilon)
        rules, own_others = policy.rules, policy.other_agents
        others = own_others if other_agents is None else other_agents
        with progress_bar(f"evaluating {policy.label}") as progress:
            measured.append(measure_losses(policy, rules, others, runs, seed_set, progress))
    files = [*write_losses(measured, output), *(write_page(measured) if page else ())]
    if json:
        print_json({"policies": [one.to_json() for one in measured], "files": [str(file) for file in files]})
        return
    results.print(losses_table(measured), highlight=False, markup=False, soft_wrap=True)
    for file in files:
        results.print(f"  {file}", highlight=False, soft_wrap=True)
