"""Benchmark of training: every algorithm, beside the defaults of Stable-Baselines3 (`deeptraffic bench --train`).

Every algorithm trains as with `deeptraffic train NAME`, without evaluations and checkpoints, and once more in compiled
code where there is some (`agents.compiled`). Whole iterations of
rollout and update are measured, from the first update on. SB3's PPO and DQN run as in their documentation: with default
settings on one Gymnasium environment.

    >>> for speed in measure_training(seconds=1.0):
    ...     print(speed.name, speed.decisions_per_second, speed.decisions_per_cpu_second)
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from agents.compiled.config import CompiledConfig
from agents.sb3 import make_model, make_vec_env, sb3_names
from agents.settings import build_config
from agents.trainer import make_learner, torch_threads

SB3_DEFAULTS: dict[str, type[PPO] | type[DQN]] = {"ppo": PPO, "dqn": DQN}
ENDLESS = 10**9  # [decisions] a measurement ends by time


@dataclass(frozen=True)
class TrainingSpeed:
    """Training speed of one algorithm.

    name: of the algorithm; defaults: source of its settings, "deeptraffic", "deeptraffic, compiled" or
        "stable-baselines3"
    num_envs: environments; other_agents: in each
    decisions: measured; seconds, cpu_seconds: their wall time, and CPU time of all threads
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
        """Decisions per second of wall time."""
        return self.decisions / self.seconds

    @property
    def decisions_per_cpu_second(self) -> float:
        """Decisions per second of CPU time."""
        return self.decisions / self.cpu_seconds

    def to_json(self) -> dict[str, Any]:
        """The fields and both rates as JSON values."""
        rates = {name: round(getattr(self, name), 1) for name in ("decisions_per_second", "decisions_per_cpu_second")}
        return asdict(self) | rates


class Stopwatch(BaseCallback):
    """Ends training after some seconds, and measures whole iterations from the first update on."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.limit = seconds
        self.started: tuple[int, float, float] | None = None
        self.ended = (0, 0.0, 0.0)

    def _on_step(self) -> bool:
        return self.started is None or self.ended[1] - self.started[1] < self.limit

    def _on_rollout_start(self) -> None:
        now = (self.model.num_timesteps, time.perf_counter(), time.process_time())
        if self.started is None:
            self.started = now if getattr(self.model, "_n_updates", 0) else None
        self.ended = now

    def measured(self) -> tuple[int, float, float]:
        """Return (decisions, seconds, CPU seconds) from the first update to the start of the last iteration."""
        assert self.started is not None, "training ended before its first update"
        return tuple(end - begin for begin, end in zip(self.started, self.ended, strict=True))  # type: ignore[return-value]


def measure_training(seconds: float = 2.0, names: Sequence[str] = ()) -> Iterator[TrainingSpeed]:
    """Yield the speed of each algorithm, followed by those of its compiled learner and of SB3's defaults if any.

    seconds: of each measurement, at least; names: of algorithms, all by default
    """
    for name in names or sb3_names():
        yield measure_torch(name, seconds)
        if isinstance(build_config(name).agent, CompiledConfig):
            yield measure_compiled(name, seconds)
        if name in SB3_DEFAULTS:
            yield measure_sb3_defaults(name, seconds)


def measure_torch(name: str, seconds: float) -> TrainingSpeed:
    """Return the speed of an algorithm in torch, with its defaults."""
    config = build_config(name)
    model = make_model(config, make_vec_env(config))
    return _measure_model(name, "deeptraffic", config.road.other_agents, model, seconds)


def measure_sb3_defaults(name: str, seconds: float) -> TrainingSpeed:
    """Return the speed of one of `SB3_DEFAULTS` as in its documentation: one Gymnasium env."""
    env = gymnasium.make("deeptraffic:DeepTraffic2018-v0", observation="gaps")
    model = SB3_DEFAULTS[name]("MlpPolicy", env, seed=0, device="cpu")
    return _measure_model(name, "stable-baselines3", 0, model, seconds)


def _measure_model(name: str, defaults: str, others: int, model: BaseAlgorithm, seconds: float) -> TrainingSpeed:
    watch = Stopwatch(seconds)
    with torch_threads(1):
        model.learn(ENDLESS, watch, log_interval=None)  # type: ignore[arg-type]
    assert model.env is not None
    return TrainingSpeed(name, defaults, model.env.num_envs, others, *watch.measured())


def measure_compiled(name: str, seconds: float) -> TrainingSpeed:
    """Return the speed of an algorithm's compiled learner, with the algorithm's defaults."""
    has_choice = isinstance(build_config(name).agent, CompiledConfig)
    config = build_config(name, settings={"backend": "compiled"} if has_choice else {})
    learner = make_learner(config)
    marks: list[tuple[int, float, float]] = []

    def mark() -> None:
        """Note decisions and times, from the first round's end on; end the training once it took long enough."""
        if learner.decisions:
            marks.append((learner.decisions, time.perf_counter(), time.process_time()))
            if marks[-1][1] - marks[0][1] >= seconds:
                raise StopIteration

    with suppress(StopIteration):
        learner.learn(ENDLESS, mark)
    decisions, wall, cpu = (last - first for first, last in zip(marks[0], marks[-1], strict=True))
    envs, others = config.envs.num_envs, config.road.other_agents
    return TrainingSpeed(config.algo, "deeptraffic, compiled", envs, others, int(decisions), wall, cpu)
