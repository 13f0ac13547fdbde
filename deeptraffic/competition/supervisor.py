"""Starts the workers of a server, starts those that end again, and stops them with it.

>>> with Supervisor(db.url, workers=2):
...     serve_pages()
"""

import logging
import os
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Self

from sqlalchemy import URL

from deeptraffic.competition import worker

COMMAND = (sys.executable, "-m", "deeptraffic.competition.worker")
WATCH_SECONDS = 0.5
STEADY_SECONDS = 60.0  # after which a worker's earlier ends are forgotten
MAX_PAUSE_SECONDS = 30.0  # before a worker that keeps ending is started again
GRACE_SECONDS = 10.0
# A worker evaluates one submission at a time, in one thread: several of them use the cores.
ONE_THREAD = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

log = logging.getLogger("deeptraffic.supervisor")


class Post:
    """A worker's place: the process in it now, and when the next may start."""

    def __init__(self, lane: str) -> None:
        self.lane = lane
        self.process: subprocess.Popen[bytes] | None = None
        self.started, self.ends, self.not_before = 0.0, 0, 0.0


class Supervisor:
    """Worker processes; a context manager.

    url: of the database
    workers: how many evaluate whole submissions; one more answers short validations, so that these never wait long
    """

    def __init__(self, url: URL, workers: int) -> None:
        if not 0 <= workers <= 256:
            raise ValueError(f"workers={workers} is not possible; give a number from 0 to 256")
        self.url = url
        self.posts = [Post("all") for _ in range(workers)] + [Post("validation")] * (workers > 0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.is_set():
            for post in self.posts:
                self._look_after(post)
            self._stop.wait(WATCH_SECONDS)

    def _look_after(self, post: Post) -> None:
        now = time.monotonic()
        if post.process is not None and post.process.poll() is not None:
            steady = now - post.started > STEADY_SECONDS
            post.ends = 1 if steady else post.ends + 1
            post.not_before = now + min(MAX_PAUSE_SECONDS, 0.25 * 2**post.ends)
            log.warning("worker %d ended with status %d", post.process.pid, post.process.returncode)
            post.process = None
        if post.process is None and now >= post.not_before:
            post.process, post.started = self._start(post.lane), now

    def _start(self, lane: str) -> "subprocess.Popen[bytes]":
        environment = os.environ | ONE_THREAD
        environment[worker.DATABASE] = self.url.render_as_string(hide_password=False)
        environment[worker.LANE], environment[worker.PARENT] = lane, str(os.getpid())
        return subprocess.Popen(COMMAND, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)

    def pids(self) -> list[int]:
        """Return the workers' process ids."""
        return [post.process.pid for post in self.posts if post.process is not None]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        running = [post.process for post in self.posts if post.process is not None]
        for process in running:
            process.terminate()
        end = time.monotonic() + GRACE_SECONDS
        for process in running:
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
