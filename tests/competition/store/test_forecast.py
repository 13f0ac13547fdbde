"""Forecast of the queue: the wait that it predicts is the wait that comes, when evaluations take as long as before."""

from typing import Any

from deeptraffic.competition.store import evaluations, queue
from deeptraffic.competition.store.forecast import forecast
from deeptraffic.competition.store.submissions import get_submission

DURATIONS = {"validation": 2_000, "official": 10_000}  # [ms]


def play(lab: Any, workers: int) -> None:
    """Let workers do what waits, each evaluation in its duration, on the lab's clock."""
    running: list[Any] = []
    while True:
        while len(running) < workers and (job := queue.lease(lab.db, free_name(running), lease_ms=60_000)):
            running.append((lab.times[-1] + DURATIONS[job.kind], job, free_name(running)))
        if not running:
            return
        end, job, _ = found = min(running, key=lambda one: one[0])
        running.remove(found)
        lab.times.append(end)
        evaluations.complete(lab.db, job, lab.score(job))


def free_name(running: list[Any]) -> str:
    used = {name for *_, name in running}
    return next(name for name in ("one", "two", "three") if name not in used)


def test_the_predicted_wait_is_the_wait_that_comes(any_lab: Any) -> None:
    lab = any_lab
    for name in ("one", "two"):
        queue.report_worker(lab.db, name, "all", 0)
    people = [lab.member(name) for name in ("Ana", "Bo", "Cy", "Di", "Eve")]
    made = lab.submit(people[0], "first")
    with lab.db.read() as session:
        waiting = forecast(session, lab.db)
    assert [(one.place, one.wait) for one in waiting.values()] == [(1, None)]  # nothing has been measured
    play(lab, 2)
    later = [lab.submit(person, f"{person.name}'s") for person in people[1:]]
    predicted = {one.id: get_submission(lab.db, one.id).wait for one in later}
    start = lab.times[-1]
    for name in ("one", "two"):
        queue.report_worker(lab.db, name, "all", 0)
    play(lab, 2)
    assert {one.id: get_submission(lab.db, one.id).scored_at - start for one in later} == predicted
    assert get_submission(lab.db, made.id).wait is None


def test_a_worker_that_is_busy_is_free_later_and_one_that_is_gone_never(lab: Any) -> None:
    queue.report_worker(lab.db, "one", "all", 0)
    ana, bo = lab.member("Ana"), lab.member("Bo")
    lab.submit(ana, "first")
    play(lab, 1)
    queue.report_worker(lab.db, "one", "all", 0)
    lab.submit(ana, "second")
    queue.lease(lab.db, "one")
    lab.times.append(lab.times[-1] + 500)
    waits = get_submission(lab.db, lab.submit(bo, "third").id)
    assert (waits.place, waits.wait) == (1, 1_500 + 2_000 + 10_000)
    lab.times.append(lab.times[-1] + queue.WORKER_GONE + 1)
    assert get_submission(lab.db, waits.id).wait is None
