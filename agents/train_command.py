"""`deeptraffic train`: from what was typed to a trained run. The command line parses, calls and prints.

What is typed wins over the config file, that over the preset, that over the defaults of the algorithm. On a folder that
holds a run already, what is not typed is that of the run, so that `deeptraffic train ppo -o RUN` resumes it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.config import TrainConfig, build_config, resolve_key
from agents.perception import encoder_settings
from agents.run import RunFolder, default_folder, is_run_folder
from agents.stages import train_in_stages
from agents.training import TrainResult, train
from agents.warm_start import init_settings
from deeptraffic.settings import flatten, parse_setting


def train_command(
    algo: str,
    *,
    observation: str | None = None,
    encoder: str | None = None,
    init: Path | None = None,
    stages: Sequence[int] = (),
    config_file: Path | None = None,
    settings: Sequence[str] = (),
    preset: str | None = None,
    rules: int | None = None,
    other_agents: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    output: Path | None = None,
    console: Console | None = None,
) -> TrainResult:
    """Train, or go on training, and return what came of it; `to_json(result)` is for `--json`.

    Args:
        algo: one of `agents.config.AGENTS`
        observation: kind of observation (`--obs`)
        encoder: name of an encoder, or a weights file (`--encoder`), which brings the observation it was trained on
        init: run folder or policy file to begin from (`--init`), which brings its network's shape and observation
        stages: numbers of other agents to train with one after another (`--stages`), see `agents.stages`
        config_file: JSON or TOML (`--config`)
        settings: "key=value" each (`--set`)
        preset: default, demo or quick
        rules, other_agents, seed, device: shorthands for the settings of these names
        output: run folder (`-o`); None for a new one under runs/
        console: for progress; None for standard error

    Raises ValueError for bad input (exit code 2), RuntimeError if another process trains in the folder (1),
    `deeptraffic.run_dir.Interrupted`, a KeyboardInterrupt with a message to print, when stopped (130).
    """
    typed: dict[str, Any] = {
        "observation.kind": observation,
        "road.rules": rules,
        "road.other_agents": other_agents,
        "seed": seed,
        "device": device,
    }
    given = encoder_settings(encoder) if encoder else {}
    given |= init_settings(init) if init else {}
    given |= {key: value for key, value in typed.items() if value is not None}
    given |= dict(parse_setting(setting) for setting in settings)
    folder = output or default_folder(algo)
    if stages:
        return train_in_stages(build_config(algo, preset or "default", config_file, given), stages, folder, console)
    return train(_configure(algo, folder, preset, config_file, given), folder, console)


def _configure(
    algo: str, folder: Path, preset: str | None, config_file: Path | None, given: dict[str, Any]
) -> TrainConfig:
    if not is_run_folder(folder) or preset or config_file:
        return build_config(algo, preset or "default", config_file, given)
    begun = RunFolder(folder).config()
    if begun.algo != algo:
        raise ValueError(f"the run in {str(folder)!r} trains {begun.algo}, not {algo}; name another folder")
    changed = {resolve_key(algo, key): value for key, value in given.items()}
    return build_config(algo, settings={**dict(flatten(begun.to_json())), **changed})


def to_json(result: TrainResult) -> dict[str, Any]:
    """The result as JSON values."""
    return {
        "folder": str(result.folder),
        "decisions": result.decisions,
        "tuning_mean_mph": result.mean_mph,
        "tuning_median_mph": result.median_mph,
        "best_at": result.best_at,
        "seconds": round(result.seconds, 3),
        "cpu_seconds": round(result.cpu_seconds, 3),
    }
