"""`deeptraffic sweep` and `deeptraffic figures`: hyperparameter sweeps, and figures and findings of their tables."""

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from deeptraffic.cli.terminal import Json, messages, print_json, print_table, results
from deeptraffic.extras import require_extra

if TYPE_CHECKING:
    from agents.study.sweep import SweepResult

STUDIES_HELP = "Folders of sweeps, or their study.csv; several are drawn together."


def sweep(
    config: Path = typer.Argument(..., help="TOML or JSON file of the sweep: algorithm, space, sampler, trials, ..."),
    workers: int | None = typer.Option(None, help="Worker processes; with --ray, trials at once.", show_default="1"),
    ray: str | None = typer.Option(None, help="Run trials on a Ray cluster: its address, auto or local."),
    trials: int | None = typer.Option(None, help="Number of trials, instead of the file's."),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="Folder of the sweep.", show_default="runs/NAME of the file"
    ),
    json: Json = False,
) -> None:
    """Run many trainings with settings drawn from a space. The same command resumes, also after a kill."""
    require_extra("sweep")
    from agents.study.config import read_sweep
    from agents.study.sweep import BackendMaker, run_sweep

    sweep_config = read_sweep(config, trials=trials)
    make_backend: BackendMaker | None = None
    if ray is not None:
        from agents.study.ray_trials import RayTrials

        make_backend = lambda sweep: RayTrials(sweep, ray, workers)  # noqa: E731
    folder, processes = output or Path("runs") / config.stem, 1 if workers is None else workers
    result = run_sweep(sweep_config, folder, processes, make_backend, messages)
    if json:
        print_json(result.to_json())
        return
    _print(result, sweep_config.algorithm, sweep_config.preset)


def figures(
    studies: list[Path] = typer.Argument(..., help=STUDIES_HELP),
    output: Path = typer.Option(Path("runs/figures"), "--output", "-o", help="Folder of the figures."),
    json: Json = False,
) -> None:
    """Draw a study's figures, including those of the DeepTraffic paper, and print its findings."""
    from agents.study.figures import draw_figures
    from agents.study.findings import check_claims, claim_rows
    from agents.study.table import read_tables

    table = read_tables(studies)
    files = draw_figures(table, output)
    checks = check_claims(table)
    if json:
        print_json({"files": [str(file) for file in files], "findings": [check.to_json() for check in checks]})
        return
    results.print("effects on the score in mph, 95% intervals")
    for claim, group in groupby(checks, lambda check: check.claim):
        header, *rows = ([*row[1:3], row[-1], *row[3:-1]] for row in claim_rows(list(group)))
        results.print()
        print_table(claim, header, rows, left=3)
    for file in files:
        if file.suffix == ".png":
            results.print(f"  {file}", highlight=False, soft_wrap=True)


def _print(result: "SweepResult", algorithm: str, preset: str) -> None:
    def say(text: str) -> None:
        results.print(text, highlight=False, markup=False, soft_wrap=True)

    ends = f"{result.failed} failed, {result.stopped} stopped early"
    say(f"{result.trials:,} trials ({ends}): {result.folder / 'study.csv'}")
    if result.best is None or result.score is None:
        say("No trial has a score; the table has the reasons.")
        return
    say(f"Best: trial {result.best}, {result.score:.2f} mph on tuning seeds")
    for name, value in result.params.items():
        say(f"  {name} = {value:g}" if isinstance(value, float) else f"  {name} = {value}")
    if result.winner:
        low, high = result.winner.interval
        runs = f"{result.winner.runs:,} runs"
        say(f"On reporting seeds: {result.winner.score:.2f} mph [{low:.2f}, {high:.2f}], {runs}")
    with_preset = f" --preset {preset}" if preset else ""
    say(f"Train it: deeptraffic train {algorithm}{with_preset} --config {result.folder / 'best.toml'}")
    say(f"Draw it: deeptraffic figures {result.folder}")
