"""Pages and files of a board, and the drawings of the charts."""

import csv
import io

import numpy as np
import pytest

from deeptraffic.competition.store.board import Board, BoardRow, Point, board_csv
from deeptraffic.competition.store.submissions import ScorePoint
from deeptraffic.competition.web.board_pages import alike_below, board_page
from deeptraffic.competition.web.charts import (
    ChartAxis,
    axis_of,
    bins,
    figures_of,
    histogram,
    history_chart,
    linear_axis,
    own_dots,
    points_csv,
    points_record,
    time_axis,
    whole_axis,
)


def row(rank: int | None, key: str, name: str = "Ada", alike_above: bool = False, score: float = 70.0) -> BoardRow:
    numbers = dict(score=score, score_low=score - 1, score_high=score + 1, mean=score, mean_low=score, mean_high=score)
    return BoardRow(
        rank=rank, person_id=1, people=(1,), name=name, baseline=rank is None, submission=key,
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
    axis = ChartAxis(60, 80, 10, 90)
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
    floor, top = drawn.y.begin, drawn.y.end
    assert all(drawn.x.begin <= x and x + width <= drawn.x.end for x, _, width, _, _ in drawn.bars)
    assert all(top <= y and y + height == pytest.approx(floor, abs=0.1) for _, y, _, height, _ in drawn.bars)
    assert drawn.paths == [("middle", f"M{drawn.x(70.0)} {top}V{floor}")]


@pytest.mark.parametrize("values", [[], [70.0], [70.0, 70.0], [69.1, 70.3], [0.0, 5e5]])
def test_round_ticks_lie_within_any_axis(values: list[float]) -> None:
    for axis in (linear_axis(np.array(values), 0, 1000), whole_axis(np.array(values), 0, 1000)):
        assert 1 <= len(axis.ticks) <= 12
        assert all(0 <= axis(value) <= 1000 and float(label.replace(",", "")) == value for value, label in axis.ticks)
        assert all(0 < axis(value) < 1000 for value in values if value)
    assert all(value == int(value) for value, _ in axis.ticks)


@pytest.mark.parametrize("hours", [0.0, 0.2, 5.0, 30.0, 24.0 * 9, 24.0 * 120])
def test_ticks_of_times_are_whole_hours_or_days_within(hours: float) -> None:
    axis = time_axis(np.array([0.0, hours * 3.6e6]) + 1.79e12, 0, 1000)
    assert len(axis.ticks) <= 7 and all(value % 3.6e6 == 0 for value, _ in axis.ticks)
    assert len({label for _, label in axis.ticks}) == len(axis.ticks)


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


def test_every_scored_submission_is_a_dot_and_ones_own_are_marked() -> None:
    points = [point(1, 60, 60), point(1, 70, 70), point(2, 65, 65), point(3, 50, 50, True)]
    charts = figures_of(points)
    assert set(charts) == {"time", "distribution", "cells", "layers", "parameters", "other_agents"}
    assert dict(charts["cells"].paths)["dot"].count("M") == 4
    assert [title.partition(" ")[0] for *_, title in charts["distribution"].bars if title[0] != "0"] == ["1", "1"]
    own = own_dots(charts, points, 1)
    assert own["cells"].count("M") == 2 and set(own) == set(charts) - {"distribution"}
    assert own_dots(charts, points, None) == {} and own_dots(charts, points, 9) == {}
    assert dict(charts["time"].paths)["best"].count("V") == 3


def test_a_history_has_intervals_and_the_best_so_far() -> None:
    scores = [ScorePoint("a", "net", 0, 70.0, 69.0, 71.0), ScorePoint("b", "<net>", 3_600_000, 68.0, 67.0, 69.0)]
    chart = history_chart(scores, 74.0)
    paths = dict(chart.paths)
    assert paths["interval"].count("M") == 2 and [title for *_, title in chart.marks][1].startswith("<net>: 68.00 mph")
    best = chart.y(70.0)
    assert paths["best"].endswith(f"V{best}H985.0") and f" {chart.y(74.0)}H" in paths["class"]
    assert chart.marks[0][1] == best and chart.marks[1][1] > best
    assert "class" not in dict(history_chart(scores, None).paths)


def test_an_axis_of_a_board_contains_its_intervals() -> None:
    axis = axis_of([row(1, "a", score=70.4), row(2, "b", score=66.2)], 136.0)
    assert (axis.low, axis.high) == (65, 72)
    assert (axis_of([], 136.0).low, axis_of([], 136.0).high) == (0, 80)
