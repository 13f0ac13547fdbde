"""Worker: what it reports for each outcome of an evaluation, and when it stops."""

import os
import threading
import time
from typing import Any

import pytest

from deeptraffic.competition.sandbox.errors import InvalidSubmission, PlatformError
from deeptraffic.competition.store import evaluations, queue, submissions
from deeptraffic.competition.store.errors import LeaseLost
from deeptraffic.competition.store.evaluations import Evaluated
from deeptraffic.competition.worker import Pace, Worker


def worker_of(lab: Any, evaluate: Any, **named: Any) -> Worker:
    return Worker(lab.db, named.pop("lane", "all"), evaluate, **named)


def good(lab: Any) -> Any:
    return lambda job, progress: Evaluated(lab.score(job), b"decisions")


def test_it_takes_a_submission_to_its_score(lab: Any) -> None:
    made = lab.submit(lab.member("Ana"), "a")
    worker = worker_of(lab, good(lab))
    assert [worker.step() for _ in range(3)] == [True, True, False]
    assert submissions.get_submission(lab.db, made.id).score == 60.0


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (InvalidSubmission("memory", "too large"), "refused", "memory"),
        (PlatformError("no process"), "waiting", None),
        (ValueError("a bug of ours"), "waiting", None),
        (MemoryError(), "waiting", None),
    ],
)
def test_only_a_submissions_own_error_refuses_it(lab: Any, error: Exception, state: str, code: str | None) -> None:
    made = lab.submit(lab.member("Ana"), "a")

    def evaluate(job: Any, progress: Any) -> Any:
        raise error

    worker_of(lab, evaluate).step()
    found = submissions.get_submission(lab.db, made.id)
    assert (found.state, found.code, found.counted) == (state, code, True)


def test_heartbeats_renew_the_lease_and_report_progress(lab: Any) -> None:
    made = lab.submit(lab.member("Ana"), "a")
    seen: list[int] = []

    def evaluate(job: Any, progress: Any) -> Any:
        for done in (1, 2):
            lab.times.append(lab.times[-1] + queue.LEASE - 1)
            progress(done, 20)
            while submissions.get_submission(lab.db, made.id).job.done != done:
                time.sleep(0.005)
            seen.append(done)
        return Evaluated(lab.score(job))

    worker_of(lab, evaluate, pace=Pace(beat=0.005)).step()
    assert seen == [1, 2] and submissions.get_submission(lab.db, made.id).state == "validated"


def test_a_job_that_is_another_workers_is_dropped(lab: Any) -> None:
    made = lab.submit(lab.member("Ana"), "a")
    taken: list[Any] = []

    def evaluate(job: Any, progress: Any) -> Any:
        lab.times.append(lab.times[-1] + queue.LEASE)
        taken.append(queue.lease(lab.db, "other"))
        for _ in range(6000):
            try:
                progress(1, 20)  # raises once a heartbeat has noticed
            except LeaseLost:
                ended.append(job)
                raise
            time.sleep(0.005)

    ended: list[Any] = []
    worker_of(lab, evaluate, pace=Pace(beat=0.005)).step()
    assert len(ended) == 1, "it went on with a job that it had lost"
    evaluations.complete(lab.db, taken[0], lab.score(taken[0]))
    assert submissions.get_submission(lab.db, made.id).state == "validated"


def test_asked_to_stop_it_hands_the_job_back(lab: Any) -> None:
    made = lab.submit(lab.member("Ana"), "a")

    def evaluate(job: Any, progress: Any) -> Any:
        worker.stop()
        progress(1, 20)

    worker = worker_of(lab, evaluate)
    worker.run()
    found = submissions.get_submission(lab.db, made.id)
    assert (found.state, found.job.tries, queue.seen_workers(lab.db)) == ("waiting", 0, [])


def test_it_stops_with_its_parent(lab: Any) -> None:
    worker = worker_of(lab, good(lab), parent=os.getpid())  # which is not this process's parent
    worker.run()
    assert worker.stopping


def test_it_works_on_until_it_is_stopped_and_shows_itself(lab: Any) -> None:
    made = lab.submit(lab.member("Ana"), "a")
    worker = worker_of(lab, good(lab), pace=Pace(poll=0.01))
    thread = threading.Thread(target=worker.run)
    thread.start()
    while submissions.get_submission(lab.db, made.id).state != "scored":
        time.sleep(0.01)
    assert [seen.name for seen in queue.seen_workers(lab.db)] == [worker.name]
    worker.stop()
    thread.join()


def test_there_are_only_so_many_lanes(lab: Any) -> None:
    with pytest.raises(ValueError, match="must be one of all, validation"):
        worker_of(lab, good(lab), lane="fast")
