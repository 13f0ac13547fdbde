"""`deeptraffic imagine`: predictions of a trained world model, and scenes of a trained generator."""

from pathlib import Path
from typing import Any

import typer

from deeptraffic.cli.terminal import Json, print_json, results


def imagine(
    run: Path = typer.Argument(
        ..., help="Folder of a world_model's training run, or weights file of `deeptraffic pretrain scene-model`."
    ),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="Output folder.", show_default="the run's evaluation folder, or the file's"
    ),
    ahead: int = typer.Option(6, help="Decisions predicted in the figure."),
    runs: int = typer.Option(
        0, help="Open runs that compare planning in the model and in the true simulator; 0 for none."
    ),
    depth: int = typer.Option(3, help="Search depth of the planner in decisions."),
    rollouts: int = typer.Option(16, help="Clones of the true simulator for each action."),
    scene: str | None = typer.Option(
        None, help="Class of the generated scenes: free, following, boxed in, gap left or gap right."
    ),
    seed: int = typer.Option(0, help="Random seed of the generated scenes."),
    seed_set: str = typer.Option("tuning", help="Seed set of the runs: tuning, reporting or training."),
    json: Json = False,
) -> None:
    """Draw what a trained model imagines: a world model's predictions, or a generator's road scenes.

    A world model's predictions are drawn beside the observations, and planning in it is compared with planning in the
    true simulator. A generator's scenes are drawn beside recorded ones, and the simulator continues the first of them.
    """
    if run.is_file():
        from representation.paradigms.recurrent.scene_experiment import save_scenes
        from representation.paradigms.recurrent.scene_model import SceneModel

        folder = output or run.parent
        folder.mkdir(parents=True, exist_ok=True)
        file = save_scenes(SceneModel.load(run), folder / "imagined.png", scene=scene, seed=seed)
        if json:
            print_json({"run": str(run), "files": [str(file)]})
        else:
            results.print(f"{file}", highlight=False, soft_wrap=True)
        return
    from agents.analysis.imagination import save_imagination
    from agents.analysis.planning_gap import Search, load_world_model, write_gap

    agent, config = load_world_model(run)
    folder = output or run / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    files = [save_imagination(agent, config, folder / "imagined.png", ahead)]
    content: dict[str, Any] = {}
    if runs:
        content, sentences, written = write_gap(agent, config, Search(depth, rollouts), runs, seed_set, folder)
        files += written
        for sentence in [] if json else sentences:
            results.print(sentence, highlight=False, soft_wrap=True)
    if json:
        print_json({"run": str(run), **content, "files": [str(file) for file in files]})
        return
    for file in files:
        results.print(f"{file}", highlight=False, soft_wrap=True)
