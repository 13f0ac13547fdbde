"""Hyperparameter sweeps: many trainings with settings drawn from a space, on a machine's cores or a cluster.

    deeptraffic sweep sweep.toml --workers 2 -o runs/sweep        # the same command resumes after Ctrl-C or a kill

    runs/sweep/
      journal.log         every trial, in Optuna's journal format (unless a database stores them)
      study.csv           one line per finished trial, see `agents.study.table`
      best.toml           the best trial's settings: `deeptraffic train ALGO --config best.toml`
      winner.json         the best trial's score on reporting seeds
      networks/           weights of the best trial so far
      versions.json       versions, commit and command of every session

The driver draws trials, hands them to a `Backend` and stores their results. Only the driver writes, so that a kill at
any instant neither loses nor repeats a finished trial. Trials are compared on tuning seeds; the best one is scored on
reporting seeds, once, when all are finished.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from agents.progress import CountedProgress
from agents.study.config import SweepConfig
from agents.study.storage import TrialStorage
from agents.study.table import TABLE_FILE, table_content, table_row
from agents.study.trial import objective, run_trial, score_networks
from agents.study.workers import Backend, Died, Event, Finished, LocalWorkers, Reported
from deeptraffic.evaluation.statistics import bootstrap_interval
from deeptraffic.run_dir import (
    Interrupted,
    Stop,
    lock_folder,
    stop_requests,
    versions,
    write_atomically,
    write_json,
)
from deeptraffic.settings import check_integer

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

BEST_FILE, WINNER_FILE = "best.toml", "winner.json"
POLL = 0.5  # [s] between two checks of stop requests
SPEED_PERIOD = 600.0  # [s] over which the time left is estimated, for trials differ in length
BackendMaker = Callable[[SweepConfig], Backend]

# --- result files ---------------------------------------------------------------------------------------------------


class Networks:
    """Weights of the best trial so far, in a sweep's folder.

    Args:
        folder: of the sweep
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "networks"

    def keep(self, number: int, networks: Sequence[bytes]) -> None:
        """Write a trial's networks, one per seed."""
        self.path.mkdir(exist_ok=True)
        for k, network in enumerate(networks):
            write_atomically(self.path / f"trial-{number}-{k}.safetensors", network)

    def remove_others(self, number: int) -> None:
        """Remove the networks of all other trials."""
        for path in self.path.glob("trial-*.safetensors"):
            if not path.name.startswith(f"trial-{number}-"):
                path.unlink(missing_ok=True)

    def read(self, number: int, count: int) -> tuple[bytes, ...] | None:
        """Return a trial's networks, None if any is missing."""
        paths = [self.path / f"trial-{number}-{k}.safetensors" for k in range(count)]
        return tuple(path.read_bytes() for path in paths) if all(path.is_file() for path in paths) else None


@dataclass(frozen=True)
class Winner:
    """Score of the best trial on reporting seeds, on which nothing was chosen.

    number: of the trial; score: [mph] mean over its seeds; interval: 95%, of the first seed's score
    runs: of each seed
    """

    number: int
    score: float
    interval: tuple[float, float]
    runs: int


def write_table(folder: Path, study: str, config: SweepConfig, trials: "Sequence[FrozenTrial]") -> Path:
    """Write study.csv and return its path."""
    path = folder / TABLE_FILE
    write_atomically(path, table_content([table_row(study, config, trial) for trial in trials]))
    return path


def write_best(folder: Path, config: SweepConfig, trial: "FrozenTrial") -> Path:
    """Write the settings of a trial as a config file of `deeptraffic train`, and return its path."""
    seed = config.seeds(trial.number)[0]
    settings = {"seed": seed, **config.settings}
    settings |= {parameter.name: parameter.value(trial.params) for parameter in config.space}
    preset = f" --preset {config.preset}" if config.preset else ""
    lines = [
        f"# trial {trial.number}: {trial.value:.2f} mph on tuning seeds",
        f"# deeptraffic train {config.algorithm}{preset} --config {BEST_FILE}",
        *(f"{name} = {json.dumps(value)}" for name, value in sorted(settings.items())),
    ]
    write_atomically(folder / BEST_FILE, ("\n".join(lines) + "\n").encode())
    return folder / BEST_FILE


def write_winner(folder: Path, config: SweepConfig, trial: "FrozenTrial", networks: Networks) -> Winner:
    """Score a trial on reporting seeds and write winner.json, unless it exists for this trial; return the winner."""
    path = folder / WINNER_FILE
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        if (known["trial"], known["runs"]) == (trial.number, config.reporting_runs):
            return _winner(known)
    kept = networks.read(trial.number, config.seeds_per_trial)
    if kept is None:  # another folder's driver trained it, or the files were removed: train it again
        kept = run_trial(config, trial.number, trial.params).networks
        networks.keep(trial.number, kept)
    scores = score_networks(config, trial.number, trial.params, kept)
    values = [objective(config, score.run_scores) for score in scores]
    statistic: Callable[..., Any] = np.median if config.objective == "median" else np.mean
    content: dict[str, Any] = {
        "trial": trial.number,
        "runs": config.reporting_runs,
        "params": dict(trial.params),
        "objective": config.objective,
        "tuning_score": trial.value,
        "reporting_score": float(np.mean(values)),
        "reporting_interval": list(bootstrap_interval(scores[0].run_scores, statistic)),
        "seeds": [{"seed": s, **o.to_json()} for s, o in zip(config.seeds(trial.number), scores, strict=True)],
    }
    write_json(path, content)
    return _winner(content)


def _winner(content: dict[str, Any]) -> Winner:
    low, high = content["reporting_interval"]
    return Winner(content["trial"], content["reporting_score"], (low, high), content["runs"])


# --- sweep ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SweepResult:
    """Result of a sweep.

    folder: of the sweep; trials: finished ones; failed, stopped: of these, those without a score
    best: number of the best trial, None if all failed; score: its score on tuning seeds [mph]; params: its draws
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
    """Run a sweep in a folder, new or to be resumed, and return its result.

    workers: processes on this machine; make_backend: makes another backend to run trials
    console: for progress; None for standard error

    Raises ValueError if the folder has a sweep with other settings, RuntimeError if another process works in it,
    Interrupted after a signal.
    """
    check_integer("workers", workers, 1, 1024)
    folder = Path(folder)
    backend = make_backend(config) if make_backend else LocalWorkers(config, workers)
    with (
        closing(backend),
        sweep_folder(folder),
        stop_requests() as stop,
        closing(TrialStorage(config, folder)) as storage,
    ):
        _record_session(folder)
        reclaimed = storage.reclaim()
        with SweepProgress(config.total_trials, len(storage.finished()), console) as progress:
            for number in reclaimed:
                progress.print(f"trial {number} was left by a kill and will run again")
            driver = SweepDriver(storage, backend, Networks(folder), progress)
            driver.run(stop)
        return _conclude(storage, driver.networks, folder)


@contextmanager
def sweep_folder(folder: Path) -> Iterator[None]:
    """Create a sweep's folder and keep other drivers out meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder, folder / ".lock"):
        yield


class SweepProgress(CountedProgress):
    """Progress bar over trials; where there is no terminal, a line for each new best or failed trial.

    Args:
        total: trials of the whole sweep
        done: trials already finished, when a sweep is resumed
        console: None for standard error
    """

    def __init__(self, total: int, done: int = 0, console: Console | None = None) -> None:
        super().__init__("sweep", "trials", "no score yet", total, done, console, speed_estimate_period=SPEED_PERIOD)
        self.done = done

    def show_best(self, number: int, score: float) -> None:
        """Show which trial is the best so far."""
        self.bar.update(self.task, note=f"best {score:.2f} mph in trial {number}")

    def finished(self, number: int, score: float | None, failure: str, is_best: bool) -> None:
        """Count a trial; print a line if it is the best so far or failed."""
        self.done += 1
        self.bar.update(self.task, completed=self.done)
        if failure:
            self.print(f"trial {number} failed: {failure}")
        if is_best and score is not None:
            self.show_best(number, score)
            self.print(f"{self.done:>6,} trials: best {score:.2f} mph on tuning seeds, trial {number}")


class SweepDriver:
    """Runs the trials of a storage on a backend until there are enough."""

    def __init__(self, storage: TrialStorage, backend: Backend, networks: Networks, progress: SweepProgress) -> None:
        self.storage, self.backend, self.networks, self.progress = storage, backend, networks, progress
        best = storage.best()
        self.best_score = None if best is None else best.value
        if best is not None:
            progress.show_best(best.number, best.value or 0.0)

    def run(self, stop: Stop) -> None:
        """Run trials until all of this driver's are finished; raise Interrupted on a stop request."""
        while not (self._start_trials() and not self.storage.running):
            for event in self.backend.wait(POLL):
                self._handle(event)
            if stop.requested:
                self.storage.release()
                finished, total = len(self.storage.finished()), self.storage.config.total_trials
                raise Interrupted(f"stopped after {finished:,} of {total:,} trials; the same command resumes")

    def _start_trials(self) -> bool:
        """Start as many trials as the backend takes; return whether none is left to start."""
        while self.backend.free() > 0:
            proposal = self.storage.propose()
            if proposal is None:
                return True
            self.backend.start(*proposal)
        return False

    def _handle(self, event: Event) -> None:
        if isinstance(event, Reported):
            self.backend.answer(event.number, self.storage.report(event.number, event.step, event.score))
        elif isinstance(event, Died):
            outcome = "it will run again" if self.storage.died(event.number, event.reason) else "it failed"
            self.progress.print(f"trial {event.number} died ({event.reason}): {outcome}")
        else:
            self._finish(event)

    def _finish(self, event: Finished) -> None:
        result, number = event.result, event.number
        is_best = result.score is not None and (self.best_score is None or result.score > self.best_score)
        if is_best:
            self.networks.keep(number, result.networks)  # before the trial counts as finished: a kill may come between
        self.storage.finish(number, result)
        if is_best:
            self.best_score = result.score
            self.networks.remove_others(number)
        self.progress.finished(number, result.score, result.failure, is_best)


def _conclude(storage: TrialStorage, networks: Networks, folder: Path) -> SweepResult:
    """Write the table and the best trial's settings and, when all trials are finished, its score on reporting seeds."""
    finished, best = storage.finished(), storage.best()
    write_table(folder, storage.name, storage.config, finished)
    winner = None
    if best is not None:
        write_best(folder, storage.config, best)
        if len(finished) == len(storage.trials()):
            winner = write_winner(folder, storage.config, best, networks)
    states = [trial.state.name for trial in finished]
    return SweepResult(
        folder=folder,
        trials=len(finished),
        failed=states.count("FAIL"),
        stopped=states.count("PRUNED"),
        best=None if best is None else best.number,
        score=None if best is None else best.value,
        params={} if best is None else dict(best.params),
        winner=winner,
    )


def _record_session(folder: Path) -> None:
    path = folder / "versions.json"
    sessions = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    write_json(path, [*sessions, versions()])
