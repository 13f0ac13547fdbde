"""Figures 2 to 6 of the DeepTraffic paper (arXiv:1801.02805), drawn from a study's table, and one of importances.

$ deeptraffic figures runs/sweep -o figures           # each as PNG and SVG, and the data it shows as CSV

>>> draw_figures(read_tables(["agents/study/study.csv"]), "figures")
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from agents.analysis.tables import csv_content
from agents.study.importance import draw_importances, draw_map
from agents.study.table import StudyTable
from agents.study.trial import COUNTS
from deeptraffic.evaluation.statistics import bootstrap_interval
from deeptraffic.figure import (
    GREY,
    INK,
    MARKERS,
    PALETTE,
    curve_style,
    empty_figure,
    format_count,
    label_counts,
    new_figure,
    save_figure,
    style_axes,
)
from deeptraffic.run_dir import write_atomically
from deeptraffic.sim.state import F64

Rows = list[dict[str, Any]]
LEAST_TRIALS = 5
FORMATS = (".png", ".svg")
SCORE = "score on tuning runs [mph]"
LEVELS = ("#7fb8da", "#0072B2", "#D55E00", INK)  # colours of ordered values
SIZE_COLOURS = {"layers": "hidden layers", "decisions": "training decisions"}
PANELS = {
    "inputs": "network inputs",
    "lanes_side": "lanes to each side",
    "patches_ahead": "patches ahead",
    "patches_behind": "patches behind",
    "temporal_window": "temporal window [decisions]",
    "gamma": "gamma",
    "other_agents": "other agents",
}
FEW, BINS = 6, 5  # up to FEW distinct values are drawn one by one, more in BINS quantiles
LOWEST = 0.01  # fraction of trials that may lie below the axes, so that a few failures do not compress the others


def draw_progress(table: StudyTable) -> tuple[Figure, Rows]:
    """Figure 2: scores in the order of the trials, with the best so far."""
    figure, axes = new_figure("Score progress (paper: fig. 2)")
    rows: Rows = []
    for k, (name, study) in enumerate(table.studies().items()):
        style = curve_style(k)
        numbers, scores = study.numbers("number") + 1, study.numbers("score")
        order = np.argsort(numbers)
        numbers, scores = numbers[order], scores[order]
        best = np.maximum.accumulate(scores)
        axes.scatter(numbers, scores, s=14, color=style["color"], marker=style["marker"], alpha=0.45, linewidths=0)
        axes.step(numbers, best, where="post", color=style["color"], linewidth=2.2, label=f"{name}: best so far")
        at_end = f"{best[-1]:.2f}", (numbers[-1], best[-1]), (4, 3)
        axes.annotate(*at_end, textcoords="offset points", color=style["color"])
        rows += [
            {"study": name, "trial": int(n - 1), "score": s, "best": b}
            for n, s, b in zip(numbers, scores, best, strict=True)
        ]
    axes.set_xlabel("trial")
    axes.set_ylabel(SCORE)
    axes.margins(x=0.08)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(PALETTE))
    return figure, rows


def draw_size(table: StudyTable) -> tuple[Figure, Rows]:
    """Figure 3: scores against the network's parameters, coloured by its layers and by the length of training."""
    studies = table.studies()
    figure = empty_figure((10.0, 3.6 * len(studies)))
    grid = figure.subplots(len(studies), 2, squeeze=False, sharey="row")
    figure.suptitle("Score and size of the network (paper: fig. 3)", fontweight="bold", color=INK)
    for row, (name, study) in zip(grid, studies.items(), strict=True):
        for axes, (column, title) in zip(row, SIZE_COLOURS.items(), strict=True):
            _scatter_size(axes, study, column)
            style_axes(axes, f"by {title}")
        row[0].set_ylabel(f"{name}\n{SCORE}")
    for axes in grid[-1]:
        axes.set_xlabel("network parameters")
    return figure, _columns(table, ("score", "parameters", "layers", "decisions"))


def _scatter_size(axes: Axes, study: StudyTable, column: str) -> None:
    values, sizes, scores = study.numbers(column), study.numbers("parameters"), study.numbers("score")
    values = np.where(values >= 1000, np.round(values, -3), values)
    for level, colour, marker in zip(np.unique(values[np.isfinite(values)]), LEVELS, MARKERS, strict=False):
        points, label = (sizes[values == level], scores[values == level]), format_count(level)
        axes.scatter(*points, s=22, color=colour, marker=marker, alpha=0.75, label=label)
    axes.set_xscale("log")
    label_counts(axes.xaxis)
    axes.xaxis.set_minor_formatter(NullFormatter())
    if axes.collections:
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, fontsize=9, handletextpad=0.1)


def draw_evaluation(table: StudyTable) -> tuple[Figure, Rows]:
    """Figure 4: the error of a score from 10 or 100 runs, and its standard deviation by the number of runs."""
    figure = empty_figure((10.0, 4.0))
    left, right = figure.subplots(1, 2)
    style_axes(left, "Evaluation (paper: fig. 4)")
    style_axes(right, "Spread of one trial's score")
    for count, colour in zip(COUNTS[:-1], (PALETTE[1], PALETTE[0]), strict=True):
        errors = _known(table.numbers(f"first_{count}") - table.numbers(f"first_{COUNTS[-1]}"))
        if errors.size:
            left.hist(errors, np.linspace(-4, 4, 41), color=colour, alpha=0.65, label=f"{count} runs")
    left.set_xlabel(f"score of fewer runs - score of {COUNTS[-1]:,} [mph]")
    left.set_ylabel("trials")
    if left.patches:
        left.legend(frameon=False)
    spreads = [_known(table.numbers(f"spread_{count}")) for count in COUNTS]
    boxes = right.boxplot(spreads, showfliers=False, patch_artist=True, widths=0.5, medianprops={"color": INK})
    for box in boxes["boxes"]:
        box.set_facecolor("#cfe3f0")
    for place, values in enumerate(spreads, start=1):
        if values.size:
            median = np.median(values)
            right.annotate(f"{median:.2f}", (place, median), (34, -4), textcoords="offset points", fontsize=9)
    right.set_xticks(range(1, len(COUNTS) + 1), [f"{count:,} runs" for count in COUNTS])
    right.set_ylabel("standard deviation of the median [mph]")
    right.set_ylim(bottom=0)
    return figure, _columns(table, ("score", *(f"{kind}_{count}" for kind in ("first", "spread") for count in COUNTS)))


def _known(values: F64) -> F64:
    return values[np.isfinite(values)]


def _columns(table: StudyTable, names: Sequence[str]) -> Rows:
    return [{name: row.get(name, "") for name in ("study", "number", *names)} for row in table.rows]


# --- settings -------------------------------------------------------------------------------------------------------


def draw_settings(table: StudyTable) -> tuple[Figure, Rows]:
    """Figure 6: scores by sensor, temporal window, gamma and other agents.

    A line joins the medians of trials with similar values, with 95% bootstrap intervals; every trial is a faint dot.
    """
    figure = empty_figure((12.0, 6.4))
    panels = figure.subplots(2, 4, sharey=True).ravel()
    rows: Rows = []
    for axes, (column, label) in zip(panels, PANELS.items(), strict=False):
        style_axes(axes)
        axes.set_xlabel(label)
        for k, (name, study) in enumerate(table.studies().items()):
            medians = _draw_setting(axes, study, column, curve_style(k))
            rows += [{"study": name, "setting": column, **median} for median in medians]
        if column == "inputs":
            axes.set_xscale("log")
    panels[0].set_title("Settings (paper: fig. 6)", loc="left", fontweight="bold")
    scores = table.numbers("score")
    floor = float(np.quantile(scores, LOWEST)) - 1.0
    panels[0].set_ylim(bottom=floor)
    for axes in panels[::4]:
        axes.set_ylabel(SCORE)
    _draw_legend(panels[-1], list(table.studies()), int((scores < floor).sum()))
    return figure, rows


def _draw_setting(axes: Axes, study: StudyTable, column: str, style: dict[str, Any]) -> Rows:
    """Draw a study's trials and medians over a setting, and return the medians."""
    values, scores = study.numbers(column), study.numbers("score")
    known = np.isfinite(values)
    if not known.any():
        return []
    values, scores = values[known], scores[known]
    axes.scatter(values, scores, s=7, color=style["color"], marker=style["marker"], alpha=0.35, linewidths=0)
    rows = [_median(values[chosen], scores[chosen]) for chosen in bins(values)]
    at, medians = [row["value"] for row in rows], np.array([row["median"] for row in rows])
    reach = np.array([[row["median"] - row["low"], row["high"] - row["median"]] for row in rows]).T
    axes.errorbar(at, medians, reach, markersize=5, linewidth=1.8, capsize=3, **style)
    return rows


def bins(values: F64) -> list[np.ndarray]:
    """Return masks of trials with similar values: one for each of few values, else quantiles."""
    distinct = np.unique(values)
    if distinct.size <= FEW:
        return [values == value for value in distinct]
    ends = np.quantile(values, np.linspace(0, 1, BINS + 1))
    places = np.clip(np.searchsorted(ends, values, side="right") - 1, 0, BINS - 1)
    return [places == place for place in range(BINS) if (places == place).any()]


def _median(values: F64, scores: F64) -> dict[str, Any]:
    low, high = bootstrap_interval(scores, np.median)
    median = float(np.median(scores))
    return {"value": float(np.median(values)), "median": median, "low": low, "high": high, "trials": scores.size}


def _draw_legend(axes: Axes, studies: Sequence[str], below: int) -> None:
    """Name the studies in the panel that no setting takes."""
    axes.axis("off")
    lines = [Line2D([], [], **curve_style(k)) for k in range(len(studies))]
    axes.legend(lines, studies, frameon=False, loc="upper left", title="study", alignment="left")
    note = "dots: trials\nlines: medians of similar trials,\nwith 95% bootstrap intervals"
    note += f"\ntrials below: {below}" if below else ""
    axes.text(0.03, 0.35, note, transform=axes.transAxes, color=GREY, fontsize=9)


# --- all of them ----------------------------------------------------------------------------------------------------

FIGURES: dict[str, Callable[[StudyTable], tuple[Figure, Rows]]] = {
    "progress": draw_progress,
    "size": draw_size,
    "evaluation": draw_evaluation,
    "map": draw_map,
    "settings": draw_settings,
    "importance": draw_importances,
}


def draw_figures(table: StudyTable, folder: str | Path) -> list[Path]:
    """Draw all figures into a folder and return the files; ValueError if there are too few trials with a score."""
    complete = table.complete()
    if len(complete) < LEAST_TRIALS:
        raise ValueError(
            f"{len(complete)} trials with a score are too few to draw; let the sweep finish {LEAST_TRIALS} or more"
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, draw in FIGURES.items():
        figure, rows = draw(complete)
        files += [save_figure(figure, folder / f"{name}{ending}") for ending in FORMATS]
        files.append(folder / f"{name}.csv")
        write_atomically(files[-1], csv_content(rows, list(rows[0]) if rows else ["study"]))
    return files
