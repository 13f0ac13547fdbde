"""How fast everything is on this machine: `deeptraffic bench`, side by side with highway-env where that is installed.

Each rate is the best of three short measurements, so that what else the machine does counts less. Compiling is not part
of them: each body is called once before it is timed.

    >>> from deeptraffic.bench import Bench
    >>> for result in Bench().run():
    ...     print(result.name, result.num_envs, result.value, result.unit)
"""

import importlib.util
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from deeptraffic.policies.base import Policy
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.policies.layers import Layer
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RoadConfig, Rules, Sensor

GAMES = ((2018, 0), (2018, 10), (2017, 0))  # (rules, other agents)
BATCHES = (1, 64, 4096)
VECTOR_GAMES = 1024
PERIOD = 30  # [frames] per decision
FILES, FILES_ALONE, FILES_OFFICIAL = 1000, 100, 16  # policy files in one evaluation, those scored one by one
OPEN_RUNS, RUN_DECISIONS = 10, 67  # of each file; decisions of a run of 2,000 frames
MLP_HIDDEN = (36, 24, 24)
OPPONENT = "highway-env"


@dataclass(frozen=True)
class Result:
    """One measurement; rules, other_agents are None where it is not of this package."""

    name: str
    value: float
    unit: str
    rules: int | None = 2018
    other_agents: int | None = 0
    threads: int = 1
    num_envs: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def available_threads() -> int:
    """Return how many threads a simulator takes by default."""
    return Simulator(RoadConfig().build()).threads


def describe_machine() -> dict[str, Any]:
    """Return what the numbers belong to."""
    import numba

    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": available_threads(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
    }


def processor_name() -> str:
    """Return the processor's name as the system gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


class Bench:
    """All measurements.

    Args:
        seconds: of each of the three measurements of a rate
        opponent: measure highway-env too, if it is installed
    """

    def __init__(self, seconds: float = 0.15, opponent: bool = True) -> None:
        self.seconds, self.opponent = seconds, opponent and importlib.util.find_spec("highway_env") is not None
        self.threads = sorted({1, available_threads()})

    def run(self) -> Iterator[Result]:
        """Measure one thing after another."""
        yield from self.frames()
        yield from self.decisions()
        yield from self.single_env()
        yield from self.vector_envs()
        yield from self.pictures()
        yield from self.official()
        yield from self.many_policies()
        yield memory_per_game()
        if self.opponent:
            yield from self.highway_env()

    def rate(self, call: Callable[[], object], units: float) -> float:
        """Return units per second of a call that does `units` of them: the best of three measurements."""
        call()
        best = 0.0
        for _ in range(3):
            calls, started = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - started) < self.seconds or calls == 0:
                call()
                calls += 1
            best = max(best, calls * units / elapsed)
        return best

    # --- the simulator --------------------------------------------------------------------------------------------

    def frames(self) -> Iterator[Result]:
        """Frames of idle driving."""
        for rules, others in GAMES:
            for threads in self.threads:
                for games in BATCHES:
                    sim = started(RoadConfig(rules=rules, other_agents=others).build(), games, threads)
                    periods = max(1, 1024 // games)
                    units = periods * PERIOD * games
                    value = self.rate(lambda sim=sim, periods=periods: sim.step(sim.idle, periods=periods), units)  # type: ignore[misc]
                    yield Result("frames", value, "frames/s", rules, others, threads, games)

    def decisions(self) -> Iterator[Result]:
        """Decisions: 30 frames and an observation of 7 x 60 cells for every game."""
        sensor = Sensor(3, 50, 10)
        for rules, others in GAMES:
            for threads in self.threads:
                sim = started(RoadConfig(rules=rules, other_agents=others).build(), BATCHES[-1], threads)
                obs = np.empty((sim.num_envs, sensor.size))

                def decide(sim: Simulator = sim, obs: np.ndarray = obs) -> None:
                    sim.step(sim.idle)
                    sim.sense(sensor, out=obs)

                value = self.rate(decide, sim.num_envs)
                yield Result("decisions", value, "decisions/s", rules, others, threads, sim.num_envs)

    # --- environments ---------------------------------------------------------------------------------------------

    def single_env(self) -> Iterator[Result]:
        """`env.step` of one game: bare, and through the wrappers that `gymnasium.make` puts around it."""
        import gymnasium

        for rules in (2018, 2017):
            made = gymnasium.make(f"deeptraffic:DeepTraffic{rules}-v0", max_episode_steps=-1)
            for name, env in (("env.step (gymnasium.make)", made), ("env.step (unwrapped)", made.unwrapped)):
                env.reset(seed=0)
                yield Result(name, self.rate(lambda env=env: env.step(0), 1), "steps/s", rules)  # type: ignore[misc]

    def vector_envs(self) -> Iterator[Result]:
        """Steps of all games of the native vector environments, resets included."""
        from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv
        from deeptraffic.envs.vector_env import DeepTrafficVectorEnv

        actions = np.zeros(VECTOR_GAMES, np.int64)
        for observation in ("vector", "gaps"):
            for threads in self.threads:
                options: dict[str, Any] = {"observation": observation, "threads": threads, "stagger": True}
                native, sb3 = DeepTrafficVectorEnv(VECTOR_GAMES, **options), DeepTrafficVecEnv(VECTOR_GAMES, **options)
                native.reset(seed=0)
                sb3.reset()
                for name, step in (("VectorEnv.step", native.step), ("SB3 VecEnv.step", sb3.step)):
                    value = self.rate(lambda step=step: step(actions), VECTOR_GAMES)  # type: ignore[misc]
                    yield Result(f"{name}, {observation}", value, "steps/s", threads=threads, num_envs=VECTOR_GAMES)

    def pictures(self) -> Iterator[Result]:
        """Pictures of the road for people (`rgb_array`) and for networks (`pixels`)."""
        from deeptraffic.render.painter import Painter
        from deeptraffic.render.pixels import PixelPainter

        sim = started(RoadConfig().build(), 64, 1)
        painter, pixels = Painter(sim.rules), PixelPainter(sim.rules, 84, 84)
        yield Result("pictures (rgb_array)", self.rate(lambda: painter.paint(sim.state), 1), "pictures/s")
        yield Result(
            "pictures (pixels, 84 x 84)", self.rate(lambda: pixels.paint(sim.state), 64), "pictures/s", num_envs=64
        )

    # --- evaluation -----------------------------------------------------------------------------------------------

    def official(self) -> Iterator[Result]:
        """Seconds of an official evaluation, for the idle policy and for a network of 420-36-24-24-5."""
        from deeptraffic.evaluation.protocol import evaluate_official

        for policy in (make_builtin("idle"), random_network()):
            for others in (0, 10):
                seconds = evaluate_official(policy, 2018, others).seconds
                yield Result(f"official evaluation, {policy.label}", seconds, "s", other_agents=others)

    def many_policies(self) -> Iterator[Result]:
        """Small policy files read and scored, one by one and side by side: files per minute, decisions per second."""
        from deeptraffic.evaluation import throughput
        from deeptraffic.evaluation.batch import Plan

        for plan, count, alone in ((Plan("open", runs=OPEN_RUNS), FILES, FILES_ALONE), (Plan(), FILES_OFFICIAL, 4)):
            kind = "official" if plan.protocol == "official" else f"{plan.runs} open runs"
            with throughput.policy_files(count) as files:
                throughput.side_by_side(files[:2], plan, 1)  # compiles
                seconds = throughput.one_by_one(files[:alone], plan)
                yield Result(f"policy files one by one, {kind}", 60 * alone / seconds, "files/min")
                for threads in self.threads:
                    seconds = throughput.side_by_side(files, plan, threads)
                    yield Result(
                        f"policy files side by side, {kind}", 60 * count / seconds, "files/min", threads=threads
                    )
                    if plan.protocol == "open":
                        decisions = count * plan.runs * RUN_DECISIONS / seconds
                        yield Result(f"their decisions, {kind}", decisions, "decisions/s", threads=threads)

    # --- highway-env ----------------------------------------------------------------------------------------------

    def highway_env(self) -> Iterator[Result]:
        """highway-env with as many lanes, vehicles and frames per decision, and how many times faster we are."""
        theirs = self.rate(highway_step(), 1)
        yield Result(f"{OPPONENT}: frames", theirs * PERIOD, "frames/s", None, None)
        yield Result(f"{OPPONENT}: env.step", theirs, "steps/s", None, None)
        sim = started(RoadConfig().build(), 64, 1)
        frames = self.rate(lambda: sim.step(sim.idle, periods=16), 16 * PERIOD * 64)
        yield Result(f"frames per frame of {OPPONENT}", frames / (theirs * PERIOD), "x", num_envs=64)
        step = next(self.single_env()).value
        yield Result(f"env.step per env.step of {OPPONENT}", step / theirs, "x")


def started(rules: Rules, games: int, threads: int) -> Simulator:
    """Return a simulator whose games have run for half a minute of game time each and wait for a decision."""
    sim = Simulator(rules, games, threads)
    sim.reset_open(range(games))
    sim.step(sim.idle, periods=10)
    return sim


def memory_per_game() -> Result:
    """Bytes of one game's record."""
    return Result("memory per game", Simulator(RoadConfig().build()).games.itemsize, "bytes")


def random_network() -> Policy:
    """Return a policy of dense layers on 7 x 60 cells, with random weights."""
    from deeptraffic.policies.network import Network
    from deeptraffic.policies.network_policy import NetworkPolicy
    from deeptraffic.policies.vocabulary import Dense, Relu

    sizes, random = (Sensor().size, *MLP_HIDDEN, 5), np.random.default_rng(0)
    layers: list[Layer] = []
    tensors: dict[str, Any] = {}
    for inputs, outputs in pairwise(sizes):
        layers += [Dense(outputs=outputs), Relu()]
        tensors[f"{len(layers) - 1}.weight"] = random.normal(0.0, inputs**-0.5, (outputs, inputs))
        tensors[f"{len(layers) - 1}.bias"] = np.zeros(outputs)
    network = Network(sizes[0], tuple(layers[:-1]), tensors)
    return NetworkPolicy("MLP " + "-".join(map(str, sizes)), network, Sensor())


def highway_step() -> Callable[[], object]:
    """Return a function that takes one idle step of highway-env: 7 lanes, 20 vehicles, 30 frames."""
    import gymnasium
    import highway_env  # noqa: F401  (registers its environments)

    config = {"lanes_count": 7, "vehicles_count": 19, "simulation_frequency": PERIOD, "policy_frequency": 1}
    env = gymnasium.make("highway-v0", config={**config, "duration": 10**9})
    env.reset(seed=0)

    def step() -> None:
        _, _, terminated, truncated, _ = env.step(1)  # 1: idle
        if terminated or truncated:
            env.reset()

    return step
