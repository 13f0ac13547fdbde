"""The benchmark's protocol: train within a budget, score on reporting seeds, keep every result in a file of its own.

    >>> results = run_benchmark(["pqn", "mine.py:make"], BenchmarkPlan(("solo",), budget=100_000, seeds=3), folder)

A result that is there is not made again, so that an interrupted benchmark resumes: an algorithm of this package within
its training, an agent of your own with its next training. The newest network is scored: evaluations that choose one
would make decisions that the budget does not count.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.benchmark.session import BenchmarkSession
from agents.benchmark.tasks import TASKS, BenchmarkTask
from agents.own_model import import_object, is_own
from agents.registry import ALGORITHMS
from deeptraffic.evaluation.model import as_policy
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.policies.base import Policy
from deeptraffic.run_dir import lock_folder, source_commit, stop_requests, write_json
from deeptraffic.settings import Settings, check_integer

BUDGETS = (100_000, 1_000_000)  # [decisions] that papers report
LEARNERS = tuple(entry.name for entry in ALGORITHMS.values() if entry.kind in ("policy-based", "value-based"))
OWN_CONFIG = ("deepqlearn", "team_ppo")  # of these, whose runs are configured, or whose decisions counted, otherwise
OURS = tuple(name for name in LEARNERS if name not in OWN_CONFIG)


@dataclass(frozen=True)
class BenchmarkPlan:
    """What is trained and how it is scored.

    tasks: names of `TASKS`
    budget: decisions of a training
    seeds: number of trainings, with seeds 0, 1, ...
    runs: reporting runs of a score
    """

    tasks: tuple[str, ...] = ("solo", "team", "2017", "wide")
    budget: int = BUDGETS[0]
    seeds: int = 3
    runs: int = 500

    def __post_init__(self) -> None:
        for name, high in (("budget", 10**12), ("seeds", 1000), ("runs", 100_000)):
            check_integer(name, getattr(self, name), 1, high)
        if unknown := [name for name in self.tasks if name not in TASKS]:
            raise ValueError(f"there is no task {unknown[0]!r}; choose of {', '.join(TASKS)}")


@dataclass(frozen=True)
class BenchmarkResult:
    """Score of one training.

    decisions: made in training, at most the budget
    cpu_seconds: of training, the compiler's included where nothing was cached
    mean_mph: over reporting runs, with its 95% interval over runs; score: normalised (`agents.benchmark.tasks`)
    """

    agent: str
    task: str
    budget: int
    seed: int
    decisions: int
    cpu_seconds: float
    runs: int
    mean_mph: float
    interval: tuple[float, float]
    score: float
    commit: str | None


def check_agents(agents: Sequence[str]) -> None:
    """Raise ValueError unless all are algorithms of the benchmark or objects of the user's own."""
    for name in agents:
        if name not in OURS and not is_own(name):
            raise ValueError(
                f"{name!r} is none of {', '.join(OURS)}, nor file.py:make or package.module:make of your own"
            )


def run_benchmark(
    agents: Sequence[str],
    plan: BenchmarkPlan,
    folder: Path,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> list[BenchmarkResult]:
    """Train and score what has no result yet; return the results of this plan.

    progress: is called with what is next, trainings done, and trainings in all

    Raises ValueError for an unknown agent or task, Interrupted after a signal.
    """
    check_agents(agents)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(name, task, seed) for seed in range(plan.seeds) for task in plan.tasks for name in agents]
    with lock_folder(folder, folder / ".lock"), stop_requests() as stop:
        for done, (name, task, seed) in enumerate(wanted):
            progress(f"{name}, {task}, seed {seed}", done, len(wanted))
            stop.check(f"stopped after {done} of {len(wanted)} trainings; the same command resumes")
            path = _file(folder, name, task, plan, seed)
            if path.exists():
                continue
            session = BenchmarkSession(TASKS[task], plan.budget, seed, stop)
            result = benchmark_one(name, session, plan, path.with_suffix(""))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, asdict(result))
        progress("", len(wanted), len(wanted))
    return [_load(_file(folder, name, task, plan, seed)) for name, task, seed in wanted]


def _file(folder: Path, name: str, task: str, plan: BenchmarkPlan, seed: int) -> Path:
    return folder / label_of(name) / f"{task}-{plan.budget}-{plan.runs}-{seed}.json"


def _load(path: Path) -> BenchmarkResult:
    return read_result(json.loads(path.read_text(encoding="utf-8")))


def label_of(name: str) -> str:
    """Return the name of an agent in tables and folders."""
    source, colon, attribute = name.rpartition(":")
    return f"{Path(source).name}-{attribute}" if colon else name


def read_result(record: dict[str, Any]) -> BenchmarkResult:
    """Return the result in a JSON record."""
    return BenchmarkResult(**record | {"interval": tuple(record["interval"])})


def all_results(folder: Path) -> list[BenchmarkResult]:
    """Return all results that are in a folder."""
    return [_load(path) for path in sorted(folder.glob("*/*-*-*-*.json"))]


def benchmark_one(name: str, session: BenchmarkSession, plan: BenchmarkPlan, run: Path) -> BenchmarkResult:
    """Train once and score it; run: folder of the training of an algorithm of this package."""
    task, started = session.task, time.process_time()
    if name in OURS:
        policy, session.used, cpu_seconds = train_ours(name, session, run)
    else:
        policy = train_own(name, session)
        cpu_seconds = time.process_time() - started

    def check_stopped(*_: int) -> None:
        session.stop.check("stopped while scoring; the same command resumes")

    score = evaluate_open(policy, task.road, runs=plan.runs, seed_set="reporting", progress=check_stopped)
    return BenchmarkResult(
        label_of(name),
        task.name,
        plan.budget,
        session.seed,
        session.used,
        round(cpu_seconds, 1),
        plan.runs,
        round(score.mean_mph, 3),
        (round(score.mean_interval[0], 3), round(score.mean_interval[1], 3)),
        round(task.normalised(score.mean_mph), 2),
        source_commit(),
    )


# --- agents -----------------------------------------------------------------------------------------------------------


def train_own(name: str, session: BenchmarkSession) -> Policy:
    """Return the policy that a function make(session) of the user's own trained."""
    make = import_object(name)
    if not callable(make):
        raise ValueError(f"{name} must be a function make(session) that returns a trained model, got {make!r:.80}")
    model = make(session)
    if isinstance(model, Policy):
        return model
    road = session.task.road
    return as_policy(model, session.task.observation, label_of(name), road.rules, road.other_agents)


def train_ours(name: str, session: BenchmarkSession, run: Path) -> tuple[Policy, int, float]:
    """Return (policy, decisions, CPU seconds) of an algorithm of this package with its default settings."""
    from agents.loader import load_policy
    from agents.settings import build_config
    from agents.trainer import train

    task, budget = session.task, session.budget
    settings: dict[str, Any] = {
        **{f"road.{key}": value for key, value in asdict(task.road).items()},
        **{f"observation.{key}": value for key, value in asdict(task.observation).items()},
        "seed": session.seed,
        "evaluation_runs": 0,
        **_encoder(task),
    }
    agent = build_config(name, settings=settings)
    size = agent.envs.num_envs * getattr(agent.agent, "n_steps", 1)
    if size > budget:
        raise ValueError(
            f"{name} makes {size:,} decisions in a round, more than the budget of {budget:,}; give a larger budget"
        )
    whole = budget // size * size  # in whole rounds
    total = {"total_timesteps": whole, "checkpoint_every": max(1, whole // 4)}
    result = train(build_config(name, settings=settings | total), run)
    if result.decisions > budget:
        raise RuntimeError(f"{name} made {result.decisions:,} decisions of {budget:,}; lower num_envs or n_steps")
    return load_policy(run), result.decisions, result.cpu_seconds


def _encoder(task: BenchmarkTask) -> Settings:
    """Return the settings of a network for images."""
    shape = np.shape(task.observation.space(task.road.build()).sample())
    return {"encoder.name": "conv"} if len(shape) == 3 else {}
