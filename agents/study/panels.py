"""Figure 6 of the DeepTraffic paper: scores against the sensor, the temporal window, gamma and the other agents.

A line joins the medians of trials whose setting is alike, with 95% bootstrap intervals; every trial is a faint dot.
"""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from agents.study.table import StudyTable
from deeptraffic.evaluation.statistics import bootstrap_interval
from deeptraffic.figure import GREY, PALETTE, empty_figure, style_axes
from deeptraffic.sim.state import F64

PANELS = {
    "inputs": "numbers that the network reads",
    "lanes_side": "lanes to each side",
    "patches_ahead": "patches ahead",
    "patches_behind": "patches behind",
    "temporal_window": "temporal window [decisions]",
    "gamma": "gamma",
    "other_agents": "other agents",
}
BINS = 5  # of settings of many values
LOWEST = 0.01  # share of trials that may lie below the picture, so that single failures do not press the others flat
FEW = 6  # values that are shown one by one
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def draw_panels(table: StudyTable) -> tuple[Figure, list[dict[str, Any]]]:
    """Return the figure and the medians that it shows."""
    figure = empty_figure((12.0, 6.4))
    panels = figure.subplots(2, 4, sharey=True).ravel()
    rows: list[dict[str, Any]] = []
    for axes, (column, words) in zip(panels, PANELS.items(), strict=False):
        style_axes(axes)
        axes.set_xlabel(words)
        studies = table.studies()
        for (name, study), look in zip(studies.items(), _looks(list(studies)), strict=True):
            rows += _draw_setting(axes, name, study, column, look)
        if column == "inputs":
            axes.set_xscale("log")
    panels[0].set_title("Settings (paper: fig. 6)", loc="left", fontweight="bold")
    scores = table.numbers("score")
    floor = float(np.quantile(scores, LOWEST)) - 1.0
    panels[0].set_ylim(bottom=floor)
    below = int((scores < floor).sum())
    for axes in panels[::4]:
        axes.set_ylabel("score on tuning runs [mph]")
    _legend(panels[-1], list(table.studies()), below)
    return figure, rows


def _draw_setting(
    axes: Axes, name: str, study: StudyTable, column: str, look: tuple[str, str, str]
) -> list[dict[str, Any]]:
    """Draw a study's trials and medians over a setting, and return the medians."""
    values, scores = study.numbers(column), study.numbers("score")
    known = np.isfinite(values)
    if not known.any():
        return []
    values, scores = values[known], scores[known]
    colour, style, marker = look
    axes.scatter(values, scores, s=7, color=colour, marker=marker, alpha=0.35, linewidths=0)
    rows = [{"study": name, "setting": column, **_median(values[chosen], scores[chosen])} for chosen in bins(values)]
    at, medians = [row["value"] for row in rows], np.array([row["median"] for row in rows])
    reach = np.array([[row["median"] - row["low"], row["high"] - row["median"]] for row in rows]).T
    axes.errorbar(
        at, medians, reach, color=colour, linestyle=style, marker=marker, markersize=5, linewidth=1.8, capsize=3
    )
    return rows


def bins(values: F64) -> list[np.ndarray]:
    """Return masks of trials whose values are alike: one for each of few values, else fifths of the trials."""
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


def _legend(axes: Axes, studies: Sequence[str], below: int) -> None:
    """Name the studies in the place that no setting takes."""
    axes.axis("off")
    lines = [Line2D([], [], color=c, linestyle=style, marker=m) for c, style, m in _looks(studies)]  # type: ignore[arg-type]
    axes.legend(lines, studies, frameon=False, loc="upper left", title="study", alignment="left")
    note = "dots: trials\nlines: medians of like trials,\nwith 95% bootstrap intervals"
    note += f"\ntrials below: {below}" if below else ""
    axes.text(0.03, 0.35, note, transform=axes.transAxes, color=GREY, fontsize=9)


def _looks(studies: Sequence[str]) -> list[tuple[str, str, str]]:
    """Colour, line and marker of each study."""
    looks = zip(cycle(PALETTE), cycle(STYLES), cycle(MARKERS), strict=False)
    return [look for _, look in zip(studies, looks, strict=False)]
