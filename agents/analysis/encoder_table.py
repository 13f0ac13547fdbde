"""Comparison of encoders by the policies trained on them: PPO with the same budget on each encoder, and without one.

    deeptraffic report driving            # a run per encoder, training and seed; the same command resumes

Each encoder has the observation that suits it. It is trained from scratch and, where an experiment of `deeptraffic
pretrain` provides weights, also pretrained: frozen, and fine-tuned. A run's best checkpoint on tuning seeds is scored
on reporting seeds. The table is a CSV with one line per run, and the commit that made it.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from rich.console import Console

from agents.analysis.tables import csv_content
from agents.config import TrainConfig
from agents.loader import load_policy
from agents.perception import encoder_settings
from agents.run import RunFolder
from agents.settings import build_config
from agents.trainer import train
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.run_dir import source_commit, write_atomically, write_json

DECISIONS, SEEDS, TUNING_RUNS, RUNS = 300_000, 3, 200, 1000
Configurer = Callable[[int], TrainConfig]  # seed -> configuration
WEIGHTS = "encoder.safetensors"  # in an experiment's folder
SCORE = "reporting.json"  # in a run's evaluation folder
SMALL_GRID = {"observation.kind": "grid", "patches_ahead": 30, "patches_behind": 5}
FRAMES = {"observation.kind": "pixels", "height": 56, "width": 28}
WINDOW_LENGTH = 3  # earlier decisions in the observations of recurrent encoders
WINDOW = {"temporal_window": WINDOW_LENGTH, "encoder.architecture": {"temporal_window": WINDOW_LENGTH}}
CHEAP = {"n_epochs": 2}  # for networks that take most of the training time
COLUMNS = (
    "encoder",
    "way",
    "observation",
    "access",
    "seed",
    "median_mph",
    "mean_mph",
    "p10_mph",
    "decisions",
    "cpu_seconds",
    "commit",
)


@dataclass(frozen=True)
class EncoderSetup:
    """One encoder of the table.

    encoder: its name in the table; settings: of the training
    experiment: whose encoder.safetensors has architecture, observation and pretrained weights; "" for none
    """

    encoder: str
    settings: dict[str, Any] = field(default_factory=dict)
    experiment: str = ""


SETUPS = (
    EncoderSetup("none, on lane gaps"),
    EncoderSetup("none, on the grid", SMALL_GRID),
    EncoderSetup("dense", {**SMALL_GRID, "encoder.name": "dense"}),
    EncoderSetup("conv", {**SMALL_GRID, **CHEAP, "encoder.name": "conv"}),
    EncoderSetup("recurrent", {**WINDOW, **CHEAP, "encoder.name": "recurrent"}),
    EncoderSetup("memory", {**WINDOW, **CHEAP, "encoder.name": "memory"}),
    EncoderSetup("capsules", {**SMALL_GRID, **CHEAP, "encoder.name": "capsules"}),
    EncoderSetup("combined", {"observation.kind": "kinematics", "encoder.name": "combined"}),
    EncoderSetup("attention, taught lanes", CHEAP, "attention-lanes"),
    EncoderSetup("dense, taught scenes", {}, "dense-scene"),
    EncoderSetup("autoencoder", {}, "autoencoder"),
    EncoderSetup("variational autoencoder", {}, "vae"),
    EncoderSetup("conv, on frames", {**FRAMES, **CHEAP, "encoder.name": "conv"}),
)


def driving_table(
    output: str | Path,
    folder: str | Path = "runs/driving",
    pretrained: str | Path = "runs/pretrain",
    settings: Mapping[str, Any] = MappingProxyType({}),
    seeds: int = SEEDS,
    setups: Sequence[EncoderSetup] = SETUPS,
    console: Console | None = None,
) -> list[dict[str, Any]]:
    """Train and score what is missing, write the table after every run, and return its lines.

    Args:
        output: the CSV
        folder: of the runs
        pretrained: folder of the experiments' results
        settings: of all trainings
        seeds: runs of each encoder and way of training

    Raises ValueError if an encoder's experiment has not been run.
    """
    console = console or Console(stderr=True)
    lines = []
    for setup, way, config_of in _trainings(setups, Path(pretrained), {"total_timesteps": DECISIONS, **settings}):
        for seed in range(seeds):
            run = RunFolder(Path(folder) / f"{_slug(setup.encoder)}-{_slug(way)}-{seed}")
            line = {"encoder": setup.encoder, "way": way, **_one_run(run, config_of(seed), console)}
            console.print(f"{setup.encoder}, {way}, seed {seed}: mean {line['mean_mph']:.2f} mph", highlight=False)
            lines.append(line)
            write_atomically(Path(output), csv_content(lines, COLUMNS))
    return lines


def _trainings(
    setups: Sequence[EncoderSetup], pretrained: Path, common: Mapping[str, Any]
) -> Iterator[tuple[EncoderSetup, str, Configurer]]:
    """Yield (setup, way of training, seed -> configuration)."""
    for setup in setups:
        settings = {**common, **setup.settings}
        if not setup.experiment:
            yield setup, "from scratch", _configurer(settings)
            continue
        trained = {**settings, **encoder_settings(pretrained / setup.experiment / WEIGHTS)}
        new = {name: value for name, value in trained.items() if name not in ("encoder.weights", "encoder.fingerprint")}
        yield setup, "from scratch", _configurer(new)
        yield setup, "frozen", _configurer(trained)
        yield setup, "fine-tuned", _configurer({**trained, "encoder.trainable": True})


def _configurer(settings: dict[str, Any]) -> Configurer:
    third = max(1, settings["total_timesteps"] // 3)
    often = {"evaluate_every": third, "checkpoint_every": third, "evaluation_runs": TUNING_RUNS}
    return lambda seed: build_config("ppo", settings={**often, **settings, "seed": seed})


def _one_run(run: RunFolder, config: TrainConfig, console: Console) -> dict[str, Any]:
    """Return a run's score, after training and scoring it if that is missing."""
    path = run.evaluation / SCORE
    if not path.exists():
        result = train(config, run.path, console)
        policy = load_policy(run.path)
        score = evaluate_open(policy, config.road, runs=RUNS, seed_set="reporting")
        write_json(
            path,
            {
                "observation": config.observation.kind,
                "access": score.access,
                "seed": config.seed,
                "median_mph": round(score.median_mph, 3),
                "mean_mph": round(score.mean_mph, 3),
                "p10_mph": round(float(np.percentile(score.run_scores, 10)), 3),
                "decisions": result.decisions,
                "cpu_seconds": round(result.cpu_seconds, 1),
                "commit": (source_commit() or "")[:12],
            },
        )
    return json.loads(path.read_text(encoding="utf-8"))


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text.lower()).replace("--", "-")
