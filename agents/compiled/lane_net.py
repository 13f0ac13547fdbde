"""Compiled network with a layer shared by all lanes of the sensor: forward pass and gradients.

Nine cells in ten are free road. So the shared layer of a lane starts from its sums for free road, and adds what differs
in the occupied cells, a vehicle's four at once. The dense layers after it are those of `agents.compiled.network`, which
leave out units that are 0 in all samples. A sample's outputs do not depend on the samples that are computed with it.

`agents.lane_network` gives the reasons for the layers: of each lane's cells the speeds and which ones are free, a dense
layer with relu that is the same for all lanes, then dense layers.

    >>> prepare(net)
    >>> predict_lanes(net, tape, cells, np.arange(count))[0][:, :count]      # cells (B, D) -> (O, count)

Letters in shapes: S = TILE samples, W columns of the sensor, H rows, D = H W cells, U units of the shared layer, P
parameters, O outputs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agents.compiled.network import (
    F32,
    TILE,
    WEIGHTS,
    CompiledNet,
    Tape,
    backward,
    forward,
    new_network,
    new_tape,
    outputs,
)
from agents.lane_layers import SPEED_GAIN
from deeptraffic.sim.compiled import compiled, learner_compiled
from deeptraffic.sim.state import I64

FREE, EMPTY = 1, 0  # what most cells of a lane are: free road, or no road
GAIN = np.float32(SPEED_GAIN)
ONE, ZERO = np.float32(1.0), np.float32(0.0)
BLOCK = 16  # samples that are transposed together


class LaneNet(NamedTuple):
    """A network over the cells of a sensor with W columns and H rows.

    columns, rows, units: W, H and U
    dense: the layers after the shared one, and the parameters of all: first (2 H, U) weights of the shared layer, those
        of the speeds before those of free cells, its (U,) biases, then as in `CompiledNet`
    road: (U,) float32 sums of the shared layer in a lane of free road
    fours: (2 H, U) float32 sums of the shared layer's weights of a row and the three after it
    """

    columns: int
    rows: int
    units: int
    dense: CompiledNet
    road: F32
    fours: F32


class LaneTape(NamedTuple):
    """Values and derivatives of up to `TILE` samples.

    dense: of the dense layers
    lanes: (S, W * U) float32 the shared layer's units, in the backward pass their derivatives
    starts: (S, W) int64 what most cells of a lane are; counts: (S, W) int64 how many are not
    places: (S, W, H) int64 rows of those; changes: (S, W, H, 2) float32 how their speeds and being free differ
    road: (U,) float32 gradient of `LaneNet.road`; fours: (2 H, U) float32 that of `LaneNet.fours`
    """

    dense: Tape
    lanes: F32
    starts: I64
    counts: I64
    places: I64
    changes: F32
    road: F32
    fours: F32


def new_lane_net(
    columns: int,
    rows: int,
    units: int,
    branches: Sequence[tuple[int, ...]],
    activation: str,
    layer_norm: bool = False,
) -> LaneNet:
    """Return a network of zeros; branches: as for `new_network`, without the inputs, the shared layer's units."""
    dense = new_network([(columns * units, *sizes) for sizes in branches], activation, layer_norm)
    shared = (2 * rows + 1) * units
    dense.layers[:, WEIGHTS] += shared
    net = dense._replace(params=np.zeros(shared + dense.params.size, np.float32))
    return LaneNet(columns, rows, units, net, np.zeros(units, np.float32), np.zeros((2 * rows, units), np.float32))


def shared_params(net: LaneNet) -> tuple[F32, F32]:
    """Return views of the shared layer's weights (2 H, U) and biases (U,)."""
    count = 2 * net.rows * net.units
    params = net.dense.params
    return params[:count].reshape(2 * net.rows, net.units), params[count : count + net.units]


@compiled
def prepare(net: LaneNet) -> None:
    """Compute what is derived from the parameters; to be called after they have changed."""
    rows, units = net.rows, net.units
    shared = 2 * rows * units
    weights, bias = net.dense.params[:shared].reshape(2 * rows, units), net.dense.params[shared : shared + units]
    road, fours = net.road, net.fours
    road[:] = ZERO
    for row in range(2 * rows):
        for u in range(units):
            road[u] += weights[row, u]
    for u in range(units):
        road[u] += bias[u]
    for first in (0, rows):
        for row in range(first, first + rows - 3):
            for u in range(units):
                fours[row, u] = weights[row, u] + weights[row + 1, u] + weights[row + 2, u] + weights[row + 3, u]


@learner_compiled
def new_lane_tape(net: LaneNet, learns: bool) -> LaneTape:
    """Return a tape; learns: whether gradients will be computed on it."""
    return LaneTape(
        new_tape(net.dense, learns),
        np.zeros((TILE, net.columns * net.units), np.float32),
        np.zeros((TILE, net.columns), np.int64),
        np.zeros((TILE, net.columns), np.int64),
        np.zeros((TILE, net.columns, net.rows), np.int64),
        np.zeros((TILE, net.columns, net.rows, 2), np.float32),
        np.zeros(net.units, np.float32),
        np.zeros(net.fours.shape if learns else (0, 0), np.float32),
    )


# --- forward ----------------------------------------------------------------------------------------------------------


@learner_compiled
def load_lanes(net: LaneNet, tape: LaneTape, s: int, cells: F32, mirrored: bool) -> None:
    """Compute the shared layer for sample s, cells (D,), if asked with left and right exchanged."""
    read_cells(net, tape, s, cells, mirrored)
    share_lanes(net, tape, s)


@learner_compiled
def forward_lanes(net: LaneNet, tape: LaneTape, samples: int) -> None:
    """Compute the dense layers of the first samples, which are loaded."""
    transpose(tape.lanes, tape.dense.values, samples)
    forward(net.dense, tape.dense, samples)


@learner_compiled
def predict_lanes(net: LaneNet, tape: LaneTape, x: F32, rows: I64) -> tuple[F32, F32]:
    """Return views of the outputs (O, S) of samples, rows of x (M, D), and of their derivatives, see `outputs`."""
    for s in range(rows.size):
        load_lanes(net, tape, s, x[rows[s]], False)
    forward_lanes(net, tape, rows.size)
    return outputs(net.dense, tape.dense)


@learner_compiled
def transpose(x: F32, y: F32, samples: int) -> None:
    """Write the first samples of x (S, K), transposed, to the first rows of y (K and more, S)."""
    for begin in range(0, samples, BLOCK):
        end = min(begin + BLOCK, samples)
        for k in range(x.shape[1]):
            for s in range(begin, end):
                y[k, s] = x[s, k]


@learner_compiled
def read_cells(net: LaneNet, tape: LaneTape, s: int, cells: F32, mirrored: bool) -> None:
    """List the cells of each lane that differ from what most of the lane's are, free road or no road."""
    columns, rows = net.columns, net.rows
    for lane in range(columns):
        column = columns - 1 - lane if mirrored else lane
        places = tape.places[s, lane]
        ends = cells[column] == ZERO and cells[(rows - 1) * columns + column] == ZERO
        start = EMPTY if ends and cells[rows // 2 * columns + column] == ZERO else FREE
        usual, count = np.float32(start), 0
        for row in range(rows):
            places[count] = row
            count += cells[row * columns + column] != usual
        tape.starts[s, lane], tape.counts[s, lane] = start, count
        for j in range(count):
            write_change(tape.changes[s, lane, j], cells[places[j] * columns + column], start)


@learner_compiled
def write_change(change: F32, cell: np.float32, start: int) -> None:
    """Write by how much a cell's speed and its being free, (2,), differ from what most of the lane's are."""
    x = GAIN * cell
    free = max(x - (GAIN - ONE), ZERO)
    change[0] = max(x, ZERO) - (GAIN - ONE) * free - np.float32(start)
    change[1] = free - np.float32(start)


@learner_compiled
def is_vehicle(tape: LaneTape, s: int, lane: int, j: int) -> bool:
    """Return whether the cells of a lane from the j-th on that differ are four in a row, all alike."""
    if j + 4 > tape.counts[s, lane] or tape.places[s, lane, j + 3] != tape.places[s, lane, j] + 3:
        return False
    changes, alike = tape.changes[s, lane], True
    for k in range(j + 1, j + 4):
        alike &= (changes[k, 0] == changes[j, 0]) & (changes[k, 1] == changes[j, 1])
    return alike


@learner_compiled
def share_lanes(net: LaneNet, tape: LaneTape, s: int) -> None:
    """Compute the shared layer's units of each lane."""
    rows, units = net.rows, net.units
    shared = 2 * rows * units
    weights, bias = net.dense.params[:shared].reshape(2 * rows, units), net.dense.params[shared : shared + units]
    for lane in range(net.columns):
        y = tape.lanes[s, lane * units : (lane + 1) * units]
        y[:] = net.road if tape.starts[s, lane] == FREE else bias
        j, count = 0, tape.counts[s, lane]
        while j < count:
            step = 4 if is_vehicle(tape, s, lane, j) else 1
            source, row = net.fours if step == 4 else weights, tape.places[s, lane, j]
            speed, free = tape.changes[s, lane, j, 0], tape.changes[s, lane, j, 1]
            of_speed, of_free = source[row], source[rows + row]
            for u in range(units):
                y[u] += speed * of_speed[u] + free * of_free[u]
            j += step
        for u in range(units):
            y[u] = max(y[u], ZERO)


@learner_compiled
def evaluate_cells(net: LaneNet, cells: F32, results: F32) -> None:
    """Write the network's outputs for cells (B, D) to results (B, O)."""
    tape, everything = new_lane_tape(net, False), np.arange(cells.shape[0])
    for begin in range(0, cells.shape[0], TILE):
        rows = everything[begin : begin + TILE]
        found, _ = predict_lanes(net, tape, cells, rows)
        for s in range(rows.size):
            for o in range(results.shape[1]):
                results[begin + s, o] = found[o, s]


# --- gradients --------------------------------------------------------------------------------------------------------


@learner_compiled
def backward_lanes(net: LaneNet, tape: LaneTape, samples: int) -> None:
    """Add the gradients of the samples of the last `forward_lanes` to the tape's.

    The derivatives of the loss by the network's outputs are in the last rows of the dense tape's deltas.
    """
    backward(net.dense, tape.dense, samples, True)
    transpose_derivatives(tape, samples)
    for s in range(samples):
        share_lanes_backward(net, tape, s)


@learner_compiled
def transpose_derivatives(tape: LaneTape, samples: int) -> None:
    """Write the derivatives by the shared layer's sums, 0 where relu was, in the place of its units."""
    x, y = tape.dense.deltas, tape.lanes
    for begin in range(0, samples, BLOCK):
        end = min(begin + BLOCK, samples)
        for k in range(y.shape[1]):
            for s in range(begin, end):
                y[s, k] = x[k, s] if y[s, k] > ZERO else ZERO


@learner_compiled
def share_lanes_backward(net: LaneNet, tape: LaneTape, s: int) -> None:
    """Add the gradients of the shared layer, those of free road's sums to the tape's `road`."""
    rows, units = net.rows, net.units
    shared = 2 * rows * units
    whole = tape.dense.gradient
    gradient, bias = whole[:shared].reshape(2 * rows, units), whole[shared : shared + units]
    for lane in range(net.columns):
        delta = tape.lanes[s, lane * units : (lane + 1) * units]
        start = tape.road if tape.starts[s, lane] == FREE else bias
        for u in range(units):
            start[u] += delta[u]
        j, count = 0, tape.counts[s, lane]
        while j < count:
            step = 4 if is_vehicle(tape, s, lane, j) else 1
            target, row = tape.fours if step == 4 else gradient, tape.places[s, lane, j]
            speed, free = tape.changes[s, lane, j, 0], tape.changes[s, lane, j, 1]
            of_speed, of_free = target[row], target[rows + row]
            for u in range(units):
                of_speed[u] += speed * delta[u]
                of_free[u] += free * delta[u]
            j += step


@compiled
def finish_gradient(net: LaneNet, tape: LaneTape) -> F32:
    """Return the tape's gradient (P,), with those of sums of weights passed on to the weights."""
    rows, units = net.rows, net.units
    whole, shared = tape.dense.gradient, 2 * rows * units
    weights, bias, fours = whole[:shared].reshape(2 * rows, units), whole[shared : shared + units], tape.fours
    for row in range(2 * rows):
        for u in range(units):
            weights[row, u] += tape.road[u]
    for u in range(units):
        bias[u] += tape.road[u]
    for k in range(4):
        for first in (0, rows):
            for row in range(first, first + rows - 3):
                for u in range(units):
                    weights[row + k, u] += fours[row, u]
    tape.road[:], fours[:] = ZERO, ZERO
    return whole
