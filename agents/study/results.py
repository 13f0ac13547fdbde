"""Result files of a sweep: the table of trials; the best trial's settings, networks and score on reporting seeds."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.study.config import SweepConfig
from agents.study.table import TABLE_FILE, table_content, table_row
from agents.study.trial import objective, run_trial, score_networks
from deeptraffic.evaluation.statistics import bootstrap_interval
from deeptraffic.run_dir import write_atomically, write_json

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

BEST_FILE, WINNER_FILE = "best.toml", "winner.json"


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
