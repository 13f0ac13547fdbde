"""Reports about jobs: results, refusals, and three tries before a platform failure that costs no quota."""

from dataclasses import replace
from typing import Any

from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.competition.store import competitions, evaluations, queue, submissions


def fail_once(lab: Any) -> bool:
    job = queue.lease(lab.db, "test")
    if job is None:
        return False
    evaluations.retry(lab.db, job, "the disk burned")
    lab.times.append(lab.times[-1] + 3 * evaluations.BACKOFF)
    return True


def test_three_platform_errors_are_a_failure_that_the_quota_does_not_count(any_lab: Any) -> None:
    ana = any_lab.member("Ana")
    made = any_lab.submit(ana, "a")
    assert [fail_once(any_lab) for _ in range(4)] == [True, True, True, False]
    found = submissions.get_submission(any_lab.db, made.id)
    assert (found.state, found.code, found.counted, found.job.tries) == ("failed", "platform", False, 3)
    assert "quota" in found.reason and "disk" not in found.reason
    assert submissions.quota(any_lab.db, any_lab.competition.id, ana.id) == {"day": 0, "total": 0, "waiting": 0}
    again = any_lab.submit(ana, "a")  # the same file may come again
    any_lab.work()
    assert submissions.get_submission(any_lab.db, again.id).state == "scored"


def test_workers_that_fall_silent_three_times_count_as_three_tries(lab: Any) -> None:
    made = lab.submit(lab.member("Ana"), "a")
    for _ in range(3):
        while queue.lease(lab.db, "test") is None:
            lab.times.append(lab.times[-1] + 1000)
        lab.times.append(lab.times[-1] + queue.LEASE)
    assert queue.lease(lab.db, "test") is None
    assert submissions.get_submission(lab.db, made.id).state == "failed"


def test_a_fault_of_the_submission_is_told_and_counts(lab: Any) -> None:
    ana = lab.member("Ana")
    made = lab.submit(ana, "a")
    evaluations.refuse(lab.db, queue.lease(lab.db, "test"), "time", "it took too long; make it smaller")
    found = submissions.get_submission(lab.db, made.id)
    assert (found.state, found.code, found.reason) == ("refused", "time", "it took too long; make it smaller")
    assert submissions.quota(lab.db, lab.competition.id, ana.id) == {"day": 1, "total": 1, "waiting": 0}
    assert lab.work() == []


def test_a_job_handed_back_costs_no_try(lab: Any) -> None:
    made = lab.submit(lab.member("Ana"), "a")
    for _ in range(5):
        evaluations.release(lab.db, queue.lease(lab.db, "test"))
        assert submissions.get_submission(lab.db, made.id).state == "waiting"
    assert queue.lease(lab.db, "test").tries == 1


def test_a_failed_try_waits_a_little_before_the_next(lab: Any) -> None:
    lab.submit(lab.member("Ana"), "a")
    evaluations.retry(lab.db, queue.lease(lab.db, "test"), "once")
    assert queue.lease(lab.db, "test") is None
    lab.times.append(lab.times[-1] + evaluations.BACKOFF)
    assert queue.lease(lab.db, "test").tries == 2


def validate(lab: Any, cpu_seconds: float) -> None:
    job = queue.lease(lab.db, "test", "validation")
    evaluations.complete(lab.db, job, lab.score(job), cpu_seconds=cpu_seconds)


def test_what_would_take_too_long_is_refused_with_the_reason(any_lab: Any) -> None:
    ana = any_lab.member("Ana")
    slow, quick = any_lab.submit(ana, "slow"), any_lab.submit(ana, "quick")
    validate(any_lab, 4.81)  # 20 of 500 runs: 120.25 s in all
    validate(any_lab, 4.79)
    found = submissions.get_submission(any_lab.db, slow.id)
    assert (found.state, found.code, found.job.state) == ("refused", "time", "refused")
    assert "about 120 s of processor time; at most 120 s" in found.reason
    assert submissions.get_submission(any_lab.db, quick.id).state == "validated"


def test_a_final_of_many_runs_leaves_less_time_for_each(lab: Any) -> None:
    config = replace(lab.competition.config, final_runs=10_000)
    assert evaluations.cpu_budget(config) == 30.0  # of 500 runs: 600 s for 10,000
    assert evaluations.cpu_budget(lab.competition.config) == 120.0


def test_another_competitions_validation_does_not_pass_a_smaller_budget(lab: Any) -> None:
    ana = lab.member("Ana")
    lab.change(cpu_budget=600)
    lab.submit(ana, "slow")
    validate(lab, 10.0)
    lab.work()
    second = competitions.create(lab.db, "second", CompetitionConfig(final_runs=10), "test")
    with lab.db.write() as session:
        competitions.join(session, lab.db, second.id, ana.id)
    made = submissions.accept(lab.db, second.id, ana.id, lab.upload("slow"))
    lab.work()
    found = submissions.get_submission(lab.db, made.id)
    assert (found.state, found.code) == ("refused", "time") and "about 250 s" in found.reason
