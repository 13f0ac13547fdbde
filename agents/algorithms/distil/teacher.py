"""Teacher of distillation: any policy, asked in every state for its action and for target probabilities of all actions.

The targets follow one rule. A policy that tells the values of its choice (`Policy.values`: action values or logits of
a network, scores of a planner's candidates) gives softmax(values / (temperature * g)), where g is the mean difference
between the best and the second-best value over the decisions of the first round: so one temperature fits teachers of
any scale. A policy without values gives a one-hot vector of its action.

The teacher observes what its own `observation` says, in the simulator in which the student acts.

Letters in shapes: B envs, A actions.
"""

import numpy as np
from numpy.typing import NDArray

from agents.loader import load_policy
from deeptraffic.evaluation.play import PolicyRunner
from deeptraffic.policies.base import Policy
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Action, RoadConfig
from deeptraffic.sim.state import F64, I64

F32 = NDArray[np.float32]


class Teacher:
    """A policy that labels the states of envs whose episodes begin together.

    Args:
        policy: the teacher
        sim: simulator of the envs
    """

    def __init__(self, policy: Policy, sim: Simulator) -> None:
        self.policy, self.sim = policy, sim
        self.runner = PolicyRunner(policy, sim)

    def start(self) -> None:
        """Empty its memories: every env has been reset."""
        self.runner = PolicyRunner(self.policy, self.sim)

    def label(self) -> tuple[I64, F32]:
        """Return its actions (B,) and their values (B, A), -inf for actions that it does not consider."""
        actions = self.runner.decide(0)
        values = np.full((len(actions), len(Action)), -np.inf)
        values[np.arange(len(actions)), actions] = 0.0
        told: F64 | None = self.policy.values
        if told is not None:
            asked = ~np.isnan(told).any(1)
            values[asked] = told[asked]
        return actions.astype(np.int64), values.astype(np.float32)

    def note(self, actions: I64) -> None:
        """Take note of the actions (B,) that were carried out, where the teacher remembers actions."""
        self.runner.actions[0] = actions
        self.policy.note(actions, self.runner.agent_indices[0])


def load_teacher(name: str, road: RoadConfig) -> Policy:
    """Return the teacher that a POLICY names; ValueError if there is none, or not for this road's rules."""
    try:
        policy = load_policy(name, road.rules)
    except ValueError as error:
        raise ValueError(f"teacher={name!r}: {error}") from None
    if policy.rules != road.rules:
        raise ValueError(
            f"teacher={name!r} was made for the rules of {policy.rules}, the road has those of {road.rules}; "
            "set rules, or name another teacher"
        )
    return policy


def value_scale(values: F32) -> float:
    """Return the mean difference between the best and the second-best of values (..., A); 1 where there is none."""
    best = np.sort(values.reshape(-1, values.shape[-1]).astype(np.float64), 1)[:, -2:]
    gaps = best[:, 1] - best[:, 0]
    gaps = gaps[np.isfinite(gaps)]
    return float(gaps.mean()) if gaps.size and gaps.mean() > 0.0 else 1.0
