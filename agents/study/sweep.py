"""Sweeps: many trainings with settings drawn from a space, on all cores of a machine or on a cluster.

    deeptraffic sweep sweep.toml --workers 2 -o runs/sweep        # resumes after Ctrl-C or a kill: the same command

    runs/sweep/
      journal.log         every trial, as Optuna's journal storage keeps it (or a database holds them)
      study.csv           one line per finished trial, see `agents.study.table`
      best.toml           the winner's settings: `deeptraffic train ALGO --config best.toml`
      winner.json         the winner's score on reporting seeds
      networks/           weights of the best trial so far
      versions.json       versions, commit and command of every session that worked on it

The driver draws trials, hands them to a `Backend` and notes what they come to; it alone writes, so that a kill at any
instant loses no finished trial and repeats none. Trials are compared on tuning seeds. The winner is scored on reporting
seeds, once, when all trials are finished.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.study.config import SweepConfig
from agents.study.progress import SweepProgress
from agents.study.results import Networks, Winner, write_best, write_table, write_winner
from agents.study.storage import TrialBook
from agents.study.workers import Backend, Died, Event, Finished, LocalWorkers, Reported
from deeptraffic.run_dir import Interrupted, Stop, lock_folder, stop_requests, versions, write_json

PATIENCE = 0.5  # [s] between two looks at whether to stop
BackendMaker = Callable[[SweepConfig], Backend]


@dataclass(frozen=True)
class SweepResult:
    """What a sweep came to.

    folder: of the sweep; trials: finished ones; failed, stopped: of these, those without a score
    best: number of the best trial, None if all failed; score: its score on tuning seeds [mph]; params: what it drew
    winner: its scores on reporting seeds; None while other drivers of the same study still run trials
    """

    folder: Path
    trials: int
    failed: int
    stopped: int
    best: int | None
    score: float | None
    params: dict[str, Any]
    winner: Winner | None

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {**asdict(self), "folder": str(self.folder)}


def run_sweep(
    config: SweepConfig,
    folder: str | Path,
    workers: int = 1,
    make_backend: BackendMaker | None = None,
    console: Console | None = None,
) -> SweepResult:
    """Run a sweep in a folder, new or begun before, and return what came of it.

    workers: processes on this machine; make_backend: another place to run trials
    console: for progress; None for standard error

    Raises ValueError if the folder holds a sweep of other settings, RuntimeError if another process works in it,
    Interrupted after a signal.
    """
    if not 1 <= workers <= 1024:
        raise ValueError(f"workers={workers} is not possible; give 1 to 1024")
    folder = Path(folder)
    backend = make_backend(config) if make_backend else LocalWorkers(config, workers)
    with closing(backend), sweep_folder(folder), stop_requests() as stop, closing(TrialBook(config, folder)) as book:
        _note_session(folder)
        taken_back = book.take_back()
        with SweepProgress(config.trials_in_all, len(book.finished()), console) as progress:
            for number in taken_back:
                progress.say(f"trial {number} was left by a kill: it waits to run again")
            driver = Driver(book, backend, Networks(folder), progress)
            driver.run(stop)
        return _conclude(book, driver.networks, folder)


@contextmanager
def sweep_folder(folder: Path) -> Iterator[None]:
    """Make a sweep's folder and keep other drivers out meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder, folder / ".lock"):
        yield


class Driver:
    """Keeps a backend busy with trials of a book until there are enough."""

    def __init__(self, book: TrialBook, backend: Backend, networks: Networks, progress: SweepProgress) -> None:
        self.book, self.backend, self.networks, self.progress = book, backend, networks, progress
        best = book.best()
        self.best_score = None if best is None else best.value
        if best is not None:
            progress.show_best(best.number, best.value or 0.0)

    def run(self, stop: Stop) -> None:
        """Run trials until all of this driver's are finished; Interrupted if asked to stop."""
        while not (self._start_trials() and not self.book.asked):
            for event in self.backend.wait(PATIENCE):
                self._take(event)
            if stop.requested:
                self.book.release()
                finished = len(self.book.finished())
                raise Interrupted(
                    f"stopped after {finished:,} of {self.book.config.trials_in_all:,} trials; the same command goes on"
                )

    def _start_trials(self) -> bool:
        """Start as many trials as there is room for; return whether none is left to start."""
        while self.backend.free() > 0:
            proposal = self.book.propose()
            if proposal is None:
                return True
            self.backend.start(*proposal)
        return False

    def _take(self, event: Event) -> None:
        if isinstance(event, Reported):
            self.backend.answer(event.number, self.book.report(event.number, event.step, event.score))
        elif isinstance(event, Died):
            again = "it runs again" if self.book.died(event.number, event.reason) else "it is given up"
            self.progress.say(f"trial {event.number} died ({event.reason}): {again}")
        else:
            self._finish(event)

    def _finish(self, event: Finished) -> None:
        result, number = event.result, event.number
        is_best = result.score is not None and (self.best_score is None or result.score > self.best_score)
        if is_best:
            self.networks.keep(number, result.networks)  # before the trial counts as finished: a kill may come between
        self.book.finish(number, result)
        if is_best:
            self.best_score = result.score
            self.networks.forget_all_but(number)
        self.progress.finished(number, result.score, result.failure, is_best)


def _conclude(book: TrialBook, networks: Networks, folder: Path) -> SweepResult:
    """Write the table and, when every trial is finished, what is known of the winner."""
    finished, best = book.finished(), book.best()
    write_table(folder, book.name, book.config, finished)
    winner = None
    if best is not None:
        write_best(folder, book.config, best)
        if len(finished) == len(book.trials()):
            winner = write_winner(folder, book.config, best, networks)
    states = [trial.state.name for trial in finished]
    return SweepResult(
        folder,
        len(finished),
        states.count("FAIL"),
        states.count("PRUNED"),
        None if best is None else best.number,
        None if best is None else best.value,
        {} if best is None else dict(best.params),
        winner,
    )


def _note_session(folder: Path) -> None:
    path = folder / "versions.json"
    sessions = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    write_json(path, [*sessions, versions()])
