"""A curriculum over the number of other agents: each stage goes on with the network of the one before.

    $ deeptraffic train team_ppo --stages 0,3,10 -o runs/staged
    >>> train_in_stages(build_config("team_ppo"), (0, 3, 10), "runs/staged").folder
    runs/staged/others-10

Every stage is a run of its own, in its own folder, with an equal share of the decisions: what resumes, evaluates and
exports runs does so with stages too, and a stage that is finished is not trained again. A stage begins from the best
network of the one before (`agents.warm_start`), and lets its new critic learn alone for `CRITIC_SHARE` of its time.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from agents.config import WARM, TrainConfig
from agents.training import TrainResult, train

CRITIC_SHARE = 0.05


def stage_folder(folder: str | Path, others: int) -> Path:
    """Where the stage with so many other agents lies."""
    return Path(folder) / f"others-{others:02d}"


def stage_configs(config: TrainConfig, stages: Sequence[int], folder: str | Path) -> list[TrainConfig]:
    """Return each stage's configuration; total_timesteps is of all of them together.

    Raises ValueError for stages that cannot follow each other, or an algorithm that cannot begin from a network.
    """
    if config.algo not in WARM:
        raise ValueError(f"{config.algo} has no stages, for it cannot begin from a network; train {' or '.join(WARM)}")
    if not stages or len(set(stages)) != len(stages):
        raise ValueError(
            f"stages={list(stages)} is not possible; give different numbers of other agents, such as 0,3,10"
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
            stage = replace(stage, init=before, critic_first=int(CRITIC_SHARE * budget))
        configs.append(stage)
    return configs


def train_in_stages(
    config: TrainConfig, stages: Sequence[int], folder: str | Path, console: Console | None = None
) -> TrainResult:
    """Train one stage after another, or go on where that stopped; return what came of the last one.

    Its decisions and seconds are those of the last stage alone. Raises what `agents.training.train` raises.
    """
    for others, stage in zip(stages, stage_configs(config, stages, folder), strict=True):
        result = train(stage, stage_folder(folder, others), console)
    return result
