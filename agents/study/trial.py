"""Trial of a sweep: its trainings, scored on tuning seeds.

A trial is a pure function of (config, number, params): run in any process, on any machine, or again after a kill, it
has the same result.

    >>> result = run_trial(read_sweep("sweep.toml"), number=0, params={"gamma": 0.9})
    >>> result.score, result.facts["cpu_seconds"]

Its policies are those of the newest networks: choosing the best of several evaluations would favour lucky trials.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agents.config import TrainConfig
from agents.loader import load_network
from agents.study.config import SweepConfig
from agents.study.space import Params
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.evaluation.score import Score
from deeptraffic.policies.base import Policy
from deeptraffic.settings import flatten
from deeptraffic.sim.state import F64

OnStage = Callable[[int, Policy], bool]  # (stage from 1, the policy now) -> whether to stop training


@dataclass(frozen=True)
class TrainedNetwork:
    """Result of a training.

    network: content of the network's file, which `agents.loader.load_network` reads
    parameters, layers: of the network that drives; layers: hidden ones
    decisions: of training; stopped: whether it was asked to stop before its end
    """

    policy: Policy
    network: bytes
    parameters: int
    layers: int
    decisions: int
    stopped: bool


class StopTraining(Exception):
    """Training was asked to stop."""


def train_trial(config: TrainConfig, stages: int, on_stage: OnStage) -> TrainedNetwork:
    """Train, calling `on_stage` after 1, 2, ... stages - 1 of `stages` equal parts, and return the result.

    Raises RuntimeError if the weights diverge.
    """
    from agents.trainer import make_learner, torch_threads

    reached, stopped, total = 0, False, config.total_timesteps

    def between_rounds() -> None:
        nonlocal reached
        if learner.decisions >= total:
            return
        while reached + 1 < stages and learner.decisions >= total * (reached + 1) // stages:
            reached += 1
            if on_stage(reached, learner.policy(config.algo, {})):
                raise StopTraining

    with torch_threads(config.torch_threads):
        learner = make_learner(config)
        try:
            learner.learn(total, between_rounds)
        except StopTraining:
            stopped = True
    content = learner.content(config.algo, {"decisions": str(learner.decisions)})
    facts = (learner.parameters, config.agent.hidden_layers, learner.decisions)
    return TrainedNetwork(learner.policy(config.algo, {}), content, *facts, stopped)


COUNTS = (10, 100, 1000)  # evaluation runs for which the spread of the score is measured
RESAMPLES = 400
Report = Callable[[int, float], bool]  # (evaluation from 1, score) -> whether to stop the trial


def never_stop(step: int, score: float) -> bool:
    """Let every trial run to its end."""
    return False


@dataclass(frozen=True)
class TrialResult:
    """Result of a trial.

    score: [mph] on tuning seeds, mean over the trial's seeds; None if a training failed or was stopped
    failure: the error message of a failed training, else ""
    stopped: whether `report` asked to stop
    facts: JSON values: settings, evaluations, networks, CPU time
    networks: weights, one per seed, as `agents.loader.load_network` reads them
    """

    score: float | None
    failure: str = ""
    stopped: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    networks: tuple[bytes, ...] = ()


def run_trial(config: SweepConfig, number: int, params: Params, report: Report = never_stop) -> TrialResult:
    """Train and score with drawn params; a training that fails is a result, not an error.

    report: called with every evaluation of the first seed's training but the last; may stop the trial
    """
    started = time.process_time()
    trained: list[TrainedNetwork] = []
    scores: list[Score] = []
    settings: dict[str, Any] = {}
    try:
        for seed in config.seeds(number):
            run = config.run_config(params, seed)
            settings = {"settings": dict(flatten(run.to_json()))}
            trained.append(_train(config, run, report if not trained else never_stop))
            if trained[-1].stopped:
                return TrialResult(None, stopped=True, facts=settings | _cost(started, trained))
            scores.append(evaluate_open(trained[-1].policy, run.road, runs=config.tuning_runs))
    except (ValueError, RuntimeError) as error:
        return TrialResult(None, str(error), facts=settings | _cost(started, trained))
    facts = {**_evaluation_facts(config, scores), **_network_facts(trained), **_cost(started, trained), **settings}
    return TrialResult(facts["score"], facts=facts, networks=tuple(one.network for one in trained))


def score_networks(config: SweepConfig, number: int, params: Params, networks: tuple[bytes, ...]) -> list[Score]:
    """Return the scores of a trial's networks on reporting seeds, one per seed."""
    scores = []
    for seed, network in zip(config.seeds(number), networks, strict=True):
        run = config.run_config(params, seed)
        policy = load_network(network, run.to_json(), f"{config.algorithm} of trial {number}")
        scores.append(evaluate_open(policy, run.road, runs=config.reporting_runs, seed_set="reporting"))
    return scores


def _train(config: SweepConfig, run: TrainConfig, report: Report) -> TrainedNetwork:
    def on_stage(stage: int, policy: Policy) -> bool:
        score = evaluate_open(policy, run.road, runs=config.evaluation_runs)
        return report(stage, objective(config, score.run_scores))

    return train_trial(run, config.evaluations, on_stage)


def objective(config: SweepConfig, run_scores: F64) -> float:
    """Return the objective of run scores [mph]."""
    return float(np.median(run_scores) if config.objective == "median" else np.mean(run_scores))


# --- facts ------------------------------------------------------------------------------------------------------------


def _evaluation_facts(config: SweepConfig, scores: list[Score]) -> dict[str, Any]:
    """Score, spread and quantiles [mph], each averaged over the trial's seeds."""
    rows = [_score_facts(config, score.run_scores) for score in scores]
    return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}


def _score_facts(config: SweepConfig, runs: F64) -> dict[str, float]:
    p05, p25, p75, p95 = np.percentile(runs, [5, 25, 75, 95])
    facts = {"score": objective(config, runs), "mean": runs.mean(), "median": float(np.median(runs))}
    facts |= {"sd": runs.std(ddof=1) if runs.size > 1 else 0.0, "p05": p05, "p25": p25, "p75": p75, "p95": p95}
    for count in COUNTS:
        if count <= runs.size:
            facts |= {f"first_{count}": objective(config, runs[:count]), f"spread_{count}": spread(runs, count)}
    return facts


def spread(runs: F64, count: int) -> float:
    """Return the bootstrap standard error of the median of `count` runs [mph] (Efron, Tibshirani 1993, chapter 6)."""
    draws = np.random.default_rng(count).integers(runs.size, size=(RESAMPLES, count))
    return float(np.median(runs[draws], axis=1).std(ddof=1))


def _network_facts(trained: list[TrainedNetwork]) -> dict[str, Any]:
    one = trained[0]
    return {"parameters": one.parameters, "layers": one.layers, "decisions": one.decisions}


def _cost(started: float, trained: list[TrainedNetwork]) -> dict[str, Any]:
    return {"cpu_seconds": round(time.process_time() - started, 2), "trainings": len(trained)}
