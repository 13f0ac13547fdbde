"""Charts as SVG drawings: positions of axes, dots, lines and bars, which the templates draw without any script.

A chart is a square of 1,000 units that the page stretches to its place; text, strokes and dots keep their size.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np

from deeptraffic.competition.config import to_time
from deeptraffic.competition.store.board import BoardRow, Point, csv_text, score_text
from deeptraffic.competition.store.submissions import ScorePoint
from deeptraffic.sim.state import F64

BINS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)  # [mph]
MOST_BINS = 40
HOUR, DAY = 3_600_000, 86_400_000  # [ms]
TIME_STEPS = [hours * HOUR for hours in (1, 3, 6, 12)] + [days * DAY for days in (1, 2, 7, 14, 28, 56, 112, 365)]
ACROSS, UP = (60.0, 985.0), (985.0, 45.0)  # where a chart's axes begin and end
COARSE = 2  # units to which the dots of large clouds are rounded
CLOUD = 1000  # dots
POINT_COLUMNS: dict[str, Callable[[Point], Any]] = {
    "time": lambda point: point.accepted_at // 1000,
    "score": lambda point: point.score,
    "cells": lambda point: point.cells,
    "layers": lambda point: point.layers,
    "parameters": lambda point: point.parameters,
    "other_agents": lambda point: point.other_agents,
}


# --- axes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChartAxis:
    """Maps values from low to high to positions from begin to end; values outside get the nearest end's.

    ticks: values with their labels; logarithmic: equal ratios are equally long
    """

    low: float
    high: float
    begin: float
    end: float
    ticks: Sequence[tuple[float, str]] = ()
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the position of a value."""
        return round(float(self.positions(np.array([value]))[0]), 1)

    def positions(self, values: F64) -> F64:
        """Return the positions of many values."""
        scale = np.log10 if self.logarithmic else np.asarray
        low, high = float(scale(self.low)), float(scale(self.high))
        fraction = (scale(np.clip(values, self.low, self.high)) - low) / (high - low)
        return self.begin + fraction * (self.end - self.begin)


def axis_of(rows: Sequence[BoardRow], width: float, margin: float = 6.0) -> ChartAxis:
    """Return an axis that contains the intervals of these rows."""
    low = math.floor(min((min(row.score_low, row.score) for row in rows), default=0.0))
    high = math.ceil(max((max(row.score_high, row.score) for row in rows), default=80.0))
    return ChartAxis(low, max(high, low + 1), margin, width - margin)


def linear_axis(values: F64, begin: float, end: float, most: int = 6, least: float = 1.0) -> ChartAxis:
    """Return an axis with round ticks and some room around the values.

    most: ticks; least: room on either side
    """
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    room = max(least, 0.05 * (high - low))
    low, high = low - room, high + room
    raw = (high - low) / most
    step = next(unit for unit in _units(raw) if unit >= raw)
    marks = np.arange(math.ceil(low / step - 1e-9) * step, high + 1e-9, step)
    return ChartAxis(low, high, begin, end, [(float(mark), f"{mark:,.10g}") for mark in marks])


def _units(raw: float) -> list[float]:
    decade = 10.0 ** math.floor(math.log10(raw))
    return [decade * unit for unit in (1, 2, 5, 10)]


def whole_axis(values: F64, begin: float, end: float, most: int = 8) -> ChartAxis:
    """Return an axis of counts from 0."""
    high = max(1.0, float(values.max(initial=0.0)))
    step = max(1.0, next(unit for unit in _units(high / most) if unit >= high / most))
    return ChartAxis(0.0, high * 1.06, begin, end, [(m, f"{m:,.0f}") for m in np.arange(0.0, high + 1e-9, step)])


def logarithmic_axis(values: F64, begin: float, end: float) -> ChartAxis:
    """Return an axis of powers of ten around positive values."""
    low, high = math.log10(values.min(initial=1e9)), math.log10(max(values.max(initial=1.0), 1.0))
    powers = range(math.floor(min(low, high)), max(math.ceil(high), math.floor(min(low, high)) + 1) + 1)
    ticks = [(10.0**power, _compact(10**power)) for power in powers]
    return ChartAxis(ticks[0][0], ticks[-1][0], begin, end, ticks, logarithmic=True)


def _compact(number: int) -> str:
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= size:
            return f"{number // size}{unit}"
    return str(number)


def time_axis(times: F64, begin: float, end: float, most: int = 7) -> ChartAxis:
    """Return an axis of times [ms since 1970 UTC], with ticks at whole hours or days (UTC)."""
    low, high = (float(times.min()), float(times.max())) if times.size else (0.0, float(DAY))
    room = max(0.02 * (high - low), HOUR / 2)
    low, high = low - room, high + room
    step = next((step for step in TIME_STEPS if (high - low) / step <= most), TIME_STEPS[-1])
    marks = np.arange(math.ceil(low / step) * step, high, step)
    pattern = "%-d %b %H:%M" if step < DAY else "%-d %b"
    labels = [datetime.fromtimestamp(mark / 1000, UTC).strftime(pattern) for mark in marks]
    return ChartAxis(low, high, begin, end, list(zip(marks.tolist(), labels, strict=True)))


# --- charts -------------------------------------------------------------------------------------------------------


@dataclass
class Chart:
    """A drawing with two axes.

    x_label, y_label: what the axes measure; description: for those who cannot see it
    paths: (style, data of an SVG path) from back to front
    marks: (x, y, title) of dots of their own
    bars: (x, y, width, height, title)
    """

    x: ChartAxis
    y: ChartAxis
    x_label: str
    y_label: str
    description: str
    paths: list[tuple[str, str]] = field(default_factory=list)
    marks: list[tuple[float, float, str]] = field(default_factory=list)
    bars: list[tuple[float, float, float, float, str]] = field(default_factory=list)


def dots(x: F64, y: F64) -> str:
    """Return the data of a path of dots: lines of no length, whose round caps the stylesheet makes visible."""
    unit = COARSE if x.size > CLOUD else 1
    places = np.unique(np.round(np.column_stack([x, y]) / unit), axis=0) * unit
    return "".join(f"M{a:g} {b:g}h0" for a, b in places)


def steps(x: F64, y: F64, end: float) -> str:
    """Return the data of a line that keeps each height to the next point, and the last to `end`."""
    if not x.size:
        return ""
    corners = "".join(f"H{a:.1f}V{b:.1f}" for a, b in zip(x[1:], y[1:], strict=True))
    return f"M{x[0]:.1f} {y[0]:.1f}{corners}H{end:.1f}"


def figures_of(points: Sequence[Point]) -> dict[str, Chart]:
    """Return the charts of all scored submissions."""
    columns = {name: np.array([read(point) for point in points], np.float64) for name, read in POINT_COLUMNS.items()}
    scatter = partial(_scatter, columns["score"])
    return {
        "time": _over_time(columns["time"] * 1000.0, columns["score"]),
        "distribution": _distribution(points),
        "cells": scatter("cells", columns["cells"], "cells of the sensor"),
        "layers": scatter("layers", columns["layers"], "layers of the network"),
        "parameters": scatter("parameters", columns["parameters"], "parameters"),
        "other_agents": scatter("other_agents", columns["other_agents"], "other agents"),
    }


def _over_time(times: F64, scores: F64) -> Chart:
    x, y = time_axis(times, *ACROSS), linear_axis(scores, *UP)
    order = np.argsort(times, kind="stable")
    at, best = x.positions(times[order]), y.positions(np.maximum.accumulate(scores[order]))
    words = f"Official scores of {scores.size:,} submissions over time, and the best so far"
    chart = Chart(x, y, "time of submission, UTC", "official score, mph", words)
    chart.paths = [("dot", dots(x.positions(times), y.positions(scores))), ("best", steps(at, best, ACROSS[1]))]
    return chart


def _distribution(points: Sequence[Point]) -> Chart:
    best = {point.person_id: point.best for point in points if not point.baseline}  # the last is the best
    width, counted = bins(np.array(list(best.values())))
    words = f"Distribution of the best official scores of {len(best):,} participants"
    return _bar_chart(counted, width, "best official score, mph", "participants", words)


def _bar_chart(counted: list[dict[str, float]], width: float, x_label: str, y_label: str, words: str) -> Chart:
    """Return a chart of values in bins; width: of a bin."""
    starts, counts = (np.array([bar[name] for bar in counted], np.float64) for name in ("from", "count"))
    x = linear_axis(np.append(starts, starts[-1:] + width), *ACROSS, most=10, least=width / 2)
    y = whole_axis(counts, *UP)
    chart = Chart(x, y, x_label, y_label, words)
    for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
        left, top = x(start), y(count)
        title = f"{count:,.0f} {y_label} from {start:.2f} to {start + width:.2f} mph"
        chart.bars.append((left, top, round(x(start + width) - left, 1), round(UP[0] - top, 1), title))
    return chart


def _scatter(scores: F64, name: str, values: F64, label: str) -> Chart:
    shown = values > 0 if name == "parameters" else values >= 0
    make = logarithmic_axis if name == "parameters" else whole_axis
    x, y = make(values[shown], *ACROSS), linear_axis(scores, *UP, most=5)
    chart = Chart(x, y, label, "official score, mph", f"Official scores by {label}")
    chart.paths = [("dot", dots(x.positions(values[shown]), y.positions(scores[shown])))]
    return chart


def own_dots(charts: dict[str, Chart], points: Sequence[Point], person_id: int | None) -> dict[str, str]:
    """Return the path of a person's own dots in each of the charts."""
    mine = [point for point in points if point.person_id == person_id]
    found = {}
    for name in charts.keys() & POINT_COLUMNS.keys() if mine else ():
        read, unit = POINT_COLUMNS[name], 1000.0 if name == "time" else 1.0
        values = np.array([read(point) * unit for point in mine], np.float64)
        scores = np.array([point.score for point in mine])
        found[name] = dots(charts[name].x.positions(values), charts[name].y.positions(scores))
    return found


def history_chart(scores: Sequence[ScorePoint], best_of_class: float | None) -> Chart:
    """Return the curve of a person's scores: each with its interval, the best so far, and the class's best."""
    times, values, low, high = (
        np.array([getattr(score, name) for score in scores], np.float64)
        for name in ("accepted_at", "score", "low", "high")
    )
    ends = np.concatenate([low, high, [] if best_of_class is None else [best_of_class]])
    x, y = time_axis(times, *ACROSS), linear_axis(ends, *UP, least=0.3)
    words = f"{len(scores)} scores from {values.min():.2f} to {values.max():.2f} mph over time, and the best so far"
    chart = Chart(x, y, "time of submission, UTC", "official score, mph", words)
    if best_of_class is not None:
        chart.paths.append(("class", f"M{ACROSS[0]} {y(best_of_class)}H{ACROSS[1]}"))
    at = x.positions(times)
    chart.paths.append(("best", steps(at, y.positions(np.maximum.accumulate(values)), ACROSS[1])))
    spans = zip(at, y.positions(low), y.positions(high), strict=True)
    chart.paths.append(("interval", "".join(f"M{a:.1f} {b:.1f}V{c:.1f}" for a, b, c in spans)))
    for score in scores:
        title = f"{score.label}: {score_text(score.score)} mph, {score.low:.2f} to {score.high:.2f}"
        chart.marks.append((x(score.accepted_at), y(score.score), title))
    return chart


# --- data and histograms ------------------------------------------------------------------------------------------


def points_record(points: Sequence[Point], person_id: int | None) -> dict[str, Any]:
    """Return the data of the figures, column by column; mine: which of the points are the person's."""
    columns = {name: [read(point) for point in points] for name, read in POINT_COLUMNS.items()}
    mine = [k for k, point in enumerate(points) if point.person_id == person_id]
    best = {point.person_id: point.best for point in points if not point.baseline}  # the last is the best
    width, bars = bins(np.array(list(best.values())))
    return {"columns": columns, "mine": mine, "bin": width, "distribution": bars}


def points_csv(points: Sequence[Point]) -> str:
    """Return the data of the figures as CSV text."""
    columns = {"accepted_at": lambda point: to_time(point.accepted_at)} | dict(list(POINT_COLUMNS.items())[1:])
    return csv_text(columns, ([read(point) for read in columns.values()] for point in points))


def bins(values: F64) -> tuple[float, list[dict[str, float]]]:
    """Return the width of the bins [mph], and of each its start and the number of values in it."""
    if not values.size:
        return 1.0, []
    spread = float(values.max() - values.min())
    width = next((one for one in BINS if spread / one <= MOST_BINS), BINS[-1])
    first, last = math.floor(values.min() / width), math.floor(values.max() / width)
    counts = np.bincount(np.floor(values / width).astype(np.int64) - first, minlength=last - first + 1)
    return width, [{"from": round((first + k) * width, 4), "count": int(count)} for k, count in enumerate(counts)]


def histogram(run_scores: F64, score: float) -> Chart:
    """Return the histogram of a submission's runs, with a line at the score."""
    width, counted = bins(run_scores)
    words = f"Mean speeds of {run_scores.size} runs, from {run_scores.min():.2f} to {run_scores.max():.2f} mph"
    chart = _bar_chart(counted, width, "mean speed of a run, mph", "runs", words)
    chart.paths.append(("middle", f"M{chart.x(score)} {chart.y.end}V{chart.y.begin}"))
    return chart
