"""Benchmark of simulator, environments and evaluations: `deeptraffic bench`, beside highway-env where it is installed.

Each rate is the best of three short measurements, so that other work of the machine counts less. Compiling does not
count: each function is called once before it is timed.

    >>> from deeptraffic.bench import Bench
    >>> for row in Bench().run():
    ...     print(row.name, row.num_envs, row.value, row.unit)
"""

import importlib.util
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deeptraffic.evaluation.batch import Plan, PolicySource, evaluate_many, headline_interval
from deeptraffic.evaluation.protocol import evaluate_official, evaluate_open
from deeptraffic.policies.base import Policy
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.policies.file import PolicyFile, pack_policy, policy_content, read_policy
from deeptraffic.policies.layer import Layer
from deeptraffic.policies.layers import Dense, Relu
from deeptraffic.policies.network import Network
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Action, RoadConfig, Sensor

if TYPE_CHECKING:
    import gymnasium

ROADS = (RoadConfig(), RoadConfig(other_agents=10), RoadConfig(rules=2017))
ENV_ID = "deeptraffic:DeepTraffic2018-v0"
BATCHES = (1, 64, 4096)
TILES = 16  # envs that are rendered side by side
VECTOR_ENVS = 1024
PERIOD = RoadConfig().decision_period  # [frames]
FILES, FILES_ALONE, FILES_OFFICIAL = 1000, 100, 16  # policy files in one evaluation, those scored one by one
OPEN_RUNS, RUN_DECISIONS = 10, 67  # of each file; decisions of a run of 2,000 frames
BASIC = Sensor(lanes_side=1, patches_ahead=10, patches_behind=0)  # of MIT's basic network, 30-10-5
OPPONENT = "highway-env"


@dataclass(frozen=True)
class BenchRow:
    """One measurement; rules and other_agents are None where it is not of this package."""

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


def describe_machine() -> dict[str, Any]:
    """Return the machine and the versions that the measurements are of."""
    import numba

    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": Simulator(RoadConfig().build()).threads,
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
        self.threads = sorted({1, Simulator(RoadConfig().build()).threads})

    def run(self) -> Iterator[BenchRow]:
        """Measure one thing after another."""
        yield from self.frames()
        yield from self.decisions()
        yield from self.single_env()
        yield from self.vector_envs()
        yield from self.images()
        yield from self.official()
        yield from self.many_policies()
        yield BenchRow("memory per env", Simulator(RoadConfig().build()).games.itemsize, "bytes")
        if self.opponent:
            yield from self.highway_env()

    def rate(self, call: Callable[[], object], units: float, between: Callable[[], object] | None = None) -> float:
        """Return units per second of a call that does `units` of them: the best of three measurements.

        between: called before each call, and not timed; then seconds are those of the processor, not of the clock, of
            which another process takes whole milliseconds between two calls
        """
        clock = time.perf_counter if between is None else time.process_time
        call()
        best = 0.0
        for _ in range(3):
            calls, seconds = 0, 0.0
            while seconds < self.seconds or calls == 0:
                if between is not None:
                    between()
                started = clock()
                call()
                seconds += clock() - started
                calls += 1
            best = max(best, calls * units / seconds)
        return best

    # --- the simulator --------------------------------------------------------------------------------------------

    def frames(self) -> Iterator[BenchRow]:
        """Frames without actions."""
        for road in ROADS:
            for threads in self.threads:
                for num_envs in BATCHES:
                    sim, periods = running(road, num_envs, threads), max(1, 1024 // num_envs)
                    value = self.rate(partial(sim.step, sim.idle, periods=periods), periods * PERIOD * num_envs)
                    yield BenchRow("frames", value, "frames/s", road.rules, road.other_agents, threads, num_envs)

    def decisions(self) -> Iterator[BenchRow]:
        """Decisions: 30 frames and an observation of 7 x 60 cells for every env."""
        sensor = Sensor()
        for road in ROADS:
            for threads in self.threads:
                sim = running(road, BATCHES[-1], threads)
                obs = np.empty((sim.num_envs, sensor.size))

                def decide(sim: Simulator = sim, obs: np.ndarray = obs) -> None:
                    sim.step(sim.idle)
                    sim.sense(sensor, out=obs)

                value = self.rate(decide, sim.num_envs)
                yield BenchRow("decisions", value, "decisions/s", road.rules, road.other_agents, threads, sim.num_envs)

    # --- environments ---------------------------------------------------------------------------------------------

    def single_env(self) -> Iterator[BenchRow]:
        """`env.step` of one env: bare, and through the wrappers that `gymnasium.make` puts around it."""
        import gymnasium

        for rules in (2018, 2017):
            made = gymnasium.make(f"deeptraffic:DeepTraffic{rules}-v0", max_episode_steps=-1)
            for name, env in (("env.step (gymnasium.make)", made), ("env.step (unwrapped)", made.unwrapped)):
                env.reset(seed=0)
                yield BenchRow(name, self.rate(partial(env.step, 0), 1), "steps/s", rules)

    def vector_envs(self) -> Iterator[BenchRow]:
        """Steps of all envs of the native vector environments, resets included."""
        from deeptraffic.envs.vector_env import DeepTrafficVectorEnv

        kinds: list[tuple[str, Any]] = [("VectorEnv.step", DeepTrafficVectorEnv)]
        if importlib.util.find_spec("stable_baselines3"):
            from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv

            kinds.append(("SB3 VecEnv.step", DeepTrafficVecEnv))
        actions = np.zeros(VECTOR_ENVS, np.int64)
        for observation in ("vector", "gaps"):
            for threads in self.threads:
                options: dict[str, Any] = {"observation": observation, "threads": threads, "stagger": True}
                for name, kind in kinds:
                    env = kind(VECTOR_ENVS, **options)
                    env.reset()
                    value = self.rate(partial(env.step, actions), VECTOR_ENVS)
                    yield BenchRow(f"{name}, {observation}", value, "steps/s", threads=threads, num_envs=VECTOR_ENVS)

    def images(self) -> Iterator[BenchRow]:
        """Images of the road for people (`rgb_array`) and for networks (`pixels`), by CPU seconds."""
        import gymnasium

        from deeptraffic.render.road import PixelPainter

        actions = cycle(np.random.default_rng(0).integers(len(Action), size=1000).tolist())
        for overlay in ("none", "input"):
            env = gymnasium.make(ENV_ID, render_mode="rgb_array", overlay=overlay, max_episode_steps=-1)
            env.reset(seed=0)
            value = self.rate(env.render, 1, between=lambda: None)
            yield BenchRow(f"env.render (rgb_array), overlay {overlay}, still", value, "images/s")
            value = self.rate(env.render, 1, between=partial(step_on, env, actions))
            yield BenchRow(f"env.render (rgb_array), overlay {overlay}, a step between", value, "images/s")
        envs = gymnasium.make_vec(ENV_ID, TILES, render_mode="rgb_array")
        envs.reset(seed=0)
        idle = np.zeros(TILES, np.int64)
        value = self.rate(envs.render, TILES, between=partial(envs.step, idle))
        yield BenchRow("VectorEnv.render (rgb_array), a step between", value, "images/s", num_envs=TILES)
        sim = running(RoadConfig(), 64, 1)
        for name, grey in (("RGB", False), ("grey", True)):
            pixels = PixelPainter(sim.rules, 84, 84, grey=grey)
            value = self.rate(partial(pixels.paint, sim.state), sim.num_envs, between=lambda: None)
            yield BenchRow(f"images (pixels, 84 x 84, {name})", value, "images/s", num_envs=sim.num_envs)

    # --- evaluation -----------------------------------------------------------------------------------------------

    def official(self) -> Iterator[BenchRow]:
        """Seconds of an official evaluation, for the idle policy and for a network of 420-36-24-24-5."""
        for policy in (make_builtin("idle"), random_policy(Sensor(), (36, 24, 24), 0).policy()):
            for others in (0, 10):
                seconds = evaluate_official(policy, 2018, others).seconds
                yield BenchRow(f"official evaluation, {policy.label}", seconds, "s", other_agents=others)

    def many_policies(self) -> Iterator[BenchRow]:
        """Small policy files read and scored, one by one and side by side: files per minute, decisions per second."""
        for plan, count, alone in ((Plan("open", runs=OPEN_RUNS), FILES, FILES_ALONE), (Plan(), FILES_OFFICIAL, 4)):
            kind = "official" if plan.protocol == "official" else f"{plan.runs} open runs"
            with policy_files(count) as files:
                side_by_side(files[:2], plan, 1)  # compiles
                seconds = one_by_one(files[:alone], plan)
                yield BenchRow(f"policy files one by one, {kind}", 60 * alone / seconds, "files/min")
                for threads in self.threads:
                    seconds = side_by_side(files, plan, threads)
                    rate = 60 * count / seconds
                    yield BenchRow(f"policy files side by side, {kind}", rate, "files/min", threads=threads)
                    if plan.protocol == "open":
                        decisions = count * plan.runs * RUN_DECISIONS / seconds
                        yield BenchRow(f"their decisions, {kind}", decisions, "decisions/s", threads=threads)

    # --- highway-env ----------------------------------------------------------------------------------------------

    def highway_env(self) -> Iterator[BenchRow]:
        """highway-env with as many lanes, vehicles and frames per decision, and how many times faster we are."""
        theirs = self.rate(highway_step(), 1)
        yield BenchRow(f"{OPPONENT}: frames", theirs * PERIOD, "frames/s", None, None)
        yield BenchRow(f"{OPPONENT}: env.step", theirs, "steps/s", None, None)
        sim = running(RoadConfig(), 64, 1)
        frames = self.rate(partial(sim.step, sim.idle, periods=16), 16 * PERIOD * sim.num_envs)
        yield BenchRow(f"frames per frame of {OPPONENT}", frames / (theirs * PERIOD), "x", num_envs=sim.num_envs)
        step = next(self.single_env()).value
        yield BenchRow(f"env.step per env.step of {OPPONENT}", step / theirs, "x")


def running(road: RoadConfig, num_envs: int, threads: int) -> Simulator:
    """Return a simulator whose envs have run for ten decision periods and are at a decision."""
    sim = Simulator(road.build(), num_envs, threads)
    sim.reset_open(range(num_envs))
    sim.step(sim.idle, periods=10)
    return sim


def step_on(env: "gymnasium.Env", actions: Iterator[int]) -> None:
    """Take the next one of these actions."""
    env.step(next(actions))


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


# --- policy files ---------------------------------------------------------------------------------------------------


def random_policy(sensor: Sensor, hidden: Sequence[int], seed: int) -> PolicyFile:
    """Return a policy of dense layers over the sensor's cells, with random weights."""
    sizes, random = (sensor.size, *hidden, len(Action)), np.random.default_rng(seed)
    layers: list[Layer] = []
    tensors: dict[str, Any] = {}
    for inputs, outputs in pairwise(sizes):
        layers += [Dense(outputs=outputs), Relu()]
        tensors[f"{len(layers) - 1}.weight"] = random.normal(0.0, inputs**-0.5, (outputs, inputs)).astype(np.float32)
        tensors[f"{len(layers) - 1}.bias"] = np.zeros(outputs, np.float32)
    network = Network(sensor.size, tuple(layers[:-1]), tensors)
    return pack_policy(network, sensor, f"MLP {'-'.join(map(str, sizes))}")


@contextmanager
def policy_files(count: int) -> Iterator[list[Path]]:
    """Yield so many files of networks of the size of MIT's basic one; they are deleted in the end."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{seed}.safetensors" for seed in range(count)]
        for seed, file in enumerate(files):
            file.write_bytes(policy_content(random_policy(BASIC, (10,), seed)))
        yield files


def one_by_one(files: Sequence[Path], plan: Plan) -> float:
    """Return the seconds in which these files are read and scored by the protocols, one after another."""
    started = time.perf_counter()
    for file in files:
        policy = read_file(file)
        is_open = plan.protocol == "open"
        headline_interval(evaluate_open(policy, runs=plan.runs) if is_open else evaluate_official(policy))
    return time.perf_counter() - started


def side_by_side(files: Sequence[Path], plan: Plan, threads: int) -> float:
    """Return the seconds in which these files are read and scored in one batched evaluation."""
    sources = [PolicySource(str(file), partial(read_file, file)) for file in files]
    started = time.perf_counter()
    outcomes = list(evaluate_many(sources, plan, threads))
    seconds = time.perf_counter() - started
    errors = [f"{outcome.name}: {outcome.error}" for outcome in outcomes if outcome.error]
    if errors:
        raise RuntimeError(f"{len(errors)} of {len(files)} files were not evaluated, {errors[0]}")
    return seconds


def read_file(file: Path) -> Policy:
    """Return the policy in a policy file."""
    return read_policy(file).policy()
