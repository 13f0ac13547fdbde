"""Shipping of champions: a network becomes a small policy file, is scored as it lies there, and enters the registry.

    $ python -m agents.champions ship champion-ppo runs/ppo --kind policy-based --algorithm "PPO on lane gaps" \
          --command "deeptraffic train ppo -o runs/ppo"

The file and its entry are written after all scores are known, so the registry never lists what was not measured: the
official score, and open runs on reporting seeds, on which nothing was chosen.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from typer import Argument, Option, echo

import deeptraffic
from agents.champions.registry import FOLDER, KINDS, REGISTRY_FILE, Champion, read_champions
from agents.export import read_weights, weights_content
from agents.loader import load_policy
from agents.planner import PlannerConfig, load_planner
from agents.run import RunFolder, is_run_folder
from deeptraffic.evaluation.protocol import evaluate_official, evaluate_open
from deeptraffic.policies.base import Policy
from deeptraffic.policies.file import PolicyFile, pack_network_policy, policy_content, read_policy
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import NetworkPolicy
from deeptraffic.run_dir import write_atomically, write_json

MAX_BYTES = 1_000_000
CHECK_RUNS = 500  # tuning runs on which a float16 network must be as good as the original
MAX_LOSS = 0.1  # [mph] on these
AUTHOR = "the DeepTraffic authors"


@dataclass(frozen=True)
class TrainingFacts:
    """What a run directory records of its training; config: every setting, {} for a file."""

    config: dict[str, Any]
    seeds: list[int]
    decisions: int | None
    cpu_minutes: float | None


@dataclass(frozen=True)
class Candidate:
    """A policy about to be shipped: its file's content, the policy in it, its parameters, and a planner's settings."""

    content: bytes
    policy: Policy
    parameters: int
    planner: dict[str, Any] | None = None


# parameters: the options of `python -m agents.champions ship`
def ship_champion(
    name: Annotated[str, Argument(help="Name on the command line.")],
    source: Annotated[Path, Argument(help="Run directory, policy file, or weights of a planner's network.")],
    kind: Annotated[str, Option(help=f"One of {', '.join(KINDS)}.")],
    algorithm: Annotated[str, Option(help="Algorithm in words, for the table.")],
    commands: Annotated[list[str], Option("--command", help="Command that made it; may be repeated.")],
    chosen_on: Annotated[str, Option(help="Runs on which checkpoint and settings were chosen.")] = "tuning runs",
    other_agents: Annotated[int | None, Option(help="Other agents (as it was trained).")] = None,
    decisions: Annotated[int | None, Option(help="Decisions of the training (the run's).")] = None,
    cpu_minutes: Annotated[float | None, Option(help="CPU minutes of the training (the run's).")] = None,
    seeds: Annotated[list[int] | None, Option("--seed", help="Training seed; may be repeated (the run's).")] = None,
    planner: Annotated[Any, Option(parser=json.loads, help="Settings of a planner as JSON.")] = None,
    runs: Annotated[int, Option(help="Open runs on reporting seeds.")] = 5000,
    folder: Annotated[Path, Option(help="Folder of the registry.")] = FOLDER,
) -> Champion:
    """Write a network as a champion's policy file, score it, and add it to the registry.

    Raises ValueError if no policy file can hold the network, or if the file would be too large.
    """
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r} does not exist; choose one of {', '.join(KINDS)}")
    facts = read_facts(source)
    if kind == "planner":
        candidate = _planner_candidate(name, source, planner or {})
    else:
        candidate = _policy_candidate(name, source)
    policy = candidate.policy
    others = policy.other_agents if other_agents is None else other_agents
    official = evaluate_official(policy, other_agents=others)
    reporting = evaluate_open(policy, other_agents=others, runs=runs, seed_set="reporting").to_json()
    champion = Champion(
        name=name,
        file=f"{name}.safetensors",
        kind=kind,
        algorithm=algorithm,
        commands=list(commands),
        config=facts.config,
        seeds=list(seeds or facts.seeds),
        chosen_on=chosen_on,
        decisions=facts.decisions if decisions is None else decisions,
        cpu_minutes=facts.cpu_minutes if cpu_minutes is None else cpu_minutes,
        parameters=candidate.parameters,
        other_agents=others,
        access=policy.access,
        official_mph=official.score,
        reporting={key: value for key, value in reporting.items() if key not in ("run_scores", "policy", "seconds")},
        planner=candidate.planner,
    )
    write_atomically(folder / champion.file, candidate.content)
    champions = read_champions(folder) | {name: champion}
    write_json(folder / REGISTRY_FILE, {name: asdict(champion) for name, champion in champions.items()})
    echo(f"{name}: official {official.score:.2f} mph, reporting {champion.reporting['median_mph']:.2f} mph")
    return champion


def read_facts(source: Path) -> TrainingFacts:
    """Return what a run directory records of its best network's training; nothing for a file."""
    if not is_run_folder(source):
        return TrainingFacts({}, [], None, None)
    run = RunFolder(source)
    config = run.config()
    _, notes = read_weights(run.best_file)
    decisions = int(notes["decisions"])
    times = [line["cpu_seconds"] for line in run.metrics() if line["decisions"] <= decisions and "cpu_seconds" in line]
    return TrainingFacts(config.to_json(), [config.seed], decisions, max(times) / 60.0 if times else None)


# --- policy files -----------------------------------------------------------------------------------------------------


def _policy_candidate(name: str, source: Path) -> Candidate:
    """Return a run's best network, or a file's, as the policy file to ship: float32, or float16 where that is large."""
    policy = load_policy(source)
    if not isinstance(policy, NetworkPolicy):
        raise ValueError(f"{str(source)!r} is no network that reads the sensor's cells, so no policy file can hold it")
    packed = _pack(name, policy)
    content = policy_content(packed)
    if len(content) >= MAX_BYTES:
        content = policy_content(replace(packed, network=to_float16(packed.network)))
        _check_size(len(content), source)
        _check_rounded(policy, read_policy(content).policy())
    return Candidate(content, read_policy(content).policy(), packed.network.parameters)


def _pack(name: str, policy: NetworkPolicy) -> PolicyFile:
    return pack_network_policy(policy, name, AUTHOR, {"package_version": deeptraffic.__version__} | dict(policy.notes))


def to_float16(network: Network) -> Network:
    """Return a network with its tensors rounded to float16."""
    return replace(network, tensors={name: np.asarray(tensor, np.float16) for name, tensor in network.tensors.items()})


def _check_size(size: int, source: Path) -> None:
    if size >= MAX_BYTES:
        raise ValueError(
            f"{str(source)!r} makes a file of {size:,} bytes, and a champion's has less than {MAX_BYTES:,}; train a "
            "smaller network"
        )


def _check_rounded(full: Policy, rounded: Policy) -> None:
    """Raise ValueError if rounding costs speed on tuning runs."""
    others = full.other_agents
    before, after = (evaluate_open(p, other_agents=others, runs=CHECK_RUNS).mean_mph for p in (full, rounded))
    if after < before - MAX_LOSS:
        raise ValueError(
            f"rounded to float16 it scores {after:.2f} mph instead of {before:.2f}; train a smaller network"
        )


# --- planners ---------------------------------------------------------------------------------------------------------


def _planner_candidate(name: str, source: Path, settings: dict[str, Any]) -> Candidate:
    """Return a planner on a run's best network, or on a weights file."""
    config = PlannerConfig(**settings)
    weights, notes = read_weights(RunFolder(source).best_file if is_run_folder(source) else source)
    content = weights_content(weights, notes)
    _check_size(len(content), source)
    parameters = sum(tensor.size for tensor in weights.values())
    return Candidate(content, load_planner(source, config, name), parameters, asdict(config))
