"""Re-evaluation: new results beside the old ones, a preview with ranks, and the organiser's word."""

from typing import Any

import pytest

from deeptraffic.competition.store import board, evaluations, finals, organise, queue, submissions
from deeptraffic.competition.store.errors import RequestError


def code_of(call: Any, *arguments: Any) -> str:
    with pytest.raises(RequestError) as found:
        call(*arguments)
    return found.value.code


def two(lab: Any) -> tuple[Any, Any]:
    return lab.scored(lab.member("Ana"), "a", 70.0), lab.scored(lab.member("Bo"), "b", 65.0)


def scores(lab: Any, *made: Any) -> list[float | None]:
    return [submissions.get_submission(lab.db, one.id).score for one in made]


def test_nothing_changes_before_the_organiser_applies_it(any_lab: Any) -> None:
    lab = any_lab
    a, b = two(lab)
    lab.score_of = {"a": 60.0, "b": 65.0}
    batch = organise.begin_reevaluation(lab.db, lab.competition.id, None, "test")
    assert lab.work() == ["again", "again"]
    assert scores(lab, a, b) == [70.0, 65.0]
    seen = organise.preview_reevaluation(lab.db, batch)
    assert (seen.total, seen.done, seen.failed, seen.finished) == (2, 2, 0, True)
    (change,) = seen.changes
    assert (change.name, change.before, change.after, change.rank_before, change.rank_after) == (
        "Ana",
        70.0,
        60.0,
        1,
        2,
    )
    assert organise.apply_reevaluation(lab.db, batch, "test") == 1
    assert scores(lab, a, b) == [60.0, 65.0]
    found = submissions.get_submission(lab.db, a.id)
    assert (found.replaced.score, found.score) == (70.0, 60.0)
    assert [row.name for row in board.read_board(lab.db, lab.competition.id).rows] == ["Bo", "Ana"]
    assert organise.open_reevaluations(lab.db, lab.competition.id) == []


def test_discarded_results_never_count_later(lab: Any) -> None:
    a, _ = two(lab)
    lab.score_of["a"] = 10.0
    batch = organise.begin_reevaluation(lab.db, lab.competition.id, [a.key], "test")
    lab.work()
    organise.discard_reevaluation(lab.db, batch, "test")
    assert code_of(organise.apply_reevaluation, lab.db, batch, "test") == "missing"
    lab.score_of["a"] = 20.0
    same = lab.scored(lab.member("Cy"), "a", 30.0)
    assert scores(lab, same) == [70.0], "the same content has the result that counts"
    lab.score_of["a"] = 20.0
    batch = organise.begin_reevaluation(lab.db, lab.competition.id, [a.key, same.key], "test")
    assert lab.work() == ["again"]
    organise.apply_reevaluation(lab.db, batch, "test")
    assert scores(lab, a, same) == [20.0, 20.0]
    assert scores(lab, lab.scored(lab.member("Dora"), "a", 99.0)) == [20.0]


def test_a_submission_that_is_refused_now_shows_why_and_leaves_the_board(lab: Any) -> None:
    a, _ = two(lab)
    batch = organise.begin_reevaluation(lab.db, lab.competition.id, [a.key], "test")
    evaluations.refuse(lab.db, queue.lease(lab.db, "test"), "time", "it takes too long")
    (change,) = organise.preview_reevaluation(lab.db, batch).changes
    assert (change.after, change.reason, change.rank_after) == (None, "it takes too long", None)
    organise.apply_reevaluation(lab.db, batch, "test")
    found = submissions.get_submission(lab.db, a.id)
    assert (found.state, found.reason) == ("refused", "it takes too long")
    assert [row.name for row in board.read_board(lab.db, lab.competition.id).rows] == ["Bo"]


def test_what_we_could_not_evaluate_stays_as_it_is(lab: Any) -> None:
    a, _ = two(lab)
    batch = organise.begin_reevaluation(lab.db, lab.competition.id, [a.key], "test")
    for _ in range(3):
        evaluations.retry(lab.db, queue.lease(lab.db, "test"), "no disk")
        lab.times.append(lab.times[-1] + 3 * evaluations.BACKOFF)
    seen = organise.preview_reevaluation(lab.db, batch)
    assert (seen.failed, seen.changes, seen.finished) == (1, [], True)
    organise.apply_reevaluation(lab.db, batch, "test")
    assert scores(lab, a) == [70.0]


def test_one_at_a_time_of_what_has_a_score_and_before_the_final(lab: Any) -> None:
    a, _ = two(lab)
    begin, where = organise.begin_reevaluation, lab.competition.id
    assert code_of(begin, lab.db, where, ["no such"], "test") == "missing"
    batch = begin(lab.db, where, [a.key], "test")
    assert code_of(begin, lab.db, where, [a.key], "test") == "open"
    assert code_of(organise.apply_reevaluation, lab.db, batch, "test") == "unfinished"
    job = queue.lease(lab.db, "test")
    organise.discard_reevaluation(lab.db, batch, "test")
    with pytest.raises(RuntimeError):
        evaluations.complete(lab.db, job, lab.score(job))
    finals.begin(lab.db, where, "test")
    assert code_of(begin, lab.db, where, [a.key], "test") == "final"
