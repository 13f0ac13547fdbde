"""Demonstration: train a policy, score it officially, compare it with known scores, and record a run as video.

    $ deeptraffic demo

It works in one run folder and may be interrupted at any time: the same command resumes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
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
from deeptraffic.figure import BLUE, GREEN, GREY, ORANGE, label_counts, new_figure, save_figure
from deeptraffic.policies.base import Policy
from deeptraffic.run_dir import write_json
from deeptraffic.sim.state import F64

FOLDER = Path("runs/demo")
ALGORITHM = "pqn"
TYPICAL_OF = 200  # open runs, of which the one with the median score is recorded
SECONDS = 30.0  # of video


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
    files = save_plots(run, config, score)
    progress.print("[bold]Recording[/] a typical run")
    files["video"] = record_typical_run(policy, config, score, run.path / "episode.mp4", video_seconds)
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


def save_plots(run: RunFolder, config: TrainConfig, score: Score) -> dict[str, Path]:
    """Save the learning curve and the score histogram in the run folder."""
    marks = [("MIT's basic network", 66.8), ("idle", 51.57)]
    curve = save_learning_curve(
        run.metrics(), run.path / "learning_curve.png", f"Learning to drive: {config.algo.upper()}", marks
    )
    title = f"Official evaluation: {score.runs} runs of {score.frames:,} frames"
    histogram = save_score_histogram(score.run_scores, run.path / "scores.png", title, score.score, marks)
    return {"learning curve": curve, "score histogram": histogram}


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


# --- plots ----------------------------------------------------------------------------------------------------------


def save_learning_curve(
    metrics: Sequence[dict[str, Any]], path: str | Path, title: str, marks: Sequence[tuple[str, float]] = ()
) -> Path:
    """Draw the speed over decisions from the lines of metrics.jsonl, with marks (name, mph); return the path."""
    figure, axes = new_figure(title)
    exploring = _series(metrics, "train_mph")
    median, mean = _series(metrics, "tuning_median_mph"), _series(metrics, "tuning_mean_mph")
    if len(exploring):
        axes.plot(*exploring.T, color=GREY, linewidth=1.0, alpha=0.75, label="while exploring (training)")
    if len(median):
        axes.plot(*median.T, color=BLUE, linewidth=2.2, marker="o", markersize=5, label="median of tuning runs")
        axes.plot(
            *mean.T,
            color=ORANGE,
            linewidth=2.2,
            linestyle="--",
            marker="s",
            markersize=4.5,
            label="mean of tuning runs",
        )
    axes.set_xlabel("decisions of training, all environments together")
    axes.set_ylabel("speed [mph]")
    label_counts(axes.xaxis)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(left=0)
    _draw_levels(axes, marks)
    if len(exploring) or len(median):
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 0.12))
    return save_figure(figure, path)


def save_score_histogram(
    run_scores: F64, path: str | Path, title: str, score: float, marks: Sequence[tuple[str, float]] = ()
) -> Path:
    """Draw the number of runs by speed, with the score and marks (name, mph) as vertical lines; return the path."""
    figure, axes = new_figure(title)
    low, high = int(np.floor(run_scores.min())), int(np.ceil(run_scores.max()))
    bins = list(range(low, max(high, low + 1) + 1))  # one per mph
    axes.hist(run_scores, bins, color=BLUE, alpha=0.8, edgecolor="white", linewidth=0.6)
    tallest = axes.get_ylim()[1]
    axes.set_ylim(0, tallest * 1.25)
    for name, value in marks:
        if low <= value <= high:
            _draw_flag(axes, value, tallest * 1.06, f"{name} {value:g}", GREY, ":")
    _draw_flag(axes, score, tallest * 1.17, f"score {score:.2f} mph", ORANGE, "-")
    axes.set_xlabel("mean speed of a run [mph]")
    axes.set_ylabel(f"runs of {len(run_scores)}")
    return save_figure(figure, path)


def _series(metrics: Sequence[dict[str, Any]], name: str) -> F64:
    return np.array([(line["decisions"], line[name]) for line in metrics if name in line], np.float64).reshape(-1, 2)


def _draw_levels(axes: Axes, marks: Sequence[tuple[str, float]]) -> None:
    for name, value in marks:
        axes.axhline(value, color=GREEN, linestyle=":", linewidth=1.4)
        axes.annotate(
            f"{name} {value:g}",
            (0.99, value),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            color=GREEN,
            fontsize=9,
            ha="right",
        )


def _draw_flag(axes: Axes, x: float, height: float, text: str, colour: str, style: str) -> None:
    """Draw a vertical line with its name to the left of its top."""
    axes.plot([x, x], [0, height], color=colour, linestyle=style, linewidth=2.4 if style == "-" else 1.4)
    weight = "bold" if style == "-" else "normal"
    axes.annotate(
        text,
        (x, height),
        xytext=(-5, 0),
        textcoords="offset points",
        color=colour,
        fontweight=weight,
        ha="right",
        va="top",
    )
