"""Scores of open runs kept in a folder, one file per policy and set of runs, so that long evaluations resume.

    >>> kept = KeptScores(Path("runs/scores"))
    >>> kept.evaluate(policy, runs=5000, seed_set="reporting").mean_mph        # the second time it is read

A network is known by its layers and tensors, so that the same network in another file is not evaluated again.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np

from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.evaluation.score import Score
from deeptraffic.policies.base import Policy
from deeptraffic.policies.network_policy import NetworkPolicy
from deeptraffic.run_dir import write_json
from deeptraffic.sim.rules import RoadConfig

ARRAYS = {"run_scores": np.float64, "run_passed": np.int64, "run_speeds": np.float64}


class KeptScores:
    """Evaluations that are not repeated.

    Args:
        folder: of the files; None keeps nothing
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def evaluate(
        self,
        policy: Policy,
        runs: int,
        seed_set: str,
        other_agents: int = 0,
        content: str = "",
        progress: Callable[[int, int], None] | None = None,
    ) -> Score:
        """Return the score of a policy in open runs of 2018, as `evaluate_open`.

        content: hash of what a policy consists of that is no network
        """
        road = RoadConfig(other_agents=other_agents)
        parts = [digest(policy, content), runs, seed_set, other_agents]
        name = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        path = None if self.folder is None else self.folder / f"{name}.json"
        if path is not None and path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            kept |= {name: np.array(kept[name], kind) for name, kind in ARRAYS.items()}
            return Score(**{**kept, "policy": policy.label})
        score = evaluate_open(policy, road, runs=runs, seed_set=seed_set, progress=progress)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            facts = {field.name: getattr(score, field.name) for field in fields(Score)}
            write_json(path, facts | {name: facts[name].tolist() for name in ARRAYS})
        return score


def digest(policy: Policy, content: str = "") -> str:
    """Return the SHA-256 of a network and what it reads; of the label and `content` for any other policy."""
    if not isinstance(policy, NetworkPolicy):
        return hashlib.sha256(f"{policy.label} {content}".encode()).hexdigest()
    network = policy.network
    layers = [layer.to_json() for layer in network.layers]
    facts = [layers, repr(policy.observation), policy.temporal_window, policy.seed, policy.epsilon]
    sha = hashlib.sha256(json.dumps(facts).encode())
    for name, tensor in sorted(network.tensors.items()):
        sha.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        sha.update(np.ascontiguousarray(tensor).tobytes())
    return sha.hexdigest()
