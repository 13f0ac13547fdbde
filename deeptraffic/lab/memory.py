"""Records and arrays in the memory of the WebAssembly module, as compiled code finds them by their addresses.

JavaScript lays the records out by these dtypes, which `build` writes into the module: addresses are int32, numbers of
elements too, everything else has the type that the compiled functions take.
"""

from typing import Any

import numpy as np
from numba import from_dtype, types
from numba.extending import intrinsic
from numba.np.numpy_support import carray

from agents.algorithms.deepqlearn.loop import TALLY, Brain
from agents.algorithms.deepqlearn.network import LearningSettings
from deeptraffic.policies.kernels import COLUMNS
from deeptraffic.policies.network import EVERY_GROUP, Net
from deeptraffic.policies.network_policy import Driver, Exploration
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.observation import observation_size
from deeptraffic.sim.rules import RULES_2018, Sensor
from deeptraffic.sim.runs import Runs
from deeptraffic.sim.state import game_dtype, rules_record

RULES = rules_record(RULES_2018).dtype
GAME = game_dtype(RULES_2018)  # the same for both contests, and for any number of other agents
GAME_BYTES = GAME.itemsize


def record(integers: str, **others: Any) -> np.dtype[Any]:
    """Return a record type of int32 fields, then of others by type."""
    return np.dtype([*((name, "i4") for name in integers.split()), *others.items()], align=True)


POLICY = record(
    "table operations weights weights_size scratch scratch_size out outputs lanes_side patches_ahead patches_behind "
    "history history_size memory memory_size agents cumulative streams",
    **{"epsilon": "f8", "seed": "i8", "random_seed": "u8"},
)
RUNS = record("rules game streams open_runs first_run frames position speed_sums passed runs keys keyed_runs")
LEARNER = record(
    "rules game lanes_side patches_ahead patches_behind agents window entries width parameters layers layer_rows "
    + " ".join(Brain._fields),
    **{name: "i8" if kind is int else "f8" for name, kind in LearningSettings.__annotations__.items()},
)


def pointer_to(kind: Any) -> Any:
    """Return a function for compiled code that turns an address into a pointer to this type."""

    @intrinsic
    def pointer(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(address), generate

    return pointer


floats, integers, words = (pointer_to(kind) for kind in (types.float64, types.int64, types.uint64))
rules_at, game_at, tally_at = (pointer_to(from_dtype(dtype)) for dtype in (RULES, GAME, TALLY))
policy_at, runs_at, learner_at = (pointer_to(from_dtype(dtype)) for dtype in (POLICY, RUNS, LEARNER))


@compiled
def float_array(address: int, size: int) -> Any:
    """Return (size,) float64."""
    return carray(floats(address), (np.int64(size),))


@compiled
def float_matrix(address: int, rows: int, columns: int) -> Any:
    """Return (rows, columns) float64."""
    return carray(floats(address), (np.int64(rows), np.int64(columns)))


@compiled
def int_array(address: int, size: int) -> Any:
    """Return (size,) int64."""
    return carray(integers(address), (np.int64(size),))


@compiled
def int_matrix(address: int, rows: int, columns: int) -> Any:
    """Return (rows, columns) int64."""
    return carray(integers(address), (np.int64(rows), np.int64(columns)))


@compiled
def word_array(address: int, size: int) -> Any:
    """Return (size,) uint64."""
    return carray(words(address), (np.int64(size),))


@compiled
def rules_of(address: int) -> Any:
    """Return the rules, (1,) RULES."""
    return carray(rules_at(address), (1,))


@compiled
def games_of(address: int) -> Any:
    """Return a game, (1,) GAME."""
    return carray(game_at(address), (1,))


@compiled
def policy_of(address: int) -> Any:
    """Return a POLICY record."""
    return carray(policy_at(address), (1,))[0]


@compiled
def runs_record(address: int) -> Any:
    """Return a RUNS record."""
    return carray(runs_at(address), (1,))[0]


@compiled
def learner_of(address: int) -> Any:
    """Return a LEARNER record."""
    return carray(learner_at(address), (1,))[0]


@compiled
def sensor_of(record: Any) -> Sensor:
    """Return the sensor of a POLICY or LEARNER record."""
    return Sensor(np.int64(record.lanes_side), np.int64(record.patches_ahead), np.int64(record.patches_behind))


@compiled
def driver_of(address: int) -> Driver:
    """Return the network of a POLICY record, and the agents that it drives."""
    p = policy_of(address)
    table, weights = int_matrix(p.table, p.operations, COLUMNS), float_array(p.weights, p.weights_size)
    net = Net(table, weights, float_array(p.scratch, p.scratch_size), np.int64(p.out), np.int64(p.outputs), EVERY_GROUP)
    history = float_matrix(p.history, p.agents, p.history_size)
    memory = float_matrix(p.memory, p.agents, p.memory_size)
    cumulative, streams = float_array(p.cumulative, p.outputs), word_array(p.streams, p.agents)
    exploration = Exploration(p.epsilon, cumulative, streams, p.random_seed)
    return Driver(net, sensor_of(p), history, memory, np.int64(p.agents), p.seed, exploration)


@compiled
def runs_of(address: int) -> Runs:
    """Return the runs of a RUNS record."""
    r = runs_record(address)
    results = float_array(r.speed_sums, r.runs), int_array(r.passed, r.runs)
    streams, position = int_matrix(r.streams, r.open_runs, 2), int_array(r.position, 1)
    first, frames = np.int64(r.first_run), np.int64(r.frames)
    return Runs(rules_of(r.rules), games_of(r.game), streams, first, frames, position, results[0], results[1])


@compiled
def brain_of(address: int) -> Brain:
    """Return the state of a LEARNER record."""
    b = learner_of(address)
    shape = np.int64(b.agents), np.int64(b.window), observation_size(sensor_of(b))
    return Brain(
        float_array(b.params, b.parameters),
        float_array(b.velocity, b.parameters),
        float_matrix(b.states, b.entries, b.width),
        float_matrix(b.next_states, b.entries, b.width),
        int_array(b.actions, b.entries),
        float_array(b.rewards, b.entries),
        carray(floats(b.window_obs), shape),
        int_matrix(b.window_actions, b.agents, b.window),
        int_array(b.calls, b.agents),
        float_matrix(b.inputs, 2, b.width),
        int_array(b.chosen, 2),
        float_array(b.received, 2),
        carray(tally_at(b.tally), (1,)),
    )


@compiled
def settings_of(address: int) -> LearningSettings:
    """Return the hyperparameters of a LEARNER record."""
    s = learner_of(address)
    return LearningSettings(
        s.gamma,
        s.start_learn_threshold,
        s.learning_steps_total,
        s.learning_steps_burnin,
        s.epsilon_min,
        s.learning_rate,
        s.momentum,
        s.batch_size,
        s.l2_decay,
        s.l1_decay,
    )
