"""Runs of an evaluation, played one after another in one game: the loop that every serial evaluation shares.

Source: `RULES.md`, "The official score". Official runs are a chain: each begins where the one before left the random
stream. Open runs are independent: each begins from streams of its own.

    >>> runs = Runs.official(sim, first_run=1, count=500, frames=2_000)
    >>> action = 0
    >>> while (agent := next_decision(runs, action)) != NOBODY:      # compiled code calls it as well
    ...     action = decide(agent)
    >>> runs.speed_sums, runs.passed
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.kernel import drive
from deeptraffic.sim.random import open_run_streams
from deeptraffic.sim.reset import reset_run
from deeptraffic.sim.state import F64, I64, NOBODY, Games

if TYPE_CHECKING:
    from deeptraffic.sim.engine import Simulator


class Runs(NamedTuple):
    """K runs to be played in a simulator's first game, and their results.

    rules: (1,) record of the rules
    games: (B,) game records, of which game 0 is played
    streams: (K, 2) int64 of open runs, the state of the random stream and the reset number that each starts from;
        (0, 2) of official runs
    first_run: number of the first run: official, its reset number (from 1); open, its place in the evaluation (from 0)
    frames: [frames] of each run
    position: (1,) int64 index of the run being played; -1 before the first
    speed_sums: (K,) float64 [px/frame] result: mean speed of the driven vehicles, summed over the run's frames
    passed: (K,) int64 result: vehicles passed minus vehicles that passed
    """

    rules: NDArray[Any]
    games: Games
    streams: I64
    first_run: int
    frames: int
    position: I64
    speed_sums: F64
    passed: I64

    @classmethod
    def official(cls, sim: "Simulator", first_run: int, count: int, frames: int) -> Self:
        """Return `count` runs of a chain, from reset number `first_run` on."""
        return cls._of(sim, np.empty((0, 2), np.int64), first_run, count, frames)

    @classmethod
    def open(cls, sim: "Simulator", seeds: Sequence[int], frames: int) -> Self:
        """Return independent runs, one for each seed."""
        streams = np.array([open_run_streams(int(seed)) for seed in seeds], np.int64).reshape(-1, 2)
        return cls._of(sim, streams, 0, len(streams), frames)

    @classmethod
    def _of(cls, sim: "Simulator", streams: I64, first_run: int, count: int, frames: int) -> Self:
        results = np.zeros(count), np.zeros(count, np.int64)
        return cls(sim.table, sim.games, streams, first_run, frames, np.array([-1]), *results)

    def blocks(self, size: int) -> Iterator[Self]:
        """Yield the runs in blocks of `size`, whose results are views of these runs' own."""
        for first in range(0, self.passed.size, size):
            block = slice(first, first + size)
            results = self.speed_sums[block], self.passed[block]
            yield type(self)(
                *(self.rules, self.games, self.streams[block], self.first_run + first, self.frames),
                *(np.array([-1]), *results),
            )


@compiled
def next_decision(runs: Runs, action: int) -> int:
    """Hand `action` to the agent that the game waits for, and play to the next decision of any agent in these runs.

    Returns that agent (0 the ego car), or NOBODY once all runs have ended and their results are written.
    """
    rules, game = runs.rules[0], runs.games[0]
    k = runs.position[0]
    while True:
        if k >= 0:
            drive(rules, game, action, runs.frames)
            if game.waiting != NOBODY:
                return game.waiting
            runs.speed_sums[k] = game.score_sum
            runs.passed[k] = game.passed
        k += 1
        runs.position[0] = k
        if k >= runs.passed.size:
            return NOBODY
        if runs.streams.shape[0] > 0:
            game.rng = runs.streams[k, 0]
            game.action = 0
            reset_run(rules, game, runs.streams[k, 1])
        else:
            reset_run(rules, game, runs.first_run + k)


@compiled
def is_open(runs: Runs) -> bool:
    """Whether these are independent runs, at whose starts a policy's memory is empty."""
    return runs.streams.shape[0] > 0
