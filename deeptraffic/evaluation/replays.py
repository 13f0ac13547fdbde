"""Replays of official evaluations from their decisions, without the policy.

>>> log = ActionLog(policy)
>>> score = evaluate_official(log, 2018, other_agents=3)
>>> traces = official_traces(log.packed(), 2018, 3, notable_runs(score.run_scores, score.score).values(), policy.label)

An official evaluation is one chain of runs, and its course depends on decisions alone, so these (33,500 bytes without
other agents, some 10 kB packed) are all that has to be stored.
"""

import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from deeptraffic.episodes.episode import Episode
from deeptraffic.episodes.trace import Start, Trace
from deeptraffic.evaluation.protocol import OFFICIAL
from deeptraffic.policies.base import Access, Policy
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Action, RoadConfig, Sensor
from deeptraffic.sim.runs import Runs, next_decision
from deeptraffic.sim.state import F64, I64, NOBODY

MAX_FRAMES = 4_000  # [frames] of a run that a replay shows; 2017's runs have 100,000
MAX_DECISIONS = 4_000_000  # more than any protocol asks for
NOTABLE = ("best", "median", "worst")


class ReplayError(ValueError):
    """Stored decisions do not fit the evaluation that they are said to come from."""


class ActionLog(Policy):
    """Wrapper of a policy that logs its decisions; for one env at a time, as in official runs."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.label, self.observation, self.notes = policy.label, policy.observation, policy.notes
        self.rules, self.other_agents, self.epsilon = policy.rules, policy.other_agents, policy.epsilon
        self._actions = bytearray()

    @property
    def access(self) -> Access:
        """What the policy knows."""
        return self.policy.access

    def attach(self, sim: Simulator) -> None:
        """Take the simulator of the env that the policy drives in."""
        self.policy.attach(sim)

    def reset(self, agent_indices: I64) -> None:
        """Empty the policy's memories of these agents and the log."""
        self._actions.clear()
        self.policy.reset(agent_indices)

    def act(self, obs: F64, agent_indices: I64) -> I64:
        """Return the policy's action for obs (1, D)."""
        actions = self.policy.act(obs, agent_indices)
        self._actions.append(int(actions[0]) & 0xFF)  # the caller refuses what is no action
        return actions

    def packed(self) -> bytes:
        """Return the decisions of all agents in the order in which they were due, compressed."""
        return pack_decisions(self._actions)


def pack_decisions(actions: bytes | bytearray) -> bytes:
    """Return decisions, one byte for each, as an evaluation keeps them."""
    return zlib.compress(actions, 9)


def notable_runs(run_scores: F64, score: float) -> dict[str, int]:
    """Return which run (from 0) was the best, which gave the evaluation's score (the median), and the worst."""
    median = int(np.abs(run_scores - score).argmin())
    return dict(zip(NOTABLE, (int(run_scores.argmax()), median, int(run_scores.argmin())), strict=True))


def official_traces(
    packed: bytes, rules: int, other_agents: int, runs: Iterable[int], label: str, sensor: Sensor | None = None
) -> dict[int, Trace]:
    """Return the traces of some runs (from 0) of an official evaluation; of long runs their first 4,000 frames.

    packed: what `ActionLog.packed` gave. Raises ReplayError if it cannot be of this evaluation.
    """
    wanted, protocol = sorted(set(runs)), OFFICIAL[rules]
    if not all(0 <= run < protocol.runs for run in wanted):
        raise ReplayError(f"runs {wanted} are not all among the {protocol.runs} of the evaluation")
    actions = unpack_decisions(packed)
    sim = Simulator(RoadConfig(rules=rules, other_agents=other_agents).build(), threads=1)
    sim.start_program(1)
    traces, at, done = {}, 0, 0
    for run in wanted:
        at = replay(Runs.official(sim, done + 1, run - done, protocol.frames), actions, at)
        start, done = Start.of(sim, run + 1), run
        if at >= len(actions):
            raise ReplayError(f"{len(actions)} decisions end before run {run} of the evaluation")
        some = actions[at : at + (other_agents + 1) * MAX_FRAMES]
        frames = min(protocol.frames, MAX_FRAMES)
        episode = Episode(sim.rules, start, actions=some, frames=frames, label=label, sensor=sensor)
        traces[run] = episode.finish().trace()
    return traces


def unpack_decisions(packed: bytes) -> NDArray[np.uint8]:
    """Return packed decisions, one value for each; ReplayError if they are none of an official evaluation."""
    unpack = zlib.decompressobj()
    try:
        actions = np.frombuffer(unpack.decompress(packed, MAX_DECISIONS), np.uint8)
    except zlib.error as error:
        raise ReplayError(f"the decisions cannot be unpacked ({error}); score the entry again") from None
    if unpack.unconsumed_tail or (actions > max(Action)).any():
        raise ReplayError("these are no decisions of an official evaluation; score the entry again")
    return actions


@compiled
def replay(runs: Runs, actions: NDArray[np.uint8], at: int) -> int:
    """Play runs by the decisions from index `at` on; return the index of the next decision."""
    action = 0
    while next_decision(runs, action) != NOBODY:
        if at < actions.size:
            action = int(actions[at])
            at += 1
    return at
