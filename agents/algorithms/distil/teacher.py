"""Teacher of distillation: any policy, asked in every state for its action and for target probabilities of all actions.

The targets follow one rule. A policy that tells the values of its choice (`Policy.values`: action values or logits of
a network, scores of a planner's candidates) gives softmax(values / (temperature * g)), where g is the mean difference
between the best and the second-best value over the decisions of the first round: so one temperature fits teachers of
any scale. A policy without values gives a one-hot vector of its action.

The teacher observes what its own `observation` says, in the simulator in which the student acts.

A teacher that is a network of the sensor's cells can also give hints (Romero et al. 2015, "FitNets: hints for thin deep
nets", arXiv:1412.6550): what its last layers read, which the student's encoder learns to compute from its observation.

Letters in shapes: B envs, A actions, F features.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agents.export import ACTIVATIONS
from agents.loader import load_policy
from deeptraffic.evaluation.play import PolicyRunner
from deeptraffic.policies.base import Policy
from deeptraffic.policies.layers import Dense
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import NetworkPolicy
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Action, RoadConfig, Sensor
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


class LastLayers:
    """The last layers of a teacher that is a network of the sensor's cells, and what they read, the hints.

    Args:
        policy: the teacher
        sizes: F, then the hidden units of a student's layers behind its encoder
        activation: between these, "tanh" or "relu"

    dense: (weight, bias) of each of the layers

    Raises ValueError if the teacher is no such network, or its last layers have other sizes.
    """

    def __init__(self, policy: Policy, sizes: Sequence[int], activation: str) -> None:
        if not isinstance(policy, NetworkPolicy) or not isinstance(policy.observation, Sensor):
            raise ValueError(
                f"hint_weight: teacher {policy.label} is no network of the sensor's cells; set hint_weight=0"
            )
        network, self.sensor = policy.network, policy.observation
        first = len(network.layers) - 2 * len(sizes) + 1  # index of the first of the last layers
        kinds = [Dense, *[ACTIVATIONS[activation], Dense] * (len(sizes) - 1)]
        last, shapes = network.layers[max(0, first) :], network.shapes()
        found = [layer.outputs for layer in last if isinstance(layer, Dense)]
        if (
            first < 1
            or [type(layer) for layer in last] != kinds
            or any(layer.inputs for layer in last)
            or [*shapes[first], *found] != [*sizes, len(Action)]
            or policy.temporal_window
        ):
            raise ValueError(
                f"hint_weight: the last layers of teacher {policy.label} are not those of features_dim={sizes[0]}, "
                f"hidden={tuple(sizes[1:])}, activation={activation}; `deeptraffic inspect` shows what they are"
            )
        numbers = range(first + 1, len(network.layers) + 1, 2)
        self.dense = [(network.tensors[f"{k}.weight"], network.tensors[f"{k}.bias"]) for k in numbers]
        kept = {name: part for name, part in network.tensors.items() if int(name.partition(".")[0]) <= first}
        self.program = Network(network.inputs, network.layers[:first], kept).assemble()

    def hints(self, sim: Simulator) -> F32:
        """Return what the layers read (B, F) in the present states of a simulator's envs."""
        return np.stack([self.program.run(cells) for cells in sim.sense(self.sensor, 0)]).astype(np.float32)


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
