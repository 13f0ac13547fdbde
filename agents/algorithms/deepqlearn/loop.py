"""Compiled loop of deepqlearn: replay buffer, gradient, exploration and the simulator.

The original game's learner, ConvNetJS's deepqlearn with its SGD trainer, in its order of events and of sums
(`agents/algorithms/deepqlearn/learner.py` says what it is and what is assumed). One decision of the ego car is:

1. `store_transition`: the one that the last reward completes, one decision late, as in the original;
2. `learn` from `batch_size` transitions drawn with replacement: their gradients add up, then one step is taken;
3. `decide`: at random with probability `epsilon`, else the action with the largest output;
4. run to the ego car's next decision; the other agents decide on the way.

The network is in `agents/algorithms/deepqlearn/network.py`; `layers` is its layer table.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from agents.algorithms.deepqlearn.network import (
    NUM_ACTIONS,
    OUTPUTS,
    TO,
    LearningSettings,
    add_gradient,
    argmax,
    forward,
    sgd_step,
)
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import FOREVER
from deeptraffic.sim.kernel import drive
from deeptraffic.sim.observation import sense
from deeptraffic.sim.random import GOLDEN, mix
from deeptraffic.sim.rules import Sensor
from deeptraffic.sim.state import F64, I64, NOBODY, Games

OLD, NEW = 0, 1  # the network's last two inputs, their actions and rewards


class Brain(NamedTuple):
    """State of the learner, without the simulator. D network inputs, n sensor values, T window, E replay, A agents.

    params: (P,) float64 per layer the weights (outputs, inputs), then the biases; `layers` holds where
    velocity: (P,) float64 of the momentum
    states, next_states: (E, D) float64 replay buffer: network inputs, and those one decision later
    actions: (E,) int64
    rewards: (E,) float64
    window_obs: (A + 1, T, n) float64 earlier sensor values of each agent, the latest first
    window_actions: (A + 1, T) int64 what it decided then
    calls: (A + 1,) int64 decisions that each agent has made
    inputs: (2, D) float64 the ego car's last two network inputs, OLD and NEW
    chosen: (2,) int64 its last two actions
    received: (2,) float64 its last two rewards
    tally: (1,) record of `TALLY`
    """

    params: F64
    velocity: F64
    states: F64
    next_states: F64
    actions: I64
    rewards: F64
    window_obs: F64
    window_actions: I64
    calls: I64
    inputs: F64
    chosen: I64
    received: F64
    tally: Any


# age: decisions made; stored: transitions in the replay buffer; updates: steps taken by the trainer; rng: SplitMix64;
# reward_sum, loss_sum, losses: since the metrics were read last, at age `reported`.
COUNTS, SUMS = ("age", "stored", "updates", "losses", "reported"), ("reward_sum", "loss_sum")
TALLY = np.dtype([("rng", "u8"), *((name, "i8") for name in COUNTS), *((name, "f8") for name in SUMS)])

# Type and shape of each array of `Brain`, the sizes by name.
ARRAYS: dict[str, tuple[Any, tuple[int | str, ...]]] = {
    "params": ("f8", ("parameters",)),
    "velocity": ("f8", ("parameters",)),
    "states": ("f8", ("entries", "width")),
    "next_states": ("f8", ("entries", "width")),
    "actions": ("i8", ("entries",)),
    "rewards": ("f8", ("entries",)),
    "window_obs": ("f8", ("agents", "window", "cells")),
    "window_actions": ("i8", ("agents", "window")),
    "calls": ("i8", ("agents",)),
    "inputs": ("f8", (2, "width")),
    "chosen": ("i8", (2,)),
    "received": ("f8", (2,)),
    "tally": (TALLY, (1,)),
}


# --- random numbers: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) -------------------------------------------------


@compiled
def draw_uniform(tally: Any) -> float:
    """Return a number in [0, 1) with 53 random bits."""
    tally.rng += GOLDEN
    return np.float64(mix(tally.rng) >> np.uint64(11)) * 2.0**-53


@compiled
def draw_index(tally: Any, size: int) -> int:
    """Return an integer in [0, size - 1]."""
    return int(math.floor(size * draw_uniform(tally)))


# --- replay buffer and learning ---------------------------------------------------------------------------------------


@compiled
def epsilon_at(settings: LearningSettings, age: int) -> float:
    """Probability of a random action in decision `age` (from 1): falls linearly from 1 after burn-in to epsilon_min."""
    span = settings.learning_steps_total - settings.learning_steps_burnin
    done = (age - settings.learning_steps_burnin) / span
    return min(1.0, max(settings.epsilon_min, 1.0 - done))


@compiled
def store_transition(brain: Brain, reward: float) -> None:
    """Receive the reward for the last action; store the transition before it, whose next state is known by now.

    When the buffer is full, a random entry is replaced.
    """
    brain.received[OLD] = brain.received[NEW]
    brain.received[NEW] = reward
    tally = brain.tally[0]
    if brain.calls[0] <= brain.window_actions.shape[1] + 1:
        return
    index = tally.stored
    if index < brain.actions.size:
        tally.stored += 1
    else:
        index = draw_index(tally, brain.actions.size)
    brain.states[index] = brain.inputs[OLD]
    brain.actions[index] = brain.chosen[OLD]
    brain.rewards[index] = brain.received[OLD]
    brain.next_states[index] = brain.inputs[NEW]


@compiled
def learn(
    layers: I64, settings: LearningSettings, brain: Brain, picks: I64, values: F64, gradient: F64, delta: F64
) -> None:
    """Learn from batch_size transitions drawn with replacement, all with the weights before this step.

    Target: r + gamma * max over a' of Q(s', a') by the same network. picks: (batch,), values: (neurons, 2 * batch),
    columns 0..batch-1 for s and batch..2*batch-1 for s'; gradient (P,) zeros; delta (neurons,): scratch.
    """
    tally, batch = brain.tally[0], picks.size
    for b in range(batch):
        picks[b] = draw_index(tally, tally.stored)
    inputs = brain.states.shape[1]
    for i in range(inputs):
        for b in range(batch):
            values[i, b] = brain.states[picks[b], i]
            values[i, batch + b] = brain.next_states[picks[b], i]
    forward(layers, brain.params, values)
    value = np.empty(values.shape[0])
    first_q = layers[-1, TO]
    for b in range(batch):
        q_next = values[first_q:, batch + b]
        target = brain.rewards[picks[b]] + settings.gamma * q_next[argmax(q_next)]
        value[:inputs] = brain.states[picks[b]]
        value[inputs:] = values[inputs:, b]
        action = brain.actions[picks[b]]
        error = value[first_q + action] - target
        tally.loss_sum += 0.5 * error * error
        add_gradient(layers, brain.params, gradient, value, delta, action, error)
    tally.losses += batch
    tally.updates += 1
    sgd_step(layers, settings, brain.params, brain.velocity, gradient)


# --- deciding ---------------------------------------------------------------------------------------------------------


@compiled
def assemble_input(brain: Brain, agent: int, obs: F64, out: F64) -> None:
    """Write obs, then per earlier decision its obs and its action (one-hot times len(obs)), latest first, (D,)."""
    n = obs.size
    out[:n] = obs
    at = n
    for k in range(brain.window_actions.shape[1]):
        out[at : at + n] = brain.window_obs[agent, k]
        out[at + n : at + n + NUM_ACTIONS] = 0.0
        out[at + n + brain.window_actions[agent, k]] = n
        at += n + NUM_ACTIONS


@compiled
def decide(
    layers: I64, settings: LearningSettings, brain: Brain, agent: int, obs: F64, net_input: F64, values: F64
) -> int:
    """Choose the agent's action for obs (n,) and push both into its window; net_input (D,) and values are filled."""
    tally, window = brain.tally[0], brain.window_actions.shape[1]
    brain.calls[agent] += 1
    net_input[:] = 0.0
    if brain.calls[agent] <= window:
        action = draw_index(tally, NUM_ACTIONS)
    else:
        assemble_input(brain, agent, obs, net_input)
        if draw_uniform(tally) < epsilon_at(settings, tally.age):
            action = draw_index(tally, NUM_ACTIONS)
        else:
            values[: net_input.size, 0] = net_input
            forward(layers, brain.params, values)
            action = argmax(values[layers[-1, TO] :, 0])
    for k in range(window - 1, 0, -1):
        brain.window_obs[agent, k] = brain.window_obs[agent, k - 1]
        brain.window_actions[agent, k] = brain.window_actions[agent, k - 1]
    if window > 0:
        brain.window_obs[agent, 0] = obs
        brain.window_actions[agent, 0] = action
    return action


# --- the loop ---------------------------------------------------------------------------------------------------------


@compiled
def train_block(
    rules: Any, sensor: Sensor, games: Games, layers: I64, settings: LearningSettings, brain: Brain, decisions: int
) -> None:
    """Let the ego car of game 0 make `decisions` decisions and learn after each.

    The game must have been reset; it is left where the last decision has been carried on to the next agent's.
    """
    game, tally = games[0], brain.tally[0]
    neurons = layers[-1, TO] + layers[-1, OUTPUTS]
    picks, delta, gradient = np.empty(settings.batch_size, np.int64), np.empty(neurons), np.zeros(brain.params.size)
    batch_values, values = np.empty((neurons, 2 * settings.batch_size)), np.empty((neurons, 1))
    obs, net_input = np.empty(brain.window_obs.shape[2]), np.empty(brain.inputs.shape[1])
    last = tally.age + decisions
    if game.waiting == NOBODY:
        drive(rules[0], game, 0, FOREVER)
    while tally.age < last:
        agent = game.waiting
        sense(rules[0], sensor, game, agent, obs)
        if agent == 0:
            store_transition(brain, game.reward)
            tally.age += 1
            tally.reward_sum += game.reward
            if tally.stored > settings.start_learn_threshold:
                learn(layers, settings, brain, picks, batch_values, gradient, delta)
        action = decide(layers, settings, brain, agent, obs, net_input, values)
        if agent == 0:
            brain.inputs[OLD] = brain.inputs[NEW]
            brain.inputs[NEW] = net_input
            brain.chosen[OLD] = brain.chosen[NEW]
            brain.chosen[NEW] = action
        drive(rules[0], game, action, FOREVER)
