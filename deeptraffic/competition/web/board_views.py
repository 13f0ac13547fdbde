"""What pages and files show of a board: a page of rows, scales, columns, bins."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeptraffic.competition.config import to_time
from deeptraffic.competition.store.board import Board
from deeptraffic.competition.store.export import safe_cell
from deeptraffic.competition.store.records import BoardRow, Competition, Point
from deeptraffic.sim.state import F64

PER_PAGE = 50
BINS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)  # [mph]
MOST_BINS = 40
COLUMNS: dict[str, Callable[[BoardRow], Any]] = {
    "rank": lambda row: row.rank,
    "name": lambda row: row.name,
    "baseline": lambda row: row.baseline,
    "score": lambda row: row.score,
    "score_low": lambda row: round(row.score_low, 4),
    "score_high": lambda row: round(row.score_high, 4),
    "mean": lambda row: round(row.mean, 6),
    "mean_low": lambda row: round(row.mean_low, 4),
    "mean_high": lambda row: round(row.mean_high, 4),
    "tied": lambda row: row.tied,
    "alike_above": lambda row: row.alike_above,
    "other_agents": lambda row: row.other_agents,
    "parameters": lambda row: row.parameters,
    "cells": lambda row: row.cells,
    "layers": lambda row: row.layers,
    "submissions": lambda row: row.submissions,
    "accepted_at": lambda row: to_time(row.accepted_at),
    "submission": lambda row: row.submission_key,
}
POINT_COLUMNS: dict[str, Callable[[Point], Any]] = {
    "time": lambda point: point.accepted_at // 1000,
    "score": lambda point: point.score,
    "cells": lambda point: point.cells,
    "layers": lambda point: point.layers,
    "parameters": lambda point: point.parameters,
    "other_agents": lambda point: point.other_agents,
}


@dataclass(frozen=True)
class Scale:
    """Speeds [mph] from low to high as places from `margin` to width - margin [px]."""

    low: float
    high: float
    width: float
    margin: float = 6.0

    def __call__(self, speed_mph: float) -> float:
        """Return where a speed stands; outside the scale, at its end."""
        share = (min(max(speed_mph, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.margin + share * (self.width - 2 * self.margin), 1)


def scale_of(rows: Sequence[BoardRow], width: float) -> Scale:
    """Return a scale that holds these rows' intervals."""
    low = math.floor(min((min(row.score_low, row.score) for row in rows), default=0.0))
    high = math.ceil(max((max(row.score_high, row.score) for row in rows), default=80.0))
    return Scale(low, max(high, low + 1), width)


@dataclass(frozen=True)
class BoardPage:
    """A page of rows; below: the keys of those whose difference to the next ranked row may be chance."""

    rows: list[BoardRow]
    page: int
    pages: int
    below: frozenset[str]


def board_page(board: Board, text: str, page: int) -> BoardPage:
    """Return a page of a board, or of what a search in it finds; a page past the end is the last one."""
    rows = board.search(text) if text.strip() else list(board.rows)
    pages = max(1, math.ceil(len(rows) / PER_PAGE))
    page = min(max(page, 1), pages)
    shown = rows[(page - 1) * PER_PAGE : page * PER_PAGE]
    return BoardPage(shown, page, pages, frozenset() if text.strip() else alike_below(board.rows))


def alike_below(rows: Sequence[BoardRow]) -> frozenset[str]:
    """Return the keys of rows whose difference to the next ranked row may be chance, baselines between them too."""
    keys, alike = set(), False
    for row in reversed(rows):
        if alike:
            keys.add(row.submission_key)
        if row.rank is not None:
            alike = row.alike_above
    return frozenset(keys)


def board_record(competition: Competition, board: Board, final: bool) -> dict[str, Any]:
    """Return a board as JSON values."""
    rows = [{name: read(row) for name, read in COLUMNS.items()} for row in board.rows]
    head = {"competition": competition.key, "title": competition.config.title, "final": final, "ranked": board.ranked}
    return head | {"rows": rows}


def table_text(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return CSV text in which no cell is a formula to a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([safe_cell(cell) if isinstance(cell, str) else cell for cell in row])
    return out.getvalue()


def board_text(board: Board) -> str:
    """Return a board as CSV text."""
    return table_text(COLUMNS, ([read(row) for read in COLUMNS.values()] for row in board.rows))


def points_record(points: Sequence[Point], person_key: str | None) -> dict[str, Any]:
    """Return the figures' numbers, column by column; mine: which of the points are the viewer's."""
    columns = {name: [read(point) for point in points] for name, read in POINT_COLUMNS.items()}
    mine = [k for k, point in enumerate(points) if point.person_key == person_key]
    best = {point.person_key: point.best for point in points if not point.baseline}  # the last says the most
    width, bars = bins(np.array(list(best.values())))
    return {"columns": columns, "mine": mine, "bin": width, "distribution": bars}


def points_text(points: Sequence[Point]) -> str:
    """Return the figures' numbers as CSV text."""
    columns = {"accepted_at": lambda point: to_time(point.accepted_at)} | dict(list(POINT_COLUMNS.items())[1:])
    return table_text(columns, ([read(point) for read in columns.values()] for point in points))


def bins(values: F64) -> tuple[float, list[dict[str, float]]]:
    """Return the width of the bins [mph], and for each where it begins and how many values are in it."""
    if not values.size:
        return 1.0, []
    spread = float(values.max() - values.min())
    width = next((one for one in BINS if spread / one <= MOST_BINS), BINS[-1])
    first, last = math.floor(values.min() / width), math.floor(values.max() / width)
    counts = np.bincount(np.floor(values / width).astype(np.int64) - first, minlength=last - first + 1)
    return width, [{"from": round((first + k) * width, 4), "count": int(count)} for k, count in enumerate(counts)]


@dataclass(frozen=True)
class Histogram:
    """A drawing 640 x 200 of how often a run had which speed."""

    bars: list[dict[str, Any]]
    ticks: list[dict[str, Any]]
    middle: float
    description: str


def histogram(run_scores: F64, score: float) -> Histogram:
    """Return the drawing of a submission's runs, with its score marked."""
    width, counted = bins(run_scores)
    low, high = counted[0]["from"], counted[-1]["from"] + width
    scale = Scale(low, high, 640.0, 12.0)
    most = max(bar["count"] for bar in counted)
    bars = [
        {
            "x": scale(bar["from"]) + 0.5,
            "width": max(1.0, round(scale(bar["from"] + width) - scale(bar["from"]) - 1, 1)),
            "height": round(bar["count"] / most * 155, 1),
            "title": f"{bar['count']:.0f} runs from {bar['from']:.2f} to {bar['from'] + width:.2f} mph",
        }
        for bar in counted
    ]
    step = next((s for s in (0.5, 1, 2, 5, 10, 20) if (high - low) / s <= 10), 50)
    marks = np.arange(math.ceil(low / step) * step, high + 1e-9, step)
    ticks = [{"x": scale(float(mark)), "label": f"{mark:g}"} for mark in marks]
    words = f"Mean speeds of {run_scores.size} runs, from {run_scores.min():.2f} to {run_scores.max():.2f} mph"
    return Histogram(bars, ticks, scale(score), words)
