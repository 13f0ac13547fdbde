"""The commands `pretrain` and `probe`: perception experiments and linear probes of encoders."""

from pathlib import Path

import typer

from deeptraffic.cli.terminal import Json, messages, print_json, results
from deeptraffic.run_dir import end_with_parent, use_one_thread


def pretrain(
    name: str = typer.Argument(..., help="Name of the experiment; `deeptraffic pretrain list` lists all."),
    set_: list[str] = typer.Option(
        [], "--set", help="Hyperparameter of the training loop as key=value, such as epochs=5."
    ),
    scale: float = typer.Option(1.0, help="Fraction of the full data and epochs."),
    seed: int = typer.Option(0, help="Random seed of initial weights, shuffling and recorded runs."),
    device: str | None = typer.Option(None, help="Device: cpu or cuda."),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="The output folder.", show_default="runs/pretrain/NAME[-seed-SEED]"
    ),
    cache: Path | None = typer.Option(None, help="Folder that caches the recorded data."),
    json: Json = False,
) -> None:
    """Train a perception model and measure it against its baselines; resumes."""
    from dataclasses import asdict

    from representation import catalog

    if name == "list":
        _list_experiments(json)
        return
    settings = [*set_, *([f"device={device}"] if device else [])]
    folder = output or Path("runs") / "pretrain" / catalog.folder_name(name, seed)
    outcome = catalog.pretrain(name, folder, settings, scale, cache, messages, seed)
    if json:
        print_json({"folder": str(folder), **asdict(outcome)})
        return
    for metric in outcome.metrics:
        results.print(metric.describe(), highlight=False, soft_wrap=True, markup=False)
    for file in (*outcome.weights, *(plot.file for plot in outcome.plots)):
        results.print(f"  {folder / file}", highlight=False, soft_wrap=True)


def probe(
    weights: Path = typer.Argument(..., help="Weights file of an encoder."),
    runs: int = typer.Option(200, help="Recorded runs to fit the probes on; a third as many test them."),
    json: Json = False,
) -> None:
    """Fit linear probes on an encoder's features, beside PCA of the same size and a random encoder."""
    from dataclasses import asdict

    from representation.probe import probe
    from representation.registry import load_encoder

    metrics = probe(load_encoder(weights), runs)
    if json:
        print_json({"weights": str(weights), "metrics": [asdict(metric) for metric in metrics]})
        return
    for metric in metrics:
        results.print(metric.describe(), highlight=False, soft_wrap=True, markup=False)


def run_all_experiments(folder: Path, scale: float, seeds: int, device: str | None, workers: int = 1) -> None:
    """Run every experiment and seed that has no result yet, in the order of the lecture, in so many processes."""
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    from representation.catalog import EXPERIMENTS

    settings = [f"device={device}"] if device else []
    asked = [(name, seed, folder, settings, scale) for name in EXPERIMENTS for seed in range(seeds)]
    if workers == 1:
        for one in asked:
            _run_experiment(*one)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _start_worker) as pool:
        running = [pool.submit(_run_experiment, *one) for one in asked]
        try:
            for done in as_completed(running):
                done.result()
        except BaseException:  # the others end what they are at, and resume by the same command
            pool.shutdown(cancel_futures=True)
            raise


def _run_experiment(name: str, seed: int, folder: Path, settings: list[str], scale: float) -> None:
    from representation import catalog

    messages.print(f"[bold]{name}[/], seed {seed}")
    where = folder / catalog.folder_name(name, seed)
    catalog.pretrain(name, where, settings, scale, folder / "recordings", messages, seed)


def _start_worker() -> None:
    end_with_parent()
    use_one_thread()


def _list_experiments(json: bool) -> None:
    from representation.catalog import EXPERIMENTS, find_experiment

    experiments = [find_experiment(name) for name in EXPERIMENTS]
    if json:
        print_json(
            {
                experiment.name: {"paradigm": experiment.paradigm, "summary": experiment.summary}
                for experiment in experiments
            }
        )
        return
    for experiment in experiments:
        results.print(
            f"{experiment.name:20} {experiment.paradigm}: {experiment.summary}", highlight=False, soft_wrap=True
        )
