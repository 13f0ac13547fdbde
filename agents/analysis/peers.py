"""Benchmark against peers: environments and learners of others and ours, on one core (`deeptraffic bench --peers`).

All are measured in one process, each several times, every second time in reverse order, so that a machine whose speed
drifts favours none. A rate is of CPU time; the first round of each measurement, in which code is compiled, is left out.

    >>> report = measure_peers(seconds=1.0, repeats=3)
    >>> [(speed.name, speed.median) for speed in report.speeds]
"""

import importlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from agents.analysis.tables import markdown_table, replace_section
from agents.analysis.train_bench import TrainingSpeed, measure_compiled, measure_sb3_defaults, measure_torch
from agents.examples.cleanrl_ppo import CleanRLPPO
from agents.trainer import torch_threads
from deeptraffic.bench import describe_machine, highway_step
from deeptraffic.envs.vector_env import DeepTrafficVectorEnv
from deeptraffic.run_dir import source_commit, write_json

FIRST_PAGE = Path(__file__).resolve().parents[2] / "README.md"
RESULTS = Path(__file__).with_suffix(".json")
BEGIN, END = "<!-- table of peers -->", "<!-- end of the table -->"
ENV = "deeptraffic:DeepTraffic2018-v0"
VECTOR_ENVS, PUFFER_ENVS, CLEANRL_ENVS, LEARNER_ENVS = 1024, 64, 4, 256


@dataclass(frozen=True)
class Peer:
    """One contestant.

    name: as the table shows it
    measure: measures for at least so many seconds
    package: module of others that must be installed; "" for none
    """

    name: str
    measure: Callable[[float], TrainingSpeed]
    package: str = ""


@dataclass(frozen=True)
class PeerSpeed:
    """Rates of one contestant.

    rates: decisions per CPU second of each repeat
    """

    name: str
    num_envs: int
    rates: Sequence[float]

    @property
    def median(self) -> float:
        """The median rate."""
        return float(np.median(self.rates))


@dataclass(frozen=True)
class PeerReport:
    """All rates of a run and what they are of.

    machine: processor and versions; load: average number of running processes in the last minute, before and after
    missing: packages that cannot be imported, with the error
    """

    speeds: Sequence[PeerSpeed]
    machine: dict[str, Any]
    load: Sequence[float]
    seconds: float
    commit: str | None
    missing: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)


# By us, with the original game's own JavaScript run without its page in Node 20 on one core: training of MIT's basic
# network. Its code is no part of this package.
QUOTED = PeerSpeed("Q-learning: original game (quoted)", 1, (940.0,))


# --- the contestants ----------------------------------------------------------------------------------------------


def measure_calls(name: str, num_envs: int, call: Callable[[], int], seconds: float) -> TrainingSpeed:
    """Return the speed of a function that makes decisions and returns their number, its first call left out.

    seconds: of CPU time, at least
    """
    call()
    decisions, started, cpu_started = 0, time.perf_counter(), time.process_time()
    while (cpu := time.process_time() - cpu_started) < seconds or not decisions:
        decisions += call()
    return TrainingSpeed(name, name, num_envs, 0, decisions, time.perf_counter() - started, cpu)


def step_highway(seconds: float) -> TrainingSpeed:
    """Steps of highway-env."""
    step = highway_step()

    def call() -> int:
        step()
        return 1

    return measure_calls("highway-env", 1, call, seconds)


def step_single(seconds: float) -> TrainingSpeed:
    """Steps of one Gymnasium env."""
    env = gymnasium.make(ENV, observation="gaps", max_episode_steps=-1)
    env.reset(seed=0)

    def call() -> int:
        for _ in range(100):
            env.step(0)
        return 100

    return measure_calls("gymnasium", 1, call, seconds)


def step_vector(seconds: float) -> TrainingSpeed:
    """Steps of the native vector environment."""
    return _step_envs(DeepTrafficVectorEnv(VECTOR_ENVS, observation="gaps", stagger=True), VECTOR_ENVS, seconds)


def step_pufferlib(seconds: float) -> TrainingSpeed:
    """Steps of Gymnasium envs in PufferLib's vectorisation."""
    import pufferlib.emulation
    import pufferlib.vector

    def make() -> Any:
        return pufferlib.emulation.GymnasiumPufferEnv(env=gymnasium.make(ENV, observation="gaps"))

    envs = pufferlib.vector.make(make, num_envs=PUFFER_ENVS, backend=pufferlib.vector.Serial)
    return _step_envs(envs, PUFFER_ENVS, seconds)


def _step_envs(envs: Any, num_envs: int, seconds: float) -> TrainingSpeed:
    envs.reset(seed=0)
    actions = np.zeros(num_envs, np.int64)

    def call() -> int:
        envs.step(actions)
        return num_envs

    return measure_calls(type(envs).__name__, num_envs, call, seconds)


def train_cleanrl(seconds: float) -> TrainingSpeed:
    """PPO in the style of CleanRL, on as many envs as there, in Gymnasium's own vectorisation."""
    make = [lambda: gymnasium.make(ENV, observation="gaps")] * CLEANRL_ENVS
    return _train_cleanrl(SyncVectorEnv(make, autoreset_mode=AutoresetMode.SAME_STEP), seconds)


def train_cleanrl_vector(seconds: float) -> TrainingSpeed:
    """PPO in the style of CleanRL on our vector environment."""
    mode = AutoresetMode.SAME_STEP
    return _train_cleanrl(DeepTrafficVectorEnv(LEARNER_ENVS, observation="gaps", autoreset_mode=mode), seconds)


def _train_cleanrl(envs: Any, seconds: float) -> TrainingSpeed:
    with torch_threads(1):
        learner = CleanRLPPO(envs)
        return measure_calls("cleanrl", envs.num_envs, learner.iterate, seconds)


# In the order of the table. highway-env has as many lanes, vehicles and frames per decision as our road.
PEERS = (
    Peer("steps: highway-env", step_highway, "highway_env"),
    Peer("steps: ours in PufferLib", step_pufferlib, "pufferlib.vector"),
    Peer("steps: ours, gymnasium.make", step_single),
    Peer("steps: ours, gymnasium.make_vec", step_vector),
    Peer("PPO: Stable-Baselines3", lambda seconds: measure_sb3_defaults("ppo", seconds)),
    Peer("PPO: CleanRL's style", train_cleanrl),
    Peer("PPO: CleanRL's style, vectorised", train_cleanrl_vector),
    Peer("PPO: ours, torch", lambda seconds: measure_torch("ppo", seconds)),
    Peer("PPO: ours, compiled", lambda seconds: measure_compiled("ppo", seconds)),
    Peer("PQN: ours, torch", lambda seconds: measure_torch("pqn", seconds)),
    Peer("PQN: ours, compiled", lambda seconds: measure_compiled("pqn", seconds)),
    Peer("Q-learning: ours", lambda seconds: measure_compiled("deepqlearn", seconds)),
)


# --- measuring ------------------------------------------------------------------------------------------------------


def measure_peers(
    seconds: float = 1.0,
    repeats: int = 5,
    peers: Sequence[Peer] = PEERS,
    progress: Callable[[str, float], None] = lambda name, rate: None,
) -> PeerReport:
    """Measure all whose packages are installed, `repeats` times each; progress takes each name and rate."""
    errors = {peer.package: import_error(peer.package) for peer in peers if peer.package}
    missing = {package: error for package, error in errors.items() if error}
    present = [peer for peer in peers if peer.package not in missing]
    found: dict[str, list[TrainingSpeed]] = {peer.name: [] for peer in present}
    load = [os.getloadavg()[0]]
    with one_core():
        for repeat in range(repeats):
            for peer in present if repeat % 2 == 0 else reversed(present):
                found[peer.name].append(peer.measure(seconds))
                progress(peer.name, found[peer.name][-1].decisions_per_cpu_second)
        machine = describe_machine()
    load.append(os.getloadavg()[0])
    machine |= {name: metadata.version(name) for name in distributions(present)}
    speeds = [
        PeerSpeed(name, speeds[0].num_envs, tuple(round(speed.decisions_per_cpu_second, 1) for speed in speeds))
        for name, speeds in found.items()
    ]
    return PeerReport(speeds, machine, load, seconds, source_commit(), missing)


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this thread, and those that it starts, on one core, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def import_error(package: str) -> str:
    """Return why a package cannot be imported, "" if it can."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        return str(error)
    return ""


def distributions(peers: Sequence[Peer]) -> list[str]:
    """Return the names of the distributions whose versions matter."""
    theirs = (peer.package.partition(".")[0].replace("_", "-") for peer in peers if peer.package)
    return ["torch", "stable-baselines3", "gymnasium", *theirs]


# --- page -----------------------------------------------------------------------------------------------------------


def write_page(report: PeerReport, page: Path = FIRST_PAGE, results: Path = RESULTS) -> Path:
    """Keep the report, and write its table into the first page of this source checkout; return the page's path."""
    write_json(results, report.to_json())
    replace_section(page, BEGIN, END, peers_table(report))
    return page


def stored_report(results: Path = RESULTS) -> PeerReport:
    """Return the report that was kept."""
    kept = json.loads(results.read_text(encoding="utf-8"))
    return PeerReport(**{**kept, "speeds": [PeerSpeed(**speed) for speed in kept["speeds"]]})


def peers_table(report: PeerReport) -> str:
    """Return the rates as a Markdown table, and a line on how they were measured."""
    lines = [[name, rates] for name, _, rates in peer_cells(report)]
    return f"{markdown_table(lines, left=1)}\n{describe_run(report)}\n"


def peer_cells(report: PeerReport) -> list[list[str]]:
    """Return a table's cells, its head first: the rates measured, and at the end the quoted one."""
    head = ["on one core", "envs", "decisions/CPU s"]
    return [head, *([speed.name, f"{speed.num_envs:,}", format_rates(speed)] for speed in (*report.speeds, QUOTED))]


def describe_run(report: PeerReport) -> str:
    """Return how the rates were measured."""
    repeats = max(len(speed.rates) for speed in report.speeds)
    missing = f" Not installed: {', '.join(report.missing)}." if report.missing else ""
    return (
        f"Median of {repeats} (lowest–highest), {report.machine['processor']}, load {report.load[0]:.1f}, "
        f"`deeptraffic bench --peers`.{missing}"
    )


def format_rates(speed: PeerSpeed) -> str:
    """Return the median, and the lowest and the highest rate."""
    digits = 0 if speed.median >= 100 else 1
    if len(speed.rates) < 2:
        return f"{speed.median:,.{digits}f}"
    return f"{speed.median:,.{digits}f} ({min(speed.rates):,.{digits}f}–{max(speed.rates):,.{digits}f})"
