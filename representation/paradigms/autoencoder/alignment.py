"""Motion compensation: previous grids of a stack, moved to where their vehicles should be in the present one.

A grid is centred on the ego vehicle, which changes lanes in every third decision and is faster than the traffic. So the
same vehicle appears in other columns and rows of each grid, and a small filter over the stack cannot follow it. The
columns are known exactly, by the marks off the road. The rows are estimated: the distance driven, by the ego vehicle's
speeds at both ends of each decision, less that of traffic of the mean speed. What is left to the network is the
difference from the mean.

`aligned` computes it in torch; `add_aligned` appends the layers by which a policy file does. None of these multiplies
two values, so a grid is moved in all possible ways, each with a gate, which is 0 for the right one and -1 or less for
all others. As the values x are 0..1, the largest x + gate is the right one.

Letters in shapes: N observations, T grids of each, H rows and W columns of the sensor, C channels.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from deeptraffic.envs.observations.grid import CHANNELS, OFF_ROAD, SPEED
from deeptraffic.policies.layers import Add, Clip, Concat, Dense, Relu, Reshape, Scale, SetPool, Slice
from deeptraffic.policies.torch_export import NetworkBuilder
from deeptraffic.sim.rules import CELL_LENGTH, FULL_SPEED, Sensor

KEPT = 2  # channels of previous grids: occupied and speed
PLACE = (Sensor().patches_ahead + 1, Sensor().lanes_side)  # row and column of a cell of the ego vehicle
FRAMES = 30  # of a decision
ROWS_DRIVEN = FULL_SPEED * FRAMES / CELL_LENGTH  # in a decision, at speed 1
MEAN_SPEED = 0.6  # of the traffic [80 mph]
BACK, FORWARD = 5, 1  # most rows by which traffic of this speed falls back in a decision, or gets ahead
MOST_COLUMNS = 1  # lanes that are changed in a decision
STEEP = 1e4  # slope of the steps by which a value is rounded


def aligned_channels(grids: int) -> int:
    """Return the number of channels of an aligned stack of T grids."""
    return KEPT * (grids - 1) + CHANNELS


def aligned(obs: Tensor) -> tuple[Tensor, Tensor]:
    """Return (grids (N, 2 (T - 1) + 4, H, W) in the place of the last one, the ego vehicle's motion (N, 2 T - 1)).

    Of previous grids, occupied and speed are left. What a grid did not show reads free. The motion is the speeds [80
    mph], and what rounding to whole rows left of each previous grid's move.
    """
    steps = obs.unflatten(1, (-1, CHANNELS))  # (N, T, 4, H, W)
    own = steps[:, :, SPEED, PLACE[0], PLACE[1]]  # (N, T)
    columns, (rows, left) = column_moves(steps), row_moves(own)
    moved = steps[:, 0, :KEPT]
    for k in range(steps.shape[1] - 1):
        moved = shifted(moved.transpose(2, 3), -columns[:, k], MOST_COLUMNS).transpose(2, 3)
        moved = shifted(moved, rows[:, k], max(FORWARD, BACK))
        moved = torch.cat([moved, steps[:, k + 1, : KEPT if k + 2 < steps.shape[1] else CHANNELS]], 1)
    return moved, torch.cat([own, left], 1)


def shifted(images: Tensor, rows: Tensor, most: int) -> Tensor:
    """Return images (N, C, H, W) moved down by `rows` (N,) rows, at most `most`; 0 where nothing is known."""
    height = images.shape[2]
    at = torch.arange(height, device=images.device) + most - rows[:, None]  # (N, H) of the padded images
    padded = functional.pad(images, (0, 0, most, most))
    return padded.gather(2, at[:, None, :, None].expand(-1, images.shape[1], -1, images.shape[3]))


def column_moves(steps: Tensor) -> Tensor:
    """Return by how many columns a lane lies further right in each grid than in the next, (N, T - 1) int64.

    steps: (N, T, 4, H, W) grids
    """
    marks = steps[:, :, OFF_ROAD, PLACE[0]]  # (N, T, W)
    middle = marks.shape[2] // 2
    lane = marks[..., middle + 1 :].sum(2) - marks[..., :middle].sum(2)  # (N, T) from the middle of the road
    return (lane[:, 1:] - lane[:, :-1]).round().long().clamp(-MOST_COLUMNS, MOST_COLUMNS)


def row_moves(own: Tensor) -> tuple[Tensor, Tensor]:
    """Return (by how many rows traffic of the mean speed falls back from each grid to the next, what rounding left).

    own: (N, T) speeds of the ego vehicle [80 mph]; returns (N, T - 1) int64 and float32
    """
    since = own @ torch.from_numpy(rows_since(own.shape[1])).to(own.device) - MEAN_SPEED * ROWS_DRIVEN * ages(own)
    whole = since.round()
    moves = whole - functional.pad(whole[:, 1:], (0, 1))
    return moves.long().clamp(-FORWARD, BACK), since - whole


def ages(own: Tensor) -> Tensor:
    """Return how many decisions old the previous grids are, (T - 1,)."""
    return torch.arange(own.shape[1] - 1, 0, -1, device=own.device)


def rows_since(grids: int) -> NDArray[np.float32]:
    """Return weights (T, T - 1) from the ego vehicle's speeds to the rows that it drove since each previous grid."""
    each = np.zeros((grids, grids - 1), np.float32)
    for k in range(grids - 1):
        each[k, : k + 1] += ROWS_DRIVEN / 2
        each[k + 1, : k + 1] += ROWS_DRIVEN / 2
    return each


# --- layers of a policy file ------------------------------------------------------------------------------------------


def add_aligned(network: NetworkBuilder, grids: int) -> int:
    """Append the layers of `aligned`, whose last output is (H, W, 2 (T - 1) + 4); return the number of the motion.

    They read the network's input, which is the flat image (H, W, 4 T).
    """
    height, width, past = Sensor().length, Sensor().columns, grids - 1
    size = CHANNELS * grids
    network.add(Slice(start=PLACE[0] * width * size, stop=(PLACE[0] + 1) * width * size, inputs=(0,)))
    own_row = len(network.layers)
    network.add(Dense(outputs=grids, bias=False), {"weight": _own_speeds(grids, width)})
    own = len(network.layers)
    rows, left = _add_row_moves(network, grids)
    network.add(Concat(inputs=(own, left)))
    motion = len(network.layers)
    network.add(Reshape(shape=(height, width, size), inputs=(0,)))
    image = len(network.layers)
    network.add(Slice(start=0, stop=KEPT))
    for k in range(past):
        wide, channels = width + 2 * MOST_COLUMNS, KEPT * (k + 1)
        network.add(Reshape(shape=(height, width * channels)))
        _add_margins(network, MOST_COLUMNS * channels, MOST_COLUMNS * channels)
        network.add(Reshape(shape=(height * wide * channels,)))
        _add_margins(network, 0, 2 * MOST_COLUMNS * channels)
        moves = range(-MOST_COLUMNS, MOST_COLUMNS + 1)
        starts = [(MOST_COLUMNS + move) * channels for move in moves]
        _add_chosen(network, starts, height * wide * channels, (own_row, _lane_change(grids, width, k)), moves)
        network.add(Reshape(shape=(height, wide * channels)))
        network.add(Slice(start=0, stop=width * channels))
        line = width * channels
        network.add(Reshape(shape=(height * line,)))
        _add_margins(network, BACK * line, FORWARD * line)
        moves = range(-FORWARD, BACK + 1)
        difference = np.eye(past, dtype=np.float32)[k] - np.eye(past + 1, past, dtype=np.float32)[k + 1]
        _add_chosen(network, [(BACK - move) * line for move in moves], height * line, (rows, difference), moves)
        network.add(Reshape(shape=(height, width, channels)))
        moved, start = len(network.layers), CHANNELS * (k + 1)
        network.add(Slice(start=start, stop=start + (KEPT if k + 1 < past else CHANNELS), inputs=(image,)))
        network.add(Concat(inputs=(moved, len(network.layers))))
    return motion


def _add_row_moves(network: NetworkBuilder, grids: int) -> tuple[int, int]:
    """Append `row_moves` of the own speeds; return the numbers of the whole rows since each grid, and of what is left.

    A value is rounded by the number of thresholds that it exceeds.
    """
    past = grids - 1
    old = np.arange(past, 0, -1)
    bias = np.asarray(-MEAN_SPEED * ROWS_DRIVEN * old, np.float32)
    network.add(Dense(outputs=past), {"weight": rows_since(grids).T, "bias": bias})
    since = len(network.layers)
    most = np.arange(-math.ceil(MEAN_SPEED * ROWS_DRIVEN) * past, math.ceil((1 - MEAN_SPEED) * ROWS_DRIVEN) * past)
    edges = np.tile(most + 0.5, past).astype(np.float32)  # of K whole numbers each
    spread = np.repeat(np.eye(past, dtype=np.float32), len(most), 0)  # (past * K, past)
    for half in (0.5, -0.5):
        step = {"weight": STEEP * spread, "bias": half - STEEP * edges}
        network.add(Dense(outputs=len(edges), inputs=(since,)), step)
        network.add(Relu())
    above, below = len(network.layers) - 2, len(network.layers)
    network.add(Concat(inputs=(above, below)))
    total = np.concatenate([spread.T, -spread.T], 1)
    network.add(Dense(outputs=past), {"weight": total, "bias": np.full(past, float(most[0]))})
    whole = len(network.layers)
    network.add(Scale(per="all"), {"factor": -np.ones(1), "offset": np.zeros(1)})
    network.add(Add(inputs=(since, len(network.layers))))
    return whole, len(network.layers)


def _add_chosen(
    network: NetworkBuilder, starts: list[int], size: int, right: tuple[int, NDArray[np.float32]], moves: range
) -> None:
    """Append the choice among slices of the flat last output, one for each move: (size,).

    right: number of an output and weights, whose product is the right move
    """
    flat, parts = len(network.layers), []
    for start in starts:
        network.add(Slice(start=start, stop=start + size, inputs=(flat,)))
        parts.append(len(network.layers))
    network.add(Concat(inputs=tuple(parts)))
    network.add(Reshape(shape=(len(moves), size)))
    slices, (source, weight) = len(network.layers), right
    network.add(Dense(outputs=1, bias=False, inputs=(source,)), {"weight": weight[None]})
    network.add(Clip(low=float(moves[0]), high=float(moves[-1])))
    number = np.array(moves, np.float32)
    ones = np.ones((len(moves), 1), np.float32)
    both = {"weight": np.concatenate([ones, -ones]), "bias": np.concatenate([-number, number])}
    network.add(Dense(outputs=2 * len(moves)), both)
    network.add(Relu())
    network.add(Dense(outputs=len(moves), bias=False), {"weight": -np.tile(np.eye(len(moves), dtype=np.float32), 2)})
    network.add(Reshape(shape=(len(moves), 1)))
    network.add(Dense(outputs=size, bias=False), {"weight": np.ones((size, 1), np.float32)})
    network.add(Add(inputs=(slices, len(network.layers))))
    network.add(SetPool(mode="max"))


def _add_margins(network: NetworkBuilder, before: int, after: int) -> None:
    """Append zeros before and after the last axis of the last output, at most as many as it has."""
    values, parts = len(network.layers), []
    network.add(Scale(per="all"), {"factor": np.zeros(1), "offset": np.zeros(1)})
    free = len(network.layers)
    for size in (before, after):
        if size:
            network.add(Slice(start=0, stop=size, inputs=(free,)))
        parts.append(len(network.layers) if size else 0)
    network.add(Concat(inputs=tuple(part for part in (parts[0], values, parts[1]) if part)))


def _own_speeds(grids: int, width: int) -> NDArray[np.float32]:
    weight = np.zeros((grids, width, grids, CHANNELS), np.float32)
    weight[:, PLACE[1], :, SPEED] = np.eye(grids)
    return weight.reshape(grids, -1)


def _lane_change(grids: int, width: int, step: int) -> NDArray[np.float32]:
    """Return weights from the values of the ego vehicle's row to `column_moves` of one step."""
    weight = np.zeros((width, grids, CHANNELS), np.float32)
    sign = np.sign(np.arange(width) - width // 2)
    weight[:, step + 1, OFF_ROAD], weight[:, step, OFF_ROAD] = sign, -sign
    return weight.ravel()
