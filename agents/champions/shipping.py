"""Shipping of champions: a network becomes a small policy file, is scored as it lies there, and enters the registry.

    $ python -m agents.champions ship champion-ppo runs/ppo --kind policy-based --algorithm "PPO on lane gaps" \
          --command "deeptraffic train ppo -o runs/ppo"
    $ python -m agents.champions ship champion-cnn runs/cnn-0 runs/cnn-1 runs/cnn-2 --kind perception \
          --algorithm "distillation, conv" --teacher champion-solo --command "deeptraffic train distil ..."

The file and its entry are written after all scores are known, so the registry never lists what was not measured: the
official score, and open runs on reporting seeds, on which nothing was chosen. Of several training seeds, the network
that is best on tuning runs is shipped, and all are scored on reporting runs.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from typer import Argument, Option, echo

import deeptraffic
from agents.analysis.kept_scores import KeptScores
from agents.champions.registry import FOLDER, KINDS, PERCEPTION, REGISTRY_FILE, Champion, SeedScores, read_champions
from agents.export import read_weights, weights_content
from agents.loader import load_policy
from agents.planner import PlannerConfig, load_planner
from agents.run import RunFolder, is_run_folder
from deeptraffic.envs.observations import Observation, describe, preset_of
from deeptraffic.envs.observations.presets import PRESETS
from deeptraffic.envs.other_agents import policy_observation
from deeptraffic.evaluation.comparison import paired_difference
from deeptraffic.evaluation.protocol import evaluate_official, evaluate_open
from deeptraffic.evaluation.score import Score
from deeptraffic.evaluation.statistics import mean_interval
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
    """A policy about to be shipped: its file's content, the policy in it, sizes, and a planner's settings."""

    content: bytes
    policy: Policy
    parameters: int
    multiplications: int
    planner: dict[str, Any] | None = None


# parameters: the options of `python -m agents.champions ship`
def ship_champion(
    name: Annotated[str, Argument(help="Name on the command line.")],
    sources: Annotated[
        list[Path],
        Argument(help="Run directory or policy file, one per training seed; or weights of a planner's network."),
    ],
    kind: Annotated[str, Option(help=f"One of {', '.join(KINDS)}.")],
    algorithm: Annotated[str, Option(help="Algorithm in words, for the table.")],
    commands: Annotated[list[str], Option("--command", help="Command that made it; may be repeated.")],
    chosen_on: Annotated[str, Option(help="Runs on which checkpoint and settings were chosen.")] = "tuning runs",
    other_agents: Annotated[int | None, Option(help="Other agents (as it was trained).")] = None,
    decisions: Annotated[int | None, Option(help="Decisions of the training (the run's).")] = None,
    cpu_minutes: Annotated[float | None, Option(help="CPU minutes of the training (the run's).")] = None,
    seeds: Annotated[
        list[int] | None, Option("--seed", help="Training seed of each source; may be repeated (the runs').")
    ] = None,
    planner: Annotated[Any, Option(parser=json.loads, help="Settings of a planner as JSON.")] = None,
    teacher: Annotated[str, Option(help="Policy that kind perception is compared with on the same runs.")] = "",
    runs: Annotated[int, Option(help="Open runs on reporting seeds.")] = 5000,
    tuning_runs: Annotated[int, Option(help="Open runs on which one of several training seeds is chosen.")] = 1000,
    kept: Annotated[
        Path | None, Option("--scores", help="Folder of scores that are kept; a rerun evaluates only what it lacks.")
    ] = None,
    folder: Annotated[Path, Option(help="Folder of the registry.")] = FOLDER,
) -> Champion:
    """Write a network as a champion's policy file, score it, and add it to the registry.

    Raises ValueError if no policy file can hold the network, or if the file would be too large.
    """
    facts = [read_facts(source) for source in sources]
    trained = list(seeds or [seed for fact in facts for seed in fact.seeds])
    _check_options(kind, sources, trained, teacher)
    if kind == "planner":
        candidates = [_planner_candidate(name, sources[0], planner or {})]
    else:
        candidates = [_policy_candidate(name, source) for source in sources]
    others = candidates[0].policy.other_agents if other_agents is None else other_agents

    results = KeptScores(kept)

    def scores_of(runs: int, seed_set: str) -> list[Score]:
        return [results.evaluate(candidate.policy, runs, seed_set, others) for candidate in candidates]

    tuning = [score.mean_mph for score in scores_of(tuning_runs, "tuning")] if len(candidates) > 1 else []
    best = int(np.argmax(tuning)) if tuning else 0
    scores = scores_of(runs, "reporting")
    candidate, policy, fact, reporting = candidates[best], candidates[best].policy, facts[best], scores[best].to_json()
    is_weak = policy_observation(policy).is_weak
    by_seed = None
    if kind == PERCEPTION:
        seen = RunFolder(sources[best]).config().observation if fact.config else policy_observation(policy)
        taught = results.evaluate(load_policy(teacher), runs, "reporting", others, teacher) if teacher else None
        by_seed = _seed_scores(seen, trained[best], tuning, scores, taught, candidate.multiplications)
    champion = Champion(
        name=name,
        file=f"{name}.safetensors",
        kind=kind,
        algorithm=algorithm,
        commands=list(commands),
        config=fact.config,
        seeds=trained,
        chosen_on=chosen_on,
        decisions=fact.decisions if decisions is None else decisions,
        cpu_minutes=fact.cpu_minutes if cpu_minutes is None else cpu_minutes,
        parameters=candidate.parameters,
        other_agents=others,
        access=policy.access,
        official_mph=None if is_weak else evaluate_official(policy, other_agents=others).score,
        reporting={key: value for key, value in reporting.items() if key not in ("run_scores", "policy", "seconds")},
        planner=candidate.planner,
        by_seed=by_seed,
    )
    _add_champion(champion, candidate.content, folder)
    return champion


def _add_champion(champion: Champion, content: bytes, folder: Path) -> None:
    """Write a champion's policy file and its entry of the registry, and print its scores."""
    write_atomically(folder / champion.file, content)
    champions = read_champions(folder) | {champion.name: champion}
    write_json(folder / REGISTRY_FILE, {name: asdict(each) for name, each in champions.items()})
    official, scores, by_seed = champion.official_mph, champion.reporting, champion.by_seed
    echo(f"{champion.name}: {'no' if official is None else f'{official:.2f} mph'} official score, ", nl=False)
    echo(f"median {scores['median_mph']:.2f} and mean {scores['mean_mph']:.2f} mph of {scores['runs']} reporting runs")
    if by_seed is not None and by_seed.mean is not None:
        echo(f"mean by training seed {', '.join(f'{mean:.2f}' for mean in by_seed.means)}; of all {by_seed.mean:.2f}")


def _check_options(kind: str, sources: Sequence[Path], seeds: Sequence[int], teacher: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r} does not exist; choose one of {', '.join(KINDS)}")
    if kind != PERCEPTION and (len(sources) > 1 or teacher):
        raise ValueError(f"several training seeds and a teacher belong to --kind {PERCEPTION}; give one source alone")
    if kind == PERCEPTION and len(seeds) != len(sources):
        raise ValueError(
            f"{len(sources)} sources of kind {PERCEPTION} have {len(seeds)} training seeds; name run directories, or "
            "give --seed once for each policy file, in their order"
        )


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


# parameters: what `SeedScores` consists of
def _seed_scores(
    seen: Observation,
    shipped_seed: int,
    tuning: list[float],
    scores: Sequence[Score],
    taught: Score | None,
    multiplications: int,
) -> SeedScores:
    """Return the scores by training seed of networks that see by one eye."""
    preset = preset_of(seen)
    means = [score.mean_mph for score in scores]
    cost = None
    if taught is not None:
        cost = paired_difference(taught.run_scores[None], np.stack([score.run_scores for score in scores]))
    return SeedScores(
        eye=preset or seen.kind,
        observation=PRESETS[preset].summary if preset else describe(seen.kind),
        shipped_seed=shipped_seed,
        tuning_means=tuning,
        means=means,
        mean=float(np.mean(means)) if len(means) > 1 else None,
        interval=list(mean_interval(means)) if len(means) > 1 else [],
        teacher=taught.policy if taught is not None else "",
        teacher_mean=taught.mean_mph if taught is not None else None,
        cost=None if cost is None else cost.value,
        cost_interval=[] if cost is None else list(cost.interval),
        multiplications=multiplications,
    )


# --- policy files -----------------------------------------------------------------------------------------------------


def _policy_candidate(name: str, source: Path) -> Candidate:
    """Return a run's best network, or a file's, as the policy file to ship: float32, or float16 where that is large."""
    policy = load_policy(source).as_network()
    if not isinstance(policy, NetworkPolicy):
        raise ValueError(
            f"no policy file can hold the network in {str(source)!r}; train one with an encoder and an observation "
            "that a policy file can hold (deeptraffic/policies/FORMAT.md)"
        )
    packed = _pack(name, policy)
    content = policy_content(packed)
    if len(content) >= MAX_BYTES:
        content = policy_content(replace(packed, network=to_float16(packed.network)))
        _check_size(len(content), source)
        _check_rounded(policy, read_policy(content).policy())
    network = packed.network
    return Candidate(content, read_policy(content).policy(), network.parameters, network.multiplications)


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
    return Candidate(content, load_planner(source, config, name), parameters, 0, asdict(config))
