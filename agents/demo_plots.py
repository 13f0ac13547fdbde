"""Plots of the demonstration: the learning curve and the histogram of scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from agents.config import TrainConfig
from agents.run import RunFolder
from deeptraffic.evaluation.score import Score
from deeptraffic.figure import BLUE, GREEN, GREY, ORANGE, label_counts, new_figure, save_figure
from deeptraffic.sim.state import F64


def save_plots(run: RunFolder, config: TrainConfig, score: Score) -> dict[str, Path]:
    """Save the learning curve and the score histogram in the run folder."""
    marks = [("MIT's basic network", 66.8), ("idle", 51.57)]
    curve = save_learning_curve(
        run.metrics(), run.path / "learning_curve.png", f"Learning to drive: {config.algo.upper()}", marks
    )
    title = f"Official evaluation: {score.runs} runs of {score.frames:,} frames"
    histogram = save_score_histogram(score.run_scores, run.path / "scores.png", title, score.score, marks)
    return {"learning curve": curve, "score histogram": histogram}


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
