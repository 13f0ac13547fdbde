"""Weights & Biases and MLflow: a writer that passes on whatever Stable-Baselines3 logs, and the score at the end.

    python -m agents.examples.tracking --tracker wandb       # offline, under runs/tracking; `wandb sync` uploads it
    python -m agents.examples.tracking --tracker mlflow      # mlflow ui --backend-store-uri sqlite:///runs/tracking/mlflow.db

Runs of `deeptraffic train` write for TensorBoard: `wandb sync runs/NAME/tensorboard` takes these as they are.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from stable_baselines3 import PPO
from stable_baselines3.common.logger import KVWriter, Logger

import deeptraffic
from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv

Log = Callable[[dict[str, float], int], None]


class TrackedOutput(KVWriter):
    """Passes numbers on to a tracker."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        """Pass on the numbers of a line of the log."""
        self.log({name: float(value) for name, value in key_values.items() if isinstance(value, int | float)}, step)

    def close(self) -> None:
        """Nothing is open."""


def start(tracker: str, folder: Path, settings: dict[str, Any]) -> tuple[Log, Callable[[], object]]:
    """Start a run; return how to log numbers, and how to end it."""
    folder.mkdir(parents=True, exist_ok=True)
    if tracker == "wandb":
        import wandb

        run = wandb.init(project="deeptraffic", dir=str(folder), config=settings, mode="offline")
        return lambda numbers, step: run.log(numbers, step=step), run.finish
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment("deeptraffic")
    mlflow.start_run()
    mlflow.log_params(settings)
    return lambda numbers, step: mlflow.log_metrics(numbers, step=step), mlflow.end_run


def main(
    tracker: str = "wandb", folder: Path = Path("runs/tracking"), total_timesteps: int = 300_000, seed: int = 0
) -> None:
    """Train PPO, log it, and print and log the official score."""
    settings: dict[str, Any] = {"learning_rate": 1e-3, "n_steps": 64, "batch_size": 512, "gamma": 0.92, "seed": seed}
    log, finish = start(tracker, folder, settings)
    model = PPO("MlpPolicy", DeepTrafficVecEnv(64, observation="gaps"), device="cpu", **settings)
    model.set_logger(Logger(None, [TrackedOutput(log)]))
    model.learn(total_timesteps)
    score = deeptraffic.evaluate(model)
    log({"official_mph": score.score}, model.num_timesteps)
    finish()
    print(f"{score.score:.2f} mph official, logged to {tracker} in {folder}")


if __name__ == "__main__":
    typer.run(main)
