"""The original game's agent ("Brain"): a network with a window of past observations and actions, and its copies.

Source: RULES of the published game, "The original agent". It answers action 0 until it has been called more than T
times, T its temporal window; it takes the first of equal outputs; it is never reset between runs. Every other agent has
a copy with a window of its own; the copies are made anew from the ego car's Brain once that was called more than T
times.

A policy file of any agent of this package drives as a Brain: without a window it is a plain network, and recurrent
layers keep their state in the same memory.

    >>> policy = NetworkPolicy("mine", network, Sensor(3, 50, 10))
    >>> evaluate_official(policy)               # simulator and network in one compiled loop
"""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.policies.base import OfficialLoop, OpenLoop, Policy
from deeptraffic.policies.builtin import mix
from deeptraffic.policies.exponential import exp
from deeptraffic.policies.network import Network, Program, forward, more_layers
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.kernel import drive
from deeptraffic.sim.observation import sense
from deeptraffic.sim.reset import reset_run
from deeptraffic.sim.rules import Action, Sensor
from deeptraffic.sim.state import F64, I64, NOBODY, Games

ACTIONS = len(Action)
FIRST = -1  # in place of a seed: take the first of the largest outputs
MAX_SEED = 2**53 - 1  # what every language's JSON reader keeps exactly


def input_size(sensor: Sensor, temporal_window: int) -> int:
    """Numbers that a network reads: the sensor's D, and for each past decision D again and the action taken."""
    return sensor.size + temporal_window * (sensor.size + ACTIONS)


@compiled
def uniform(seed: int, slot: int, calls: int) -> float:
    """Draw number `calls` of a slot's own SplitMix64 stream, in [0, 1)."""
    start = mix(mix(np.uint64(seed) + np.uint64(1)) + np.uint64(slot))
    return np.float64(mix(start + np.uint64(calls) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(11)) * 2.0**-53


@compiled
def sample(scores: F64, u: float) -> int:
    """Draw an index with the softmax of scores as chances: the first whose running sum exceeds u times the total."""
    largest = scores[0]
    for i in range(1, scores.size):
        if scores[i] > largest:
            largest = scores[i]
    total = 0.0
    for i in range(scores.size):
        total += exp(scores[i] - largest)
    running = 0.0
    for i in range(scores.size):
        running += exp(scores[i] - largest)
        if running > u * total:
            return i
    return scores.size - 1


@compiled
def choose(
    table: I64,
    weights: F64,
    scratch: F64,
    out: int,
    outputs: int,
    size: int,
    past: F64,
    memory: F64,
    more: int | None,
    seed: int,
    slot: int,
) -> int:
    """Return one Brain's action for the observation at scratch[:size], and remember both.

    past (1 + T * (size + 1),): number of calls, then the T last decisions, newest first, each observation and action
    seed, slot: of the draws where actions are drawn; seed FIRST takes the first of the largest outputs
    """
    window = (past.size - 1) // (size + 1)
    action = 0
    if past[0] >= window:  # this is call number past[0] + 1
        for t in range(window):
            then, x = 1 + t * (size + 1), size + t * (size + ACTIONS)
            scratch[x : x + size] = past[then : then + size]
            scratch[x + size : x + size + ACTIONS] = 0.0
            scratch[x + size + int(past[then + size])] = size
        forward(table, weights, scratch, memory, more)
        if seed >= 0:
            action = sample(scratch[out : out + outputs], uniform(seed, slot, int(past[0])))
        else:
            for i in range(1, outputs):
                if scratch[out + i] > scratch[out + action]:
                    action = i
    past[0] += 1.0
    for at in range(past.size - 1, size + 1, -1):
        past[at] = past[at - size - 1]
    if window > 0:
        past[1 : 1 + size] = scratch[:size]
        past[1 + size] = action
    return action


@compiled
def is_copied_now(past: F64, size: int) -> bool:
    """Whether the ego car's Brain was just called for the first time with a full window."""
    return past[0] == (past.size - 1) // (size + 1) + 1


@compiled
def play_to_end(
    table: I64,
    weights: F64,
    scratch: F64,
    out: int,
    outputs: int,
    sensor: Sensor,
    past: F64,
    memory: F64,
    more: int | None,
    seed: int,
    slot: int,
    rules: NDArray,
    games: Games,
    frames: int,
) -> None:
    """Play game 0 from a reset to the end of frame `frames`; the ego car's slot is `slot`, the others' follow."""
    game = games[0]
    size = (2 * sensor.lanes_side + 1) * (sensor.patches_ahead + sensor.patches_behind)
    drive(rules[0], game, 0, frames)
    while game.waiting != NOBODY:
        agent = game.waiting
        sense(rules[0], sensor, game, agent, scratch[:size])
        own = slot + agent
        action = choose(table, weights, scratch, out, outputs, size, past[agent], memory[agent], more, seed, own)
        if agent == 0 and is_copied_now(past[0], size):
            past[1:] = past[0]
            memory[1:] = memory[0]
        drive(rules[0], game, action, frames)


@compiled
def play_runs(
    table: I64,
    weights: F64,
    scratch: F64,
    out: int,
    outputs: int,
    sensor: Sensor,
    past: F64,
    memory: F64,
    more: int | None,
    seed: int,
    rules: NDArray,
    games: Games,
    first_run: int,
    frames: int,
    sums: F64,
    passed: I64,
) -> None:
    """Play `sums.size` runs of a program; past and memory (A + 1, ...) hold one Brain per driven vehicle."""
    for run in range(sums.size):
        reset_run(rules[0], games[0], first_run + run)
        play_to_end(table, weights, scratch, out, outputs, sensor, past, memory, more, seed, 0, rules, games, frames)
        sums[run] = games[0].score_sum
        passed[run] = games[0].passed


@compiled
def play_open_runs(
    table: I64,
    weights: F64,
    scratch: F64,
    out: int,
    outputs: int,
    sensor: Sensor,
    past: F64,
    memory: F64,
    more: int | None,
    seed: int,
    rules: NDArray,
    games: Games,
    streams: I64,
    first_run: int,
    frames: int,
    sums: F64,
    passed: I64,
) -> None:
    """Play `sums.size` independent runs, numbers first_run and up of an evaluation, every memory empty at their starts.

    streams (runs, 2): where each run's streams start, as `open_run_streams` gives it; other arguments as `play_runs`'.
    """
    for run in range(sums.size):
        past[:] = 0.0
        memory[:] = 0.0
        games[0].rng = streams[run, 0]
        games[0].action = 0
        reset_run(rules[0], games[0], streams[run, 1])
        slot = (first_run + run) * past.shape[0]
        play_to_end(table, weights, scratch, out, outputs, sensor, past, memory, more, seed, slot, rules, games, frames)
        sums[run] = games[0].score_sum
        passed[run] = games[0].passed


@compiled
def choose_all(
    table: I64,
    weights: F64,
    scratch: F64,
    out: int,
    outputs: int,
    slots: I64,
    obs: F64,
    past: F64,
    memory: F64,
    more: int | None,
    seed: int,
    actions: I64,
) -> None:
    """Write the action of each slot for its observation in obs (B, D)."""
    size = obs.shape[1]
    for b in range(obs.shape[0]):
        scratch[:size] = obs[b]
        slot = slots[b]
        actions[b] = choose(table, weights, scratch, out, outputs, size, past[slot], memory[slot], more, seed, slot)


class NetworkPolicy(Policy):
    """A network that drives from the sensor's cells.

    Args:
        label: what tables call it
        network: reads `input_size(sensor, temporal_window)` numbers, gives 5
        sensor: what it sees
        temporal_window: past decisions it remembers
        rules, other_agents: what it was made for
        seed: draws actions with the softmax of the outputs as chances; None takes the first of the largest outputs
    """

    def __init__(
        self,
        label: str,
        network: Network,
        sensor: Sensor,
        temporal_window: int = 0,
        rules: int = 2018,
        other_agents: int = 0,
        seed: int | None = None,
    ) -> None:
        expected = input_size(sensor, temporal_window)
        if network.inputs != expected:
            raise ValueError(
                f"a network of {network.inputs} inputs behind a sensor of {sensor.size} cells and a temporal window of "
                f"{temporal_window}, which give {expected}; make them agree"
            )
        if network.outputs != ACTIONS:
            raise ValueError(
                f"a network of {network.outputs} outputs; there are {ACTIONS} actions, one output for each"
            )
        if seed is not None and not 0 <= seed <= MAX_SEED:
            raise ValueError(f"seed={seed}: give a whole number from 0 to {MAX_SEED}")
        self.label, self.observation, self.network, self.temporal_window = label, sensor, network, temporal_window
        self.seed = FIRST if seed is None else seed
        self.rules, self.other_agents = rules, other_agents
        self.program: Program = network.assemble()
        self.more = more_layers(self.program)
        self.agents = 1
        self.past, self.memory = np.zeros((0, 1)), np.zeros((0, 0))
        self.reset(np.arange(1))

    def attach(self, sim: Any) -> None:
        """Learn how many agents drive in each game of a simulator."""
        self.agents = sim.rules.other_agents + 1

    def reset(self, rows: I64) -> None:
        """Empty the memories of these slots, making room for them."""
        slots = int(np.max(rows)) + 1
        length = 1 + self.temporal_window * (self.observation.size + 1)
        if slots != len(self.past) and len(rows) == slots:
            self.past, self.memory = np.zeros((slots, length)), np.zeros((slots, self.program.memory))
        self.past[rows], self.memory[rows] = 0.0, 0.0

    def act(self, obs: F64, rows: I64) -> I64:
        """Return the actions (B,) for obs (B, D) float64 of the drivers with slots `rows` (B,)."""
        actions, p = np.empty(len(rows), np.int64), self.program
        cells = np.ascontiguousarray(obs, np.float64)
        if cells.shape != (len(rows), self.observation.size):
            raise ValueError(f"obs of shape {cells.shape}; {len(rows)} drivers see {self.observation.size} cells each")
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self.past):
            raise ValueError(f"slots up to {rows.max()}, but {len(self.past)} of them; reset(slots) makes room")
        brain = (self.past, self.memory, self.more, self.seed)
        choose_all(p.table, p.weights, p.scratch, p.out, p.outputs, rows, cells, *brain, actions)
        if self.activity is not None and rows[0] % self.agents == 0:
            self.activity = [p.scratch[at : at + n].copy() for at, n in p.places]
        if self.agents > 1 and rows[0] % self.agents == 0:
            for slot in rows[self.past[rows, 0] == self.temporal_window + 1]:
                self.past[slot + 1 : slot + self.agents] = self.past[slot]
                self.memory[slot + 1 : slot + self.agents] = self.memory[slot]
        return actions

    def official_loop(self) -> OfficialLoop:
        """Return the loop that plays whole runs in compiled code."""
        return partial(play_runs, *self._driver())

    def open_loop(self) -> OpenLoop:
        """Return the loop that plays independent runs in compiled code, with the memories of one game's drivers."""
        self.reset(np.arange(self.agents))
        return partial(play_open_runs, *self._driver())

    def _driver(self) -> tuple[Any, ...]:
        """Return what compiled loops need to know of this policy."""
        p = self.program
        brain = (self.past, self.memory, self.more, self.seed)
        return p.table, p.weights, p.scratch, p.out, p.outputs, self.observation, *brain
