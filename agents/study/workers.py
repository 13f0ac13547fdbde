"""Where trials run: the `Backend` that a sweep's driver hands them to, and the one of this machine's processes.

A worker process has one thread for everything, ignores Ctrl-C (its driver ends it), and ends by itself when its driver
is gone, so that a killed sweep leaves nothing running.
"""

import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from agents.study.config import SweepConfig
from agents.study.trial import TrialResult, run_trial


@dataclass(frozen=True)
class Reported:
    """A trial was evaluated on the way and waits for an answer."""

    number: int
    step: int
    score: float


@dataclass(frozen=True)
class Finished:
    """A trial came to its end, or failed."""

    number: int
    result: TrialResult


@dataclass(frozen=True)
class Died:
    """The process or machine that ran a trial is gone."""

    number: int
    reason: str


Event = Reported | Finished | Died


class Backend(Protocol):
    """Runs trials somewhere."""

    def free(self) -> int:
        """How many more trials may start now."""

    def start(self, number: int, params: Mapping[str, Any]) -> None:
        """Start a trial."""

    def wait(self, seconds: float) -> list[Event]:
        """Return what happened, waiting at most so long for a first event."""

    def answer(self, number: int, stop: bool) -> None:
        """Say whether a trial that reported is to stop."""

    def close(self) -> None:
        """End everything at once; no event comes after it."""


@dataclass
class Worker:
    """A process, the pipe to it, and the trial it runs, if any."""

    process: BaseProcess
    pipe: Connection
    number: int | None = None


class LocalWorkers:
    """A backend of processes on this machine.

    Args:
        config: of the sweep
        count: processes, which start when they are first needed
    """

    def __init__(self, config: SweepConfig, count: int) -> None:
        self.config, self.count = config, count
        self.workers: list[Worker] = []

    def free(self) -> int:
        """How many more trials may start now."""
        return self.count - sum(worker.number is not None for worker in self.workers)

    def start(self, number: int, params: Mapping[str, Any]) -> None:
        """Start a trial in a process that has none."""
        worker = next((worker for worker in self.workers if worker.number is None), None) or self._hire()
        worker.number = number
        worker.pipe.send((number, dict(params)))

    def wait(self, seconds: float) -> list[Event]:
        """Return what happened, waiting at most so long for a first event."""
        busy = {worker.pipe: worker for worker in self.workers if worker.number is not None}
        return [self._receive(busy[pipe]) for pipe in connection.wait(list(busy), seconds)]  # type: ignore[index]

    def answer(self, number: int, stop: bool) -> None:
        """Say whether a trial that reported is to stop."""
        next(worker for worker in self.workers if worker.number == number).pipe.send(stop)

    def close(self) -> None:
        """End all processes at once."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()
            worker.pipe.close()
        self.workers = []

    def _hire(self) -> Worker:
        context = get_context("spawn")  # a fork would copy threads' locks in whatever state they are
        ours, theirs = context.Pipe()
        process = context.Process(target=serve_trials, args=(self.config, theirs), daemon=True)
        process.start()
        theirs.close()
        self.workers.append(Worker(process, ours))
        return self.workers[-1]

    def _receive(self, worker: Worker) -> Event:
        assert worker.number is not None
        number = worker.number
        try:
            event: Event = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            self.workers.remove(worker)
            worker.pipe.close()
            return Died(number, f"its process ended with exit code {worker.process.exitcode}")
        if isinstance(event, Finished):
            worker.number = None
        return event


# --- in the worker's process ------------------------------------------------------------------------------------------


def serve_trials(config: SweepConfig, pipe: Connection) -> None:
    """Run the trials that come through a pipe, until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    use_one_thread()
    while True:
        try:
            number, params = pipe.recv()
        except EOFError:
            return

        def report(step: int, score: float, number: int = number) -> bool:
            pipe.send(Reported(number, step, score))
            return bool(pipe.recv())

        pipe.send(Finished(number, run_trial(config, number, params, report)))


def use_one_thread() -> None:
    """Keep this process, whose neighbours run trials as well, to one thread."""
    import torch

    os.environ["DEEPTRAFFIC_THREADS"] = "1"
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
