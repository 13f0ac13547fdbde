"""deepqlearn in a run folder: `deeptraffic train deepqlearn --preset mit-basic`, resumable, evaluated at the end.

    >>> from agents.deepqlearn_config import build_deepqlearn_config
    >>> from agents.deepqlearn_run import train
    >>> train(build_deepqlearn_config("mit-basic"), "runs/basic").mean_mph      # of the last network, on tuning seeds

The folder is that of `agents/run.py`. Its `best.safetensors` is a policy file of the newest network: like the original,
deepqlearn drives by what it has learned last.
"""

import io
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from agents.deepqlearn import BlockReport, DeepQLearn
from agents.deepqlearn_config import DeepQLearnConfig, build_deepqlearn_config
from agents.progress import TrainingProgress
from agents.run import RunFolder, default_folder, is_run_folder
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.policies.file import policy_content, read_policy
from deeptraffic.policies.network_policy import NetworkPolicy
from deeptraffic.run_dir import Interrupted, Stop, stop_requests, write_atomically
from deeptraffic.settings import parse_setting, read_settings

if TYPE_CHECKING:
    from agents.training import TrainResult


class DeepQLearnRun(RunFolder):
    """A run folder whose configuration is a `DeepQLearnConfig`."""

    def config(self) -> DeepQLearnConfig:  # type: ignore[override]
        """Read the run's configuration; ValueError if this is no run folder of deepqlearn."""
        try:
            return build_deepqlearn_config("mit-basic", json.loads(self.config_file.read_text(encoding="utf-8")))
        except OSError as error:
            raise ValueError(f"{str(self.path)!r} is no run folder: it has no readable config.json") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{str(self.config_file)!r} is damaged ({error}); train again in a new folder") from error


def load_policy(path: str | Path) -> NetworkPolicy:
    """Return the newest network of a run as a driver; ValueError if there is none yet."""
    run = DeepQLearnRun(path)
    run.config()
    if not run.best_file.exists():
        raise ValueError(f"the run in {str(path)!r} has no network yet; let it train until its first checkpoint")
    return read_policy(run.best_file).policy()


# --- the command line -------------------------------------------------------------------------------------------------


def train_command(
    typed: Mapping[str, Any],
    config_file: Path | None = None,
    settings: Sequence[str] = (),
    preset: str | None = None,
    output: Path | None = None,
    console: Console | None = None,
) -> "TrainResult":
    """Train, or go on training, as typed: what is typed wins over the config file, that over the preset.

    typed: settings by name that were given as options, None where they were not. On a folder that holds a run already,
    what is not typed is that of the run. Errors are those of `train`.
    """
    given = {name: value for name, value in typed.items() if value is not None}
    given |= dict(parse_setting(setting) for setting in settings)
    folder = output or default_folder("deepqlearn")
    if is_run_folder(folder) and not preset and not config_file:
        begun = DeepQLearnRun(folder).config().to_json()
        return train(build_deepqlearn_config("mit-basic", begun, given), folder, console)
    from_file = read_settings(config_file) if config_file else {}
    return train(build_deepqlearn_config(preset or "mit-basic", from_file, given), folder, console)


def train(config: DeepQLearnConfig, folder: str | Path, console: Console | None = None) -> "TrainResult":
    """Train in a folder, new or begun before, and return what came of it.

    console: for progress; None for standard error

    Raises ValueError if the folder is no run of this configuration, RuntimeError if another process trains in it or the
    weights diverge, `deeptraffic.run_dir.Interrupted` after a signal.
    """
    run = DeepQLearnRun(folder)
    run.check(config)  # type: ignore[arg-type]
    with run.locked(), stop_requests() as stop:
        run.begin(config)  # type: ignore[arg-type]
        trainer = Trainer(run, config, stop)
        trainer.take_up()
        with TrainingProgress(config.iterations, trainer.learner.decisions, console) as progress:
            trainer.progress = progress
            trainer.learner.train(trainer.on_block)
    return trainer.result()


class Trainer:
    """Watches a learner: metrics, checkpoints, an evaluation at the end, and stopping when asked to."""

    def __init__(self, run: RunFolder, config: DeepQLearnConfig, stop: Stop) -> None:
        self.run, self.config, self.stop = run, config, stop
        self.learner = DeepQLearn(config)
        self.progress: TrainingProgress | None = None
        self.notes: dict[str, Any] = {"mean": None, "median": None, "last": 0, "seconds": 0.0, "cpu_seconds": 0.0}
        self.clock, self.cpu_clock = time.perf_counter(), time.process_time()

    def take_up(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        checkpoint = self.run.newest_checkpoint()
        if checkpoint:
            self.notes = restore_checkpoint(checkpoint, self.learner)
        self.run.forget_metrics_after(self.learner.decisions)

    def on_block(self, report: BlockReport) -> None:
        """Note a block of training; save where it is time to, or where a stop was asked for."""
        config, decisions = self.config, report.decisions
        if self.progress:
            self.progress.advance(decisions, report.mean_mph)
        numbers = {"train_mph": report.mean_mph, "loss": report.loss, "epsilon": report.epsilon}
        self._note(decisions, {name: value for name, value in numbers.items() if not math.isnan(value)})
        is_last = decisions == config.iterations
        is_due = decisions // config.checkpoint_every > self.notes["last"] // config.checkpoint_every
        self.notes["last"] = decisions
        if is_last and config.evaluation_runs:
            self._evaluate(decisions)
        if is_last or is_due or self.stop.requested:
            self._save(decisions)
        if self.stop.requested and not is_last:
            raise Interrupted(
                f"stopped after {decisions:,} of {config.iterations:,} decisions; "
                f"the same command goes on from there (run folder {self.run.path})"
            )

    def result(self) -> "TrainResult":
        """Return what came of it so far."""
        from agents.training import TrainResult

        notes, decisions = self._timed_notes(), self.learner.decisions
        scores = (notes["mean"], notes["median"], decisions)
        return TrainResult(self.run.path, decisions, *scores, notes["seconds"], notes["cpu_seconds"])

    def _evaluate(self, decisions: int) -> None:
        """Drive open runs on tuning seeds."""
        policy = self.learner.export().policy()
        score = evaluate_open(policy, self.config.road, runs=self.config.evaluation_runs)
        self.notes |= {"mean": score.mean_mph, "median": score.median_mph}
        if self.progress:
            self.progress.report(decisions, score.mean_mph, score.median_mph, is_best=False)
        self._note(decisions, {"tuning_mean_mph": score.mean_mph, "tuning_median_mph": score.median_mph})

    def _save(self, decisions: int) -> None:
        label = f"deepqlearn {self.run.path.resolve().name}"[:100]
        write_atomically(self.run.best_file, policy_content(self.learner.export(label)))
        self.run.save_checkpoint(decisions, checkpoint_content(self.learner, self._timed_notes()))

    def _note(self, decisions: int, numbers: dict[str, float]) -> None:
        notes = self._timed_notes()
        times = {name: round(notes[name], 3) for name in ("seconds", "cpu_seconds")}
        rounded = {name: round(value, 4) for name, value in numbers.items()}
        self.run.add_metrics({"decisions": decisions, **rounded, **times})

    def _timed_notes(self) -> dict[str, Any]:
        """Return the notes with the time spent until now."""
        now, cpu_now = time.perf_counter(), time.process_time()
        self.notes["seconds"] += now - self.clock
        self.notes["cpu_seconds"] += cpu_now - self.cpu_clock
        self.clock, self.cpu_clock = now, cpu_now
        return dict(self.notes)


# --- checkpoints ------------------------------------------------------------------------------------------------------


def checkpoint_content(learner: DeepQLearn, notes: dict[str, Any]) -> bytes:
    """Return a checkpoint, numbers and text alone, as `agents/checkpoint.py` writes them; notes: JSON values."""
    import torch

    file = io.BytesIO()
    arrays = {name: torch.from_numpy(array) for name, array in learner.state().items()}
    torch.save({"arrays": arrays, "notes": json.dumps(notes)}, file)
    return file.getvalue()


def restore_checkpoint(path: Path, learner: DeepQLearn) -> dict[str, Any]:
    """Bring a fresh learner to where a checkpoint was taken and return its notes; ValueError if it is damaged."""
    import torch

    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        learner.restore({name: tensor.numpy() for name, tensor in saved["arrays"].items()})
        return json.loads(saved["notes"])
    except Exception as error:  # whatever a damaged file makes torch raise
        raise ValueError(
            f"checkpoint {str(path)!r} cannot be read ({str(error).splitlines()[0]:.200}); "
            "delete it to resume from the one before, or train in a new folder"
        ) from error
