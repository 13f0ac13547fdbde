"""The run folder: what one training run was told, where it stands and what came of it.

    runs/ppo-20260101-120000/
      config.json             every setting, as `agents.config.TrainConfig`
      versions.json           versions, commit and command of every session that worked on it
      metrics.jsonl           one line per evaluation or report: decisions, mph, losses, seconds
      checkpoints/            the last two checkpoints; training resumes from the newest
      best.safetensors        the network that drove best on tuning seeds, weights only
      evaluation/*.json       scores of the best network
      tensorboard/            for `tensorboard --logdir runs`

Files appear whole or not at all: each is written under another name, flushed to disk and moved. So a run that is killed
at any instant resumes from its newest checkpoint by the command that started it.

    >>> from agents.run import load_policy
    >>> policy = load_policy("runs/ppo-20260101-120000")     # drives: `deeptraffic evaluate`, `record`, `watch`
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from agents.config import TrainConfig, build_config, difference
from agents.export import make_policy, read_weights
from deeptraffic.policies.base import Policy
from deeptraffic.run_dir import UNFINISHED, lock_folder, versions, write_atomically, write_json

KEPT_CHECKPOINTS = 2
EXTENDABLE = {"total_timesteps"}  # the settings that may change when a run is resumed: a longer run of the same kind


class RunFolder:
    """One training run on disk.

    Args:
        path: of the folder
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_file = self.path / "config.json"
        self.versions_file = self.path / "versions.json"
        self.metrics_file = self.path / "metrics.jsonl"
        self.best_file = self.path / "best.safetensors"
        self.checkpoints = self.path / "checkpoints"
        self.evaluation = self.path / "evaluation"
        self.tensorboard = self.path / "tensorboard"

    # --- beginning and resuming -----------------------------------------------------------------------------------

    def check(self, config: TrainConfig) -> None:
        """Raise ValueError if this folder can neither hold a new run of this configuration nor holds one of it."""
        if self.config_file.exists():
            self._check_same(config)
        elif self.path.is_dir() and any(path.name != "checkpoints" for path in self.path.iterdir()):
            raise ValueError(f"folder {str(self.path)!r} holds files but no run; name an empty or a new folder")
        elif self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{str(self.path)!r} is a file; name a folder for the run")

    def begin(self, config: TrainConfig) -> None:
        """Write what the run is told and who works on it; to be called when checked and locked."""
        for folder in (self.checkpoints, self.evaluation):
            folder.mkdir(parents=True, exist_ok=True)
        for left_by_a_kill in self.path.rglob(f"{UNFINISHED}*"):
            left_by_a_kill.unlink()
        write_json(self.config_file, config.to_json())
        sessions = json.loads(self.versions_file.read_text()) if self.versions_file.exists() else []
        write_json(self.versions_file, [*sessions, versions()])

    def _check_same(self, config: TrainConfig) -> None:
        changed = difference(self.config(), config)
        refused = {name: values for name, values in changed.items() if name not in EXTENDABLE}
        if refused:
            listed = "; ".join(f"{name} was {old!r}, now {new!r}" for name, (old, new) in refused.items())
            raise ValueError(
                f"the run in {str(self.path)!r} has other settings ({listed}); "
                "resume it with its own, or name another folder for a new run"
            )

    def config(self) -> TrainConfig:
        """Read the run's configuration; ValueError if this is no run folder."""
        try:
            settings = json.loads(self.config_file.read_text(encoding="utf-8"))
            return build_config(settings["algo"], settings=settings)
        except OSError as error:
            raise ValueError(f"{str(self.path)!r} is no run folder: it has no readable config.json") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{str(self.config_file)!r} is damaged ({error}); train again in a new folder") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and keep other processes from training in it meanwhile; RuntimeError if one does."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        with lock_folder(self.path, self.checkpoints / ".lock"):
            yield

    # --- checkpoints ----------------------------------------------------------------------------------------------

    def save_checkpoint(self, decisions: int, content: bytes) -> Path:
        """Write a checkpoint, then remove those before the last two."""
        path = self.checkpoints / f"checkpoint-{decisions:015d}.pt"
        write_atomically(path, content)
        for old in self._checkpoint_files()[:-KEPT_CHECKPOINTS]:
            old.unlink(missing_ok=True)
        return path

    def newest_checkpoint(self) -> Path | None:
        """The checkpoint to resume from, None if there is none."""
        files = self._checkpoint_files()
        return files[-1] if files else None

    def _checkpoint_files(self) -> list[Path]:
        return sorted(self.checkpoints.glob("checkpoint-*.pt"))

    # --- metrics --------------------------------------------------------------------------------------------------

    def add_metrics(self, record: dict[str, Any]) -> None:
        """Append one line."""
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Read all whole lines; a kill may have cut the last one."""
        if not self.metrics_file.exists():
            return []
        records = []
        for line in self.metrics_file.read_text(encoding="utf-8").splitlines():
            with suppress(json.JSONDecodeError):
                records.append(json.loads(line))
        return records

    def forget_metrics_after(self, decisions: int) -> None:
        """Drop the lines that a resumed run will write again."""
        kept = [record for record in self.metrics() if record["decisions"] <= decisions]
        write_atomically(self.metrics_file, "".join(json.dumps(record) + "\n" for record in kept).encode())


def default_folder(name: str) -> Path:
    """A new folder for a run: runs/NAME-date-time."""
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def is_run_folder(path: str | Path) -> bool:
    """Whether a path is a run folder."""
    return RunFolder(path).config_file.is_file()


def load_policy(path: str | Path) -> Policy:
    """Return the best network of a run as a driver (`deeptraffic.policies.base.Policy`).

    Its `rules` and `other_agents` say what it was trained for, its `notes` when it was taken. Raises ValueError if
    there is no network yet.
    """
    run = RunFolder(path)
    config = run.config()
    if not run.best_file.exists():
        raise ValueError(f"the run in {str(path)!r} has no network yet; let it train until its first evaluation")
    weights, notes = read_weights(run.best_file)
    return make_policy(config, weights, f"{config.algo} {run.path.resolve().name}", notes)
