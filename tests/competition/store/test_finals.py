"""The final: the chosen submissions on private seeds, invisible until the organiser reveals them."""

from typing import Any

import pytest

from deeptraffic.competition.store import (
    audit,
    board,
    competitions,
    evaluations,
    finals,
    organise,
    queue,
    submissions,
)
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.evaluation.seeds import SEED_SETS


def code_of(call: Any, *arguments: Any) -> str:
    with pytest.raises(RequestError) as found:
        call(*arguments)
    return found.value.code


def crowd(lab: Any) -> tuple[Any, Any]:
    """Ana with a better and a worse submission, Bo with one between; the final turns scores round."""
    ana, bo = lab.member("Ana"), lab.member("Bo")
    lab.scored(ana, "better", 70.0)
    lab.scored(bo, "between", 65.0)
    return ana, lab.scored(ana, "worse", 60.0)


def final(lab: Any) -> list[tuple[int | None, str, float]]:
    return [(row.rank, row.label, row.score) for row in board.read_board(lab.db, lab.competition.id, final=True).rows]


def test_the_final_scores_choices_and_shows_nothing_before_it_is_revealed(any_lab: Any) -> None:
    lab = any_lab
    ana, worse = crowd(lab)
    submissions.choose(lab.db, lab.competition.id, ana.id, worse.key)
    assert finals.begin(lab.db, lab.competition.id, "test") == 2
    assert finals.preview(lab.db, lab.competition.id).queued == 2
    assert lab.work() == ["final", "final"]
    seen = finals.preview(lab.db, lab.competition.id)
    assert (seen.state, seen.done, seen.failed) == ("scored", 2, 0)
    assert final(lab) == []
    found = submissions.get_submission(lab.db, worse.id)
    assert (found.score, found.state, found.job.total) == (60.0, "scored", 20)
    assert submissions.find_scored(lab.db, worse.key).score == 60.0
    finals.reveal(lab.db, lab.competition.id, "test")
    assert final(lab) == [(1, "worse", 40.0), (2, "between", 35.0)]
    public = [row.label for row in board.read_board(lab.db, lab.competition.id).rows]
    assert public == ["better", "between"]


def test_private_seeds_are_many_secret_and_in_no_public_set(lab: Any) -> None:
    with lab.db.read() as session:
        seeds = competitions.seeds_of(session, lab.competition.id)
    assert len(set(seeds)) == 10
    assert not any(seed in public for seed in seeds for public in SEED_SETS.values())
    assert str(seeds[0]) not in repr(lab.competition) + repr(audit.entries(lab.db))
    other = competitions.create(lab.db, "other", lab.competition.config, "test")
    with lab.db.read() as session:
        assert not set(seeds) & set(competitions.seeds_of(session, other.id))


def test_only_jobs_of_the_final_carry_its_seeds_and_they_leave_no_drive(lab: Any) -> None:
    crowd(lab)
    finals.begin(lab.db, lab.competition.id, "test")
    job = queue.lease(lab.db, "test")
    assert job.kind == "final" and len(job.seeds) == 10 and str(job.seeds[0]) not in repr(job)
    assert job.protocol == evaluations.final_protocol(2018, 0, job.seeds)


def test_more_final_runs_draw_more_seeds_and_keep_the_first(lab: Any) -> None:
    with lab.db.read() as session:
        before = competitions.seeds_of(session, lab.competition.id)
    lab.change(final_runs=15)
    with lab.db.read() as session:
        after = competitions.seeds_of(session, lab.competition.id)
    assert after[:10] == before and len(set(after)) == 15


def test_it_begins_when_nothing_waits_and_only_once(lab: Any) -> None:
    ana = lab.member("Ana")
    lab.submit(ana, "waiting")
    assert code_of(finals.begin, lab.db, lab.competition.id, "test") == "unfinished"
    lab.work()
    finals.begin(lab.db, lab.competition.id, "test")
    assert code_of(finals.begin, lab.db, lab.competition.id, "test") == "final"
    assert code_of(finals.reveal, lab.db, lab.competition.id, "test") == "unfinished"
    assert code_of(submissions.choose, lab.db, lab.competition.id, ana.id, None) == "final"
    with pytest.raises(RequestError):
        lab.change(daily_limit=3)
    lab.work()
    finals.reveal(lab.db, lab.competition.id, "test")
    assert code_of(finals.reveal, lab.db, lab.competition.id, "test") == "unfinished"


def test_a_final_that_nobody_is_in_is_scored_at_once(lab: Any) -> None:
    assert finals.begin(lab.db, lab.competition.id, "test") == 0
    assert finals.reveal(lab.db, lab.competition.id, "test").final == "revealed"


def test_what_failed_by_our_fault_can_be_tried_again(lab: Any) -> None:
    crowd(lab)
    finals.begin(lab.db, lab.competition.id, "test")
    for _ in range(3):
        while (job := queue.lease(lab.db, "test")) is not None:
            evaluations.retry(lab.db, job, "no disk")
        lab.times.append(lab.times[-1] + 3 * evaluations.BACKOFF)
    assert finals.preview(lab.db, lab.competition.id).failed == 2
    assert finals.retry(lab.db, lab.competition.id, "test") == 2
    lab.work()
    seen = finals.preview(lab.db, lab.competition.id)
    assert (seen.state, seen.done, seen.failed) == ("scored", 2, 0)


def test_a_hidden_final_can_be_cancelled_and_workers_lose_it(lab: Any) -> None:
    ana, _ = crowd(lab)
    finals.begin(lab.db, lab.competition.id, "test")
    job = queue.lease(lab.db, "test")
    finals.cancel(lab.db, lab.competition.id, "test")
    with pytest.raises(RuntimeError):
        evaluations.complete(lab.db, job, lab.score(job))
    lab.scored(ana, "after", 71.0)
    finals.begin(lab.db, lab.competition.id, "test")
    lab.work()
    finals.reveal(lab.db, lab.competition.id, "test")
    assert len(final(lab)) == 2
    assert code_of(finals.cancel, lab.db, lab.competition.id, "test") == "final"


def test_who_is_disqualified_meanwhile_does_not_hold_up_the_final(lab: Any) -> None:
    crowd(lab)
    finals.begin(lab.db, lab.competition.id, "test")
    entries = finals.preview(lab.db, lab.competition.id).entries
    for entry in entries:
        organise.disqualify(lab.db, entry.submission_key, "test", "copied")
    assert finals.preview(lab.db, lab.competition.id).state == "scored"


def test_a_look_at_the_hidden_board_is_written_down(lab: Any) -> None:
    crowd(lab)
    finals.begin(lab.db, lab.competition.id, "test")
    lab.work()
    assert [row.label for row in finals.hidden_board(lab.db, lab.competition.id, "Eve").rows] == ["between", "better"]
    assert ("Eve", "preview final") in [(entry.actor, entry.action) for entry in audit.entries(lab.db)]
