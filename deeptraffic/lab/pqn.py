"""Compiled PQN in the memory of the WebAssembly module: its record, its arrays, and its rounds.

Rollouts, returns and gradient steps are the functions of `agents.compiled` that `agents.algorithms.pqn.compiled` calls
natively; what is here is the state at its addresses and the order of the calls in
`agents.algorithms.pqn.compiled.CompiledPQN.round`. Letters in shapes: B envs, T decisions of each in a round, D numbers
that the network reads, P parameters, A actions.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, types
from numba.np.numpy_support import carray

from agents.algorithms.pqn.compiled import ADAM_EPSILON, PQNSamples, add_gradient, lambda_returns
from agents.compiled.envs import EnvState, observe
from agents.compiled.model import DENSE, Model, Updates, improve
from agents.compiled.network import (
    ACTIVATION,
    FROM,
    INPUTS,
    LINEAR,
    NORM,
    OUTPUTS,
    SUMS,
    TO,
    WEIGHTS,
    CompiledNet,
    new_tape,
)
from agents.compiled.optimiser import Moments
from agents.compiled.rollout import ACTIONS, Rollout, collect_chunk
from deeptraffic.lab.memory import game_at, int_array, int_matrix, pointer_to, record, rules_of, sensor_of
from deeptraffic.lab.numpy_random import next_double, next_word, seed_generator
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import drive_period
from deeptraffic.sim.state import I64

LAYER_COLUMNS = 8
LEAST_DISCOUNT = 1e-3  # 1 - gamma at the least, where values are centred

# decisions made; exploration: probability of a random action in the last round; since the metrics were read last, after
# the decisions `reported`: sum of rewards, and of the losses of so many rounds' last batches
COUNTED, SUMMED = ("decisions", "reported", "losses"), ("exploration", "reward_sum", "loss_sum")
TALLY = np.dtype([*((name, "i8") for name in COUNTED), *((name, "f8") for name in SUMMED)])

# Type and shape of each array, the sizes by name: what the future depends on, and a round's rollout.
STATE: dict[str, tuple[str, tuple[str, ...]]] = {
    "games": ("game", ("envs",)),
    "obs": ("f4", ("envs", "inputs")),
    "steps": ("i8", ("envs",)),
    "limits": ("i8", ("envs",)),
    "passed": ("i8", ("envs",)),
    "random": ("u8", ("envs",)),
    "params": ("f4", ("parameters",)),
    "mean": ("f4", ("parameters",)),
    "square": ("f4", ("parameters",)),
    "updates": ("i8", ()),
    "order": ("i8", ("envs", "n_steps")),
    "tally": ("pqn_tally", ()),
}
ROLLOUT: dict[str, tuple[str, tuple[str, ...]]] = {
    "seen": ("f4", ("envs", "n_steps", "inputs")),
    "actions": ("i8", ("envs", "n_steps")),
    "outputs": ("f4", ("envs", "n_steps", "actions")),
    "values": ("f4", ("envs", "states")),
    "mit": ("f8", ("envs", "n_steps")),
    "vehicles": ("i8", ("envs", "n_steps")),
    "ended": ("u1", ("envs", "n_steps")),
    "end_values": ("f4", ("envs", "n_steps")),
}


class RoundSettings(NamedTuple):
    """Settings of a run that its rounds need, see `agents.algorithms.pqn.config.PQNConfig`."""

    total_timesteps: int
    max_steps: int
    n_epochs: int
    batch_size: int
    gamma: float
    q_lambda: float
    learning_rate: float
    learning_rate_end: float
    max_grad_norm: float
    exploration_initial_eps: float
    exploration_final_eps: float
    exploration_fraction: float


PQN = record(
    "rules lanes_side patches_ahead patches_behind shows_gaps envs n_steps inputs layers layer_rows parameters "
    + " ".join([*STATE, *ROLLOUT]),
    **{name: "i8" if kind is int else "f8" for name, kind in RoundSettings.__annotations__.items()},
)

singles, truths = pointer_to(types.float32), pointer_to(types.boolean)
words, doubles = pointer_to(types.uint64), pointer_to(types.float64)
pqn_at, tally_at = pointer_to(from_dtype(PQN)), pointer_to(from_dtype(TALLY))


# --- the arrays -------------------------------------------------------------------------------------------------------


@compiled
def pqn_of(address: int) -> Any:
    """Return a PQN record."""
    return carray(pqn_at(address), (1,))[0]


@compiled
def tally_of(address: int) -> Any:
    """Return the tally of a PQN record."""
    return carray(tally_at(pqn_of(address).tally), (1,))[0]


@compiled
def games_of_envs(address: int) -> Any:
    """Return the games of a PQN record, (B,) GAME."""
    p = pqn_of(address)
    return carray(game_at(p.games), (np.int64(p.envs),))


@compiled
def state_of(address: int) -> EnvState:
    """Return the state of a PQN record's envs."""
    p = pqn_of(address)
    count = np.int64(p.envs)
    return EnvState(
        carray(singles(p.obs), (count, np.int64(p.inputs))),
        int_array(p.steps, count),
        int_array(p.limits, count),
        int_array(p.passed, count),
        carray(words(p.random), (count,)),
    )


@compiled
def net_of(address: int) -> CompiledNet:
    """Return the network of a PQN record."""
    p = pqn_of(address)
    layers = int_matrix(p.layers, p.layer_rows, LAYER_COLUMNS)
    return CompiledNet(layers, carray(singles(p.params), (np.int64(p.parameters),)), ACTIONS)


@compiled
def model_of(address: int) -> Model:
    """Return the network with its optimiser and an empty tape."""
    p = pqn_of(address)
    net, size = net_of(address), (np.int64(p.parameters),)
    moments = Moments(carray(singles(p.mean), size), carray(singles(p.square), size), int_array(p.updates, 1))
    return Model(DENSE, net, net, moments, new_tape(net, True))


@compiled
def rollout_of(address: int) -> Rollout:
    """Return the rollout of a PQN record."""
    p = pqn_of(address)
    count, steps = np.int64(p.envs), np.int64(p.n_steps)
    return Rollout(
        carray(singles(p.seen), (count, steps, np.int64(p.inputs))),
        int_matrix(p.actions, count, steps),
        carray(singles(p.outputs), (count, steps, np.int64(ACTIONS))),
        carray(singles(p.values), (count, steps + 1)),
        carray(doubles(p.mit), (count, steps)),
        int_matrix(p.vehicles, count, steps),
        carray(truths(p.ended), (count, steps)),
        carray(singles(p.end_values), (count, steps)),
    )


# --- the start --------------------------------------------------------------------------------------------------------


@compiled
def place_network(inputs: int, hidden: I64, activation: int, is_normalised: bool, table: I64) -> None:
    """Fill the table of layers (K + 1, 8) of `agents.compiled.network.new_network` for hidden layers (K,)."""
    place, row, source, size = 0, inputs, 0, inputs
    for k in range(table.shape[0]):
        is_last = k == hidden.size
        norm = int(is_normalised and not is_last)
        units = ACTIONS if is_last else hidden[k]
        layer = table[k]
        layer[INPUTS], layer[OUTPUTS], layer[NORM] = size, units, norm
        layer[ACTIVATION] = LINEAR if is_last else activation
        layer[WEIGHTS], layer[FROM], layer[SUMS], layer[TO] = place, source, row, row + norm * units
        place += units * (size + 1 + 2 * norm)
        source, size = row + norm * units, units
        row = source + units


@compiled
def draw_weights(net: CompiledNet, seed: int) -> None:
    """Draw the first weights as `agents.compiled.model.draw_uniform_weights` does with NumPy's generator."""
    random = seed_generator(seed)
    for k in range(net.layers.shape[0]):
        layer = net.layers[k]
        inputs, outputs, at = layer[INPUTS], layer[OUTPUTS], layer[WEIGHTS]
        bound = 1.0 / math.sqrt(inputs)
        drawn = outputs * (inputs + 1)
        for j in range(at, at + drawn):
            net.params[j] = -bound + (bound - -bound) * next_double(random)
        for j in range(layer[NORM] * outputs):
            net.params[at + drawn + j] = 1.0


@compiled
def start_envs(address: int, seed: int) -> None:
    """Run the started games of a PQN record to their first decision, as `agents.compiled.envs.Envs` does."""
    p, state, games, random = pqn_of(address), state_of(address), games_of_envs(address), seed_generator(seed)
    rules, settings = rules_of(p.rules), settings_of(address)
    count, longest = state.steps.size, settings.max_steps
    for k in range(count):
        state.random[k] = next_word(random) >> np.uint64(1)
        state.limits[k] = longest - k * longest // count
        drive_period(rules[0], games[k], np.zeros(rules[0].other_agents + 1, np.int64))
    order = int_array(p.order, count * p.n_steps)
    for j in range(order.size):
        order[j] = j
    observe(rules, sensor_of(p), p.shows_gaps != 0, games, np.arange(count), state.obs)


# --- rounds -----------------------------------------------------------------------------------------------------------


@compiled
def settings_of(address: int) -> RoundSettings:
    """Return the settings of a PQN record."""
    p = pqn_of(address)
    return RoundSettings(
        p.total_timesteps,
        p.max_steps,
        p.n_epochs,
        p.batch_size,
        p.gamma,
        p.q_lambda,
        p.learning_rate,
        p.learning_rate_end,
        p.max_grad_norm,
        p.exploration_initial_eps,
        p.exploration_final_eps,
        p.exploration_fraction,
    )


@compiled
def fraction_left(address: int) -> float:
    """Return the fraction of training that remains, 0 beyond its planned end."""
    return max(0.0, 1.0 - tally_of(address).decisions / settings_of(address).total_timesteps)


@compiled
def play_round(address: int) -> None:
    """Fill the rollout."""
    p, settings, tally = pqn_of(address), settings_of(address), tally_of(address)
    state, r = state_of(address), rollout_of(address)
    fallen = min(1.0, (1.0 - fraction_left(address)) / settings.exploration_fraction)
    epsilon = settings.exploration_initial_eps
    epsilon += fallen * (settings.exploration_final_eps - settings.exploration_initial_eps)
    collect_chunk(
        rules_of(p.rules),
        sensor_of(p),
        p.shows_gaps != 0,
        DENSE,
        net_of(address),
        settings.max_steps,
        epsilon,
        games_of_envs(address),
        np.arange(state.steps.size),
        state.obs,
        state.steps,
        state.limits,
        state.passed,
        state.random,
        r.obs,
        r.actions,
        r.outputs,
        r.values,
        r.mit,
        r.passed,
        r.ended,
        r.end_values,
    )
    tally.exploration = epsilon


@compiled
def learn_round(address: int) -> None:
    """Regress the network on the rollout's lambda returns."""
    settings, tally, r = settings_of(address), tally_of(address), rollout_of(address)
    model, count = model_of(address), r.actions.size
    rewards, total = np.empty(r.mit.shape, np.float32), 0.0
    for b in range(rewards.shape[0]):
        for t in range(rewards.shape[1]):
            rewards[b, t] = r.mit[b, t]
            total += rewards[b, t]
    if tally.decisions == 0:
        centre_values(model.dense, r, total / count / max(1.0 - settings.gamma, LEAST_DISCOUNT))
    targets = lambda_returns(rewards, r.values, r.ended, r.end_values, settings.gamma, settings.q_lambda)
    left = fraction_left(address)
    rate = settings.learning_rate_end + (settings.learning_rate - settings.learning_rate_end) * left
    updates = Updates(settings.n_epochs, settings.batch_size, rate, settings.max_grad_norm, ADAM_EPSILON, True)
    samples = PQNSamples(r.obs.reshape(count, r.obs.shape[2]), r.actions.reshape(count), targets.reshape(count))
    order, random = int_array(pqn_of(address).order, count), state_of(address).random[:1]
    tally.loss_sum += improve(model, samples, order, random, updates, add_gradient, ())
    tally.decisions += count
    tally.losses += 1
    tally.reward_sum += total


@compiled
def centre_values(net: CompiledNet, rollout: Rollout, shift: float) -> None:
    """Add a shift to all values of a new network, see `agents.algorithms.pqn.compiled.CompiledPQN`."""
    last, small = net.layers[-1], np.float32(shift)
    bias = last[WEIGHTS] + last[INPUTS] * last[OUTPUTS]
    for j in range(bias, bias + last[OUTPUTS]):
        net.params[j] += small
    values, end_values = rollout.values, rollout.end_values
    for b in range(values.shape[0]):
        for t in range(values.shape[1]):
            values[b, t] += small
        for t in range(end_values.shape[1]):
            end_values[b, t] += small
