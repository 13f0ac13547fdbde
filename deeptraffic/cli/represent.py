"""`deeptraffic pretrain` and `probe`: the command lines of `representation`."""

from pathlib import Path

import typer

from deeptraffic.cli.terminal import messages, print_json, results


def pretrain(
    name: str = typer.Argument(..., help="The recipe; `deeptraffic pretrain list` names them all."),
    set_: list[str] = typer.Option([], "--set", help="A setting of the training loop, key=value, such as epochs=5."),
    scale: float = typer.Option(1.0, help="Share of the full data and epochs."),
    device: str | None = typer.Option(None, help="cpu or cuda."),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="The output folder.", show_default="runs/pretrain/NAME"
    ),
    cache: Path | None = typer.Option(None, help="A folder that keeps recorded driving."),
    json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Train one perception model on simulated driving and measure it beside its baselines; resumes."""
    from dataclasses import asdict

    from representation import catalog

    if name == "list":
        _list_recipes(json)
        return
    settings = [*set_, *([f"device={device}"] if device else [])]
    folder = output or Path("runs") / "pretrain" / name
    outcome = catalog.pretrain(name, folder, settings, scale, cache, messages)
    if json:
        print_json({"folder": str(folder), **asdict(outcome)})
        return
    for figure in outcome.figures:
        results.print(figure.sentence(), highlight=False, soft_wrap=True, markup=False)
    for file in (*outcome.weights, *(picture.file for picture in outcome.pictures)):
        results.print(f"  {folder / file}", highlight=False, soft_wrap=True)


def probe(
    weights: Path = typer.Argument(..., help="An encoder's weights file."),
    runs: int = typer.Option(200, help="Recorded runs that the probes learn from; a third as many test them."),
    json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Ask an encoder's features what they know: linear probes beside PCA of the same size and a random encoder."""
    from dataclasses import asdict

    from representation.probe import probe
    from representation.registry import load_encoder

    figures = probe(load_encoder(weights), runs)
    if json:
        print_json({"weights": str(weights), "figures": [asdict(figure) for figure in figures]})
        return
    for figure in figures:
        results.print(figure.sentence(), highlight=False, soft_wrap=True, markup=False)


def run_all_recipes(folder: Path, scale: float, device: str | None) -> None:
    """Run every recipe that has no result yet, in the order of the lecture, then the study that needs a driver."""
    from agents.analysis.curriculum_study import study_curriculum
    from representation import catalog

    settings = [f"device={device}"] if device else []
    for name in catalog.RECIPES:
        messages.print(f"[bold]{name}[/]")
        catalog.pretrain(name, folder / name, settings, scale, folder / "recordings", messages)
    messages.print("[bold]gan-curriculum[/]")
    study_curriculum(folder / "gan-curriculum", scale, messages)


def _list_recipes(json: bool) -> None:
    from representation.catalog import RECIPES, find_recipe

    recipes = [find_recipe(name) for name in RECIPES]
    if json:
        print_json({recipe.name: {"paradigm": recipe.paradigm, "summary": recipe.summary} for recipe in recipes})
        return
    for recipe in recipes:
        results.print(f"{recipe.name:20} {recipe.paradigm}: {recipe.summary}", highlight=False, soft_wrap=True)
