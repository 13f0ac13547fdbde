"""Backends that run a sweep's trials: their interface, and processes on this machine.

A worker process uses one thread, ignores Ctrl-C (its driver ends it), and ends when its driver is gone, so that a
killed sweep leaves nothing running.
"""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from agents.study.config import SweepConfig
from agents.study.trial import TrialResult, run_trial
from deeptraffic.run_dir import end_with_parent, use_one_thread


@dataclass(frozen=True)
class Reported:
    """A trial was evaluated during its training and waits for an answer."""

    number: int
    step: int
    score: float


@dataclass(frozen=True)
class Finished:
    """A trial ended or failed."""

    number: int
    result: TrialResult


@dataclass(frozen=True)
class Died:
    """The process or machine that ran a trial is gone."""

    number: int
    reason: str


Event = Reported | Finished | Died


class Backend(Protocol):
    """Runs trials."""

    def free(self) -> int:
        """Return how many more trials may start now."""

    def start(self, number: int, params: Mapping[str, Any]) -> None:
        """Start a trial."""

    def wait(self, seconds: float) -> list[Event]:
        """Return the events since the last call, after waiting up to this long for one."""

    def answer(self, number: int, stop: bool) -> None:
        """Answer a trial that reported: whether to stop."""

    def close(self) -> None:
        """End all trials at once; no event follows."""


@dataclass
class TrialProcess:
    """A process, the pipe to it, and the number of the trial that it runs, if any."""

    process: BaseProcess
    pipe: Connection
    number: int | None = None


class LocalWorkers:
    """Backend of processes on this machine.

    Args:
        config: of the sweep
        count: of processes; each starts when it is first needed
    """

    def __init__(self, config: SweepConfig, count: int) -> None:
        self.config, self.count = config, count
        self.workers: list[TrialProcess] = []

    def free(self) -> int:
        """Return how many more trials may start now."""
        return self.count - sum(worker.number is not None for worker in self.workers)

    def start(self, number: int, params: Mapping[str, Any]) -> None:
        """Start a trial in an idle process."""
        worker = next((worker for worker in self.workers if worker.number is None), None) or self._spawn()
        worker.number = number
        worker.pipe.send((number, dict(params)))

    def wait(self, seconds: float) -> list[Event]:
        """Return the events since the last call, after waiting up to this long for one."""
        busy = {worker.pipe: worker for worker in self.workers if worker.number is not None}
        return [self._receive(busy[pipe]) for pipe in connection.wait(list(busy), seconds)]  # type: ignore[index]

    def answer(self, number: int, stop: bool) -> None:
        """Answer a trial that reported: whether to stop."""
        next(worker for worker in self.workers if worker.number == number).pipe.send(stop)

    def close(self) -> None:
        """End all processes at once."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()
            worker.pipe.close()
        self.workers = []

    def _spawn(self) -> TrialProcess:
        context = get_context("spawn")  # a fork would copy the threads' locks in their current state
        ours, theirs = context.Pipe()
        process = context.Process(target=serve_trials, args=(self.config, theirs), daemon=True)
        process.start()
        theirs.close()
        self.workers.append(TrialProcess(process, ours))
        return self.workers[-1]

    def _receive(self, worker: TrialProcess) -> Event:
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
    end_with_parent()
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
