"""Optuna: ten lines that search the hyperparameters of PQN on tuning seeds.

    python -m agents.examples.optuna_search --trials 20

`deeptraffic sweep` does so on all cores and machines, and resumes.
"""

import tempfile

import optuna
import typer

import deeptraffic
from agents.loader import load_policy
from agents.settings import build_config
from agents.trainer import train


def main(trials: int = 20, total_timesteps: int = 120_000, seed: int = 0) -> None:
    """Search, and print the official score of the best network."""
    with tempfile.TemporaryDirectory() as folder:

        def objective(trial: optuna.Trial) -> float:
            searched = {
                "agent.gamma": trial.suggest_float("gamma", 0.8, 0.99),
                "agent.learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
            }
            whole = {"total_timesteps": total_timesteps, "evaluate_every": total_timesteps, "seed": seed}
            return train(build_config("pqn", settings=searched | whole), f"{folder}/{trial.number}").mean_mph or 0.0

        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        study.optimize(objective, trials)
        print(f"best of {trials}: {study.best_params}, {study.best_value:.2f} mph on tuning seeds")
        score = deeptraffic.evaluate(load_policy(f"{folder}/{study.best_trial.number}"))
    print(f"{score.score:.2f} mph official")


if __name__ == "__main__":
    typer.run(main)
