"""Training in a run folder: checkpoints, evaluations on tuning seeds, TensorBoard, progress, and going on after a kill.

    >>> from agents.config import build_config
    >>> from agents.training import train
    >>> result = train(build_config("ppo", preset="quick"), "runs/first")
    >>> result.mean_mph                                 # of the best network, on tuning seeds

The same call on the same folder resumes. Interrupted by Ctrl-C or a kill signal it saves a checkpoint and raises
`Interrupted`; killed outright it resumes from the newest checkpoint, and the resumed run equals an
uninterrupted one: same weights, same metrics but for the seconds (on the CPU, with the same number of torch threads).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure

from agents.checkpoint import checkpoint_content, restore_checkpoint
from agents.config import TrainConfig
from agents.export import make_policy, weights_content
from agents.progress import TrainingProgress
from agents.run import RunFolder
from agents.sb3 import make_games, make_model, network_weights
from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.policies.base import Policy
from deeptraffic.run_dir import Interrupted, Stop, stop_requests, write_atomically

REPORTS = 500  # lines of metrics that a whole training writes, about


@dataclass(frozen=True)
class TrainResult:
    """What a finished training left behind.

    folder: of the run
    decisions: of training
    mean_mph, median_mph: of the best network on tuning seeds; None if none was evaluated
    best_at: decisions after which the best network was taken
    seconds, cpu_seconds: of training and its evaluations, all sessions together
    """

    folder: Path
    decisions: int
    mean_mph: float | None
    median_mph: float | None
    best_at: int
    seconds: float
    cpu_seconds: float


def train(config: TrainConfig, folder: str | Path, console: Console | None = None) -> TrainResult:
    """Train in a folder, new or begun before, and return what came of it.

    console: for progress; None for standard error

    Raises ValueError if the folder is no run of this configuration, RuntimeError if another process trains in it,
    Interrupted after a signal.
    """
    run = RunFolder(folder)
    run.check(config)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda': torch finds no GPU here; use device=cpu, which small networks train faster on")
    with run.locked(), torch_threads(config.torch_threads), stop_requests() as stop:
        run.begin(config)
        env = make_games(config)
        model = make_model(config, env, is_new=run.newest_checkpoint() is None)
        trainer = Trainer(run, config, env, stop)
        trainer.take_up(model)
        with TrainingProgress(config.total_timesteps, model.num_timesteps, console) as progress:
            trainer.progress = progress
            _learn(model, trainer, config)
    return trainer.result()


def _learn(model: BaseAlgorithm, trainer: "Trainer", config: TrainConfig) -> None:
    left = config.total_timesteps - model.num_timesteps
    if left <= 0:
        return
    model.set_logger(configure(str(trainer.run.tensorboard), ["tensorboard"]))
    is_new = model.num_timesteps == 0
    try:  # the trainer writes the log: log_interval None
        model.learn(left, trainer, log_interval=None, reset_num_timesteps=is_new)  # type: ignore[arg-type]
    finally:
        model.logger.close()


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use this many CPU threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Trainer(BaseCallback):
    """Watches a model learn: reports, evaluates, keeps the best network, writes checkpoints, stops when asked to.

    All of it happens between an update and the next rollout, at decision counts that depend on the configuration alone,
    so that a resumed run does it where an uninterrupted one does.
    """

    def __init__(self, run: RunFolder, config: TrainConfig, env: DeepTrafficVecEnv, stop: Stop) -> None:
        super().__init__()
        self.run, self.config, self.env, self.stop = run, config, env, stop
        self.progress: TrainingProgress | None = None
        self.notes: dict[str, Any] = {"best_mean": None, "best_median": None, "best_at": 0}
        self.notes |= {"seconds": 0.0, "cpu_seconds": 0.0, "last": 0, "speed_sum": 0.0, "speed_count": 0}
        self.clock, self.cpu_clock = time.perf_counter(), time.process_time()

    def take_up(self, model: BaseAlgorithm) -> None:
        """Go on from the newest checkpoint, if there is one."""
        checkpoint = self.run.newest_checkpoint()
        if checkpoint:
            self.notes = restore_checkpoint(checkpoint, model, self.env)
        self.run.forget_metrics_after(model.num_timesteps)

    def result(self) -> TrainResult:
        """Return what came of it so far."""
        notes = self._timed_notes()
        scores = (notes["best_mean"], notes["best_median"], notes["best_at"])
        return TrainResult(self.run.path, notes["last"], *scores, notes["seconds"], notes["cpu_seconds"])

    # --- SB3 calls these ------------------------------------------------------------------------------------------

    def _on_step(self) -> bool:
        going_on = ~self.locals["dones"]  # the report of a game that ended is of its next run
        self.notes["speed_sum"] += float(self.env.batch.mean_speed_mph()[going_on].sum())
        self.notes["speed_count"] += int(going_on.sum())
        return True

    def _on_rollout_start(self) -> None:
        self._tend(self.model.num_timesteps)

    def _on_training_end(self) -> None:
        self._tend(self.model.num_timesteps, at_end=True)

    # --- between two rollouts -------------------------------------------------------------------------------------

    def _tend(self, decisions: int, at_end: bool = False) -> None:
        config, last = self.config, self.notes["last"]
        self.notes["last"] = decisions
        if at_end or crosses(last, decisions, max(1, config.total_timesteps // REPORTS)):
            self._report(decisions)
        is_evaluation = at_end or crosses(last, decisions, config.evaluate_every)
        if is_evaluation and config.evaluation_runs:
            self._evaluate(decisions)
        if at_end or crosses(last, decisions, config.checkpoint_every):
            self._save(decisions)
        if self.stop.requested and not at_end:
            self._save(decisions)
            raise Interrupted(
                f"stopped after {decisions:,} of {config.total_timesteps:,} decisions; "
                f"the same command goes on from there (run folder {self.run.path})"
            )

    def _report(self, decisions: int) -> None:
        if not self.notes["speed_count"]:
            return
        mph = self.notes["speed_sum"] / self.notes["speed_count"]
        self.notes |= {"speed_sum": 0.0, "speed_count": 0}
        if self.progress:
            self.progress.advance(decisions, mph)
        self._note(decisions, "rollout", {"train_mph": mph})

    def _evaluate(self, decisions: int) -> None:
        """Drive open runs on tuning seeds; keep the network if its mean is the best so far."""
        score = evaluate_open(self._policy(decisions), self.config.road, runs=self.config.evaluation_runs)
        mean, median = score.mean_mph, score.median_mph
        is_best = self.notes["best_mean"] is None or mean > self.notes["best_mean"]
        if is_best:
            self.notes |= {"best_mean": mean, "best_median": median, "best_at": decisions}
            self._keep_network(decisions, {"tuning_mean_mph": f"{mean:.3f}", "tuning_median_mph": f"{median:.3f}"})
        if self.progress:
            self.progress.report(decisions, mean, median, is_best)
        self._note(decisions, "evaluation", {"tuning_mean_mph": mean, "tuning_median_mph": median})

    def _save(self, decisions: int) -> None:
        if not self.config.evaluation_runs:  # nothing tells which network is best: the newest is kept
            self.notes["best_at"] = decisions
            self._keep_network(decisions, {})
        self.run.save_checkpoint(decisions, checkpoint_content(self.model, self.env, self._timed_notes()))

    def _keep_network(self, decisions: int, facts: dict[str, str]) -> None:
        content = weights_content(network_weights(self.model, self.config), {"decisions": str(decisions), **facts})
        write_atomically(self.run.best_file, content)

    def _policy(self, decisions: int) -> Policy:
        return make_policy(self.config, network_weights(self.model, self.config), f"{self.config.algo} at {decisions}")

    def _note(self, decisions: int, kind: str, values: dict[str, float]) -> None:
        """Add a line to the metrics and to TensorBoard."""
        notes = self._timed_notes()
        times = {name: round(notes[name], 3) for name in ("seconds", "cpu_seconds")}
        rounded = {name: round(value, 4) for name, value in values.items()}
        self.run.add_metrics({"decisions": decisions, **rounded, **times})
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
    """Whether counting on from `before` to `now` passes or reaches a multiple of `every`."""
    return now // every > before // every
