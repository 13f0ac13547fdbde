"""Figures of a comparison: intervals, distributions, and learning curves of run directories."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from agents.analysis.comparison import Group
from agents.run import RunFolder
from deeptraffic.evaluation.comparison import Estimate, GroupStatistics
from deeptraffic.evaluation.statistics import mean_interval
from deeptraffic.figure import PALETTE, curve_style, empty_figure, label_counts, new_figure, save_figure, style_axes


def save_figures(groups: Sequence[Group], statistics: Sequence[GroupStatistics], folder: Path) -> list[Path]:
    """Save intervals.png, scores.png and, where there are run directories, curves.png; return their paths."""
    files = [
        save_intervals(statistics, folder / "intervals.png"),
        save_distributions(groups, folder / "scores.png"),
    ]
    if any(group.folders for group in groups):
        files.append(save_curves(groups, folder / "curves.png"))
    return files


def save_intervals(groups: Sequence[GroupStatistics], path: Path) -> Path:
    """Draw each group's interquartile mean, mean, median and 10% quantile with 95% intervals."""
    figure = empty_figure((9.0, 1.2 + 0.45 * len(groups)))
    names = {"iqm": "interquartile mean", "mean": "mean", "median": "median", "p10": "10% quantile"}
    for k, (key, title) in enumerate(names.items()):
        axes = figure.add_subplot(1, len(names), k + 1)
        style_axes(axes, title)
        for row, group in enumerate(groups):
            estimate: Estimate = getattr(group, key)
            low, high = estimate.interval
            axes.plot([low, high], [row, row], lw=7, alpha=0.45, color=PALETTE[row % len(PALETTE)])
            axes.plot([estimate.value] * 2, [row - 0.25, row + 0.25], lw=2.4, color=PALETTE[row % len(PALETTE)])
        axes.set_yticks(range(len(groups)), [group.name for group in groups] if k == 0 else [])
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_xlabel("mph")
        axes.grid(axis="x", color="#dddddd", linewidth=0.7)
    return save_figure(figure, path)


def save_distributions(groups: Sequence[Group], path: Path) -> Path:
    """Draw the fraction of runs faster than each speed, a step curve per group: higher is better."""
    figure, axes = new_figure("Fraction of runs faster than a speed")
    for k, group in enumerate(groups):
        speeds = np.sort(group.speeds.ravel())
        fraction = 1.0 - np.arange(speeds.size) / speeds.size
        axes.step(speeds, fraction, where="post", label=group.name, lw=2.0, **curve_style(k) | {"marker": ""})
    axes.set_xlabel("mean speed of a run [mph]")
    axes.set_ylabel("fraction of runs")
    axes.set_ylim(0.0, 1.0)
    axes.legend(frameon=False, loc="lower left")
    return save_figure(figure, path)


def save_curves(groups: Sequence[Group], path: Path) -> Path:
    """Draw the mean speed on tuning seeds over decisions and CPU seconds: mean and range over each group's seeds."""
    figure = empty_figure((9.0, 4.2))
    for k, (key, label) in enumerate({"decisions": "decisions of training", "cpu_seconds": "CPU seconds"}.items()):
        axes = figure.add_subplot(1, 2, k + 1)
        style_axes(axes, f"Over {label.split(' of ')[0]}")
        for number, group in enumerate(groups):
            _draw_curve(axes, [RunFolder(run).metrics() for run in group.folders], key, group.name, number)
        axes.set_xlabel(label)
        axes.set_ylabel("mean of tuning runs [mph], 95% interval over seeds")
        label_counts(axes.xaxis)
        axes.legend(frameon=False, loc="lower right")
    return save_figure(figure, path)


def _draw_curve(axes: Axes, runs: Sequence[Sequence[Mapping[str, Any]]], key: str, name: str, number: int) -> None:
    curves = [
        np.array([(line[key], line["tuning_mean_mph"]) for line in run if "tuning_mean_mph" in line]) for run in runs
    ]
    curves = [curve for curve in curves if len(curve)]
    if not curves:
        return
    low, high = max(curve[0, 0] for curve in curves), min(curve[-1, 0] for curve in curves)
    grid = np.unique(np.concatenate([curve[:, 0] for curve in curves]))
    grid = grid[(grid >= low) & (grid <= high)]
    speeds = np.stack([np.interp(grid, *curve.T) for curve in curves])  # (seeds, points)
    style = curve_style(number) | {"marker": ""}
    axes.plot(grid, speeds.mean(0), label=name, lw=2.0, **style)
    if len(speeds) > 1 and grid.size:
        low_end, high_end = np.transpose([mean_interval(column) for column in speeds.T])
        axes.fill_between(grid, low_end, high_end, alpha=0.18, color=style["color"], lw=0)
