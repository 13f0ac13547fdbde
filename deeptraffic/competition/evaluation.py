"""Evaluation of a worker's job: by the protocol of its kind, the policy in the sandbox.

validation: a few independent runs, within seconds; official and again: the contest's official protocol, decisions kept
for replays; final: independent runs on the private seeds, in batches, so that their state fits into the memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from deeptraffic.competition.sandbox.limits import EVALUATION
from deeptraffic.competition.sandbox.policy import SandboxedPolicy
from deeptraffic.competition.store.evaluations import Job
from deeptraffic.evaluation.play import Progress
from deeptraffic.evaluation.protocol import OFFICIAL, OPEN_FRAMES, evaluate_official, evaluate_open, evaluate_seeds
from deeptraffic.evaluation.replays import pack_decisions
from deeptraffic.evaluation.score import Score
from deeptraffic.policies.base import Policy
from deeptraffic.policies.file import PolicyFile, pack_policy, policy_content
from deeptraffic.policies.layers import Dense
from deeptraffic.policies.network import Network
from deeptraffic.sim.rules import RoadConfig, Sensor

LIMITS = replace(EVALUATION, cpu_seconds=1200, wall_seconds=1800.0)  # of one evaluation
BATCH = 100  # private runs in parallel

RunsDone = Callable[[int, int], None]  # (runs done, runs in all)


def evaluate_job(job: Job, progress: RunsDone) -> tuple[Score, bytes | None]:
    """Return a job's score, and the decisions of an official evaluation.

    Raises InvalidSubmission, PlatformError, and whatever `progress` raises to end the evaluation.
    """
    with SandboxedPolicy(job.content, LIMITS) as policy:
        if job.kind == "validation":
            count = in_runs(progress, OPEN_FRAMES)
            return evaluate_open(policy, job.rules, job.other_agents, job.runs, progress=count), None
        if job.kind == "final":
            assert job.seeds is not None
            return evaluate_private(policy, job.rules, job.other_agents, job.seeds, progress), None
        count = in_runs(progress, OFFICIAL[job.rules].frames)
        score = evaluate_official(policy, job.rules, job.other_agents, count)
        return score, pack_decisions(policy.decisions)


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
