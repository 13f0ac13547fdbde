"""Compiled rollout: T decisions in each of B envs, by a network, over threads."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.compiled.envs import U64, Envs, EnvState, draw_uniform, observe, start_episode
from agents.compiled.model import Model, NetFunctions
from agents.compiled.network import TILE
from deeptraffic.envs.reward import reward_of
from deeptraffic.sim.compiled import learner_compiled
from deeptraffic.sim.engine import drive_period, run_in_chunks
from deeptraffic.sim.rules import Action, Sensor
from deeptraffic.sim.state import F64, I64, Games

F32 = NDArray[np.float32]
ACTIONS = len(Action)
SAMPLED = -1.0  # in place of epsilon


class Rollout(NamedTuple):
    """T decisions of B envs.

    obs: (B, T, D) float32 what was observed; actions: (B, T) int64 taken
    outputs: (B, T, A) float32 the network's, one for each action
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


def new_rollout(envs: Envs, steps: int) -> Rollout:
    """Return the arrays of a rollout of `steps` decisions in each env."""
    count, size = envs.state.obs.shape
    return Rollout(
        obs=np.zeros((count, steps, size), np.float32),
        actions=np.zeros((count, steps), np.int64),
        outputs=np.zeros((count, steps, ACTIONS), np.float32),
        values=np.zeros((count, steps + 1), np.float32),
        mit=np.zeros((count, steps)),
        passed=np.zeros((count, steps), np.int64),
        ended=np.zeros((count, steps), np.bool_),
        end_values=np.zeros((count, steps), np.float32),
    )


def collect(envs: Envs, model: Model, rollout: Rollout, epsilon: float = SAMPLED) -> None:
    """Fill a rollout.

    model: whose first outputs, one for each action, decide; the output after them, if there is one, is the value of a
        state, otherwise the largest
    epsilon: probability of a random action in place of the one with the largest output; `SAMPLED`: actions are drawn
        with the probabilities whose logits the outputs are
    """
    per_env = (*envs.state, *rollout)
    fixed = (envs.sensor, envs.shows_gaps, model.functions, model.net, envs.max_steps, epsilon)
    run_in_chunks(envs.sim, collect_chunk, envs.sim.env_indices, per_env, fixed)


# parameters: `run_in_chunks` slices each array that has a row for each env
@learner_compiled
def collect_chunk(
    rules: NDArray[Any],
    sensor: Sensor,
    shows_gaps: bool,
    functions: NetFunctions,
    net: Any,
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
    player = Player(functions, net, functions.new_tape(net, False))
    everywhere, places, nowhere = np.arange(count), np.empty(count, np.int64), outputs[:, 0, :0]
    for t in range(actions.shape[1]):
        evaluate(player, obs, everywhere, outputs[:, t], values[:, t])
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
            evaluate(player, obs, places[:endings], nowhere, end_values[:, t])
            for e in range(endings):
                k = places[e]
                start_episode(rules[0], games[env_indices[k]], state, k, max_steps)
                observe(rules, sensor, shows_gaps, games, env_indices[k : k + 1], obs[k : k + 1])
    evaluate(player, obs, everywhere, nowhere, values[:, -1])


class Player(NamedTuple):
    """A network with a tape for forward passes alone, see `agents.compiled.model.Model`."""

    functions: NetFunctions
    net: Any
    tape: Any


@learner_compiled
def evaluate(player: Player, obs: F32, places: I64, outputs: F32, values: F32) -> None:
    """Write the network's outputs and its values for the rows `places` of obs (B, D) to those of (B, A) and (B,)."""
    for begin in range(0, places.size, TILE):
        rows = places[begin : begin + TILE]
        found, _ = player.functions.predict(player.net, player.tape, obs, rows)
        for s in range(rows.size):
            for a in range(outputs.shape[1]):
                outputs[rows[s], a] = found[a, s]
            value = found[found.shape[0] - 1, s]
            if found.shape[0] == ACTIONS:
                for a in range(ACTIONS):
                    value = max(value, found[a, s])
            values[rows[s]] = value


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
