"""Compiled rollout: T decisions in each of B envs, by a network, over threads."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.compiled.envs import U64, Envs, EnvState, draw_uniform, observe, start_episode
from agents.compiled.network import OUTPUTS, TILE, TO, CompiledNet, Tape, forward, load
from deeptraffic.envs.reward import reward_of
from deeptraffic.sim.compiled import learner_compiled
from deeptraffic.sim.engine import drive_period, run_in_chunks
from deeptraffic.sim.random import GOLDEN, mix
from deeptraffic.sim.rules import Sensor
from deeptraffic.sim.state import F64, I64, Games

F32 = NDArray[np.float32]
SAMPLED = -1.0  # in place of epsilon


class Rollout(NamedTuple):
    """T decisions of B envs.

    obs: (B, T, D) float32 what was observed; actions: (B, T) int64 taken
    outputs: (B, T, A) float32 the network's
    values: (B, T + 1) float32 of each observed state, and of the one after the last
    mit: (B, T) float64 the contest's reward of each; passed: (B, T) int64 vehicles passed in it
    ended: (B, T) bool whether the episode ended with it
    end_values: (B, T) float32 of the state in which it ended
    """

    obs: F32
    actions: I64
    outputs: F32
    values: F32
    mit: F64
    passed: I64
    ended: NDArray[np.bool_]
    end_values: F32

    def rewards(self, kind: str) -> F32:
        """Return the rewards (B, T) float32 of this kind, see `deeptraffic.envs.reward`."""
        return np.asarray(reward_of(kind, self.mit, self.passed), np.float32)


def new_rollout(envs: Envs, steps: int, outputs: int) -> Rollout:
    """Return the arrays of a rollout of `steps` decisions in each env, of a network with so many outputs."""
    count, size = envs.state.obs.shape
    return Rollout(
        obs=np.zeros((count, steps, size), np.float32),
        actions=np.zeros((count, steps), np.int64),
        outputs=np.zeros((count, steps, outputs), np.float32),
        values=np.zeros((count, steps + 1), np.float32),
        mit=np.zeros((count, steps)),
        passed=np.zeros((count, steps), np.int64),
        ended=np.zeros((count, steps), np.bool_),
        end_values=np.zeros((count, steps), np.float32),
    )


def collect(envs: Envs, net: CompiledNet, critic: CompiledNet, rollout: Rollout, epsilon: float = SAMPLED) -> None:
    """Fill a rollout.

    net: whose outputs decide; critic: whose largest output is the value of a state
    epsilon: probability of a random action in place of the one with the largest output; `SAMPLED`: actions are drawn
        with the probabilities whose logits the outputs are
    """
    per_env = (*envs.state, *rollout)
    fixed = (envs.sensor, envs.shows_gaps, net, critic, envs.max_steps, epsilon)
    run_in_chunks(envs.sim, collect_chunk, envs.sim.env_indices, per_env, fixed)


# parameters: `run_in_chunks` slices each array that has a row for each env
@learner_compiled
def collect_chunk(
    rules: NDArray[Any],
    sensor: Sensor,
    shows_gaps: bool,
    net: CompiledNet,
    critic: CompiledNet,
    max_steps: int,
    epsilon: float,
    games: Games,
    env_indices: I64,
    obs: F32,
    steps: I64,
    limits: I64,
    passed_before: I64,
    random: U64,
    seen: F32,
    actions: I64,
    outputs: F32,
    values: F32,
    mit: F64,
    passed: I64,
    ended: NDArray[np.bool_],
    end_values: F32,
) -> None:
    """Fill the rollout of some envs."""
    state = EnvState(obs, steps, limits, passed_before, random)
    count, given = env_indices.size, np.zeros(rules[0].other_agents + 1, np.int64)
    tape, critic_tape = forward_tape(net), forward_tape(critic)
    places = np.empty(count, np.int64)
    for t in range(actions.shape[1] + 1):
        for k in range(count):
            places[k] = k
        evaluate(critic, critic_tape, obs, places, count, values[:, t : t + 1], True)
        if t == actions.shape[1]:
            return
        evaluate(net, tape, obs, places, count, outputs[:, t], False)
        endings = 0
        for k in range(count):
            for i in range(obs.shape[1]):
                seen[k, t, i] = obs[k, i]
            game = games[env_indices[k]]
            given[0] = choose(outputs[k, t], state, k, epsilon)
            actions[k, t] = given[0]
            drive_period(rules[0], game, given)
            steps[k] += 1
            mit[k, t], passed[k, t] = game.reward, game.passed - passed_before[k]
            passed_before[k] = game.passed
            ended[k, t] = steps[k] >= limits[k]
            if ended[k, t]:
                places[endings] = k
                endings += 1
        observe(rules, sensor, shows_gaps, games, env_indices, obs)
        if endings > 0:
            evaluate(critic, critic_tape, obs, places, endings, end_values[:, t : t + 1], True)
            for e in range(endings):
                k = places[e]
                start_episode(rules[0], games[env_indices[k]], state, k, max_steps)
                observe(rules, sensor, shows_gaps, games, env_indices[k : k + 1], obs[k : k + 1])


@learner_compiled
def forward_tape(net: CompiledNet) -> Tape:
    """Return a tape for forward passes alone."""
    last, rows = net.layers[-1], net.layers.shape[0]
    values = np.zeros((last[TO] + last[OUTPUTS], TILE), np.float32)
    return Tape(values, np.zeros((1, 1), np.float32), np.zeros((rows, TILE), np.float32), np.zeros(1, np.float32))


# parameters: an array, its rows, and what is written where
@learner_compiled
def evaluate(net: CompiledNet, tape: Tape, obs: F32, places: I64, count: int, outputs: F32, largest: bool) -> None:
    """Write the network's outputs, or the largest alone, for `count` rows of obs (B, D) to the same rows of outputs."""
    last = net.layers[-1]
    for begin in range(0, count, TILE):
        samples = min(TILE, count - begin)
        load(tape, obs, places[begin : begin + samples])
        forward(net, tape, samples)
        found = tape.values[last[TO] :]
        for s in range(samples):
            row = outputs[places[begin + s]]
            for a in range(last[OUTPUTS] if largest else row.size):
                if not largest:
                    row[a] = found[a, s]
                elif a == 0 or found[a, s] > row[0]:
                    row[0] = found[a, s]


@learner_compiled
def choose(outputs: F32, state: EnvState, k: int, epsilon: float) -> int:
    """Return env k's action, see `collect`."""
    if epsilon == SAMPLED:
        return draw_action(outputs, draw_uniform(state, k))
    if draw_uniform(state, k) < epsilon:
        return int(draw_uniform(state, k) * outputs.size)
    best = 0
    for a in range(1, outputs.size):
        if outputs[a] > outputs[best]:
            best = a
    return best


@learner_compiled
def draw_action(logits: F32, u: float) -> int:
    """Return the action that the number u in [0, 1) falls on, of probabilities with these logits (A,)."""
    top, total = logits[0], 0.0
    for a in range(1, logits.size):
        top = max(top, logits[a])
    for a in range(logits.size):
        total += math.exp(logits[a] - top)
    left = u * total
    for a in range(logits.size - 1):
        left -= math.exp(logits[a] - top)
        if left < 0.0:
            return a
    return logits.size - 1


@learner_compiled
def shuffle(order: I64, random: U64) -> None:
    """Shuffle in place (Fisher and Yates) from the SplitMix64 stream random (1,)."""
    for i in range(order.size - 1, 0, -1):
        random[0] += GOLDEN
        j = np.int64(mix(random[0]) % np.uint64(i + 1))
        order[i], order[j] = order[j], order[i]
