"""The queue: fair order, leases that end, fences that hold, and one evaluation for one content."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deeptraffic.competition.store import evaluations, queue, submissions
from deeptraffic.competition.store.errors import LeaseLost


def taken(lab: Any, count: int) -> list[str]:
    """Labels of the submissions whose jobs are leased next, none of them finished."""
    found = []
    for _ in range(count):
        job = queue.lease(lab.db, "test")
        found.append(bytes(job.content).decode())
    return found


def test_nobody_is_kept_waiting_by_somebody_with_many(any_lab: Any) -> None:
    ana, bo = any_lab.member("Ana"), any_lab.member("Bo")
    for number in range(3):
        any_lab.submit(ana, f"a{number}")
    any_lab.submit(bo, "b0")
    assert taken(any_lab, 4) == ["a0", "b0", "a1", "a2"]


def test_who_had_few_jobs_lately_comes_first(lab: Any) -> None:
    ana, bo = lab.member("Ana"), lab.member("Bo")
    lab.scored(ana, "earlier", 60.0)
    lab.submit(ana, "a0")
    lab.submit(bo, "b0")
    assert taken(lab, 2) == ["b0", "a0"]


def test_a_job_that_runs_now_weighs_more_than_one_of_late(lab: Any) -> None:
    ana, bo = lab.member("Ana"), lab.member("Bo")
    lab.submit(ana, "long")
    lab.work("validation")
    long = queue.lease(lab.db, "test")
    lab.times.append(lab.times[-1] + queue.RECENT + 1)
    queue.renew(lab.db, long, 1, 500)
    lab.submit(bo, "late")
    lab.work("validation")
    lab.submit(ana, "a0")
    lab.submit(bo, "b0")
    assert taken(lab, 2) == ["b0", "a0"]


def test_a_second_job_waits_while_another_person_waits_for_a_first(any_lab: Any) -> None:
    ana, bo = any_lab.member("Ana"), any_lab.member("Bo")
    any_lab.submit(bo, "b0")
    any_lab.submit(ana, "a0")
    any_lab.work("validation")
    for number in (1, 2):
        any_lab.submit(ana, f"a{number}")  # validations, which go before official evaluations otherwise
    assert [queue.lease(any_lab.db, "test").kind for _ in range(2)] == ["validation", "official"]
    assert submissions.history(any_lab.db, any_lab.competition.id, bo.id)[0][0].state == "running"


def test_the_job_of_a_worker_that_died_goes_on_at_once(any_lab: Any) -> None:
    made = any_lab.submit(any_lab.member("Ana"), "a")
    queue.report_worker(any_lab.db, "host_1 123 abc", "all", 0)
    first = queue.lease(any_lab.db, "host_1 123 abc")
    queue.end_leases(any_lab.db, "host_1 12")  # other processes
    queue.end_leases(any_lab.db, "hostx1 123")
    assert queue.lease(any_lab.db, "other") is None
    queue.end_leases(any_lab.db, "host_1 123")
    assert queue.seen_workers(any_lab.db) == []
    second = queue.lease(any_lab.db, "other")
    assert (second.id, second.tries) == (first.id, 2)
    with pytest.raises(LeaseLost):
        evaluations.complete(any_lab.db, first, any_lab.score(first))
    any_lab.times.append(any_lab.times[-1] + 1)
    evaluations.complete(any_lab.db, second, any_lab.score(second))
    assert submissions.get_submission(any_lab.db, made.id).state == "validated"


def test_a_short_validation_goes_before_all_official_evaluations(lab: Any) -> None:
    ana, bo = lab.member("Ana"), lab.member("Bo")
    lab.submit(ana, "a0")
    lab.work("validation")
    lab.submit(bo, "b0")
    assert [queue.lease(lab.db, "test").kind for _ in range(2)] == ["validation", "official"]


def test_a_lane_takes_only_its_own_kinds(lab: Any) -> None:
    lab.submit(lab.member("Ana"), "a0")
    assert lab.work("validation") == ["validation"]
    assert not queue.is_waiting(lab.db, "validation") and queue.is_waiting(lab.db, "all")
    assert lab.work() == ["official"]
    assert not queue.is_waiting(lab.db, "all")


def test_places_say_the_order_in_which_jobs_are_taken(lab: Any) -> None:
    people = [lab.member(name) for name in ("Ana", "Bo", "Cy")]
    for number in range(3):
        for person in people[: 3 - number]:
            lab.submit(person, f"{person.name} {number}")
    found, _ = submissions.history(lab.db, lab.competition.id)
    expected = [made.label for made in sorted(found, key=lambda made: made.place)]
    assert taken(lab, 6) == expected


def test_two_workers_never_get_one_job(any_lab: Any) -> None:
    any_lab.change(waiting_limit=100, daily_limit=100)
    ana = any_lab.member("Ana")
    for number in range(12):
        any_lab.submit(ana, f"a{number}")
    with ThreadPoolExecutor(6) as pool:
        jobs = list(pool.map(lambda number: queue.lease(any_lab.db, f"worker {number}"), range(14)))
    ids = [job.id for job in jobs if job is not None]
    assert len(ids) == len(set(ids)) == 12


def test_a_lease_without_a_sign_of_life_ends_and_its_holder_is_too_late(any_lab: Any) -> None:
    any_lab.submit(any_lab.member("Ana"), "a")
    first = queue.lease(any_lab.db, "first")
    assert queue.lease(any_lab.db, "second") is None
    any_lab.times.append(any_lab.times[-1] + queue.LEASE)
    assert queue.is_waiting(any_lab.db, "all")
    second = queue.lease(any_lab.db, "second")
    assert (second.id, second.tries, second.fence) == (first.id, 2, 2)
    for late in (
        lambda: evaluations.complete(any_lab.db, first, any_lab.score(first)),
        lambda: evaluations.refuse(any_lab.db, first, "crash", "it crashed"),
        lambda: evaluations.retry(any_lab.db, first, "broken"),
        lambda: evaluations.release(any_lab.db, first),
        lambda: queue.renew(any_lab.db, first, 1, 2),
    ):
        with pytest.raises(LeaseLost):
            late()
    evaluations.complete(any_lab.db, second, any_lab.score(second))
    with pytest.raises(LeaseLost):
        evaluations.complete(any_lab.db, second, any_lab.score(second))


def test_a_sign_of_life_keeps_a_lease(lab: Any) -> None:
    lab.submit(lab.member("Ana"), "a")
    job = queue.lease(lab.db, "test")
    for _ in range(5):
        lab.times.append(lab.times[-1] + queue.LEASE - 1)
        queue.renew(lab.db, job, 1, 2)
    assert queue.lease(lab.db, "other") is None
    evaluations.complete(lab.db, job, lab.score(job))


@pytest.mark.parametrize("jump", [-86_400_000, -3_600_000, 3_600_000, 86_400_000])
def test_a_clock_that_jumps_loses_and_doubles_nothing(lab: Any, jump: int) -> None:
    ana = lab.member("Ana")
    made = lab.submit(ana, "a")
    gone = queue.lease(lab.db, "gone")
    lab.times.append(lab.times[-1] + jump)
    job = queue.lease(lab.db, "next")
    assert job.id == gone.id, "the job of a worker that is gone must not wait for the clock to come round"
    evaluations.complete(lab.db, job, lab.score(job))
    with pytest.raises(LeaseLost):
        evaluations.complete(lab.db, gone, lab.score(gone))
    lab.work()
    assert submissions.get_submission(lab.db, made.id).state == "scored"


def test_the_same_content_is_evaluated_once_and_scored_for_all(any_lab: Any) -> None:
    people = [any_lab.member(name) for name in ("Ana", "Bo", "Cy")]
    made = [any_lab.submit(person, "same") for person in people]
    first = queue.lease(any_lab.db, "one")
    assert queue.lease(any_lab.db, "two") is None, "twins wait for the one that is being evaluated"
    evaluations.complete(any_lab.db, first, any_lab.score(first))
    assert any_lab.work() == ["official"]
    found = [submissions.get_submission(any_lab.db, one.id) for one in made]
    assert [one.score for one in found] == [60.0] * 3
    assert len({one.result_id for one in found}) == 1


def test_another_number_of_other_agents_is_another_evaluation(lab: Any) -> None:
    lab.submit(lab.member("Ana"), "same")
    lab.submit(lab.member("Bo"), "same", other_agents=3)
    assert sorted(lab.work()) == ["official", "official", "validation", "validation"]
