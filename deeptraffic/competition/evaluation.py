"""Evaluation of a worker's job: by the protocol of its kind, the policy in the sandbox.

validation: a few independent runs, within seconds; official and again: the contest's official protocol, decisions kept
for replays; final: independent runs on the private seeds, in batches, so that their state fits into the memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from deeptraffic.competition.sandbox.errors import InvalidSubmission
from deeptraffic.competition.sandbox.limits import EVALUATION
from deeptraffic.competition.sandbox.policy import SandboxedPolicy
from deeptraffic.competition.store.evaluations import Evaluated, Job, check_cost
from deeptraffic.evaluation.loss_causes import CAUSES
from deeptraffic.evaluation.official_losses import official_losses
from deeptraffic.evaluation.play import Progress
from deeptraffic.evaluation.protocol import OFFICIAL, OPEN_FRAMES, evaluate_official, evaluate_open, evaluate_seeds
from deeptraffic.evaluation.replays import notable_runs, pack_decisions
from deeptraffic.evaluation.score import Score
from deeptraffic.policies.base import Policy
from deeptraffic.policies.file import PolicyFile, pack_policy, policy_content
from deeptraffic.policies.layers import Dense
from deeptraffic.policies.network import Network
from deeptraffic.sim.rules import RoadConfig, Sensor

BATCH = 100  # private runs in parallel

RunsDone = Callable[[int, int], None]  # (runs done, runs in all)


def evaluate_job(job: Job, progress: RunsDone) -> Evaluated:
    """Return a job's score, the decisions of an official evaluation, and the policy's processor time.

    Raises InvalidSubmission, PlatformError, and whatever `progress` raises to end the evaluation.
    """
    with SandboxedPolicy(job.content, replace(EVALUATION, cpu_seconds=job.cpu_limit)) as policy:
        read = policy.cpu_seconds
        try:
            score = _score(job, policy, progress)
        except InvalidSubmission as error:
            error.cpu_seconds = policy.cpu_seconds
            raise
        used = policy.cpu_seconds - read
        if job.kind not in ("official", "again"):
            return Evaluated(score, cpu_seconds=used)
        decisions = pack_decisions(policy.decisions)
        return Evaluated(score, decisions, used, losses_record(decisions, job, score))


def losses_record(decisions: bytes, job: Job, score: Score) -> dict[str, Any]:
    """Return where an official evaluation lost speed, as JSON values.

    causes: [mph] of each of `deeptraffic.evaluation.loss_causes.CAUSES`, which add up to 80 less the unrounded mean
    slow: [frames] where in the worst run the ego car's longest time below 60 mph begins and ends; equal for none
    """
    losses = official_losses(decisions, job.rules, job.other_agents)
    worst = notable_runs(score.run_scores, score.score)["worst"]
    return {"causes": dict(zip(CAUSES, losses.lost_mph.tolist(), strict=True)), "slow": losses.slow[worst].tolist()}


def _score(job: Job, policy: SandboxedPolicy, progress: RunsDone) -> Score:
    if job.kind == "validation":
        count = _predicting(job, policy, in_runs(progress, OPEN_FRAMES))
        return evaluate_open(policy, job.rules, job.other_agents, job.runs, progress=count)
    if job.kind == "final":
        assert job.seeds is not None
        return evaluate_private(policy, job.rules, job.other_agents, job.seeds, progress)
    return evaluate_official(policy, job.rules, job.other_agents, in_runs(progress, OFFICIAL[job.rules].frames))


def _predicting(job: Job, policy: SandboxedPolicy, progress: Progress) -> Progress:
    """Return a `progress` that ends a validation as soon as it predicts an official evaluation above its budget."""
    before = policy.cpu_seconds  # reading the file is no part of what every decision costs

    def check(played: int, total: int) -> None:
        progress(played, total)
        check_cost(job.rules, job.runs, policy.cpu_seconds - before, job.cpu_budget, max(1, played) / total)

    return check


def warm_up() -> None:
    """Compile what evaluations need, or load it from the cache, so that no submission waits for it."""
    content = policy_content(idle_policy())
    job = Job(0, 0, "official", "", 2018, 0, 1, None, content, "", 1)
    for kind in ("validation", "official"):
        evaluate_job(replace(job, kind=kind), lambda done, total: None)


def idle_policy() -> PolicyFile:
    """Return the smallest policy: it observes one cell and never changes speed or lane."""
    tensors = {"1.weight": np.zeros((5, 1), np.float32), "1.bias": np.eye(1, 5, dtype=np.float32)[0]}
    return pack_policy(Network(1, (Dense(outputs=5),), tensors), Sensor(0, 1, 0), "idle")


def evaluate_private(
    policy: Policy, rules: int, other_agents: int, seeds: Sequence[int], progress: RunsDone, batch: int = BATCH
) -> Score:
    """Return the score on private seeds, which does not depend on the batch size."""
    parts = []
    for first in range(0, len(seeds), batch):
        some = seeds[first : first + batch]
        count = in_runs(partial(_add, progress, first, len(seeds)), OPEN_FRAMES)
        parts.append(evaluate_seeds(policy, RoadConfig(rules=rules, other_agents=other_agents), some, progress=count))
    return replace(
        parts[0],
        run_scores=np.concatenate([part.run_scores for part in parts]),
        run_passed=np.concatenate([part.run_passed for part in parts]),
        run_speeds=np.concatenate([part.run_speeds for part in parts if part.run_speeds is not None]),
        seconds=sum(part.seconds for part in parts),
    )


def _add(progress: RunsDone, before: int, total: int, done: int, _: int) -> None:
    progress(before + done, total)


def in_runs(progress: RunsDone, frames: int) -> Progress:
    """Return a callback that counts runs of so many frames where a protocol counts frames."""
    return lambda played, total: progress(played // frames, total // frames)
