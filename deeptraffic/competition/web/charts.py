"""Data and drawings of the charts: the axis of the board's intervals, histograms, and the points of the figures."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeptraffic.competition.config import to_time
from deeptraffic.competition.store.board import BoardRow, Point, csv_text
from deeptraffic.sim.state import F64

BINS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)  # [mph]
MOST_BINS = 40
POINT_COLUMNS: dict[str, Callable[[Point], Any]] = {
    "time": lambda point: point.accepted_at // 1000,
    "score": lambda point: point.score,
    "cells": lambda point: point.cells,
    "layers": lambda point: point.layers,
    "parameters": lambda point: point.parameters,
    "other_agents": lambda point: point.other_agents,
}


@dataclass(frozen=True)
class SpeedAxis:
    """Maps speeds from low to high [mph] to positions from `margin` to width - margin [px]."""

    low: float
    high: float
    width: float
    margin: float = 6.0

    def __call__(self, speed_mph: float) -> float:
        """Return the position of a speed; outside the axis, its end."""
        fraction = (min(max(speed_mph, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.margin + fraction * (self.width - 2 * self.margin), 1)


def axis_of(rows: Sequence[BoardRow], width: float) -> SpeedAxis:
    """Return an axis that contains the intervals of these rows."""
    low = math.floor(min((min(row.score_low, row.score) for row in rows), default=0.0))
    high = math.ceil(max((max(row.score_high, row.score) for row in rows), default=80.0))
    return SpeedAxis(low, max(high, low + 1), width)


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


@dataclass(frozen=True)
class Histogram:
    """A drawing of 640 x 200 px: how many runs had which speed; middle: where the score is."""

    bars: list[dict[str, Any]]
    ticks: list[dict[str, Any]]
    middle: float
    description: str


def histogram(run_scores: F64, score: float) -> Histogram:
    """Return the histogram of a submission's runs."""
    width, counted = bins(run_scores)
    low, high = counted[0]["from"], counted[-1]["from"] + width
    axis = SpeedAxis(low, high, 640.0, 12.0)
    most = max(bar["count"] for bar in counted)
    bars = [
        {
            "x": axis(bar["from"]) + 0.5,
            "width": max(1.0, round(axis(bar["from"] + width) - axis(bar["from"]) - 1, 1)),
            "height": round(bar["count"] / most * 155, 1),
            "title": f"{bar['count']:.0f} runs from {bar['from']:.2f} to {bar['from'] + width:.2f} mph",
        }
        for bar in counted
    ]
    step = next((s for s in (0.5, 1, 2, 5, 10, 20) if (high - low) / s <= 10), 50)
    marks = np.arange(math.ceil(low / step) * step, high + 1e-9, step)
    ticks = [{"x": axis(float(mark)), "label": f"{mark:g}"} for mark in marks]
    words = f"Mean speeds of {run_scores.size} runs, from {run_scores.min():.2f} to {run_scores.max():.2f} mph"
    return Histogram(bars, ticks, axis(score), words)
