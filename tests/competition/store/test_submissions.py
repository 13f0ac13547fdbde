"""Accepting: the store, the quota and the queue in one transaction, and every reason to refuse."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deeptraffic.competition.config import to_time
from deeptraffic.competition.store import (
    accounts,
    audit,
    competitions,
    evaluations,
    finals,
    organise,
    queue,
    submissions,
)
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.sim.rules import Sensor

DAY = 86_400_000
WIDE = Sensor(4, 50, 10)  # shows more than the contest's sensor


def refusal(call: Any, *arguments: Any, **named: Any) -> RequestError:
    with pytest.raises(RequestError) as found:
        call(*arguments, **named)
    return found.value


def test_an_accepted_submission_is_stored_counted_and_queued(any_lab: Any) -> None:
    ana = any_lab.member("Ana")
    made = any_lab.submit(ana, "one")
    assert (made.state, made.place, made.counted, made.filename) == ("waiting", 1, True, "one.safetensors")
    assert submissions.content_of(any_lab.db, made.id) == b"one"
    assert submissions.quota(any_lab.db, any_lab.competition.id, ana.id) == {"day": 1, "total": 1, "waiting": 1}
    assert queue.counts(any_lab.db) == {"validation queued": 1}


def test_it_moves_from_waiting_to_its_score(any_lab: Any) -> None:
    made = any_lab.submit(any_lab.member("Ana"), "one")
    states = []
    for _ in range(2):
        job = queue.lease(any_lab.db, "test")
        states.append(submissions.get_submission(any_lab.db, made.id).state)
        queue.renew(any_lab.db, job, 5, 500)
        assert submissions.get_submission(any_lab.db, made.id).job.done == 5
        evaluations.complete(any_lab.db, job, any_lab.score(job), b"decisions")
        states.append(submissions.get_submission(any_lab.db, made.id).state)
    assert states == ["validating", "validated", "running", "scored"]
    found = submissions.get_submission(any_lab.db, made.id)
    assert (found.validation.score, found.score, found.job.done, found.job.total, found.best) == (
        60.0,
        60.0,
        20,
        20,
        True,
    )
    result = submissions.find_scored(any_lab.db, made.key).result
    assert result.decisions == b"decisions" and result.unrounded_mean == pytest.approx(60.001)
    assert result.run_scores.tolist() == [60.0] * 20 and result.run_passed[-1] == 19


def test_twenty_uploads_at_once_at_quota_minus_one_let_one_in(any_lab: Any) -> None:
    lab = any_lab
    lab.change(daily_limit=3, waiting_limit=100)
    ana = lab.member("Ana")
    for name in ("a", "b"):
        lab.submit(ana, name)

    def upload(number: int) -> str:
        try:
            lab.submit(ana, f"parallel {number}")
        except RequestError as refused:
            return refused.code
        return "accepted"

    with ThreadPoolExecutor(20) as pool:
        answers = sorted(pool.map(upload, range(20)))
    assert answers == ["accepted"] + ["quota_day"] * 19
    assert submissions.history(lab.db, lab.competition.id, ana.id)[1] == 3


def test_quotas_of_a_day_end_with_the_day_and_the_total_stays(lab: Any) -> None:
    lab.change(daily_limit=2, total_limit=3, waiting_limit=100)
    ana, bo = lab.member("Ana"), lab.member("Bo")
    lab.submit(ana, "a")
    lab.submit(ana, "b")
    refused = refusal(lab.submit, ana, "c")
    assert refused.code == "quota_day" and to_time(lab.times[-1] - lab.times[-1] % DAY + DAY) in refused.message
    lab.submit(bo, "c")
    lab.times.append(lab.times[-1] + DAY)
    lab.submit(ana, "c")
    assert refusal(lab.submit, ana, "d").code == "quota_total"


def test_processor_time_of_a_day_is_limited_for_scored_and_refused_evaluations(any_lab: Any) -> None:
    lab = any_lab
    lab.change(daily_cpu=100)
    ana, bo = lab.member("Ana"), lab.member("Bo")
    for name in ("a", "b", "c"):
        lab.submit(ana, name)
        job = queue.lease(lab.db, "test")
        evaluations.refuse(lab.db, job, "time", "too slow", cpu_seconds=49.0)
    refused = refusal(lab.submit, ana, "d")
    assert refused.code == "quota_cpu" and "today's 100 s of processor time" in refused.message
    assert to_time(lab.times[-1] - lab.times[-1] % DAY + DAY) in refused.message
    lab.submit(bo, "d")
    lab.times.append(lab.times[-1] + DAY)
    lab.submit(ana, "d")


def test_a_clock_set_back_gives_nobody_a_second_quota(lab: Any) -> None:
    lab.change(daily_limit=1)
    ana = lab.member("Ana")
    lab.submit(ana, "a")
    lab.times.append(lab.times[-1] - 3_600_000)
    assert refusal(lab.submit, ana, "b").code == "quota_day"


def test_only_so_many_wait_at_a_time(lab: Any) -> None:
    lab.change(waiting_limit=1)
    ana = lab.member("Ana")
    lab.submit(ana, "a")
    assert refusal(lab.submit, ana, "b").code == "waiting"
    lab.work()
    lab.submit(ana, "b")


def test_dates_hold_to_the_millisecond(lab: Any) -> None:
    opens, closes = lab.times[-1] + 1000, lab.times[-1] + 2000
    lab.change(opens_at=to_time(opens), closes_at=to_time(closes))
    ana = lab.member("Ana")
    answers = {}
    for moment in (opens - 1, opens, closes - 1, closes, closes + 1):
        lab.times.append(moment)
        try:
            lab.submit(ana, f"at {moment}")
            answers[moment] = "accepted"
        except RequestError as refused:
            answers[moment] = refused.code
    assert list(answers.values()) == ["not_open", "accepted", "accepted", "closed", "closed"]


@pytest.mark.parametrize(
    ("settings", "changes", "code"),
    [
        ({}, {"rules": 2017}, "rules"),
        ({"other_agents": [0, 3]}, {"other_agents": 2}, "other_agents"),
        ({"parameter_cap": 999}, {}, "parameters"),
        ({}, {"sensor": WIDE}, "observation"),
    ],
)
def test_settings_bind_every_file(lab: Any, settings: Any, changes: Any, code: str) -> None:
    lab.change(**settings)
    ana = lab.member("Ana")
    assert refusal(lab.submit, ana, "a", **changes).code == code
    assert submissions.quota(lab.db, lab.competition.id, ana.id)["total"] == 0


def test_an_open_competition_takes_every_policy_file(lab: Any) -> None:
    lab.change(access="open")
    lab.submit(lab.member("Ana"), "a", sensor=WIDE)


def test_who_may_not_submit_is_told_why(lab: Any) -> None:
    ana, bo = lab.member("Ana"), lab.member("Bo")
    other = competitions.create(lab.db, "other", lab.competition.config, "test")
    assert refusal(submissions.accept, lab.db, other.id, ana.id, lab.upload("a")).code == "member"
    accounts.block(lab.db, ana.id, "test", "left")
    assert refusal(lab.submit, ana, "a").code == "blocked"
    organise.disqualify_member(lab.db, lab.competition.id, bo.id, "test", "shared an account")
    refused = refusal(lab.submit, bo, "a")
    assert refused.code == "disqualified" and "shared an account" in refused.message


def test_pause_and_final_stop_submissions(lab: Any) -> None:
    ana = lab.member("Ana")
    competitions.pause(lab.db, lab.competition.id, "test", "Lunch.")
    assert "Lunch." in refusal(lab.submit, ana, "a").message
    competitions.resume(lab.db, lab.competition.id, "test")
    finals.begin(lab.db, lab.competition.id, "test")
    assert refusal(lab.submit, ana, "a").code == "final"


def test_the_same_file_again_is_pointed_to_the_first(lab: Any) -> None:
    ana, bo = lab.member("Ana"), lab.member("Bo")
    first = lab.submit(ana, "a")
    refused = refusal(lab.submit, ana, "a")
    assert (refused.code, refused.subject) == ("duplicate", first.key)
    assert lab.submit(bo, "a").sha256 == first.sha256


def test_a_chosen_submission_is_ones_own_and_has_a_score(lab: Any) -> None:
    ana, bo = lab.member("Ana"), lab.member("Bo")
    good, worse = lab.scored(ana, "good", 70.0), lab.scored(ana, "worse", 60.0)
    others, waiting = lab.scored(bo, "other", 50.0), lab.submit(ana, "waiting")
    choose = submissions.choose
    for key in (waiting.key, others.key, "no such"):
        assert refusal(choose, lab.db, lab.competition.id, ana.id, key).code == "choice"
    choose(lab.db, lab.competition.id, ana.id, worse.key)
    assert submissions.get_submission(lab.db, worse.id).chosen
    assert submissions.get_submission(lab.db, good.id).best
    choose(lab.db, lab.competition.id, ana.id, None)
    assert not submissions.get_submission(lab.db, worse.id).chosen


def test_history_is_newest_first_and_by_pages(lab: Any) -> None:
    lab.change(waiting_limit=100, daily_limit=100)
    ana, bo = lab.member("Ana"), lab.member("Bo")
    for number in range(5):
        lab.submit(ana, f"a{number}")
    lab.submit(bo, "b")
    page, total = submissions.history(lab.db, lab.competition.id, ana.id, limit=2, offset=1)
    assert ([found.label for found in page], total) == (["a3", "a2"], 5)
    assert submissions.history(lab.db, lab.competition.id)[1] == 6
    assert submissions.find_submission(lab.db, page[0].key) == page[0]
    assert submissions.find_submission(lab.db, "' OR 1=1 --") is None


def test_the_same_network_of_two_people_is_told_to_the_organiser_alone(any_lab: Any) -> None:
    lab = any_lab
    ana, bo = lab.member("Ana"), lab.member("Bo")
    first = lab.submit(ana, "a", network="n" * 64)
    lab.submit(ana, "other", network="m" * 64)
    copied = lab.submit(bo, "b", network="n" * 64)
    [group] = submissions.same_networks(lab.db, lab.competition.id)
    assert [(one.key, one.owner.name) for one in group] == [(first.key, "Ana"), (copied.key, "Bo")]
    [entry] = [entry for entry in audit.entries(lab.db) if entry.action == "same network"]
    assert (entry.subject, entry.details["kind"], entry.details["earlier"]) == (copied.key, "two people", first.key)
    lab.submit(ana, "relabelled", network="n" * 64)
    assert audit.entries(lab.db, limit=1)[0].details["kind"] == "relabelled"


def test_the_checks_of_uploads_count_in_the_processor_time_of_a_day(any_lab: Any) -> None:
    lab = any_lab
    ana, bo = lab.member("Ana"), lab.member("Bo")
    lab.change(daily_cpu=10)
    for seconds in (4.0, 5.5):
        submissions.charge(lab.db, lab.competition.id, ana.id, seconds)
    submissions.check_early(lab.db, lab.competition, ana.id)
    submissions.charge(lab.db, lab.competition.id, ana.id, 1.0)
    assert submissions.cpu_seconds_today(lab.db, lab.competition.id, ana.id) == 10.5
    for act in (lambda: submissions.check_early(lab.db, lab.competition, ana.id), lambda: lab.submit(ana, "a")):
        with pytest.raises(RequestError) as found:
            act()
        assert found.value.code == "quota_cpu"
    lab.submit(bo, "b")
    lab.times.append(lab.times[-1] + 86_400_000)
    lab.submit(ana, "a")
