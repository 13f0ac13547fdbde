"""An evaluation worker: takes jobs from the queue, one at a time, until it is told to stop.

    python -m deeptraffic.competition.worker       # as the supervisor starts it; people write `deeptraffic worker`

It may die at any instant: its lease ends, and another worker takes the job. It keeps the lease alive from a thread of
its own, up to a limit, so that a job which hangs is not kept for ever.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from deeptraffic.competition.sandbox.errors import InvalidSubmission
from deeptraffic.competition.store import outcomes, queue, workers
from deeptraffic.competition.store.database import Database, new_key
from deeptraffic.competition.store.errors import LeaseLost, Unavailable
from deeptraffic.competition.store.records import Job
from deeptraffic.evaluation.score import Score

Evaluate = Callable[[Job, Callable[[int, int], None]], tuple[Score, bytes | None]]

DATABASE, LANE, PARENT = "DEEPTRAFFIC_DATABASE_URL", "DEEPTRAFFIC_LANE", "DEEPTRAFFIC_PARENT"  # environment variables
HUNG = 70  # exit status of a worker whose job hangs

log = logging.getLogger("deeptraffic.worker")


@dataclass(frozen=True)
class Pace:
    """How often a worker does what [s].

    poll: looks for a job; beat: keeps its job's lease alive; lease: how long that lives without; report: says that it
    is there itself; job: longest that a job may take, beyond the sandbox's own limits
    """

    poll: float = 0.4
    beat: float = 1.0
    lease: float = queue.LEASE / 1000
    report: float = 10.0
    job: float = 2400.0


class Stopped(Exception):
    """The worker is asked to stop in the middle of a job."""


class Worker:
    """Takes jobs of a lane.

    evaluate: what it does with a job
    parent: the process that started it, without which it stops; None for a worker of its own
    """

    def __init__(
        self, db: Database, lane: str, evaluate: Evaluate, parent: int | None = None, pace: Pace | None = None
    ) -> None:
        if lane not in queue.LANES:
            raise ValueError(f"there is no lane {lane!r}; choose one of {', '.join(queue.LANES)}")
        self.db, self.lane, self.evaluate, self.parent, self.pace = db, lane, evaluate, parent, pace or Pace()
        self.name = f"{socket.gethostname()[:60]} {os.getpid()} {new_key()[:6]}"
        self.jobs, self._reported = 0, 0.0
        self._stop = threading.Event()

    def stop(self, *_: int | FrameType | None) -> None:
        """Ask it to stop soon: the job in hand goes back to the queue. Serves as a signal handler too."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether it should stop: asked to, or left by its parent."""
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
            workers.leave(self.db, self.name)

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
            with Heart(self, job) as heart:
                report = self._evaluate(job, heart)
                self._deliver(job, report)
            log.info("job %d, %s of %.12s: %.1f s", job.id, job.kind, job.sha256, time.monotonic() - started)
        except LeaseLost as error:
            log.warning("job %d: %s", job.id, error)

    def _evaluate(self, job: Job, heart: "Heart") -> Callable[[], None]:
        """Return the report that the store is to be given."""
        try:
            score, drive = self.evaluate(job, heart.progress)
        except InvalidSubmission as error:
            code, message = error.code, str(error)
            return lambda: outcomes.refuse(self.db, job, code, message)
        except Stopped:
            return lambda: outcomes.hand_back(self.db, job)
        except LeaseLost:
            raise
        except Exception as error:  # whatever it is, the participant is not to blame
            log.exception("job %d", job.id)
            reason = f"{type(error).__name__}: {error}"[:500]
            return lambda: outcomes.give_back(self.db, job, reason)
        return lambda: outcomes.complete(self.db, job, score, drive)

    def _deliver(self, job: Job, report: Callable[[], None]) -> None:
        """Give a report to the store, as often as it takes: the disk may be full for a while."""
        while True:
            try:
                return report()
            except Unavailable as error:
                log.warning("job %d: its result waits: %s", job.id, error)
                if self.stopping:
                    raise LeaseLost("the store could not be told") from error
                time.sleep(1.0)

    def _report(self) -> None:
        if time.monotonic() - self._reported > self.pace.report or not self._reported:
            workers.report(self.db, self.name, self.lane, self.jobs)
            self._reported = time.monotonic()


class Heart:
    """Keeps a job's lease alive from a thread; its `progress` ends the evaluation when that is no use any more."""

    def __init__(self, worker: Worker, job: Job) -> None:
        self.worker, self.job = worker, job
        self.done, self.total, self.lost = 0, 0, False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def progress(self, done: int, total: int) -> None:
        """Note how many runs are done; raise LeaseLost or Stopped if the evaluation need not go on."""
        self.done, self.total = done, total
        if self.lost:
            raise LeaseLost(outcomes.LATE)
        if self.worker.stopping:
            raise Stopped

    def _beat(self) -> None:
        pace = self.worker.pace
        end = time.monotonic() + pace.job
        while not self._over.wait(pace.beat):
            if time.monotonic() > end:
                log.error("job %d hangs; the worker ends", self.job.id)
                os._exit(HUNG)
            try:
                queue.beat(self.worker.db, self.job, self.done, self.total, round(1000 * pace.lease))
                self.worker._report()
            except LeaseLost:
                self.lost = True
                return
            except Unavailable as error:
                log.warning("job %d: %s", self.job.id, error)

    def __enter__(self) -> "Heart":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@contextmanager
def stop_signals(worker: Worker) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C ask the worker to stop."""
    before = {number: signal.signal(number, worker.stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def work(url: str, lane: str, parent: int | None = None) -> None:
    """Run a worker of this process until a signal ends it."""
    from deeptraffic.competition.evaluation import evaluate_job, warm_up

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    worker = Worker(Database(url), lane, evaluate_job, parent)
    with stop_signals(worker):
        warm_up()
        worker.run()


if __name__ == "__main__":
    work(os.environ[DATABASE], os.environ[LANE], int(os.environ[PARENT]))
