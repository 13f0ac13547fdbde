"""Training in stages, each of which starts from the network of the one before.

    $ deeptraffic train team_ppo --stages 0,3,10 -o runs/staged
    >>> train_in_stages(build_config("team_ppo"), (0, 3, 10), "runs/staged").folder
    runs/staged/others-10

The stages are a curriculum over the number of other agents, or an imitation that is fine-tuned by reward:

    $ deeptraffic train distil --teacher champion-solo --then ppo -o runs/both
    >>> train_then(build_config("distil"), "ppo", "runs/both").folder
    runs/both/ppo

Every stage is a run of its own, in its own folder, with an equal part of the decisions: what resumes, evaluates and
exports runs does so with stages too, and a stage that is finished is not trained again. A stage is initialised from the
best network of the one before (`agents.warm_start`).
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType

from rich.console import Console

from agents.config import TrainConfig
from agents.registry import WARM_STARTABLE
from agents.run import configure
from agents.settings import resolve_key, setting_names
from agents.trainer import TrainResult, train
from agents.warm_start import init_settings, load_init
from deeptraffic.run_dir import stop_requests
from deeptraffic.settings import Settings

# settings of the algorithm that fine-tunes an imitation, where it has them: small steps, and at first only the critic
# learns, which is new
FINE_TUNING: Settings = {
    "learning_rate": 1e-4,
    "learning_rate_end": 1e-5,
    "critic_warmup": 100_000,
    "ent_coef": 0.0,
    "total_timesteps": 500_000,
}
NO_SETTINGS: Settings = MappingProxyType({})


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
    with stop_requests() as stop:
        for others, stage in zip(stages, stage_configs(config, stages, folder), strict=True):
            stop.check(f"stopped before the stage with {others} other agents; the same command resumes there")
            result = train(stage, stage_folder(folder, others), console)
    return result


def train_then(
    config: TrainConfig, then: str, folder: str | Path, settings: Settings = NO_SETTINGS, console: Console | None = None
) -> TrainResult:
    """Train, then fine-tune the network by reward with a second algorithm, or resume where that stopped.

    Args:
        config: of the first training, in the subfolder named as its algorithm
        then: algorithm of the second, in the subfolder of its name
        settings: of the second, over `FINE_TUNING`; its road, seed, device, observation and network are the first's
        console: for progress; None for standard error

    Returns the result of the second. Raises what `agents.trainer.train` raises, ValueError for algorithms that cannot
    follow each other.
    """
    if then not in WARM_STARTABLE or config.algo == then:
        others = [name for name in WARM_STARTABLE if name != config.algo]
        raise ValueError(f"{then} cannot continue from {config.algo}; choose one of {', '.join(others)}")
    first, second = Path(folder) / config.algo, Path(folder) / then
    with stop_requests() as stop:
        train(config, first, console)
        stop.check(f"stopped before {then}; the same command resumes there")
    shape = init_settings(load_init(str(first)))
    road = {f"road.{name}": value for name, value in asdict(config.road).items()}
    shared = {"init": str(first), "seed": config.seed, "device": config.device, "torch_threads": config.torch_threads}
    known = {name.rpartition(".")[2] for name in setting_names(then)}
    tuning = {name: value for name, value in FINE_TUNING.items() if name in known}
    given = {resolve_key(then, name): value for name, value in {**tuning, **settings}.items()}
    return train(configure(then, second, settings={**road, **shape, **shared, **given}), second, console)
