"""Entry points of the WebAssembly module: what a page may ask the compiled functions of this package to do.

Integers are int32, among them the addresses of records and arrays in the module's memory (`memory.py`); other numbers
are float64. `build` compiles every function that is marked with `entry`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types

from agents.algorithms.deepqlearn.loop import train_block
from agents.algorithms.deepqlearn.network import BIASES, WEIGHTS, place_layers, start_weights
from deeptraffic.evaluation.statistics import run_score
from deeptraffic.lab.memory import (
    GAME_BYTES,
    brain_of,
    driver_of,
    float_array,
    float_matrix,
    games_of,
    int_array,
    int_matrix,
    learner_of,
    policy_of,
    rules_of,
    runs_of,
    runs_record,
    sensor_of,
    settings_of,
    word_array,
)
from deeptraffic.lab.numpy_random import next_word, seed_generator, standard_normal
from deeptraffic.lab.pqn import LAYER_COLUMNS as PQN_LAYER_COLUMNS
from deeptraffic.lab.pqn import draw_weights, learn_round, net_of, place_network, play_round, pqn_of, start_envs
from deeptraffic.policies import exponential
from deeptraffic.policies.builtin import play_constant
from deeptraffic.policies.gap import choose_gaps
from deeptraffic.policies.network import forward
from deeptraffic.policies.network_policy import decide, play, start_streams
from deeptraffic.sim import kernel
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import drive_period
from deeptraffic.sim.observation import first_cell, observation_size, sense
from deeptraffic.sim.random import hash_run
from deeptraffic.sim.reset import reset_run, seeded, start_program
from deeptraffic.sim.rules import CELL_LENGTH, LANE_WIDTH, TURN_TOLERANCE, Sensor

INT, FLOAT, NONE = types.int32, types.float64, types.none
LAYER_COLUMNS = 7
SAFETY_CELLS = 64
FAR_AWAY = 1e6  # [px] beyond all cells; braking without end can lead there


class EntryPoint(NamedTuple):
    """A function of the module and its types: what it returns, and its arguments'."""

    function: Callable[..., Any]
    returns: Any
    arguments: tuple[Any, ...]


ENTRIES: list[EntryPoint] = []


def entry(returns: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a function as an entry point of these types."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        ENTRIES.append(EntryPoint(function, returns, arguments))
        return function

    return mark


# --- one game ---------------------------------------------------------------------------------------------------------


@entry(NONE, INT, INT, FLOAT)
def start(rules: int, game: int, seed: float) -> None:
    """Bring a game to where a freshly loaded one stands before its first reset (official runs: seed 1)."""
    start_program(rules_of(rules)[0], games_of(game)[0], seeded(np.int64(seed)))


@entry(NONE, INT, INT, INT)
def reset(rules: int, game: int, run: int) -> None:
    """Reset a game as reset number `run`; its random stream continues."""
    reset_run(rules_of(rules)[0], games_of(game)[0], np.int64(run))


@entry(NONE, FLOAT, INT)
def hash_seed(seed: float, streams: int) -> None:
    """Write the random stream and the reset number of the open run with this seed in [0, 2**53 - 1]."""
    found = int_array(streams, 2)
    found[0], found[1] = hash_run(np.uint64(seed))


@entry(NONE, INT, INT, FLOAT)
def reset_open(rules: int, game: int, seed: float) -> None:
    """Start a game as the open run with this seed in [0, 2**53 - 1]."""
    start_open_run(rules, game, np.uint64(seed))


@compiled
def start_open_run(rules: int, game: int, seed: np.uint64) -> None:
    """`deeptraffic.sim.engine.Simulator.reset_open` of one game."""
    played = games_of(game)[0]
    played.rng, run = hash_run(seed)
    played.action = 0
    reset_run(rules_of(rules)[0], played, run)


@entry(INT, INT, INT, INT, INT)
def drive(rules: int, game: int, action: int, end_frame: int) -> int:
    """Hand the action to the waiting agent and run to a decision or to the end of a frame; return who waits then."""
    played = games_of(game)[0]
    kernel.drive(rules_of(rules)[0], played, np.int64(action), np.int64(end_frame))
    return np.int32(played.waiting)


@entry(NONE, INT, INT, INT)
def step(rules: int, game: int, actions: int) -> None:
    """Run to the ego car's next decision; actions: (A + 1,) int64 of all agents."""
    table = rules_of(rules)
    agents = table[0].other_agents + 1
    drive_period(table[0], games_of(game)[0], int_array(actions, agents))


@compiled
def see(rules: int, game: int, sensor: Sensor, agent: int, out: int) -> None:
    """Write what an agent observes to (D,) float64."""
    cells = float_array(out, observation_size(sensor))
    sense(rules_of(rules)[0], sensor, games_of(game)[0], np.int64(agent), cells)


@entry(NONE, INT, INT, INT, INT, INT)
def observe(rules: int, game: int, sensor: int, agent: int, out: int) -> None:
    """Write what an agent observes to out, (D,) float64; sensor: (3,) int64."""
    window = int_array(sensor, 3)
    see(rules, game, Sensor(window[0], window[1], window[2]), agent, out)


@entry(NONE, INT, INT, INT, INT, INT)
def locate(rules: int, game: int, sensor: int, agent: int, out: int) -> None:
    """Write to out, (2,) int64, column and line of the first cell that an agent observes; sensor: (3,) int64."""
    window, found = int_array(sensor, 3), int_array(out, 2)
    seen = Sensor(window[0], window[1], window[2])
    found[0], found[1] = first_cell(rules_of(rules)[0], seen, games_of(game)[0], np.int64(agent))


@entry(INT, INT, INT, INT)
def check_safety(rules: int, game: int, out: int) -> int:
    """Write the cells that the safety system checks for the ego car now, and return their number K.

    out: room for (SAFETY_CELLS, 3) int64, of which K rows are written: column, line, and 1 if the cell blocks. The
        first four are ahead, where it must follow a vehicle; a lane change needs the others, beside it, free.
    """
    r, g, found = rules_of(rules)[0], games_of(game)[0], int_matrix(out, SAFETY_CELLS, 3)
    x, y, middle = g.x[0], g.y[0], kernel.lane_middle(np.int64(g.lane[0]))
    if not abs(y) < FAR_AWAY:
        return np.int32(0)
    px, k = np.floor((x + kernel.HALF_WIDTH) / LANE_WIDTH), 0
    for ahead in range(1, kernel.AHEAD + 1):
        py = np.floor((y - CELL_LENGTH * ahead) / CELL_LENGTH)
        blocks = 0.0 <= py < r.rows and not kernel.is_free(r, g, px, py)
        found[k, 0], found[k, 1], found[k, 2] = int(px), int(py), int(blocks)
        k += 1
    settled = abs(x - middle) < TURN_TOLERANCE
    f = -kernel.TURN_AHEAD * g.speed_factor[0]
    while f < kernel.TURN_BEHIND and k + 2 <= SAFETY_CELLS:
        py = np.floor(y / CELL_LENGTH + f)
        for side in range(-1, 2, 2):
            may = settled and kernel.is_free(r, g, px + side, py)
            found[k, 0], found[k, 1], found[k, 2] = int(px + side), int(py), int(not may)
            k += 1
        f += 1.0
    return np.int32(k)


# --- policies ---------------------------------------------------------------------------------------------------------


@entry(INT, INT, INT, INT, INT)
def act(policy: int, rules: int, game: int, agent: int) -> int:
    """Return the decision of an agent that a policy drives, for what it observes now."""
    driver = driver_of(policy)
    see(rules, game, driver.sensor, agent, policy_of(policy).scratch)
    return np.int32(decide(driver, np.int64(agent), np.int64(agent)))


@entry(NONE, INT)
def run_network(policy: int) -> None:
    """Compute a policy's network for the input at the start of its scratch, with the memory of the first agent."""
    driver = driver_of(policy)
    forward(driver.net, driver.memory[0])


@entry(INT, INT, INT, INT)
def act_by_gaps(rules: int, game: int, agent: int) -> int:
    """Return the decision of the built-in policy gap."""
    sensor, table = Sensor(3, 50, 10), rules_of(rules)
    cells, actions = np.empty((1, observation_size(sensor))), np.empty(1, np.int64)
    sense(table[0], sensor, games_of(game)[0], np.int64(agent), cells[0])
    choose_gaps(cells, 2 * sensor.lanes_side + 1, sensor.patches_ahead, table[0].empty, actions)
    return np.int32(actions[0])


@entry(NONE, INT)
def start_exploration(policy: int) -> None:
    """Start the streams of random actions as an official evaluation does."""
    driver = driver_of(policy)
    start_streams(driver.exploration, np.arange(driver.agents), np.zeros(driver.agents, np.uint64), driver.agents)


@entry(NONE, INT, INT)
def play_runs(policy: int, runs: int) -> None:
    """Play runs with a policy."""
    r = runs_record(runs)
    play(runs_of(runs), driver_of(policy), word_array(r.keys, r.keyed_runs))


@entry(NONE, INT, INT)
def play_constant_runs(action: int, runs: int) -> None:
    """Play runs in which every agent always takes this action."""
    play_constant(runs_of(runs), np.int64(action))


run_scores = compiled(run_score)


@entry(NONE, INT, INT, INT, INT)
def score_runs(speed_sums: int, runs: int, frames: int, scores: int) -> None:
    """Write the score [mph] of each run, both (K,) float64."""
    found = float_array(scores, runs)
    found[:] = run_scores(float_array(speed_sums, runs), np.int64(frames))


# --- deepqlearn -------------------------------------------------------------------------------------------------------


@entry(NONE, INT, INT, INT)
def size_layers(hidden: int, hidden_layers: int, learner: int) -> None:
    """Fill a learner's layer table for hidden layers (K, 2) int64 of neurons and activations."""
    record = learner_of(learner)
    table = int_matrix(record.layers, hidden_layers + 1, LAYER_COLUMNS)
    place_layers(np.int64(record.width), int_matrix(hidden, hidden_layers, 2), table)


@entry(NONE, INT, FLOAT)
def start_learner(learner: int, seed: float) -> None:
    """Draw the first weights of a learner whose arrays are zero, and start its game."""
    record = learner_of(learner)
    brain, random = brain_of(learner), seed_generator(np.int64(seed))
    layers = int_matrix(record.layers, record.layer_rows, LAYER_COLUMNS)
    for k in range(layers.shape[0]):
        for j in range(layers[k, WEIGHTS], layers[k, BIASES]):
            brain.params[j] = standard_normal(random)
    start_weights(layers, brain.params)
    brain.tally[0].rng = next_word(random) >> np.uint64(1)
    start_open_run(record.rules, record.game, np.uint64(seed))


@entry(NONE, INT, INT)
def train(learner: int, decisions: int) -> None:
    """Let a learner make so many decisions, and learn after each."""
    record = learner_of(learner)
    rules, games = rules_of(record.rules), games_of(record.game)
    layers = int_matrix(record.layers, record.layer_rows, LAYER_COLUMNS)
    train_block(rules, sensor_of(record), games, layers, settings_of(learner), brain_of(learner), np.int64(decisions))


# --- PQN --------------------------------------------------------------------------------------------------------------


@entry(NONE, INT, INT, INT, INT, INT)
def size_pqn(hidden: int, hidden_layers: int, activation: int, is_normalised: int, pqn: int) -> None:
    """Fill the layer table of a PQN learner for hidden layers (K,) int64 of units."""
    record = pqn_of(pqn)
    table = int_matrix(record.layers, hidden_layers + 1, PQN_LAYER_COLUMNS)
    place_network(np.int64(record.inputs), int_array(hidden, hidden_layers), activation, is_normalised != 0, table)


@entry(NONE, INT, FLOAT)
def start_pqn(pqn: int, seed: float) -> None:
    """Draw the first weights of a PQN learner whose arrays are zero, and start its games."""
    record, first = pqn_of(pqn), np.int64(seed)
    draw_weights(net_of(pqn), first)
    for k in range(record.envs):
        start_open_run(record.rules, record.games + k * GAME_BYTES, np.uint64(first + k))
    start_envs(pqn, first)


@entry(NONE, INT)
def play_pqn(pqn: int) -> None:
    """Play a round of a PQN learner."""
    play_round(pqn)


@entry(NONE, INT)
def learn_pqn(pqn: int) -> None:
    """Learn from the round that was played last."""
    learn_round(pqn)


# --- arithmetic, for tests --------------------------------------------------------------------------------------------


@entry(NONE, INT, INT, INT)
def compute_activations(x: int, count: int, out: int) -> None:
    """Write exp, sigmoid, tanh, ConvNetJS's tanh, erf and the power 0.75 of x (K,) to out (6, K)."""
    values, found = float_array(x, count), float_matrix(out, 6, count)
    for k in range(values.size):
        found[0, k], found[1, k] = exponential.exp(values[k]), exponential.sigmoid(values[k])
        found[2, k], found[3, k] = exponential.tanh(values[k]), exponential.tanh_convnetjs(values[k])
        found[4, k], found[5, k] = exponential.erf(values[k]), exponential.power(values[k], 0.75)


@entry(NONE, FLOAT, INT, INT)
def draw_normals(seed: float, count: int, out: int) -> None:
    """Write the first normal numbers (K,) of NumPy's generator with this seed."""
    random, found = seed_generator(np.int64(seed)), float_array(out, count)
    for k in range(found.size):
        found[k] = standard_normal(random)
