"""Evaluation worker: takes jobs from the queue, one at a time, until it is asked to stop.

    python -m deeptraffic.competition.worker       # as the supervisor starts it; people run `deeptraffic worker`

It may die at any time: its lease expires, and another worker takes the job. A thread sends heartbeats that renew the
lease, up to a time limit, so that a job that hangs does not keep it forever.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

from deeptraffic.competition.models import new_key
from deeptraffic.competition.sandbox.errors import InvalidSubmission
from deeptraffic.competition.store import evaluations, queue
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import LeaseLost, Unavailable
from deeptraffic.competition.store.evaluations import Evaluated, Job
from deeptraffic.run_dir import SIGNALS, Interrupted

Evaluate = Callable[[Job, Callable[[int, int], None]], Evaluated]

DATABASE, LANE, PARENT = "DEEPTRAFFIC_DATABASE_URL", "DEEPTRAFFIC_LANE", "DEEPTRAFFIC_PARENT"  # environment variables
HUNG = 70  # exit status of a worker whose job hangs

log = logging.getLogger("deeptraffic.worker")


@dataclass(frozen=True)
class Pace:
    """Intervals and time limits of a worker [s].

    poll: between polls of the queue; beat: between heartbeats, which renew the lease; lease: until it expires without
    report: between reports that the worker is alive; job: of one job, above the sandbox's own limits
    """

    poll: float = 0.4
    beat: float = 1.0
    lease: float = queue.LEASE / 1000
    report: float = 10.0
    job: float = 2400.0


class Worker:
    """Takes jobs of a lane of the queue.

    evaluate: returns the outcome of a job
    parent: the process that started it; the worker stops when that ends; None for a standalone worker
    """

    def __init__(
        self, db: Database, lane: str, evaluate: Evaluate, parent: int | None = None, pace: Pace | None = None
    ) -> None:
        if lane not in queue.LANES:
            raise ValueError(f"lane must be one of {', '.join(queue.LANES)}, got {lane!r}")
        self.db, self.lane, self.evaluate, self.parent, self.pace = db, lane, evaluate, parent, pace or Pace()
        self.name = f"{process_name(os.getpid())} {new_key()[:6]}"
        self.jobs, self._reported = 0, 0.0
        self._stop = threading.Event()

    def stop(self, *_: int | FrameType | None) -> None:
        """Ask it to stop soon: its present job goes back to the queue. Also a signal handler."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether it should stop: it was asked to, or its parent ended."""
        if self.parent is not None and os.getppid() != self.parent:
            self._stop.set()
        return self._stop.is_set()

    def run(self) -> None:
        """Work until asked to stop."""
        log.info("worker %s takes jobs of lane %s", self.name, self.lane)
        while not self.stopping:
            try:
                self._report()
                if not self.step():
                    self._stop.wait(self.pace.poll)
            except Unavailable as error:
                log.warning("%s", error)
                self._stop.wait(5 * self.pace.poll)
        with suppress(Unavailable):
            queue.remove_worker(self.db, self.name)

    def step(self) -> bool:
        """Do one job if there is one; return whether there was."""
        if not queue.is_waiting(self.db, self.lane):
            return False
        job = queue.lease(self.db, self.name, self.lane, round(1000 * self.pace.lease))
        if job is not None:
            self._work(job)
            self.jobs += 1
        return job is not None

    def _work(self, job: Job) -> None:
        started = time.monotonic()
        try:
            with Heartbeat(self, job) as heartbeat:
                report = self._evaluate(job, heartbeat)
                self._deliver(job, report)
            log.info("job %d, %s of %.12s: %.1f s", job.id, job.kind, job.sha256, time.monotonic() - started)
        except LeaseLost as error:
            log.warning("job %d: %s", job.id, error)

    def _evaluate(self, job: Job, heartbeat: "Heartbeat") -> Callable[[], None]:
        """Evaluate a job; return the call that reports the outcome to the store."""
        try:
            evaluated = self.evaluate(job, heartbeat.progress)
        except InvalidSubmission as error:
            code, message, used = error.code, str(error), error.cpu_seconds
            return lambda: evaluations.refuse(self.db, job, code, message, used)
        except Interrupted:
            return lambda: evaluations.release(self.db, job)
        except LeaseLost:
            raise
        except Exception as error:  # not an error of the submission
            log.exception("job %d", job.id)
            reason = f"{type(error).__name__}: {error}"[:500]
            return lambda: evaluations.retry(self.db, job, reason)
        return lambda: evaluations.complete(self.db, job, *evaluated)

    def _deliver(self, job: Job, report: Callable[[], None]) -> None:
        """Report to the store, again and again while it is unavailable: the disk may be full for a while."""
        while True:
            try:
                return report()
            except Unavailable as error:
                log.warning("job %d: its result waits: %s", job.id, error)
                if self.stopping:
                    raise LeaseLost("its result could not be stored") from error
                time.sleep(1.0)

    def _report(self) -> None:
        if time.monotonic() - self._reported > self.pace.report or not self._reported:
            queue.report_worker(self.db, self.name, self.lane, self.jobs)
            self._reported = time.monotonic()


def process_name(pid: int) -> str:
    """Return the name of a process of this machine, with which its worker's name begins."""
    return f"{socket.gethostname()[:60]} {pid}"


class Heartbeat:
    """Renews a job's lease from a thread; its `progress` ends an evaluation whose result is not wanted any more."""

    def __init__(self, worker: Worker, job: Job) -> None:
        self.worker, self.job = worker, job
        self.done, self.total, self.lost = 0, 0, False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def progress(self, done: int, total: int) -> None:
        """Note how many runs are done; raise LeaseLost or Interrupted if the evaluation should end."""
        self.done, self.total = done, total
        if self.lost:
            raise LeaseLost(evaluations.LATE)
        if self.worker.stopping:
            raise Interrupted("the worker is asked to stop")

    def _beat(self) -> None:
        pace = self.worker.pace
        end = time.monotonic() + pace.job
        while not self._over.wait(pace.beat):
            if time.monotonic() > end:
                log.error("job %d hangs; the worker ends", self.job.id)
                os._exit(HUNG)
            try:
                queue.renew(self.worker.db, self.job, self.done, self.total, round(1000 * pace.lease))
                self.worker._report()
            except LeaseLost:
                self.lost = True
                return
            except Unavailable as error:
                log.warning("job %d: %s", self.job.id, error)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def work(url: str, lane: str, parent: int | None = None) -> None:
    """Run a worker in this process until SIGTERM or Ctrl-C."""
    from deeptraffic.competition.evaluation import evaluate_job, warm_up

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    worker = Worker(Database(url), lane, evaluate_job, parent)
    for number in SIGNALS:
        signal.signal(number, worker.stop)
    warm_up()
    worker.run()


if __name__ == "__main__":
    work(os.environ[DATABASE], os.environ[LANE], int(os.environ[PARENT]))
