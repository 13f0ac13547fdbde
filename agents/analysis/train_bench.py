"""How fast agents train on this machine: `deeptraffic bench --train`, ours beside Stable-Baselines3's own defaults.

Every agent trains as `deeptraffic train NAME` does, without evaluations and checkpoints, from its first update on, for
whole rounds of experience and updates. SB3's PPO and DQN are measured the way their documentation starts them: their
default settings, one game behind a Gymnasium environment.

    >>> for speed in measure_training(seconds=1.0):
    ...     print(speed.name, speed.decisions_per_second, speed.decisions_per_cpu_second)
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from agents.algorithms import AGENTS
from agents.config import build_config
from agents.sb3 import make_games, make_model
from agents.training import torch_threads

SB3_DEFAULTS: dict[str, type[PPO] | type[DQN]] = {"ppo": PPO, "dqn": DQN}
ENDLESS = 10**9  # [decisions] the time ends a measurement


@dataclass(frozen=True)
class TrainingSpeed:
    """How fast one agent trained.

    name: of the algorithm; defaults: whose settings, "deeptraffic" or "stable-baselines3"
    num_envs: games side by side; other_agents: in each
    decisions: that were measured; seconds, cpu_seconds: that they took, all threads together
    """

    name: str
    defaults: str
    num_envs: int
    other_agents: int
    decisions: int
    seconds: float
    cpu_seconds: float

    @property
    def decisions_per_second(self) -> float:
        """By the clock on the wall."""
        return self.decisions / self.seconds

    @property
    def decisions_per_cpu_second(self) -> float:
        """By the processor's."""
        return self.decisions / self.cpu_seconds

    def to_json(self) -> dict[str, Any]:
        """The fields and both rates as JSON values."""
        rates = {name: round(getattr(self, name), 1) for name in ("decisions_per_second", "decisions_per_cpu_second")}
        return asdict(self) | rates


class Stopwatch(BaseCallback):
    """Ends training after some seconds of it, and measures whole rounds from the first update on."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.wanted = seconds
        self.began: tuple[int, float, float] | None = None
        self.ended = (0, 0.0, 0.0)

    def _on_step(self) -> bool:
        return self.began is None or self.ended[1] - self.began[1] < self.wanted

    def _on_rollout_start(self) -> None:
        now = (self.model.num_timesteps, time.perf_counter(), time.process_time())
        if self.began is None:
            self.began = now if getattr(self.model, "_n_updates", 0) else None
        self.ended = now

    def measured(self) -> tuple[int, float, float]:
        """Return (decisions, seconds, CPU seconds) from the first update to the last round's start."""
        assert self.began is not None, "training ended before its first update"
        return tuple(end - begin for begin, end in zip(self.began, self.ended, strict=True))  # type: ignore[return-value]


def measure_training(seconds: float = 2.0, names: Sequence[str] = ()) -> Iterator[TrainingSpeed]:
    """Yield the speed of each agent, SB3's own defaults right after ours where there are some.

    seconds: of each measurement, at least; names: of `agents.config.AGENTS`, all by default
    """
    for name in names or AGENTS:
        yield _measure(name, "deeptraffic", seconds, lambda name=name: _ours(name))  # type: ignore[misc]
        if name in SB3_DEFAULTS:
            yield _measure(name, "stable-baselines3", seconds, lambda name=name: _theirs(name))  # type: ignore[misc]


def _ours(name: str) -> tuple[BaseAlgorithm, int]:
    config = build_config(name)
    return make_model(config, make_games(config)), config.road.other_agents


def _theirs(name: str) -> tuple[BaseAlgorithm, int]:
    env = gymnasium.make("deeptraffic:DeepTraffic2018-v0", observation="gaps")
    return SB3_DEFAULTS[name]("MlpPolicy", env, seed=0, device="cpu"), 0


def _measure(name: str, defaults: str, seconds: float, make: Callable[[], tuple[BaseAlgorithm, int]]) -> TrainingSpeed:
    with torch_threads(1):
        model, others = make()
        watch = Stopwatch(seconds)
        model.learn(ENDLESS, watch, log_interval=None)  # type: ignore[arg-type]
    assert model.env is not None
    return TrainingSpeed(name, defaults, model.env.num_envs, others, *watch.measured())
