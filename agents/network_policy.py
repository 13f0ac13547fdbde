"""A trained network as a driver: dense layers in compiled float64, without torch, fast for one decision at a time.

The weights are those of `best.safetensors` in a run folder: numbers, nothing that is executed. Sums run in index
order and the bias comes last, as in policy files.

    >>> from agents.run import load_policy
    >>> policy = load_policy("runs/ppo-20260101-120000")
    >>> policy.act(cells, np.arange(2))                  # cells (2, 420) float64 -> (2,) int64
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.config import TrainConfig
from deeptraffic.policy.builtin import RunLoop
from deeptraffic.policy.gaps import GAP_FEATURES, gap_features
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.kernel import drive, sense
from deeptraffic.sim.reset import reset_run
from deeptraffic.sim.rules import CONTESTS, Sensor
from deeptraffic.sim.state import F64, I64, Games

Weights = dict[str, NDArray[np.float32]]

TANH, RELU = 0, 1
ACTIVATIONS = {"tanh": TANH, "relu": RELU}
ONE_ROW_KINDS = ("vector", "gaps")  # computed from the sensor's cells by the policy itself


# --- weights on disk ----------------------------------------------------------------------------------------------


def weights_content(weights: Weights, notes: dict[str, str]) -> bytes:
    """Return the content of a weights file; notes are short facts about the network, such as its decisions."""
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in weights.items()}
    return save(tensors, metadata={"notes": json.dumps(notes)})  # one entry: the file's order of several is random


def read_weights(path: str | Path) -> tuple[Weights, dict[str, str]]:
    """Return (weights, notes) of a weights file; ValueError if it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "np") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
            return weights, json.loads((file.metadata() or {}).get("notes", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"weights file {str(path)!r} cannot be read ({error}); train again in a new folder") from error


def pack_layers(weights: Weights) -> tuple[I64, F64]:
    """Return (sizes, packed) of the layers `k.weight` (outputs, inputs) and `k.bias` (outputs,), k = 0, 1, ...

    sizes: inputs of the first layer, then outputs of each; packed: per layer the weights, inputs first, then the bias
    """
    count = sum(name.endswith(".weight") for name in weights)
    layers = [(weights[f"{k}.weight"], weights[f"{k}.bias"]) for k in range(count)]
    sizes = np.array([layers[0][0].shape[1], *(weight.shape[0] for weight, _ in layers)], np.int64)
    packed = np.concatenate([np.concatenate([weight.T.ravel(), bias]) for weight, bias in layers])
    return sizes, packed.astype(np.float64)


# --- compiled -----------------------------------------------------------------------------------------------------


@compiled
def run_layers(sizes: I64, packed: F64, activation: int, values: F64) -> None:
    """Put values[0, :sizes[0]] through the layers; row k of values (K + 1, widest) receives layer k's outputs."""
    at = 0
    for k in range(sizes.size - 1):
        inputs, outputs = sizes[k], sizes[k + 1]
        x, y = values[k], values[k + 1]
        y[:outputs] = 0.0
        for i in range(inputs):  # outputs innermost: eight sums at once, each in index order
            for o in range(outputs):
                y[o] += packed[at + o] * x[i]
            at += outputs
        for o in range(outputs):
            y[o] += packed[at + o]
            if k < sizes.size - 2:
                y[o] = np.tanh(y[o]) if activation == TANH else max(0.0, y[o])
        at += outputs


@compiled
def first_largest(values: F64, count: int) -> int:
    """Index of the largest of the first `count` values; the first of equal ones."""
    best = 0
    for i in range(1, count):
        if values[i] > values[best]:
            best = i
    return best


@compiled
def choose(
    sizes: I64, packed: F64, activation: int, sensor: Sensor, empty: float, gaps: bool, cells: F64, values: F64
) -> int:
    """Return the action for one driver's input: the sensor's cells, turned into gap features first if `gaps`."""
    if gaps:
        gap_features(cells, sensor.lanes_side, sensor.patches_ahead, sensor.patches_behind, empty, values[0])
    else:
        values[0, : cells.size] = cells
    run_layers(sizes, packed, activation, values)
    return first_largest(values[sizes.size - 1], sizes[-1])


@compiled
def choose_all(
    sizes: I64, packed: F64, activation: int, sensor: Sensor, empty: float, gaps: bool, obs: F64, out: I64
) -> None:
    """Write an action for each row of obs (B, D)."""
    values = np.empty((sizes.size, sizes.max()))
    for b in range(obs.shape[0]):
        out[b] = choose(sizes, packed, activation, sensor, empty, gaps, obs[b], values)


@compiled
def play_runs(
    sizes: I64,
    packed: F64,
    activation: int,
    sensor: Sensor,
    empty: float,
    gaps: bool,
    rules: NDArray,
    games: Games,
    first_run: int,
    frames: int,
    sums: F64,
    passed: I64,
) -> None:
    """Play `sums.size` runs of a program in game 0, every agent driven by the network; see `RunLoop`."""
    game = games[0]
    cells = np.empty((2 * sensor.lanes_side + 1) * (sensor.patches_ahead + sensor.patches_behind))
    values = np.empty((sizes.size, sizes.max()))
    for k in range(sums.size):
        reset_run(rules[0], game, first_run + k)
        action = 0
        while True:
            drive(rules[0], game, action, frames)
            if game.waiting < 0:
                break
            sense(rules[0], sensor, game, game.waiting, cells)
            action = choose(sizes, packed, activation, sensor, empty, gaps, cells, values)
        sums[k] = game.score_sum
        passed[k] = game.passed


# --- the driver ---------------------------------------------------------------------------------------------------


class NetworkPolicy:
    """Dense layers that drive by the largest output; it has no memory.

    Args:
        config: of the run that trained it
        weights: `k.weight` (outputs, inputs) and `k.bias` (outputs,) of layers k = 0, 1, ...
        label: how tables name it
        notes: facts about the network, such as the decisions it was trained for

    observation: the contest's sensor where the network reads it or its lane gaps, else the run's observation
    rules, other_agents: what it was trained for
    access: "contest" or "open", what it knows (`deeptraffic.policy.builtin.Policy`)
    """

    def __init__(self, config: TrainConfig, weights: Weights, label: str, notes: dict[str, str] | None = None) -> None:
        self.config, self.label, self.notes = config, label, notes or {}
        self.rules, self.other_agents = config.road.rules, config.road.other_agents
        seen = config.observation
        self.access = "contest" if seen.contest else "open"
        self.reads_cells = seen.kind in ONE_ROW_KINDS and seen.temporal_window == 0
        self.observation: Any = seen.sensor if self.reads_cells else seen
        sizes, packed = pack_layers(weights)
        gaps = self.reads_cells and seen.kind == "gaps"
        self._check_inputs(int(sizes[0]), seen.sensor, gaps)
        empty = CONTESTS[config.road.rules].empty
        activation = ACTIVATIONS[config.agent.activation]
        self._network = (sizes, packed, activation, seen.sensor, empty, gaps)

    def _check_inputs(self, given: int, sensor: Sensor, gaps: bool) -> None:
        expected = sensor.columns * GAP_FEATURES if gaps else sensor.size
        if self.reads_cells and given != expected:
            raise ValueError(
                f"the network reads {given} numbers, its sensor gives {expected}; the run folder is damaged"
            )

    def reset(self, rows: I64) -> None:
        """There is no memory."""

    def act(self, obs: NDArray[Any], rows: I64) -> I64:
        """Return the actions (B,) for observations (B, ...) of kind `observation`."""
        actions = np.empty(len(rows), np.int64)
        flat = np.ascontiguousarray(np.asarray(obs, np.float64).reshape(len(rows), -1))
        choose_all(*self._network, flat, actions)
        return actions

    def official_runner(self) -> RunLoop | None:
        """Return the loop that plays whole runs in compiled code, None if the policy reads more than cells."""
        return partial(play_runs, *self._network) if self.reads_cells else None
