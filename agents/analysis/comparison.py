"""Comparing drivers: the same runs for all, intervals, learning curves with the spread of seeds, as PNG and JSON.

    deeptraffic compare runs/ppo-0 runs/ppo-1 runs/pqn-0 gap --runs 5000

Run folders whose settings differ in the seed alone are one group, and so one curve with its spread. The statistics are
those of `deeptraffic.evaluation.comparison`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from agents.config import TrainConfig
from agents.run import RunFolder, is_run_folder
from deeptraffic.evaluation.comparison import Estimate, GroupStatistics, PairStatistics, compare
from deeptraffic.evaluation.score import Score
from deeptraffic.figure import PALETTE, curve_style, empty_figure, label_counts, new_figure, save_figure, style_axes
from deeptraffic.run_dir import write_json

F64 = NDArray[np.float64]


@dataclass
class Group:
    """Policies that one way of training made with different seeds, or a single driver.

    scores: one entry per policy; folders: their run folders, where they have some
    """

    name: str
    scores: list[Score] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    @property
    def speeds(self) -> F64:
        """(policies, runs) [mph]."""
        return np.stack([score.run_scores for score in self.scores])


@dataclass(frozen=True)
class Comparison:
    """What was found, and the files that show it."""

    groups: list[GroupStatistics]
    pairs: list[PairStatistics]
    files: list[Path]


def group_drivers(drivers: Sequence[tuple[str, Score]]) -> list[Group]:
    """Return groups from (what was typed, its score): run folders of one configuration but for the seed together."""
    groups: list[Group] = []
    plans: list[TrainConfig | None] = []
    for typed, score in drivers:
        plan = _seedless(typed)
        place = next((k for k, other in enumerate(plans) if plan is not None and plan == other), None)
        if place is None:
            place = len(groups)
            groups.append(Group(_free_name(Path(typed).name or typed, groups)))
            plans.append(plan)
        groups[place].scores.append(score)
        if plan is not None:
            groups[place].folders.append(Path(typed))
    return groups


def write_comparison(groups: Sequence[Group], folder: Path) -> Comparison:
    """Compare groups and write comparison.json, scores.png, intervals.png and, of run folders, curves.png."""
    folder.mkdir(parents=True, exist_ok=True)
    singles, pairs = compare({group.name: group.speeds for group in groups})
    files = [
        save_intervals(singles, folder / "intervals.png"),
        save_distributions(groups, folder / "scores.png"),
    ]
    if any(group.folders for group in groups):
        files.append(save_curves(groups, folder / "curves.png"))
    content = {
        "runs": singles[0].runs,
        "seed_set": groups[0].scores[0].seed_set,
        "access": {group.name: group.scores[0].access for group in groups},
        "groups": [asdict(single) for single in singles],
        "pairs": [asdict(pair) for pair in pairs],
    }
    write_json(folder / "comparison.json", content)
    return Comparison(singles, pairs, [*files, folder / "comparison.json"])


def _seedless(typed: str) -> TrainConfig | None:
    """A run folder's configuration with one seed for all; None for what is no run folder of this kind."""
    if not is_run_folder(typed):
        return None
    try:
        return replace(RunFolder(typed).config(), seed=0)
    except ValueError:  # deepqlearn has a configuration of its own
        return None


def _free_name(name: str, groups: Sequence[Group]) -> str:
    taken = {group.name for group in groups}
    return next(free for free in (name, *(f"{name} ({k})" for k in range(2, 1000))) if free not in taken)


# --- figures ----------------------------------------------------------------------------------------------------------


def save_intervals(groups: Sequence[GroupStatistics], path: Path) -> Path:
    """Draw each group's interquartile mean, mean, median and worst tenth with their 95% intervals."""
    figure = empty_figure((9.0, 1.2 + 0.45 * len(groups)))
    names = {"iqm": "interquartile mean", "mean": "mean", "median": "median", "p10": "worst tenth below"}
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
    """Draw the share of runs that are faster than each speed, a step curve per group: higher is better."""
    figure, axes = new_figure("Share of runs faster than a speed")
    for k, group in enumerate(groups):
        speeds = np.sort(group.speeds.ravel())
        share = 1.0 - np.arange(speeds.size) / speeds.size
        axes.step(speeds, share, where="post", label=group.name, lw=2.0, **curve_style(k) | {"marker": ""})
    axes.set_xlabel("mean speed of a run [mph]")
    axes.set_ylabel("share of runs")
    axes.set_ylim(0.0, 1.0)
    axes.legend(frameon=False, loc="lower left")
    return save_figure(figure, path)


def save_curves(groups: Sequence[Group], path: Path) -> Path:
    """Draw the mean on tuning seeds over decisions and over CPU seconds: each group's mean, and its seeds' range."""
    figure = empty_figure((9.0, 4.2))
    for k, (key, label) in enumerate({"decisions": "decisions of training", "cpu_seconds": "CPU seconds"}.items()):
        axes = figure.add_subplot(1, 2, k + 1)
        style_axes(axes, f"Over {label.split(' of ')[0]}")
        for number, group in enumerate(groups):
            _draw_curve(axes, [RunFolder(run).metrics() for run in group.folders], key, group.name, number)
        axes.set_xlabel(label)
        axes.set_ylabel("mean of tuning runs [mph]")
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
    axes.fill_between(grid, speeds.min(0), speeds.max(0), alpha=0.18, color=style["color"], lw=0)
