"""What a policy is, and the five that come with the package: idle, accelerate, decelerate, random and gap.

    >>> from deeptraffic.policies.builtin import make_builtin
    >>> policy = make_builtin("gap")
    >>> policy.reset(np.arange(2))                   # two drivers, with empty memories
    >>> policy.act(obs, np.arange(2))                # obs (2, 420) float64 -> (2,) int64

A driver's *slot* is its place in the policy's memory: agent i of game b has slot b * (A + 1) + i; agent 0 is the ego
car.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deeptraffic.policies.gap import choose_gaps
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.kernel import drive
from deeptraffic.sim.reset import reset_run
from deeptraffic.sim.rules import CONTESTS, Action, Sensor
from deeptraffic.sim.state import F64, I64, Games

U64 = NDArray[np.uint64]
ACTIONS = len(Action)

# (rules table (1,), games (1,), first run, frames, sums (K,), passed (K,)) -> None: plays runs first_run.. of `frames`
# frames in game 0, where the runs before left it, and writes each run's score_sum and passed.
RunLoop = Callable[[NDArray[Any], Games, int, int, F64, I64], None]


class Policy(Protocol):
    """Chooses actions from observations.

    Two more methods are looked for: `official_runner() -> RunLoop | None`, for a policy that plays whole runs in
    compiled code, and `attach(sim)`, called before `reset` with the simulator of the games, from which a policy takes
    the number of agents, or, if it is privileged, everything. A policy that knows more than the contest's sensor shows
    says so by an attribute `access`: "open" or "privileged".
    """

    @property
    def label(self) -> str:
        """How tables and scores name it."""

    @property
    def observation(self) -> Any:
        """What it sees: a `Sensor`, or an `ObservationConfig` (deeptraffic/envs/observation.py)."""

    def reset(self, rows: I64) -> None:
        """Empty the memories of these slots, (B,)."""

    def act(self, obs: F64, rows: I64) -> I64:
        """Return the actions (B,) int64 for obs (B, D) float64 of the drivers with slots `rows` (B,).

        `obs` is overwritten after the call: copy what shall be kept.
        """


def make_builtin(name: str, rules: int = 2018, seed: int = 0) -> Policy:
    """Return a built-in policy by name, for the rule set it will drive under; `seed` is for `random`."""
    if name not in BUILTINS:
        raise ValueError(f"there is no built-in policy {name!r}; choose one of {', '.join(BUILTINS)}")
    return BUILTINS[name](rules, seed)


# --- one action for ever ------------------------------------------------------------------------------------------


@compiled
def play_constant_runs(
    action: int, rules: NDArray, games: Games, first_run: int, frames: int, sums: F64, passed: I64
) -> None:
    """Play `sums.size` runs of a program in which every agent always decides on `action`."""
    game = games[0]
    for k in range(sums.size):
        reset_run(rules[0], game, first_run + k)
        while game.frame < frames:
            drive(rules[0], game, action, frames)
        sums[k] = game.score_sum
        passed[k] = game.passed


@dataclass(frozen=True)
class ConstantPolicy:
    """Always the same action, whatever it sees."""

    label: str
    action: Action
    observation: Sensor = Sensor()

    def reset(self, rows: I64) -> None:
        """There is no memory."""

    def act(self, obs: F64, rows: I64) -> I64:
        """Return the action for every row."""
        return np.full(len(rows), int(self.action))

    def official_runner(self) -> RunLoop:
        """Return the compiled loop."""
        return partial(play_constant_runs, int(self.action))


# --- random -------------------------------------------------------------------------------------------------------


@compiled
def mix(z: np.uint64) -> np.uint64:
    """SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014): near inputs, far outputs."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled
def open_streams(seed: int, streams: U64, rows: I64) -> None:
    """Start the stream of each slot by hashing seed and slot."""
    for k in range(rows.size):
        streams[rows[k]] = mix(mix(np.uint64(seed) + np.uint64(1)) + np.uint64(rows[k]))


@compiled
def draw_actions(streams: U64, rows: I64, out: I64) -> None:
    """Draw one of the five actions for each slot from its own SplitMix64 stream."""
    for k in range(rows.size):
        streams[rows[k]] += np.uint64(0x9E3779B97F4A7C15)
        out[k] = np.int64(mix(streams[rows[k]]) % np.uint64(ACTIONS))


@dataclass
class RandomPolicy:
    """Each of the five actions with the same chance; a slot's actions depend on `seed` >= 0 and the slot alone."""

    seed: int = 0
    label: str = "random"
    observation: Sensor = Sensor()
    streams: U64 = field(default_factory=lambda: np.zeros(0, np.uint64), repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed={self.seed} is not possible; give a whole number from 0 to 2**63 - 1")

    def reset(self, rows: I64) -> None:
        """Start the streams of these slots."""
        missing = int(np.max(rows, initial=-1)) + 1 - self.streams.size
        self.streams = np.concatenate([self.streams, np.zeros(max(0, missing), np.uint64)])
        open_streams(self.seed, self.streams, rows)

    def act(self, obs: F64, rows: I64) -> I64:
        """Return the next action of each slot."""
        actions = np.empty(len(rows), np.int64)
        draw_actions(self.streams, rows, actions)
        return actions


# --- gap ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GapPolicy:
    """Changes lane toward the gap that gets it farthest, else accelerates: `gap_policy.py`."""

    empty: float  # [px/frame] what a free cell stands for under the rules it drives by
    label: str = "gap"
    observation: Sensor = Sensor()

    def reset(self, rows: I64) -> None:
        """There is no memory."""

    def act(self, obs: F64, rows: I64) -> I64:
        """Return the first action of each row's best way."""
        actions = np.empty(len(rows), np.int64)
        choose_gaps(obs, self.observation.columns, self.observation.patches_ahead, self.empty, actions)
        return actions


BUILTINS: dict[str, Callable[[int, int], Policy]] = {
    "idle": lambda rules, seed: ConstantPolicy("idle", Action.NOTHING),
    "accelerate": lambda rules, seed: ConstantPolicy("accelerate", Action.ACCELERATE),
    "decelerate": lambda rules, seed: ConstantPolicy("decelerate", Action.DECELERATE),
    "random": lambda rules, seed: RandomPolicy(seed),
    "gap": lambda rules, seed: GapPolicy(CONTESTS[rules].empty),
}
