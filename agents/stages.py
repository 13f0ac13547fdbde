"""Curriculum over the number of other agents: each stage starts from the network of the one before.

    $ deeptraffic train team_ppo --stages 0,3,10 -o runs/staged
    >>> train_in_stages(build_config("team_ppo"), (0, 3, 10), "runs/staged").folder
    runs/staged/others-10

Every stage is a run of its own, in its own folder, with an equal part of the decisions: what resumes, evaluates and
exports runs does so with stages too, and a stage that is finished is not trained again. A stage is initialised from the
best network of the one before (`agents.warm_start`).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from agents.config import TrainConfig
from agents.registry import WARM_STARTABLE
from agents.trainer import TrainResult, train


def stage_folder(folder: str | Path, others: int) -> Path:
    """Return the folder of the stage with so many other agents."""
    return Path(folder) / f"others-{others:02d}"


def stage_configs(config: TrainConfig, stages: Sequence[int], folder: str | Path) -> list[TrainConfig]:
    """Return each stage's configuration; total_timesteps is of all of them together.

    Raises ValueError for stages that cannot follow each other, or an algorithm that cannot be initialised from a
    policy.
    """
    if config.algo not in WARM_STARTABLE:
        raise ValueError(
            f"{config.algo} has no stages, for it cannot be initialised from a policy; train "
            f"{' or '.join(WARM_STARTABLE)}"
        )
    if not stages or len(set(stages)) != len(stages):
        raise ValueError(
            f"stages must be different numbers of other agents, got {list(stages)}; give for example 0,3,10"
        )
    budget = config.total_timesteps // len(stages)
    if budget < 1:
        raise ValueError(f"total_timesteps={config.total_timesteps} is less than {len(stages)} stages; raise it")
    configs = []
    for k, others in enumerate(stages):
        road = replace(config.road, other_agents=others)
        stage = replace(config, road=road, total_timesteps=budget, seed=config.seed + k)
        if k:
            before = str(stage_folder(folder, stages[k - 1]))
            stage = replace(stage, init=before, agent=stage.agent.for_later_stage(budget))
        configs.append(stage)
    return configs


def train_in_stages(
    config: TrainConfig, stages: Sequence[int], folder: str | Path, console: Console | None = None
) -> TrainResult:
    """Train one stage after another, or resume where that stopped; return the result of the last one.

    Its decisions and seconds are those of the last stage alone. Raises what `agents.trainer.train` raises.
    """
    for others, stage in zip(stages, stage_configs(config, stages, folder), strict=True):
        result = train(stage, stage_folder(folder, others), console)
    return result
