"""The organiser's judgements: what they take out of the queue and off the board, and that all are written down."""

from typing import Any

import pytest

from deeptraffic.competition.store import audit, competitions, evaluations, organise, queue, submissions
from deeptraffic.competition.store.errors import LeaseLost, RequestError


def acts(lab: Any) -> list[tuple[str, str]]:
    return [(entry.actor, entry.action) for entry in audit.entries(lab.db, lab.competition.id)]


def test_a_disqualified_submission_leaves_queue_and_worker_and_may_come_back(any_lab: Any) -> None:
    lab = any_lab
    lab.change(waiting_limit=1)
    ana = lab.member("Ana")
    made = lab.submit(ana, "a")
    job = queue.lease(lab.db, "test")
    organise.disqualify(lab.db, made.key, "Eve", "copied from Bo")
    with pytest.raises(LeaseLost):
        evaluations.complete(lab.db, job, lab.score(job))
    found = submissions.get_submission(lab.db, made.id)
    assert (found.disqualified_reason, found.state) == ("copied from Bo", "waiting")
    assert lab.work() == []
    lab.submit(ana, "b")  # it no longer counts as waiting
    organise.requalify(lab.db, made.key, "Eve", "a mistake")
    lab.work()
    found = submissions.get_submission(lab.db, made.id)
    assert (found.state, found.disqualified_reason) == ("scored", None)
    assert acts(lab)[:2] == [("Eve", "requalify"), ("Eve", "disqualify")]


def test_a_disqualified_member_takes_all_jobs_along(lab: Any) -> None:
    ana, bo = lab.member("Ana"), lab.member("Bo")
    for name in ("a", "b"):
        lab.submit(ana, name)
    lab.submit(bo, "c")
    organise.disqualify_member(lab.db, lab.competition.id, ana.id, "Eve", "shared an account")
    assert lab.work() == ["validation", "official"]
    organise.requalify_member(lab.db, lab.competition.id, ana.id, "Eve")
    assert sorted(lab.work()) == ["official", "official", "validation", "validation"]


def test_a_disqualified_choice_gives_way_to_the_best(lab: Any) -> None:
    ana = lab.member("Ana")
    lab.scored(ana, "good", 70.0)
    worse = lab.scored(ana, "worse", 60.0)
    submissions.choose(lab.db, lab.competition.id, ana.id, worse.key)
    organise.disqualify(lab.db, worse.key, "Eve", "copied")
    assert not submissions.get_submission(lab.db, worse.id).chosen


def test_a_reason_is_needed_and_somebody_to_judge(lab: Any) -> None:
    made = lab.submit(lab.member("Ana"), "a")
    for key, reason, code in ((made.key, "  ", "reason"), ("no such", "because", "missing")):
        with pytest.raises(RequestError) as found:
            organise.disqualify(lab.db, key, "Eve", reason)
        assert found.value.code == code
    with pytest.raises(RequestError, match="not a member"):
        organise.disqualify_member(lab.db, lab.competition.id, 999, "Eve", "because")


def test_a_baseline_needs_no_dates_and_no_quota(lab: Any) -> None:
    lab.change(daily_limit=1, closes_at="2001-01-01T00:00:00Z")
    for name in ("one", "two"):
        organise.add_baseline(lab.db, lab.competition.id, f"Baseline {name}", lab.upload(name), "Eve")
    assert len(lab.work()) == 4
    with pytest.raises(RequestError, match="2017"):
        organise.add_baseline(lab.db, lab.competition.id, "Old", lab.upload("old", rules=2017), "Eve")


def test_every_act_is_in_the_log_by_pages(lab: Any) -> None:
    competitions.pause(lab.db, lab.competition.id, "Eve", "lunch")
    competitions.resume(lab.db, lab.competition.id, "Eve")
    lab.change(daily_limit=3)
    log = audit.entries(lab.db, lab.competition.id)
    assert [entry.action for entry in log] == ["change", "resume", "pause", "create"]
    assert log[0].details == {"daily_limit": 3} and log[2].details == {"reason": "lunch"}
    assert audit.entries(lab.db, lab.competition.id, limit=2, before=log[1].id) == log[2:]


def test_rules_are_fixed_and_impossible_settings_refused(lab: Any) -> None:
    with pytest.raises(RequestError, match="rules cannot change"):
        lab.change(rules=2017, other_agents=[0])
    with pytest.raises(ValueError, match="daily_limit must be .* got 0"):
        lab.change(daily_limit=0)
    for key, code in (("Lab!", "key"), ("lab", "key_taken")):
        with pytest.raises(RequestError) as found:
            competitions.create(lab.db, key, lab.competition.config, "Eve")
        assert found.value.code == code
