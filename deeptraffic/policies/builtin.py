"""Built-in policies: idle, accelerate, decelerate, random and gap.

>>> from deeptraffic.policies.builtin import make_builtin
>>> policy = make_builtin("gap")
>>> policy.reset(np.arange(2))                   # two agents, with empty memories
>>> policy.act(obs, np.arange(2))                # obs (2, 420) float64 -> (2,) int64
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.policies.base import Policy, RunLoop
from deeptraffic.policies.gap import choose_gaps
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.random import GOLDEN, mix
from deeptraffic.sim.rules import CONTESTS, Action, Sensor
from deeptraffic.sim.runs import Runs, next_decision
from deeptraffic.sim.state import F64, I64, NOBODY

U64 = NDArray[np.uint64]
ACTIONS = len(Action)


def make_builtin(name: str, rules: int = 2018, seed: int = 0) -> Policy:
    """Return a built-in policy by name, for the rule set it will drive under; `seed` is for `random`."""
    if name not in BUILTINS:
        raise ValueError(f"there is no built-in policy {name!r}; choose one of {', '.join(BUILTINS)}")
    return BUILTINS[name](rules, seed)


# --- one action -----------------------------------------------------------------------------------------------


@compiled
def play_constant(runs: Runs, action: int) -> None:
    """Play runs in which every agent always decides on `action`."""
    while next_decision(runs, action) != NOBODY:
        pass


@dataclass
class ConstantPolicy(Policy):
    """Always the same action."""

    label: str
    action: Action
    observation: Sensor = Sensor()

    def act(self, obs: F64, agent_indices: I64) -> I64:
        """Return the action for every agent."""
        return np.full(len(agent_indices), int(self.action))

    def official_loop(self) -> RunLoop:
        """Return the compiled loop."""
        return partial(play_constant, action=int(self.action))

    open_loop = official_loop


# --- random -------------------------------------------------------------------------------------------------------


@compiled
def open_streams(seed: int, streams: U64, rows: I64) -> None:
    """Start the stream of each agent by hashing the seed and its index."""
    for k in range(rows.size):
        streams[rows[k]] = mix(mix(np.uint64(seed) + np.uint64(1)) + np.uint64(rows[k]))


@compiled
def draw_actions(streams: U64, rows: I64, out: I64) -> None:
    """Draw one of the five actions for each agent from its own SplitMix64 stream."""
    for k in range(rows.size):
        streams[rows[k]] += GOLDEN
        out[k] = np.int64(mix(streams[rows[k]]) % np.uint64(ACTIONS))


@dataclass
class RandomPolicy(Policy):
    """Each of the five actions with the same probability; an agent's depend on `seed` >= 0 and its index alone."""

    seed: int = 0
    label: str = "random"
    observation: Sensor = Sensor()

    def __post_init__(self) -> None:
        self.streams: U64 = np.zeros(0, np.uint64)
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be an integer in [0, 2**63 - 1], got {self.seed}")

    def reset(self, agent_indices: I64) -> None:
        """Start the streams of these agents."""
        missing = int(np.max(agent_indices, initial=-1)) + 1 - self.streams.size
        self.streams = np.concatenate([self.streams, np.zeros(max(0, missing), np.uint64)])
        open_streams(self.seed, self.streams, agent_indices)

    def act(self, obs: F64, agent_indices: I64) -> I64:
        """Return the next action of each agent."""
        actions = np.empty(len(agent_indices), np.int64)
        draw_actions(self.streams, agent_indices, actions)
        return actions

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Return a copy of the streams."""
        return {"streams": self.streams.view(np.int64).copy()}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `get_state` returned."""
        self.streams = state["streams"].view(np.uint64).copy()


# --- gap ----------------------------------------------------------------------------------------------------------


@dataclass
class GapPolicy(Policy):
    """Changes lane toward the gap that gets it farthest, else accelerates: `gap.py`."""

    empty: float  # [px/frame] speed that a free cell stands for under its rules
    label: str = "gap"
    observation: Sensor = Sensor()

    def act(self, obs: F64, agent_indices: I64) -> I64:
        """Return the first action of each agent's best way."""
        actions = np.empty(len(agent_indices), np.int64)
        choose_gaps(obs, self.observation.columns, self.observation.patches_ahead, self.empty, actions)
        return actions


BUILTINS: dict[str, Callable[[int, int], Policy]] = {
    "idle": lambda rules, seed: ConstantPolicy("idle", Action.NOTHING),
    "accelerate": lambda rules, seed: ConstantPolicy("accelerate", Action.ACCELERATE),
    "decelerate": lambda rules, seed: ConstantPolicy("decelerate", Action.DECELERATE),
    "random": lambda rules, seed: RandomPolicy(seed),
    "gap": lambda rules, seed: GapPolicy(CONTESTS[rules].empty),
}


def builtin_from_fields(given: Mapping[str, Any]) -> Policy:
    """Return the built-in policy of these fields, to which `dataclasses.asdict` and JSON bring one; else ValueError."""
    for kind in (ConstantPolicy, RandomPolicy, GapPolicy):
        if given.keys() == {each.name for each in fields(kind)}:
            try:
                return kind(**{**given, "observation": Sensor(*given["observation"])})
            except TypeError as error:
                raise ValueError(f"{kind.__name__} cannot be made from {dict(given)!r:.80}: {error}") from error
    raise ValueError(f"no built-in policy has the fields {', '.join(map(repr, given))}")
