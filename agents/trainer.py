"""Trainer: trains in a run folder, with checkpoints, evaluations on tuning seeds, TensorBoard, progress and resuming.

    >>> from agents.settings import build_config
    >>> from agents.trainer import train
    >>> result = train(build_config("ppo", preset="quick"), "runs/first")
    >>> result.mean_mph                                 # of the best network, on tuning seeds

The same call on the same folder resumes. Interrupted by Ctrl-C or a kill signal it saves a checkpoint and raises
`Interrupted`; killed outright it resumes from the newest checkpoint, and the resumed run equals an uninterrupted one:
same weights, same metrics but for the seconds (on the CPU, with the same number of torch threads).

A checkpoint is data (`agents.checkpoint`), and a compiled learner trains without torch.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from agents.algorithm import Learner
from agents.checkpoint import pack_state, unpack_state
from agents.compiled.config import CompiledConfig
from agents.config import TrainConfig
from agents.progress import TrainingProgress
from agents.registry import ALGORITHMS
from agents.run import RunFolder
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.extras import absence
from deeptraffic.run_dir import Interrupted, Stop, stop_requests, write_atomically

if TYPE_CHECKING:
    from agents.event_log import EventLog

REPORTS = 500  # approximate number of lines of metrics of a whole training


@dataclass(frozen=True)
class TrainResult:
    """Result of a finished training.

    folder: of the run
    backend: that trained, "compiled" or "torch"; "" of an algorithm that has no choice
    decisions: of training
    mean_mph, median_mph: of the run's network on tuning seeds; None if none was evaluated
    best_at: decisions after which that network was taken
    seconds, cpu_seconds: of training and its evaluations, all sessions together
    """

    folder: Path
    backend: str
    decisions: int
    mean_mph: float | None
    median_mph: float | None
    best_at: int
    seconds: float
    cpu_seconds: float

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "folder": str(self.folder),
            "backend": self.backend,
            "decisions": self.decisions,
            "tuning_mean_mph": self.mean_mph,
            "tuning_median_mph": self.median_mph,
            "best_at": self.best_at,
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
        }


def train(config: TrainConfig, folder: str | Path, console: Console | None = None) -> TrainResult:
    """Train in a new or an existing run folder and return the result.

    console: for progress; None for standard error

    Raises ValueError if the folder is no run of this configuration, RuntimeError if another process trains in it or the
    weights diverge, Interrupted after a signal.
    """
    run = RunFolder(folder)
    run.check(config)
    with torch_set_up(config), run.locked(), stop_requests() as stop:
        learner = make_learner(config, is_new=run.newest_checkpoint() is None)  # whose errors come before any file
        run.begin(config)
        trainer = Trainer(run, config, learner, stop)
        trainer.resume()
        with TrainingProgress(config.total_timesteps, trainer.learner.decisions, console) as progress:
            if lack := absence("tensorboard"):
                progress.print(f"Metrics go to {run.metrics_file} alone: {lack}")
            trainer.train(progress)
    return trainer.result()


def make_learner(config: TrainConfig, is_new: bool = True) -> Learner:
    """Return the learner of a run; is_new: whether training begins, otherwise a state will be restored."""
    init_policy = None
    if config.init and is_new:
        from agents.warm_start import load_init

        init_policy = load_init(config.init)
    return ALGORITHMS[config.algo].load().learner(config, init_policy, is_new)


def restore_checkpoint(path: Path, learner: Learner) -> dict[str, Any]:
    """Bring a new learner to a checkpoint and return its notes; ValueError if it is damaged or of another network."""
    try:
        saved = unpack_state(path)
        learner.restore(saved["learner"])
        return saved["notes"]
    except Exception as error:  # torch raises many types for a state of another network
        raise ValueError(
            f"checkpoint {str(path)!r} cannot be read ({str(error).splitlines()[0]:.200}); "
            "delete it to resume from the one before, or train in a new folder"
        ) from error


@contextmanager
def torch_set_up(config: TrainConfig) -> Iterator[None]:
    """Let torch, where it trains the run, use the run's CPU threads meanwhile; ValueError without the GPU asked for."""
    if not config.agent.uses_torch:
        yield
        return
    import torch

    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda': torch finds no GPU here; use device=cpu, which small networks train faster on")
    with torch_threads(config.torch_threads):
        yield


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use this many CPU threads meanwhile."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Trainer:
    """Trains a learner: reports, evaluates, keeps the best network, writes checkpoints, and stops when asked to.

    All of it happens between two rounds, at decision counts that depend on the configuration alone, so that a resumed
    run does it where an uninterrupted one does.
    """

    def __init__(self, run: RunFolder, config: TrainConfig, learner: Learner, stop: Stop) -> None:
        self.run, self.config, self.learner, self.stop = run, config, learner, stop
        self.keeps_newest = ALGORITHMS[config.algo].load().keeps_newest
        self.logger: EventLog | None = None
        self.progress: TrainingProgress | None = None
        self.notes: dict[str, Any] = {"best_mean": None, "best_median": None, "best_at": 0, "last": 0}
        self.notes |= {"seconds": 0.0, "cpu_seconds": 0.0}
        self.clock, self.cpu_clock = time.perf_counter(), time.process_time()

    def resume(self) -> None:
        """Continue from the newest checkpoint, if there is one; ValueError if it is damaged or of another network."""
        checkpoint = self.run.newest_checkpoint()
        if checkpoint:
            self.notes = restore_checkpoint(checkpoint, self.learner)
        self.run.truncate_metrics(self.learner.decisions)

    def train(self, progress: TrainingProgress | None = None) -> None:
        """Train to the end."""
        self.progress = progress
        if self.learner.decisions >= self.config.total_timesteps:
            return
        if self.config.evaluation_runs and not self.learner.decisions:
            self._save_snapshot(0)
        if not absence("tensorboard"):
            from agents.event_log import EventLog

            self.logger = EventLog(self.run.tensorboard, self.config)
        try:
            self.learner.learn(self.config.total_timesteps, self.between_rounds, self.logger)
        finally:
            if self.logger:
                self.logger.close()

    def result(self) -> TrainResult:
        """Return the result so far."""
        notes = self._timed_notes()
        scores = (notes["best_mean"], notes["best_median"], notes["best_at"])
        backend = self.config.agent.backend if isinstance(self.config.agent, CompiledConfig) else ""
        return TrainResult(self.run.path, backend, notes["last"], *scores, notes["seconds"], notes["cpu_seconds"])

    # --- between two rounds -------------------------------------------------------------------------------------------

    def between_rounds(self) -> None:
        """Do what is due at this count of decisions; raise Interrupted, with a checkpoint saved, if asked to stop."""
        config, decisions, last = self.config, self.learner.decisions, self.notes["last"]
        at_end = decisions >= config.total_timesteps
        self.notes["last"] = decisions
        if at_end or crosses(last, decisions, max(1, config.total_timesteps // REPORTS)):
            self._report(decisions)
        if config.evaluation_runs and (at_end or crosses(last, decisions, config.evaluate_every)):
            self._evaluate(decisions)
        if at_end or crosses(last, decisions, config.checkpoint_every):
            self._save(decisions)
        if self.stop.requested and not at_end:
            self._save(decisions)
            raise Interrupted(
                f"stopped after {decisions:,} of {config.total_timesteps:,} decisions; "
                f"the same command resumes from there (run folder {self.run.path})"
            )

    def _report(self, decisions: int) -> None:
        metrics = self.learner.metrics()
        if metrics:
            if self.progress:
                self.progress.advance(decisions, metrics.get("train_mph"))
            self._record(decisions, "rollout", metrics)

    def _evaluate(self, decisions: int) -> None:
        """Score the network on tuning seeds; keep it if its mean is the best so far."""
        policy = self.learner.policy(f"{self.config.algo} at {decisions}", {})
        score = evaluate_open(policy, self.config.road, runs=self.config.evaluation_runs)
        mean, median = score.mean_mph, score.median_mph
        is_best = self.notes["best_mean"] is None or mean > self.notes["best_mean"]
        if is_best or self.keeps_newest:
            self.notes |= {"best_mean": mean, "best_median": median, "best_at": decisions}
            self._keep_network(decisions, {"tuning_mean_mph": f"{mean:.3f}", "tuning_median_mph": f"{median:.3f}"})
        self._save_snapshot(decisions)
        if self.progress:
            self.progress.report(decisions, mean, median, is_best and not self.keeps_newest)
        self._record(decisions, "evaluation", {"tuning_mean_mph": mean, "tuning_median_mph": median})
        if self.logger:
            number, at_end = decisions // self.config.evaluate_every, decisions >= self.config.total_timesteps
            with_video = at_end or (number >= 4 and number & (number - 1) == 0)  # half a second each
            self.logger.add_evaluation(policy, decisions, with_video)

    def _save_snapshot(self, decisions: int) -> None:
        """Keep the network of this moment for a film of the training."""
        label, facts = f"{self.config.algo} at {decisions:,}", {"decisions": str(decisions)}
        self.run.save_snapshot(decisions, self.learner.content(label, facts))

    def _save(self, decisions: int) -> None:
        """Write a checkpoint, and the network where none is chosen by evaluations."""
        if self.keeps_newest or not self.config.evaluation_runs:
            self.notes["best_at"] = decisions
            self._keep_network(decisions, {})
        state = {"learner": self.learner.state(), "notes": self._timed_notes()}
        self.run.save_checkpoint(decisions, pack_state(state))

    def _keep_network(self, decisions: int, facts: dict[str, str]) -> None:
        label = f"{self.config.algo} {self.run.path.resolve().name}"
        content = self.learner.content(label, {"decisions": str(decisions), **facts})
        write_atomically(self.run.best_file, content)

    def _record(self, decisions: int, kind: str, values: dict[str, float]) -> None:
        """Add a line to the metrics and to TensorBoard."""
        notes = self._timed_notes()
        times = {name: round(notes[name], 3) for name in ("seconds", "cpu_seconds")}
        rounded = {name: round(value, 4) for name, value in values.items()}
        self.run.add_metrics({"decisions": decisions, **rounded, **times})
        if self.logger:
            for name, value in values.items():
                self.logger.record(f"{kind}/{name}", value)
            self.logger.dump(decisions)

    def _timed_notes(self) -> dict[str, Any]:
        """Return the notes with the time spent until now."""
        now, cpu_now = time.perf_counter(), time.process_time()
        self.notes["seconds"] += now - self.clock
        self.notes["cpu_seconds"] += cpu_now - self.cpu_clock
        self.clock, self.cpu_clock = now, cpu_now
        return dict(self.notes)


def crosses(before: int, now: int, every: int) -> bool:
    """Return whether counting from `before` to `now` passes or reaches a multiple of `every`."""
    return now // every > before // every
