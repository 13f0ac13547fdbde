"""What pages and files show of a board."""

import csv
import io

import numpy as np
import pytest

from deeptraffic.competition.store.board import Board
from deeptraffic.competition.store.records import BoardRow, Point
from deeptraffic.competition.web.board_views import (
    Scale,
    alike_below,
    bins,
    board_page,
    board_text,
    histogram,
    points_record,
    points_text,
)


def row(rank: int | None, key: str, name: str = "Ada", alike_above: bool = False, score: float = 70.0) -> BoardRow:
    numbers = dict(score=score, score_low=score - 1, score_high=score + 1, mean=score, mean_low=score, mean_high=score)
    return BoardRow(
        rank=rank, person_id=1, person_key="p", name=name, alias="Driver A", baseline=rank is None, submission_key=key,
        label="net", other_agents=0, parameters=10, cells=420, layers=4, submissions=2, accepted_at=0, tied=False,
        alike_above=alike_above, **numbers,
    )  # fmt: skip


def test_a_baseline_between_two_that_are_alike_is_marked_with_them() -> None:
    rows = [row(1, "a"), row(None, "b"), row(2, "c", alike_above=True), row(3, "d")]
    assert alike_below(rows) == {"a", "b"}


def test_a_page_past_the_end_is_the_last_one() -> None:
    board = Board(tuple(row(k, str(k), f"Driver {k}") for k in range(1, 121)), 120, 1)
    last = board_page(board, "", 99)
    assert (last.page, last.pages, len(last.rows), last.rows[0].rank) == (3, 3, 20, 101)
    found = board_page(board, " driver 12", 1)
    assert [one.rank for one in found.rows] == [12, 120]
    assert not found.below


@pytest.mark.parametrize("name", ["=1+1", "+49 30", "-2", "@SUM(A1)", '=HYPERLINK("http://x")'])
def test_no_cell_of_a_table_is_a_formula(name: str) -> None:
    text = board_text(Board((row(1, "a", name),), 1, 1))
    cells = list(csv.reader(io.StringIO(text)))[1]
    assert cells[1] != name
    assert not any(cell.startswith(("=", "+", "@", "\t")) for cell in cells)
    assert cells[1].endswith(name)


def test_a_scale_ends_at_its_margins() -> None:
    scale = Scale(60, 80, 100, 10)
    assert [scale(speed) for speed in (50, 60, 70, 80, 99)] == [10, 10, 50, 90, 90]


def test_bins_hold_every_value_once() -> None:
    values = np.array([70.0, 70.49, 70.5, 74.99, 51.57, 80.0])
    width, counted = bins(values)
    assert sum(bar["count"] for bar in counted) == values.size
    for bar in counted:
        inside = (values >= bar["from"] - 1e-9) & (values < bar["from"] + width - 1e-9)
        assert bar["count"] == inside.sum()
    assert bins(np.array([])) == (1.0, [])
    assert bins(np.array([70.0]))[1] == [{"from": 70.0, "count": 1}]


def test_a_histogram_marks_the_score_within_its_bars() -> None:
    scores = np.random.default_rng(0).normal(70, 3, 500).clip(40, 80)
    drawn = histogram(scores, 70.0)
    assert max(bar["height"] for bar in drawn.bars) == 155.0
    assert all(0 <= bar["x"] and bar["x"] + bar["width"] <= 640 for bar in drawn.bars)
    assert 0 < drawn.middle < 640
    assert len(drawn.ticks) >= 3


def point(key: str, person: str, score: float, best: float, baseline: bool = False) -> Point:
    return Point(key, person, person, baseline, 1000, score, best, 420, 4, 1000, 0)


def test_the_distribution_counts_everybodys_best_once_and_no_baseline() -> None:
    points = [point("a", "x", 60, 60), point("b", "x", 70, 70), point("c", "y", 65, 65), point("d", "z", 50, 50, True)]
    record = points_record(points, "x")
    assert record["mine"] == [0, 1]
    assert sum(bar["count"] for bar in record["distribution"]) == 2
    assert record["columns"]["score"] == [60, 70, 65, 50]
    assert set(record["columns"]) == {"time", "score", "cells", "layers", "parameters", "other_agents"}
    assert points_text(points).splitlines()[1].startswith("1970-01-01T00:00:01.000Z,60")
