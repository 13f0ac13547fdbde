"""How a champion is shipped: its network as a small file, scored as it lies there, and listed in the book.

    >>> ship_champion("champion-ppo", Path("runs/ppo"), "policy-based", "PPO on lane gaps", ["deeptraffic train ppo"])

The file and its line in the book are written when all is scored, so that a book never lists what was not measured.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from agents.champions.registry import BOOK, FOLDER, KINDS, Champion
from agents.export import Weights, read_weights, weights_content
from agents.planner import PlannerConfig, load_planner
from agents.run import RunFolder, is_run_folder, load_policy
from deeptraffic.evaluation.protocol import access_of, evaluate_official, evaluate_open
from deeptraffic.policies.brain import NetworkPolicy
from deeptraffic.policies.builtin import Policy
from deeptraffic.policies.file import PolicyFile, pack_policy, policy_content, read_policy
from deeptraffic.policies.network import Network
from deeptraffic.run_dir import write_atomically, write_json

MAX_BYTES = 1_000_000
CHECK_RUNS = 500  # tuning runs on which a network of half precision must be as good as the one it comes from
MOST_LOST = 0.1  # [mph]
AUTHOR = "the DeepTraffic authors"


@dataclass(frozen=True)
class Facts:
    """What a source tells of its training; config: every setting, {} for a file."""

    config: dict[str, Any]
    seeds: list[int]
    decisions: int | None
    cpu_minutes: float | None


@dataclass(frozen=True)
class Candidate:
    """What is about to be shipped: a file's content, the driver in it, its size, and a planner's settings."""

    content: bytes
    policy: Policy
    parameters: int
    planner: dict[str, Any] | None = None


def ship_champion(
    name: str,
    source: Path,
    kind: str,
    algorithm: str,
    made_by: Sequence[str],
    chosen_on: str = "tuning runs",
    other_agents: int | None = None,
    decisions: int | None = None,
    cpu_minutes: float | None = None,
    seeds: Sequence[int] | None = None,
    planner: dict[str, Any] | None = None,
    runs: int = 5000,
    folder: Path = FOLDER,
) -> Champion:
    """Write a network as a champion's file, score it, and list it; return its line in the book.

    source: a run folder, a policy file, or, with `planner` (settings, may be {}), a run or weights for a planner
    made_by: the commands that made it; other arguments left out are what the source tells

    Raises ValueError if the source holds no network that a policy file can hold, or if the file is too large.
    """
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r} does not exist; choose one of {', '.join(KINDS)}")
    facts = read_facts(source)
    candidate = _policy_candidate(name, source) if planner is None else _planner_candidate(name, source, planner)
    driver = candidate.policy
    others = getattr(driver, "other_agents", 0) if other_agents is None else other_agents
    official = evaluate_official(driver, other_agents=others)
    reporting = evaluate_open(driver, other_agents=others, runs=runs, seed_set="reporting").to_json()
    champion = Champion(
        name,
        f"{name}.safetensors",
        kind,
        algorithm,
        list(made_by),
        facts.config,
        facts.seeds if seeds is None else list(seeds),
        chosen_on,
        facts.decisions if decisions is None else decisions,
        facts.cpu_minutes if cpu_minutes is None else cpu_minutes,
        candidate.parameters,
        others,
        access_of(driver),
        official.score,
        {key: value for key, value in reporting.items() if key not in ("run_scores", "policy", "seconds")},
        candidate.planner,
    )
    write_atomically(folder / champion.file, candidate.content)
    _list(champion, folder)
    return champion


def read_facts(source: Path) -> Facts:
    """Return what a run folder tells of its best network's training; nothing for a file."""
    if not is_run_folder(source):
        return Facts({}, [], None, None)
    run = RunFolder(source)
    config = run.config()
    _, notes = read_weights(run.best_file)
    decisions = int(notes["decisions"])
    spent = [line["cpu_seconds"] for line in run.metrics() if line["decisions"] <= decisions and "cpu_seconds" in line]
    return Facts(config.to_json(), [config.seed], decisions, max(spent) / 60.0 if spent else None)


def _list(champion: Champion, folder: Path) -> None:
    book = json.loads((folder / BOOK).read_text(encoding="utf-8")) if (folder / BOOK).exists() else {}
    write_json(folder / BOOK, book | {champion.name: asdict(champion)})


# --- policy files -----------------------------------------------------------------------------------------------------


def _policy_candidate(name: str, source: Path) -> Candidate:
    """Return a run's best network, or a file's, as the policy file to ship: float32, or float16 where that is large."""
    driver = load_policy(source) if is_run_folder(source) else read_policy(source).policy()
    if not isinstance(driver, NetworkPolicy):
        raise ValueError(f"{str(source)!r} is no network that reads the sensor's cells, so no policy file can hold it")
    packed = _pack(name, driver)
    content = policy_content(packed)
    if len(content) >= MAX_BYTES:
        content = policy_content(replace(packed, network=halved(packed.network)))
        _check_size(len(content), source)
        _check_kept(driver, read_policy(content).policy())
    return Candidate(content, read_policy(content).policy(), packed.network.parameters)


def _pack(name: str, driver: NetworkPolicy) -> PolicyFile:
    import deeptraffic

    facts = {"package_version": deeptraffic.__version__} | dict(getattr(driver, "notes", {}))
    return pack_policy(
        driver.network,
        driver.observation,
        name,
        driver.temporal_window,
        driver.rules,
        driver.other_agents,
        author=AUTHOR,
        training=facts,
    )


def halved(network: Network) -> Network:
    """Return a network whose numbers are rounded to float16."""
    return replace(network, tensors={name: np.asarray(tensor, np.float16) for name, tensor in network.tensors.items()})


def _check_size(size: int, source: Path) -> None:
    if size >= MAX_BYTES:
        raise ValueError(
            f"{str(source)!r} makes a file of {size:,} bytes, and a champion's has less than {MAX_BYTES:,}; train a "
            "smaller network"
        )


def _check_kept(full: Policy, rounded: Policy) -> None:
    """Raise ValueError if rounding costs speed on tuning runs."""
    others = getattr(full, "other_agents", 0)
    before, after = (evaluate_open(p, other_agents=others, runs=CHECK_RUNS).mean_mph for p in (full, rounded))
    if after < before - MOST_LOST:
        raise ValueError(
            f"rounded to float16 it drives {after:.2f} mph instead of {before:.2f}; train a smaller network"
        )


# --- planners ---------------------------------------------------------------------------------------------------------


def _planner_candidate(name: str, source: Path, settings: dict[str, Any]) -> Candidate:
    """Return a planner on a run's best network, or on a weights file."""
    config = PlannerConfig(**settings)
    weights, notes = read_weights(RunFolder(source).best_file if is_run_folder(source) else source)
    content = weights_content(weights, notes)
    _check_size(len(content), source)
    return Candidate(content, load_planner(source, config, name), _count(weights), asdict(config))


def _count(weights: Weights) -> int:
    return sum(tensor.size for tensor in weights.values())
