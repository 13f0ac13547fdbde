"""Pages and files of a board, and the drawings of the charts."""

import csv
import io

import numpy as np
import pytest

from deeptraffic.competition.store.board import Board, BoardRow, Point, board_csv
from deeptraffic.competition.web.board_pages import alike_below, board_page
from deeptraffic.competition.web.charts import SpeedAxis, bins, histogram, points_csv, points_record


def row(rank: int | None, key: str, name: str = "Ada", alike_above: bool = False, score: float = 70.0) -> BoardRow:
    numbers = dict(score=score, score_low=score - 1, score_high=score + 1, mean=score, mean_low=score, mean_high=score)
    return BoardRow(
        rank=rank, person_id=1, name=name, baseline=rank is None, submission=key,
        label="net", other_agents=0, parameters=10, cells=420, layers=4, submissions=2, accepted_at=0, tied=False,
        alike_above=alike_above, **numbers,
    )  # fmt: skip


def test_a_baseline_between_two_that_are_alike_is_marked_with_them() -> None:
    rows = [row(1, "a"), row(None, "b"), row(2, "c", alike_above=True), row(3, "d")]
    assert alike_below(rows) == {"a", "b"}


def test_a_page_past_the_end_is_the_last_one() -> None:
    board = Board(tuple(row(k, str(k), f"Driver {k}") for k in range(1, 121)), 120, 1)
    last = board_page(board, "", 99)
    assert (last.page, last.total, len(last.rows), last.rows[0].rank) == (3, 120, 20, 101)
    found = board_page(board, " driver 12", 1)
    assert [one.rank for one in found.rows] == [12, 120]
    assert not found.below


@pytest.mark.parametrize("name", ["=1+1", "+49 30", "-2", "@SUM(A1)", '=HYPERLINK("http://x")'])
def test_no_cell_of_a_table_is_a_formula(name: str) -> None:
    text = board_csv(Board((row(1, "a", name),), 1, 1))
    cells = list(csv.reader(io.StringIO(text)))[1]
    assert cells[1] != name
    assert not any(cell.startswith(("=", "+", "@", "\t")) for cell in cells)
    assert cells[1].endswith(name)


def test_an_axis_ends_at_its_margins() -> None:
    axis = SpeedAxis(60, 80, 100, 10)
    assert [axis(speed) for speed in (50, 60, 70, 80, 99)] == [10, 10, 50, 90, 90]


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


def point(person: int, score: float, best: float, baseline: bool = False) -> Point:
    return Point(1000, score, 420, 4, 1000, 0, person, str(person), baseline, best)


def test_the_distribution_counts_everybodys_best_once_and_no_baseline() -> None:
    points = [point(1, 60, 60), point(1, 70, 70), point(2, 65, 65), point(3, 50, 50, True)]
    record = points_record(points, 1)
    assert record["mine"] == [0, 1]
    assert sum(bar["count"] for bar in record["distribution"]) == 2
    assert record["columns"]["score"] == [60, 70, 65, 50]
    assert set(record["columns"]) == {"time", "score", "cells", "layers", "parameters", "other_agents"}
    assert points_csv(points).splitlines()[1].startswith("1970-01-01T00:00:01.000Z,60")
