"""Supervisor of a server's worker processes: starts them, restarts those that end, and stops them with the server.

>>> with Supervisor(db.url, workers=2):
...     serve_pages()
"""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sqlalchemy import URL

from deeptraffic.competition import worker

COMMAND = (sys.executable, "-m", "deeptraffic.competition.worker")
WATCH_SECONDS = 0.5
STEADY_SECONDS = 60.0  # of running, after which the restart delay is reset
MAX_DELAY_SECONDS = 30.0  # before a worker that keeps ending is restarted
GRACE_SECONDS = 10.0
# A worker evaluates one submission at a time, in one thread: several of them use the cores.
ONE_THREAD = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

log = logging.getLogger("deeptraffic.supervisor")


class WorkerSlot:
    """A worker that shall run: its present process, and when the next may start."""

    def __init__(self, lane: str) -> None:
        self.lane = lane
        self.process: subprocess.Popen[bytes] | None = None
        self.started, self.ends, self.not_before = 0.0, 0, 0.0


class Supervisor:
    """Worker processes; a context manager.

    url: of the database; died: told the process id of each worker that ended, so that its job can go on at once
    workers: how many take every job; one more takes only short validations, so that these never wait long
    """

    def __init__(self, url: URL, workers: int, died: Callable[[int], None] = lambda pid: None) -> None:
        if not 0 <= workers <= 256:
            raise ValueError(f"workers must be an integer in [0, 256], got {workers}")
        self.url, self.died = url, died
        self.slots = [WorkerSlot("all") for _ in range(workers)] + [WorkerSlot("validation")] * (workers > 0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.is_set():
            for slot in self.slots:
                self._restart_if_ended(slot)
            self._stop.wait(WATCH_SECONDS)

    def _restart_if_ended(self, slot: WorkerSlot) -> None:
        now = time.monotonic()
        if slot.process is not None and slot.process.poll() is not None:
            steady = now - slot.started > STEADY_SECONDS
            slot.ends = 1 if steady else slot.ends + 1
            slot.not_before = now + min(MAX_DELAY_SECONDS, 0.25 * 2**slot.ends)
            log.warning("worker %d ended with status %d", slot.process.pid, slot.process.returncode)
            self.died(slot.process.pid)
            slot.process = None
        if slot.process is None and now >= slot.not_before:
            slot.process, slot.started = self._start(slot.lane), now

    def _start(self, lane: str) -> "subprocess.Popen[bytes]":
        environment = os.environ | ONE_THREAD
        environment[worker.DATABASE] = self.url.render_as_string(hide_password=False)
        environment[worker.LANE], environment[worker.PARENT] = lane, str(os.getpid())
        return subprocess.Popen(COMMAND, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)

    def pids(self) -> list[int]:
        """Return the workers' process ids."""
        return [slot.process.pid for slot in self.slots if slot.process is not None]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        running = [slot.process for slot in self.slots if slot.process is not None]
        for process in running:
            process.terminate()
        end = time.monotonic() + GRACE_SECONDS
        for process in running:
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
