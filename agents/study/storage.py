"""Storage of a sweep's trials: an Optuna study that survives kills, with each trial in it exactly once.

One driver at a time works on a sweep's folder, and only the driver writes; workers compute. Trial n is drawn with a
seed of its own, so that a resumed sweep draws what an uninterrupted one would (TPE: given the same earlier results).
A trial that was running when its driver was killed is queued again, under its number and with the same draws. Drivers
with different folders may share a database: each reclaims its own trials only.
"""

import contextlib
import logging
import uuid
import warnings
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.study.config import JOURNAL, PRUNERS, SAMPLERS, SweepConfig
from agents.study.trial import TrialResult
from deeptraffic.run_dir import write_atomically

if TYPE_CHECKING:
    import optuna
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

JOURNAL_FILE, DRIVER_FILE = "journal.log", "driver.txt"
ATTEMPTS = 3  # of a trial; it fails if its process dies in each
UNOWNED = timedelta(minutes=1)  # a trial in a shared database that still names no driver then was left by a kill
MAY_CHANGE = {"trials", "reporting_runs", "storage", "name"}  # settings that may differ when a sweep is resumed


class TrialStorage:
    """All trials of a sweep.

    Args:
        config: of the sweep
        folder: of the sweep, locked by the caller

    Raises ValueError if the storage has a sweep of this name with other settings, or cannot be opened.
    """

    def __init__(self, config: SweepConfig, folder: Path) -> None:
        self.config = config
        self.name = config.name or folder.resolve().name
        self.driver = _driver_name(folder)
        self.storage = open_storage(config.storage, folder)
        self.study = self._open_study()
        self.running: dict[int, Trial] = {}  # trials of this driver, by number
        self.distributions: dict[str, Any] = {}
        for parameter in config.space:
            self.distributions |= parameter.distributions()

    def _open_study(self) -> "optuna.Study":
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            storage=self.storage,
            study_name=self.name,
            direction="maximize",
            pruner=make_pruner(self.config),
            load_if_exists=True,
        )
        config = self.config.to_json()
        before = study.user_attrs.get("config", config)
        changed = [name for name in config if name not in MAY_CHANGE and before.get(name) != config[name]]
        if changed:
            listed = "; ".join(f"{name} was {before.get(name)!r}, now {config[name]!r}" for name in changed)
            raise ValueError(
                f"the sweep {self.name!r} was started with other settings ({listed}); "
                "resume it with those, or name another folder for a new sweep"
            )
        study.set_user_attr("config", config)
        return study

    # --- running trials -----------------------------------------------------------------------------------------------

    def propose(self) -> tuple[int, dict[str, Any]] | None:
        """Return (number, drawn params) of the next trial, which runs from now on; None if there are enough."""
        trials = self.study.get_trials(deepcopy=False)
        waiting = [trial.number for trial in trials if trial.state.name == "WAITING"]
        if not waiting and len(trials) >= self.config.total_trials:
            return None
        number = min(waiting, default=len(trials))
        if self.config.sampler == "grid" and not waiting:
            self.study.enqueue_trial(self.config.grid()[number])
        self.study.sampler = make_sampler(self.config, number)
        trial = self.study.ask(self.distributions)
        trial.set_user_attr("driver", self.driver)
        trial.set_user_attr("attempts", trial.user_attrs.get("attempts", 0) + 1)
        self.running[trial.number] = trial
        return trial.number, dict(trial.params)

    def report(self, number: int, step: int, score: float) -> bool:
        """Store an evaluation during a training; return whether the pruner stops the trial."""
        trial = self.running[number]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a trial that runs a second time reports the same again
            trial.report(score, step)
        return bool(trial.should_prune())

    def finish(self, number: int, result: TrialResult) -> None:
        """Store a trial's result; it counts as finished from now on."""
        trial = self.running.pop(number)
        trial.set_user_attr("facts", result.facts)
        if result.failure:
            self._fail(trial, result.failure)
        elif result.stopped:
            self._tell(trial, "PRUNED")
        else:
            self._tell(trial, "COMPLETE", result.score)

    def died(self, number: int, reason: str) -> bool:
        """Handle the death of a trial's process; return whether the trial will run again."""
        trial = self.running.pop(number)
        if trial.user_attrs["attempts"] >= ATTEMPTS:
            self._fail(trial, f"{ATTEMPTS} attempts: {reason}")
            return False
        self._requeue(number)
        return True

    def release(self) -> None:
        """Queue all running trials of this driver again, without counting the attempt: it was asked to stop."""
        for number, trial in self.running.items():
            trial.set_user_attr("attempts", trial.user_attrs["attempts"] - 1)
            self._requeue(number)
        self.running = {}

    def reclaim(self) -> list[int]:
        """Queue the trials again that a killed driver of this folder left running; return their numbers."""
        left = [trial for trial in self.study.get_trials(deepcopy=False) if self._is_left(trial)]
        for trial in left:
            if trial.user_attrs.get("attempts", 0) >= ATTEMPTS:
                self._fail(trial.number, f"{ATTEMPTS} attempts: the sweep was killed each time")
            else:
                self._requeue(trial.number)
        return [trial.number for trial in left]

    # --- reading ------------------------------------------------------------------------------------------------------

    def trials(self) -> "list[FrozenTrial]":
        """All trials, by number."""
        return self.study.get_trials(deepcopy=False)

    def finished(self) -> "list[FrozenTrial]":
        """Trials that are complete, pruned or failed."""
        return [trial for trial in self.trials() if trial.state.is_finished()]

    def best(self) -> "FrozenTrial | None":
        """The complete trial with the highest score, the first of equals; None if there is none."""
        complete = [trial for trial in self.trials() if trial.state.name == "COMPLETE"]
        return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)

    def close(self) -> None:
        """Disconnect from the database."""
        self.storage.remove_session()

    # --- writing ------------------------------------------------------------------------------------------------------

    def _is_left(self, trial: "FrozenTrial") -> bool:
        if trial.state.name != "RUNNING":
            return False
        owner = trial.user_attrs.get("driver")
        if owner is None and self.config.storage != JOURNAL:
            return trial.datetime_start is None or datetime.now() - trial.datetime_start > UNOWNED
        return owner in (None, self.driver)

    def _requeue(self, number: int) -> None:
        from optuna.trial import TrialState

        self.storage.set_trial_state_values(self._id_of(number), TrialState.WAITING)

    def _id_of(self, number: int) -> int:
        study = self.storage.get_study_id_from_name(self.name)
        return self.storage.get_trial_id_from_study_id_trial_number(study, number)

    def _fail(self, trial: "Trial | int", failure: str) -> None:
        number = trial if isinstance(trial, int) else trial.number
        self.storage.set_trial_user_attr(self._id_of(number), "failure", failure)
        self._tell(trial, "FAIL")

    def _tell(self, trial: "Trial | int", state: str, value: float | None = None) -> None:
        from optuna.trial import TrialState

        self.study.tell(trial, value, TrialState[state])


# --- Optuna -----------------------------------------------------------------------------------------------------------


def make_sampler(config: SweepConfig, number: int) -> "BaseSampler":
    """Return the sampler that draws a trial."""
    import optuna

    name, arguments = SAMPLERS[config.sampler]
    return getattr(optuna.samplers, name)(seed=1_000_003 * config.seed + number, **arguments)


def make_pruner(config: SweepConfig) -> "BasePruner":
    """Return the pruner of a sweep."""
    import optuna

    name, arguments = PRUNERS[config.pruner]
    if config.pruner == "hyperband":
        arguments = arguments | {"max_resource": config.evaluations}
    return getattr(optuna.pruners, name)(**arguments)


def open_storage(storage: str, folder: Path) -> "BaseStorage":
    """Open a journal or database; ValueError if it cannot be opened."""
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    logging.getLogger("alembic").setLevel(logging.WARNING)
    if storage == JOURNAL:
        path = folder / JOURNAL_FILE
        repair_journal(path)
        return JournalStorage(JournalFileBackend(str(path)))
    try:
        return RDBStorage(storage.replace("postgresql://", "postgresql+psycopg://", 1))
    except Exception as error:  # whatever a database's driver raises
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"storage={storage!r} cannot be opened ({reason:.200}); check the address") from error


def repair_journal(path: Path) -> None:
    """Remove an incomplete last line from a journal, and the lock of a killed writer."""
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if not path.exists():
        return
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        with path.open("r+b") as file:
            file.truncate(end)


def _driver_name(folder: Path) -> str:
    """Return the name by which this folder's driver marks its trials, created with the folder."""
    path = folder / DRIVER_FILE
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8").strip()
    name = uuid.uuid4().hex
    write_atomically(path, f"{name}\n".encode())
    return name
