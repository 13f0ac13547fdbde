"""Demonstration: train a policy, score it officially, compare it with known scores, and record a run as video.

    $ deeptraffic demo

It works in one run folder and may be interrupted at any time: the same command resumes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from agents.config import TrainConfig
from agents.loader import load_policy
from agents.run import RunFolder
from agents.settings import build_config
from agents.trainer import TrainResult, train
from deeptraffic.evaluation.episodes import policy_episode
from deeptraffic.evaluation.protocol import KNOWN_SCORES, evaluate_official, evaluate_open
from deeptraffic.evaluation.score import Score
from deeptraffic.evaluation.seeds import choose_seeds
from deeptraffic.extras import absence
from deeptraffic.policies.base import Policy
from deeptraffic.run_dir import write_json

FOLDER = Path("runs/demo")
ALGORITHM = "pqn"
TYPICAL_OF = 200  # open runs, of which the one with the median score is recorded
SECONDS = 30.0  # of video
WEBP_SECONDS = 5.0  # of video without an encoder of mp4: to write WebP takes much longer


@dataclass(frozen=True)
class DemoResult:
    """Result of the demonstration.

    training: see `TrainResult`; score: official; files: plots and video by name
    """

    training: TrainResult
    score: Score
    files: dict[str, Path]


def run_demo(
    folder: str | Path = FOLDER,
    settings: tuple[str, ...] = (),
    console: Console | None = None,
    progress: Console | None = None,
    video_seconds: float = SECONDS,
) -> DemoResult:
    """Train with the preset `demo`, evaluate, print the table, and save plots and video.

    Args:
        folder: run folder
        settings: "key=value", to vary the training
        console: for the table; None for standard output
        progress: for progress; None for standard error
        video_seconds: length of the video

    Raises what `agents.trainer.train` raises; after `Interrupted` the same call resumes.
    """
    console, progress = console or Console(), progress or Console(stderr=True)
    run, config = RunFolder(folder), build_config(ALGORITHM, "demo", settings=settings)
    progress.print(f"[bold]Training[/] {config.algo.upper()} for {config.total_timesteps:,} decisions in {run.path}")
    training = train(config, run.path, progress)
    policy = load_policy(run.path)
    score = score_officially(policy, config, progress)
    write_json(run.evaluation / "official.json", score.to_json())
    files: dict[str, Path] = {}
    if lack := absence("matplotlib"):
        progress.print(f"No plots: {lack}", markup=False, highlight=False, soft_wrap=True)
    else:
        from agents.demo_plots import save_plots

        files |= save_plots(run, config, score)
    progress.print("[bold]Recording[/] a typical run")
    video, seconds = ("episode.webp", WEBP_SECONDS) if absence("imageio_ffmpeg") else ("episode.mp4", video_seconds)
    files["video"] = record_typical_run(policy, config, score, run.path / video, seconds)
    show_scores(console, score, training)
    show_files(console, run, files)
    return DemoResult(training, score, files)


# --- scoring ------------------------------------------------------------------------------------------------------


def score_officially(policy: Policy, config: TrainConfig, console: Console) -> Score:
    """Return the official score; show a progress bar."""
    console.print("[bold]Scoring[/] as the contest did")
    columns = (TextColumn("scoring"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("scoring")
        road = config.road

        def advance(frames: int, total: int) -> None:
            progress.update(task, completed=frames, total=total)

        return evaluate_official(policy, road.rules, road.other_agents, advance)


def show_scores(console: Console, score: Score, training: TrainResult) -> None:
    """Print the score among the known ones, best first."""
    table = Table(title=f"DeepTraffic {score.rules}, official scores", title_justify="left")
    table.add_column("policy")
    table.add_column("other agents", justify="right")
    table.add_column("mph", justify="right")
    yours = f"yours: {ALGORITHM.upper()}, {training.decisions:,} decisions, {training.seconds:.0f} s"
    rows = [(*known, False) for known in KNOWN_SCORES] + [(yours, score.other_agents, score.score, True)]
    for name, others, mph, is_yours in sorted(rows, key=lambda row: -row[2]):
        mark = "[bold green]{}[/]" if is_yours else "{}"
        table.add_row(mark.format(name), mark.format(others), mark.format(f"{mph:.2f}"))
    console.print(table)
    quantiles = score.quantiles_mph
    console.print(
        f"Mean {score.mean_mph:.2f} mph over {score.runs} runs; the slowest tenth below {quantiles['p10']:.2f}, "
        f"the fastest above {quantiles['p90']:.2f}. Training, tuning and official runs have different seeds.",
        highlight=False,
        soft_wrap=True,
    )


# --- files ----------------------------------------------------------------------------------------------------------


def record_typical_run(policy: Policy, config: TrainConfig, score: Score, path: Path, seconds: float = SECONDS) -> Path:
    """Record the open run whose score is nearest to the median; return the path."""
    from deeptraffic.episodes.trace import Start
    from deeptraffic.render.recorder import record_frames
    from deeptraffic.render.showcase import SHOWCASE_FPS, Showcase, showcase_frames

    open_score = evaluate_open(policy, config.road, runs=TYPICAL_OF, seed_set="reporting")
    typical = int(np.argmin(np.abs(open_score.run_scores - open_score.median_mph)))
    start = Start.open(choose_seeds("reporting", TYPICAL_OF)[typical])
    episode = policy_episode(policy, config.road.build(), start)
    card = Showcase(config.algo.upper(), best_mph=score.score)
    return record_frames(showcase_frames(episode, card, seconds), path, SHOWCASE_FPS)


# --- what to do next ----------------------------------------------------------------------------------------------


def show_files(console: Console, run: RunFolder, files: dict[str, Path]) -> None:
    """Print the paths of all files, and what to try next."""
    suggestions = {
        f"deeptraffic evaluate {run.path} --other-agents 10": "the same policy, with ten other agents",
        "deeptraffic train pqn --set hidden=[128,128]": "a larger network",
        "deeptraffic train dqn --preset quick": "another algorithm",
        f"tensorboard --logdir {run.tensorboard}": "the training in detail",
    }
    width = max(len(command) for command in suggestions)
    lines = ["", *(f"  {name:<16} {path}" for name, path in {"run folder": run.path, **files}.items())]
    lines += ["", "What to try next", *(f"  {command:<{width}}  {what}" for command, what in suggestions.items())]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
