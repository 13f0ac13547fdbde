"""The book of a sweep's trials: an Optuna study that survives kills, with each trial in it exactly once.

One driver works on a sweep's folder at a time and alone writes here; workers only compute. Trial n is drawn with a seed
of its own, so that a resumed sweep draws what an undisturbed one would (TPE: given the same results before it). A trial
that was running when its driver was killed goes back to waiting, under its number and with what was drawn for it.
Several drivers, each with a folder of its own, may share a database: each takes back only its own trials.
"""

import contextlib
import logging
import uuid
import warnings
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.study.config import JOURNAL, SweepConfig
from agents.study.samplers import PRUNERS, SAMPLERS
from agents.study.trial import TrialResult
from deeptraffic.run_dir import write_atomically

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

JOURNAL_FILE, DRIVER_FILE = "journal.log", "driver.txt"
ATTEMPTS = 3  # deaths of a trial's process after which it is given up
UNOWNED = timedelta(minutes=1)  # after which a trial in a shared database that names no driver was left by a kill
MAY_CHANGE = {"trials", "reporting_runs", "storage", "name"}  # settings with which a sweep may be resumed


class TrialBook:
    """All trials of a sweep.

    Args:
        config: of the sweep
        folder: of the sweep, locked by the caller

    Raises ValueError if the storage holds a sweep of this name with other settings, or cannot be reached.
    """

    def __init__(self, config: SweepConfig, folder: Path) -> None:
        self.config = config
        self.name = config.name or folder.resolve().name
        self.driver = _driver_name(folder)
        self.storage = open_storage(config.storage, folder)
        self.study = self._open_study()
        self.asked: dict[int, Trial] = {}  # running trials of this driver, by number
        self.distributions: dict[str, Any] = {}
        for parameter in config.space:
            self.distributions |= parameter.distributions()

    def _open_study(self) -> "optuna.Study":
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        pruner = PRUNERS[self.config.pruner](self.config.evaluations)
        study = optuna.create_study(
            storage=self.storage, study_name=self.name, direction="maximize", pruner=pruner, load_if_exists=True
        )
        told = self.config.to_json()
        before = study.user_attrs.get("config", told)
        changed = [name for name in told if name not in MAY_CHANGE and before.get(name) != told[name]]
        if changed:
            listed = "; ".join(f"{name} was {before.get(name)!r}, now {told[name]!r}" for name in changed)
            raise ValueError(
                f"the sweep {self.name!r} was begun with other settings ({listed}); "
                "resume it with its own, or name another folder for a new sweep"
            )
        study.set_user_attr("config", told)
        return study

    # --- trials in and out --------------------------------------------------------------------------------------------

    def propose(self) -> tuple[int, dict[str, Any]] | None:
        """Return (number, what was drawn) of the next trial, which runs from now on; None if there are enough."""
        trials = self.study.get_trials(deepcopy=False)
        waiting = [trial.number for trial in trials if trial.state.name == "WAITING"]
        if not waiting and len(trials) >= self.config.trials_in_all:
            return None
        number = min(waiting, default=len(trials))
        if self.config.sampler == "grid" and not waiting:
            self.study.enqueue_trial(self.config.grid()[number])
        self.study.sampler = SAMPLERS[self.config.sampler](1_000_003 * self.config.seed + number)
        trial = self.study.ask(self.distributions)
        trial.set_user_attr("driver", self.driver)
        trial.set_user_attr("attempts", trial.user_attrs.get("attempts", 0) + 1)
        self.asked[trial.number] = trial
        return trial.number, dict(trial.params)

    def report(self, number: int, step: int, score: float) -> bool:
        """Note an evaluation on the way; return whether the pruner stops the trial."""
        trial = self.asked[number]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a trial that runs a second time reports the same again
            trial.report(score, step)
        return bool(trial.should_prune())

    def finish(self, number: int, result: TrialResult) -> None:
        """Note what a trial came to; it is finished from now on, whatever happens."""
        trial = self.asked.pop(number)
        trial.set_user_attr("facts", result.facts)
        if result.failure:
            self._fail(trial, result.failure)
        elif result.stopped:
            self._tell(trial, "PRUNED")
        else:
            self._tell(trial, "COMPLETE", result.score)

    def died(self, number: int, reason: str) -> bool:
        """Note that a trial's process is gone; return whether it will run again."""
        trial = self.asked.pop(number)
        if trial.user_attrs["attempts"] >= ATTEMPTS:
            self._fail(trial, f"{ATTEMPTS} attempts: {reason}")
            return False
        self._wait_again(number)
        return True

    def release(self) -> None:
        """Put back all trials of this driver that are running, because it was asked to stop."""
        for number, trial in self.asked.items():
            trial.set_user_attr("attempts", trial.user_attrs["attempts"] - 1)
            self._wait_again(number)
        self.asked = {}

    def take_back(self) -> list[int]:
        """Put back the trials that a killed driver of this folder left running; return their numbers."""
        left = [trial for trial in self.study.get_trials(deepcopy=False) if self._is_left(trial)]
        for trial in left:
            if trial.user_attrs.get("attempts", 0) >= ATTEMPTS:
                self._fail(trial.number, f"{ATTEMPTS} attempts: the sweep was killed each time")
            else:
                self._wait_again(trial.number)
        return [trial.number for trial in left]

    # --- reading ------------------------------------------------------------------------------------------------------

    def trials(self) -> "list[FrozenTrial]":
        """All trials, by number."""
        return self.study.get_trials(deepcopy=False)

    def finished(self) -> "list[FrozenTrial]":
        """Those that are complete, stopped by the pruner, or failed."""
        return [trial for trial in self.trials() if trial.state.is_finished()]

    def best(self) -> "FrozenTrial | None":
        """The complete trial of the highest score, the first of equals; None if there is none."""
        complete = [trial for trial in self.trials() if trial.state.name == "COMPLETE"]
        return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)

    def close(self) -> None:
        """Let go of the database."""
        self.storage.remove_session()

    # --- writing ------------------------------------------------------------------------------------------------------

    def _is_left(self, trial: "FrozenTrial") -> bool:
        if trial.state.name != "RUNNING":
            return False
        owner = trial.user_attrs.get("driver")
        if owner is None and self.config.storage != JOURNAL:
            return trial.datetime_start is None or datetime.now() - trial.datetime_start > UNOWNED
        return owner in (None, self.driver)

    def _wait_again(self, number: int) -> None:
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


# --- storage ----------------------------------------------------------------------------------------------------------


def open_storage(storage: str, folder: Path) -> "BaseStorage":
    """Open a sweep's storage; ValueError if there is no such database."""
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    logging.getLogger("alembic").setLevel(logging.WARNING)
    if storage == JOURNAL:
        path = folder / JOURNAL_FILE
        mend_journal(path)
        return JournalStorage(JournalFileBackend(str(path)))
    try:
        return RDBStorage(storage.replace("postgresql://", "postgresql+psycopg://", 1))
    except Exception as error:  # whatever a database's driver raises
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"storage={storage!r} cannot be opened ({reason:.200}); check the address") from error


def mend_journal(path: Path) -> None:
    """Cut off the last line of a journal if a kill cut it, and remove the lock that a killed writer left."""
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)


def _driver_name(folder: Path) -> str:
    """Return the name by which this folder's driver marks its trials, made when the folder is new."""
    path = folder / DRIVER_FILE
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8").strip()
    name = uuid.uuid4().hex
    write_atomically(path, f"{name}\n".encode())
    return name
