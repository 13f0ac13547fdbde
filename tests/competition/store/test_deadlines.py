"""Deadlines: extensions and quotas of a person, and what a changed deadline does, told before."""

from typing import Any

import pytest

from deeptraffic.competition.config import to_time
from deeptraffic.competition.store import audit, board, competitions, deadlines, finals, grades, organise, submissions
from deeptraffic.competition.store.deadlines import Terms
from deeptraffic.competition.store.errors import RequestError

HOUR = 3_600_000


def test_an_extension_opens_a_closed_competition_to_one_person(any_lab: Any) -> None:
    lab = any_lab
    ana, bo = lab.member("Ana"), lab.member("Bo")
    now = lab.times[-1]
    lab.scored(bo, "b", 60.0)
    lab.change(closes_at=to_time(now + HOUR))
    deadlines.set_person(lab.db, 1, ana.id, "Eve", Terms(closes=now + 3 * HOUR))
    lab.times.append(now + 2 * HOUR)
    with pytest.raises(RequestError, match="closed"):
        lab.submit(bo, "late")
    lab.scored(ana, "a", 70.0)
    assert [row.name for row in board.read_board(lab.db, 1).rows] == ["Ana", "Bo"]
    assert [(one.name, one.late) for one in grades.read_grades(lab.db, 1)] == [("Ana", "extension"), ("Bo", "no")]
    lab.times.append(now + 3 * HOUR)
    with pytest.raises(RequestError, match=to_time(now + 3 * HOUR)):
        lab.submit(ana, "too late")
    entry = audit.entries(lab.db, 1, limit=1)[0]
    assert (entry.actor, entry.action, entry.subject) == ("Eve", "extension", "Ana")
    deadlines.set_person(lab.db, 1, ana.id, "Eve", Terms())  # taken back: what came by it is late
    assert [row.name for row in board.read_board(lab.db, 1).rows] == ["Bo"]


def test_limits_of_ones_own_come_before_the_common_ones(any_lab: Any) -> None:
    lab = any_lab
    lab.change(daily_limit=1)
    ana, bo, cy = (lab.member(name) for name in ("Ana", "Bo", "Cy"))
    deadlines.set_person(lab.db, 1, ana.id, "Eve", Terms(daily_limit=2))
    deadlines.set_person(lab.db, 1, cy.id, "Eve", Terms(total_limit=0))
    lab.submit(ana, "a1")
    lab.submit(ana, "a2")
    lab.submit(bo, "b1")
    for person, code in ((ana, "quota_day"), (bo, "quota_day"), (cy, "quota_total")):
        with pytest.raises(RequestError) as found:
            lab.submit(person, f"{person.name} more")
        assert found.value.code == code
    assert submissions.limits(lab.db, 1, ana.id) == {"day": 2, "total": 1000}
    for terms in (Terms(daily_limit=-1), Terms(total_limit=10**9)):
        with pytest.raises(RequestError, match="must be an integer"):
            deadlines.set_person(lab.db, 1, ana.id, "Eve", terms)


def test_an_earlier_deadline_is_previewed_as_it_then_happens_and_can_be_undone(any_lab: Any) -> None:
    lab = any_lab
    ana, bo, base = lab.member("Ana"), lab.member("Bo"), lab.times[-1]
    lab.scored(ana, "early", 60.0)
    organise.add_baseline(lab.db, 1, "Base", lab.upload("base"), "Eve")
    lab.work()
    lab.times.append(base + HOUR)
    better = lab.scored(ana, "better", 70.0)
    lab.scored(bo, "only", 65.0)
    submissions.choose(lab.db, 1, ana.id, better.key)
    before = board.read_board(lab.db, 1)
    change = deadlines.preview(lab.db, 1, base + HOUR)  # at that very moment: late
    assert [(one.name, one.label, one.late, one.chosen) for one in change.entries] == [
        ("Ana", "better", True, True),
        ("Bo", "only", True, False),
    ]
    assert [(one.name, one.rank_before, one.rank_after, one.score_before, one.score_after) for one in change.ranks] == [
        ("Ana", 1, 1, 70.0, 60.0),
        ("Bo", 2, None, 65.0, None),
    ]
    assert (change.phase_before, change.phase_after) == ("open", "closed")
    assert board.read_board(lab.db, 1) == before
    lab.change(closes_at=to_time(base + HOUR))
    after = board.read_board(lab.db, 1)
    assert [(row.name, row.rank, row.score) for row in after.rows] == [("Ana", 1, 60.0), ("Base", None, 60.0)]
    assert [one.label for one in finals.preview(lab.db, 1).entries] == ["early", "base"]
    assert [(one.name, one.late_entries) for one in grades.read_grades(lab.db, 1)] == [("Ana", 1), ("Bo", 1)]
    back = deadlines.preview(lab.db, 1, None)
    assert [(one.name, one.late) for one in back.entries] == [("Ana", False), ("Bo", False)]
    assert [(one.name, one.rank_after) for one in back.ranks] == [("Ana", 1), ("Bo", 2)]
    lab.change(closes_at="")
    assert board.read_board(lab.db, 1).rows == before.rows


def test_a_deadline_that_moves_no_entry_changes_nothing(lab: Any) -> None:
    lab.scored(lab.member("Ana"), "a", 60.0)
    change = deadlines.preview(lab.db, 1, lab.times[-1] + 1)
    assert (change.entries, change.ranks, change.phase_after) == ([], [], "open")


def test_deadlines_are_fixed_once_the_final_has_begun(lab: Any) -> None:
    ana = lab.member("Ana")
    lab.scored(ana, "a", 60.0)
    finals.begin(lab.db, 1, "Eve")
    with pytest.raises(RequestError, match="final"):
        deadlines.set_person(lab.db, 1, ana.id, "Eve", Terms(closes=1))
    with pytest.raises(RequestError, match="final"):
        competitions.change_config(lab.db, 1, {"closes_at": "2030-01-01"}, "Eve")
