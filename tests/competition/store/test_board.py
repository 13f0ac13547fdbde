"""The leaderboard: order, ties, ranks, baselines, neighbours within chance, aliases; and the figures' points."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from deeptraffic.competition.models import Steps
from deeptraffic.competition.store import accounts, board, competitions, evaluations, organise, queue, submissions
from deeptraffic.evaluation.score import Score


def put(lab: Any, name: str, runs: list[float], unrounded: float | None = None) -> Any:
    """A member with one submission that scored these runs."""
    person = accounts.find_person(lab.db, name) or lab.member(name)
    made = lab.submit(person, f"of {name} {runs}")
    while (job := queue.lease(lab.db, "test")) is not None:
        values = np.array(runs)
        speeds = values if unrounded is None else np.full(len(runs), unrounded)
        score = Score("x", "official", 2018, 0, "contest", values, np.zeros(len(runs)), 2000, 1.0, run_speeds=speeds)
        evaluations.complete(lab.db, job, score)
    return submissions.get_submission(lab.db, made.id)


def current(lab: Any) -> Any:
    return competitions.get_competition(lab.db, lab.competition.id)


def ranks(lab: Any) -> list[tuple[int | None, str, bool]]:
    return [(row.rank, row.name, row.tied) for row in board.read_board(lab.db, lab.competition.id).rows]


def test_a_score_that_beats_others_which_are_equal_needs_one_line(lab: Any) -> None:
    for name, mph in {"Ana": 60.0, "Bo": 60.0, "Cy": 55.0, "Dora": 50.0}.items():
        put(lab, name, [mph] * 5, mph)
    shown = board.read_board(lab.db, lab.competition.id)
    assert shown.needed(shown.rows[3]) == [(3, 55.0), (1, 60.0)]
    assert shown.needed(shown.rows[2]) == [(1, 60.0)]
    assert shown.needed(None) == [(4, 50.0), (3, 55.0), (1, 60.0)]


def test_ties_go_to_the_unrounded_mean_and_share_a_rank_beyond_it(any_lab: Any) -> None:
    put(any_lab, "Dora", [50.0] * 5, 50.0)
    put(any_lab, "Bo", [60.0] * 5, 60.002)
    put(any_lab, "Cy", [60.0] * 5, 60.002)
    put(any_lab, "Ana", [60.0] * 5, 60.004)
    put(any_lab, "Eve", [50.0] * 5, 49.0)
    assert ranks(any_lab) == [
        (1, "Ana", False),
        (2, "Bo", True),
        (2, "Cy", True),
        (4, "Dora", False),
        (5, "Eve", False),
    ]


SAME = ([72.75, 72.77], [72.76, 72.76])  # medians that are equal, but not as floats
DRAWN = np.random.default_rng(0).uniform(0.0, 80.0, 1000)
SPEEDS = (DRAWN, np.sort(DRAWN))  # the same speeds in another order, and another sum in floats


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_equal_scores_and_means_share_a_rank_in_every_order_of_arrival(any_lab: Any, order: tuple[int, int]) -> None:
    assert np.median(SAME[0]) != np.median(SAME[1]) and np.mean(SPEEDS[0]) != np.mean(SPEEDS[1])
    for number in order:
        made = any_lab.submit(any_lab.member(f"Person {number}"), f"{number}")
        while (job := queue.lease(any_lab.db, "test")) is not None:
            runs, speeds = np.repeat(SAME[number], 500), SPEEDS[number]
            score = Score("x", "open", 2018, 0, "contest", runs, np.zeros(1000), 2000, 1.0, run_speeds=speeds)
            evaluations.complete(any_lab.db, job, score)
    found = board.read_board(any_lab.db, any_lab.competition.id)
    assert [(row.rank, row.tied, row.score) for row in found.rows] == [(1, True, 72.76)] * 2
    assert {board.record(row)["score"] for row in found.rows} == {72.76}
    assert submissions.get_submission(any_lab.db, made.id).score == 72.76


def test_every_half_hundredth_is_kept_to_the_last_bit() -> None:
    kept = Steps(200)
    for number in range(4000, 8000):
        for below in (1, 2, 3):
            median = float(np.median([(number - below) / 100, (number + below) / 100]))
            assert kept.process_result_value(kept.process_bind_param(median, None), None) == number / 100
    assert [board.score_text(score) for score in (72.76, 72.765, 7.0, None)] == ["72.76", "72.765", "7.00", "–"]


def test_a_person_stands_with_the_best_of_many(lab: Any) -> None:
    ana = lab.member("Ana")
    for name, score in (("a", 60.0), ("b", 70.0), ("c", 65.0)):
        lab.scored(ana, name, score)
    (row,) = board.read_board(lab.db, lab.competition.id).rows
    assert (row.score, row.label, row.submissions) == (70.0, "b", 3)


def test_of_equal_submissions_the_first_stands(lab: Any) -> None:
    ana = lab.member("Ana")
    first = lab.scored(ana, "first", 60.0)
    lab.scored(ana, "second", 60.0)
    assert board.read_board(lab.db, lab.competition.id).rows[0].submission == first.key


def test_baselines_stand_between_without_a_rank(lab: Any) -> None:
    lab.score_of = {"baseline": 65.0}
    organise.add_baseline(lab.db, lab.competition.id, "Gap driver", lab.upload("baseline"), "test")
    lab.work()
    lab.scored(lab.member("Ana"), "a", 70.0)
    lab.scored(lab.member("Bo"), "b", 60.0)
    found = board.read_board(lab.db, lab.competition.id)
    assert [(row.rank, row.name, row.baseline) for row in found.rows] == [
        (1, "Ana", False),
        (None, "Gap driver", True),
        (2, "Bo", False),
    ]
    assert found.ranked == 2


def test_neighbours_within_chance_are_marked_and_others_are_not(lab: Any) -> None:
    wide = [55.0, 57.0, 59.0, 61.0, 63.0, 65.0, 67.0, 69.0, 71.0]
    put(lab, "Ana", [value + 0.5 for value in wide])
    put(lab, "Bo", wide)
    put(lab, "Cy", [20.0, 20.01, 20.02, 20.03, 20.04])
    assert [row.alike_above for row in board.read_board(lab.db, lab.competition.id).rows] == [False, True, False]


def test_an_anonymous_board_shows_aliases_but_baselines_by_name(lab: Any) -> None:
    organise.add_baseline(lab.db, lab.competition.id, "Gap driver", lab.upload("baseline"), "test")
    ana = lab.member("Ana")
    lab.scored(ana, "a", 70.0)
    lab.change(anonymous=True)
    alias = competitions.membership(lab.db, lab.competition.id, ana.id).alias
    found = board.read_board(lab.db, lab.competition.id)
    assert [row.name for row in found.rows] == [alias, "Gap driver"]
    assert found.of(ana.id).name == alias and found.search("ana") == []
    names = {point.name for point in board.Boards(lab.db).points(current(lab))}
    assert names == {alias, "Gap driver"}


def test_disqualified_submissions_and_people_leave_the_board(lab: Any) -> None:
    ana, bo = lab.member("Ana"), lab.member("Bo")
    lab.scored(ana, "second", 60.0)
    best = lab.scored(ana, "best", 70.0)
    lab.scored(bo, "b", 65.0)
    organise.disqualify(lab.db, best.key, "test", "copied")
    assert ranks(lab) == [(1, "Bo", False), (2, "Ana", False)]
    organise.disqualify_member(lab.db, lab.competition.id, bo.id, "test", "shared")
    assert ranks(lab) == [(1, "Ana", False)]
    organise.requalify(lab.db, best.key, "test")
    organise.requalify_member(lab.db, lab.competition.id, bo.id, "test")
    assert ranks(lab) == [(1, "Ana", False), (2, "Bo", False)]


def test_a_kept_board_is_read_anew_when_something_changed(lab: Any) -> None:
    ana = lab.member("Ana")
    lab.scored(ana, "a", 60.0)
    boards = board.Boards(lab.db)
    first = boards.board(current(lab))
    assert boards.board(current(lab)) is first
    accounts.rename(lab.db, ana.id, "Anna")
    assert boards.board(current(lab)).rows[0].name == "Anna"
    assert boards.points(current(lab))[0].score == 60.0
    lab.scored(ana, "b", 61.0)
    assert [point.best for point in boards.points(current(lab))] == [60.0, 61.0]


@pytest.mark.parametrize(("text", "names"), [("AN", ["Ana", "Anna"]), (" bo ", ["Bo"]), ("%", [])])
def test_search_finds_parts_of_names(lab: Any, text: str, names: list[str]) -> None:
    for number, name in enumerate(("Ana", "Anna", "Bo")):
        lab.scored(lab.member(name), name, 70.0 - number)
    assert [row.name for row in board.read_board(lab.db, lab.competition.id).search(text)] == names


def test_a_hidden_final_has_no_board(lab: Any) -> None:
    lab.scored(lab.member("Ana"), "a", 60.0)
    assert board.read_board(lab.db, lab.competition.id, final=True).rows == ()


def test_many_who_ask_at_once_are_served_by_one_reading(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.scored(lab.member("Ana"), "a", 60.0)
    read, built = board._board, []

    def slowly(*arguments: Any) -> board.Board:
        built.append(1)
        time.sleep(0.05)
        return read(*arguments)

    monkeypatch.setattr(board, "_board", slowly)
    boards = board.Boards(lab.db)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: boards.board(current(lab)), range(16)))
    assert len(built) == 1 and all(one is found[0] for one in found)
