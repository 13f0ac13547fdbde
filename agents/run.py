"""Run folder of one training: configuration, checkpoints, metrics and the network.

    runs/ppo-20260101-120000/
      config.json             every setting, as `agents.config.TrainConfig`
      versions.json           versions, commit and command of every session that trained in it
      metrics.jsonl           one line per evaluation or report: decisions, mph, losses, seconds
      checkpoints/            the last two checkpoints; training resumes from the newest
      best.safetensors        the network that scored best on tuning seeds, weights only
      snapshots/              networks before the training and at evaluations, up to 16 evenly spread, for a film of it
      evaluation/*.json       scores of the best network
      tensorboard/            for `tensorboard --logdir runs`

Files appear whole or not at all: each is written under another name, flushed to disk and moved. So a run that is killed
at any instant resumes from its newest checkpoint by the command that started it.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from agents.config import TrainConfig
from agents.settings import build_config, difference, resolve_key
from deeptraffic.run_dir import UNFINISHED, lock_folder, versions, write_atomically, write_json
from deeptraffic.settings import Settings, flatten, parse_setting

KEPT_CHECKPOINTS, KEPT_SNAPSHOTS = 2, 16
SNAPSHOTS = "snapshots"
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
        self.snapshots = self.path / SNAPSHOTS
        self.evaluation = self.path / "evaluation"
        self.tensorboard = self.path / "tensorboard"

    # --- starting and resuming -----------------------------------------------------------------------------------

    def check(self, config: TrainConfig) -> None:
        """Raise ValueError if this folder can neither hold a new run of this configuration nor holds one of it."""
        if self.config_file.exists():
            self._check_same(config)
        elif self.path.is_dir() and any(path.name != "checkpoints" for path in self.path.iterdir()):
            raise ValueError(f"folder {str(self.path)!r} holds files but no run; name an empty or a new folder")
        elif self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{str(self.path)!r} is a file; name a folder for the run")

    def begin(self, config: TrainConfig) -> None:
        """Write the configuration and the versions; to be called when checked and locked."""
        for folder in (self.checkpoints, self.snapshots, self.evaluation):
            folder.mkdir(parents=True, exist_ok=True)
        for left_by_a_kill in self.path.rglob(f"{UNFINISHED}*"):
            left_by_a_kill.unlink()
        write_json(self.config_file, config.to_json())
        sessions = json.loads(self.versions_file.read_text(encoding="utf-8")) if self.versions_file.exists() else []
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

    def settings(self) -> dict[str, Any]:
        """Read the run's settings, nested as in `TrainConfig.to_json`; ValueError if this is no run folder."""
        try:
            settings = json.loads(self.config_file.read_text(encoding="utf-8"))
            if not isinstance(settings, dict) or "algo" not in settings:
                raise ValueError("it names no algorithm")
        except OSError as error:
            raise ValueError(f"{str(self.path)!r} is no run folder: it has no readable config.json") from error
        except ValueError as error:
            raise self._damaged(error) from error
        return settings

    def config(self) -> TrainConfig:
        """Read the run's configuration; ValueError if this is no run folder."""
        settings = self.settings()
        try:
            return build_config(settings["algo"], settings=settings)
        except (ValueError, TypeError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> ValueError:
        return ValueError(f"{str(self.config_file)!r} is damaged ({error}); train again in a new folder")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and keep other processes from training in it meanwhile; RuntimeError if one does."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        with lock_folder(self.path, self.checkpoints / ".lock"):
            yield

    # --- checkpoints ----------------------------------------------------------------------------------------------

    def save_checkpoint(self, decisions: int, content: bytes) -> Path:
        """Write a checkpoint, then remove all but the last two."""
        path = self.checkpoints / f"checkpoint-{decisions:015d}.safetensors"
        write_atomically(path, content)
        for old in self._checkpoint_files()[:-KEPT_CHECKPOINTS]:
            old.unlink(missing_ok=True)
        return path

    def newest_checkpoint(self) -> Path | None:
        """The checkpoint to resume from, None if there is none."""
        files = self._checkpoint_files()
        return files[-1] if files else None

    def _checkpoint_files(self) -> list[Path]:
        return sorted(self.checkpoints.glob("checkpoint-*"))

    def save_snapshot(self, decisions: int, content: bytes) -> None:
        """Write the network of a moment; of more than KEPT_SNAPSHOTS, remove the one nearest to its neighbours."""
        self.snapshots.mkdir(exist_ok=True)
        write_atomically(self.snapshots / f"{decisions:012d}.safetensors", content)
        files = self.snapshot_files()
        if len(files) > KEPT_SNAPSHOTS:
            at = [int(file.stem) for file in files]
            nearest = min(range(1, len(at) - 1), key=lambda k: at[k + 1] - at[k - 1])
            files[nearest].unlink(missing_ok=True)

    def snapshot_files(self) -> list[Path]:
        """The networks of the first moment and of evaluations, in the order of training."""
        return sorted(self.snapshots.glob("*.safetensors"))

    # --- metrics --------------------------------------------------------------------------------------------------

    def add_metrics(self, record: dict[str, Any]) -> None:
        """Append one line."""
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Read all whole lines; a kill may have truncated the last one."""
        if not self.metrics_file.exists():
            return []
        records = []
        for line in self.metrics_file.read_text(encoding="utf-8").splitlines():
            with suppress(json.JSONDecodeError):
                records.append(json.loads(line))
        return records

    def truncate_metrics(self, decisions: int) -> None:
        """Drop the lines after this decision, which a resumed run writes again."""
        kept = [record for record in self.metrics() if record["decisions"] <= decisions]
        write_atomically(self.metrics_file, "".join(json.dumps(record) + "\n" for record in kept).encode())


def default_folder(name: str) -> Path:
    """A new folder for a run: runs/NAME-date-time."""
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def is_run_folder(path: str | Path) -> bool:
    """Whether a path is a run folder."""
    return RunFolder(path).config_file.is_file()


def configure(
    algo: str,
    folder: Path,
    preset: str | None = None,
    config_file: Path | None = None,
    settings: Iterable[str] | Settings = (),
) -> TrainConfig:
    """Return a run's configuration: a new one, or that of the run in the folder with these settings changed.

    Settings win over the config file, that over the preset, that over the algorithm's defaults. Raises ValueError for
    whatever is unknown or impossible, or if the folder holds a run of another algorithm.
    """
    given = settings if isinstance(settings, Mapping) else dict(parse_setting(setting) for setting in settings)
    if not is_run_folder(folder) or preset or config_file:
        return build_config(algo, preset, config_file, given)
    existing = RunFolder(folder).config()
    if existing.algo != algo:
        raise ValueError(f"the run in {str(folder)!r} trains {existing.algo}, not {algo}; name another folder")
    changed = {resolve_key(algo, key): value for key, value in given.items()}
    return build_config(algo, settings={**dict(flatten(existing.to_json())), **changed})
