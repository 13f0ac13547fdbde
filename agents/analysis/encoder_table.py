"""Which encoders help to drive: every one in front of the same PPO with the same budget, beside plain dense layers.

    deeptraffic report driving            # a run per encoder, way and seed under runs/driving; the same command resumes

Each encoder sees the observation that suits it, and is trained from scratch and, where a recipe of `deeptraffic
pretrain` makes one, pretrained: frozen, and fine-tuned. The best checkpoint of a run on tuning seeds is scored on
reporting seeds.
The table is a CSV with one line per run, and the commit it was made from.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from agents.config import TrainConfig, build_config
from agents.perception import encoder_settings
from agents.run import RunFolder, load_policy
from agents.training import train
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.run_dir import source_commit, write_atomically, write_json

DECISIONS, SEEDS, TUNING_RUNS, RUNS = 300_000, 3, 200, 1000
Configurer = Callable[[int], TrainConfig]  # of a seed
WEIGHTS = "encoder.safetensors"  # in a recipe's folder
SCORE = "reporting.json"  # in a run's evaluation folder
SMALL_GRID = {"observation.kind": "grid", "patches_ahead": 30, "patches_behind": 5}
FRAMES = {"observation.kind": "pixels", "height": 56, "width": 28}
PAST = 3  # earlier decisions that encoders of sequences see
WINDOW = {"temporal_window": PAST, "encoder.architecture": {"temporal_window": PAST}}
CHEAP = {"n_epochs": 2}  # for networks of which a pass costs most of the time
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
class Entry:
    """One encoder of the table.

    encoder: how the table names it
    settings: of `agents.config`
    recipe: whose encoder.safetensors brings architecture, observation and pretrained weights; "" for none
    """

    encoder: str
    settings: dict[str, Any] = field(default_factory=dict)
    recipe: str = ""


ENTRIES = (
    Entry("none, on lane gaps"),
    Entry("none, on the grid", SMALL_GRID),
    Entry("dense", {**SMALL_GRID, "encoder.name": "dense"}),
    Entry("conv", {**SMALL_GRID, **CHEAP, "encoder.name": "conv"}),
    Entry("recurrent", {**WINDOW, **CHEAP, "encoder.name": "recurrent"}),
    Entry("memory", {**WINDOW, **CHEAP, "encoder.name": "memory"}),
    Entry("capsules", {**SMALL_GRID, **CHEAP, "encoder.name": "capsules"}),
    Entry("combined", {"observation.kind": "kinematics", "encoder.name": "combined"}),
    Entry("attention, taught lanes", CHEAP, "attention-lanes"),
    Entry("dense, taught scenes", {}, "dense-scene"),
    Entry("conv, taught three tasks", CHEAP, "multi-task"),
    Entry("autoencoder", {}, "autoencoder"),
    Entry("variational autoencoder", {}, "vae"),
    Entry("conv, on frames", {**FRAMES, **CHEAP, "encoder.name": "conv"}),
)


def driving_table(
    output: str | Path,
    folder: str | Path = "runs/driving",
    pretrained: str | Path = "runs/pretrain",
    decisions: int = DECISIONS,
    seeds: int = SEEDS,
    entries: Sequence[Entry] = ENTRIES,
    device: str = "cpu",
    console: Console | None = None,
) -> list[dict[str, Any]]:
    """Train and score what is missing, write the table after every run, and return its lines.

    Args:
        output: the CSV
        folder: of the runs
        pretrained: folder of the recipes' results
        decisions: of training, for each run
        seeds: runs of each entry and way
        device: of the networks: cpu, cuda or auto

    Raises ValueError where an entry's recipe has not been run.
    """
    console = console or Console(stderr=True)
    lines = []
    for entry, way, config_of in _ways(entries, Path(pretrained), decisions, device):
        for seed in range(seeds):
            run = RunFolder(Path(folder) / f"{_slug(entry.encoder)}-{_slug(way)}-{seed}")
            line = {"encoder": entry.encoder, "way": way, **_one_run(run, config_of(seed), console)}
            console.print(f"{entry.encoder}, {way}, seed {seed}: mean {line['mean_mph']:.2f} mph", highlight=False)
            lines.append(line)
            write_atomically(Path(output), _as_csv(lines).encode())
    return lines


def _ways(
    entries: Sequence[Entry], pretrained: Path, decisions: int, device: str
) -> Iterator[tuple[Entry, str, Configurer]]:
    """Yield (entry, way, seed -> configuration)."""
    budget = {"total_timesteps": decisions, "device": device}
    for entry in entries:
        settings = {**budget, **entry.settings}
        if not entry.recipe:
            yield entry, "from scratch", _configurer(settings)
            continue
        trained = {**settings, **encoder_settings(pretrained / entry.recipe / WEIGHTS)}
        new = {name: value for name, value in trained.items() if name not in ("encoder.weights", "encoder.fingerprint")}
        yield entry, "from scratch", _configurer(new)
        yield entry, "frozen", _configurer(trained)
        yield entry, "fine-tuned", _configurer({**trained, "encoder.trainable": True})


def _configurer(settings: dict[str, Any]) -> Configurer:
    third = max(1, settings["total_timesteps"] // 3)
    often = {"evaluate_every": third, "checkpoint_every": third, "evaluation_runs": TUNING_RUNS}
    return lambda seed: build_config("ppo", settings={**often, **settings, "seed": seed})


def _one_run(run: RunFolder, config: TrainConfig, console: Console) -> dict[str, Any]:
    """Return what a run scores, trained and scored now if it has not been."""
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


def _as_csv(lines: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text.lower()).replace("--", "-")
