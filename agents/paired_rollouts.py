"""Paired rollouts: returns of an agent's candidate plans on copies of the simulator, with common random numbers.

A rollout carries out a plan of one or more actions, then continues with the network's policy (the other agents always
do) for some decisions of this agent, and adds the value of the state it reaches. Its rewards are the mean speed over
all controlled cars, which is what the contest counts, as its reward: (mean - 60 mph) / 20 mph for each period.

The real future is not used: traffic continues with newly drawn random numbers. All plans of an env share these
numbers (common random numbers), which reduces the variance of their differences.

A return is the lambda return of the rollout's rewards and values (Sutton and Barto 2018, equation 12.9). Rollouts are
played in compiled code, simulator and network in turn, `TILE` copies at a time.

Letters in shapes: B envs, C copies, D cells, K plans, L actions of a plan, R rollouts of each.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.compiled.lane_net import (
    LaneNet,
    LaneTape,
    forward_lanes,
    load_lanes,
    new_lane_tape,
    prepare,
)
from agents.compiled.network import F32, TILE, outputs
from agents.lane_network import CANDIDATES, VALUE_SCALE, LaneNetwork
from deeptraffic.envs.masks import action_masks
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import FOREVER, Simulator, run_in_chunks
from deeptraffic.sim.kernel import drive
from deeptraffic.sim.observation import observation_size, sense
from deeptraffic.sim.random import MODULUS
from deeptraffic.sim.rules import Sensor
from deeptraffic.sim.state import F64, I64, Games

ZERO_REWARD = 90.0  # [px/frame] sum of the speeds over a period of 30 frames at 60 mph, where the reward is 0


def draw_streams(random: np.random.Generator, envs: int, rollouts: int) -> I64:
    """Return states of the simulator's random stream, (B, R)."""
    return random.integers(1, MODULUS - 1, size=(envs, rollouts))


def candidate_masks(sim: Simulator, env_indices: I64, candidates: I64, agent: int = 0) -> NDArray[np.bool_]:
    """Return which candidates may differ from the first (accelerate) in envs where `agent` decides next, (B, K).

    A lane change of the ego car that the safety system would refuse has no other effect; one of another agent is
    executed by the agents that come after it, too.
    """
    possible = np.ones((env_indices.size, len(candidates)), np.bool_)
    if agent == 0:
        possible[:, 1:] = action_masks(sim, 0, env_indices)[:, candidates[1:]]
    return possible


class RolloutSettings(NamedTuple):
    """Settings of rollouts.

    sensor: that the network reads
    depth: decisions of a rollout, those of the plan included
    gamma: discount per decision
    lambda_: weight of longer returns, 0 for the value one decision ahead, 1 for the one at the end
    uses_values: whether states have the network's values; otherwise they are worth 0
    """

    sensor: Sensor
    depth: int
    gamma: float
    lambda_: float
    uses_values: bool = True


class PairedRollouts:
    """Rollouts from a decision of the ego car or of another agent.

    network: chooses the actions after the plan, and values states; settings: see `RolloutSettings`
    """

    def __init__(self, network: LaneNetwork, settings: RolloutSettings) -> None:
        self.network, self.settings = network, settings

    def returns(
        self, sim: Simulator, env_indices: I64, tried: NDArray[np.bool_], plans: I64, streams: I64, agent: int = 0
    ) -> F64:
        """Return the return of each plan in envs where `agent` decides next, (B, K, R); NaN where it is not tried.

        env_indices: (B,) of `sim`, all in the same frame of their decision period; tried: (B, K)
        plans: (K, L) of `Action`; streams: (B, R), `draw_streams`
        """
        results = np.full((*tried.shape, streams.shape[1]), np.nan)
        env, plan, rollout = np.nonzero(np.broadcast_to(tried[:, :, None], results.shape))
        found = np.empty(env.size)
        prepare(self.network.net)
        fixed = (self.settings, self.network.net, agent)
        run_in_chunks(sim, play_copies, env_indices[env], (plans[plan], streams[env, rollout], found), fixed)
        results[env, plan, rollout] = found
        return results


# parameters: `run_in_chunks` slices each array that has an entry for each copy
@compiled
def play_copies(
    rules: NDArray[Any],
    settings: RolloutSettings,
    net: LaneNet,
    agent: int,
    games: Games,
    env_indices: I64,
    plans: I64,
    streams: I64,
    returns: F64,
) -> None:
    """Play a copy of each env by its plan, plans (C, L), with its random stream; write their returns (C,)."""
    copies, tape = np.empty(TILE, games.dtype), new_lane_tape(net, False)
    players = Players(settings.sensor, net, tape, np.empty(observation_size(settings.sensor), np.float32))
    for begin in range(0, env_indices.size, TILE):
        count = min(TILE, env_indices.size - begin)
        for c in range(count):
            copies[c] = games[env_indices[begin + c]]
            copies[c].rng = streams[begin + c]
        some = slice(begin, begin + count)
        play(rules, settings, players, copies[:count], plans[some], agent, returns[some])


class Players(NamedTuple):
    """The network as the player of up to `TILE` games: sensor, network, and scratch memory: a tape, and cells (D,)."""

    sensor: Sensor
    net: LaneNet
    tape: LaneTape
    cells: F32


@compiled
def play(
    rules: NDArray[Any], settings: RolloutSettings, players: Players, games: Games, plans: I64, agent: int, returns: F64
) -> None:
    """Play games on, first by the plans (C, L) of `agent`; write their lambda returns (C,)."""
    count = games.size
    actions, values = plans[:, 0].copy(), np.zeros(count)
    totals, counted = np.zeros(count), np.empty(count)
    for c in range(count):
        counted[c] = games[c].score_sum
    returns[:] = 0.0
    discount = weight = 1.0
    for step in range(1, settings.depth + 1):
        drive_all(rules, games, actions)
        while games[0].waiting != agent:  # the copies stay in step with each other
            decide(rules, players, games, games[0].waiting, actions, values)
            drive_all(rules, games, actions)
        for c in range(count):
            score = games[c].score_sum
            totals[c] += discount * (score - counted[c] - ZERO_REWARD) / (ZERO_REWARD / 3.0)
            counted[c] = score
        discount *= settings.gamma
        if step < plans.shape[1]:  # values are of the network's policy, not of the rest of a plan
            actions[:] = plans[:, step]
            continue
        if step < settings.depth or settings.uses_values:
            decide(rules, players, games, agent, actions, values)
        last = 1.0 - settings.lambda_ if step < settings.depth else 1.0
        for c in range(count):
            returns[c] += weight * last * (totals[c] + (discount * values[c] if settings.uses_values else 0.0))
        weight *= settings.lambda_


@compiled
def drive_all(rules: NDArray[Any], games: Games, actions: I64) -> None:
    """Hand each waiting agent its action and run to the next decision of any agent."""
    for c in range(games.size):
        drive(rules[0], games[c], actions[c], FOREVER)


@compiled
def decide(rules: NDArray[Any], players: Players, games: Games, agent: int, actions: I64, values: F64) -> None:
    """Write the network's actions for `agent` and its values of the states, (C,) each."""
    net, tape = players.net, players.tape
    for c in range(games.size):
        sense(rules[0], players.sensor, games[c], agent, players.cells)
        load_lanes(net, tape, c, players.cells, False)
    forward_lanes(net, tape, games.size)
    found, _ = outputs(net.dense, tape.dense)
    for c in range(games.size):
        best = 0
        for k in range(1, CANDIDATES.size):
            if found[k, c] > found[best, c]:
                best = k
        actions[c], values[c] = CANDIDATES[best], VALUE_SCALE * found[CANDIDATES.size, c]
