"""The sensor: the window of map cells around an agent, as the original game gives it to a network.

Source: `RULES.md`, "sense".
"""

import math

import numpy as np

from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.kernel import ZERO, get_four, index_of
from deeptraffic.sim.rules import CELL_LENGTH, Rules, Sensor
from deeptraffic.sim.state import F64, PAD, Game


@compiled
def observation_size(sensor: Sensor) -> int:
    """`Sensor.size` for compiled code, which sees a tuple's fields alone."""
    return (2 * sensor.lanes_side + 1) * (sensor.patches_ahead + sensor.patches_behind)


@compiled
def sense(rules: Rules, sensor: Sensor, game: Game, agent: int, out: F64) -> None:
    """Write what `agent` observes into out, ((2 L + 1) * (P + Q),): free road 1, off the road 0, a car its speed."""
    px, py = first_cell(rules, sensor, game, agent)
    columns, rows = 2 * sensor.lanes_side + 1, sensor.patches_ahead + sensor.patches_behind
    read_cells(game, readings(rules, game), px, py, columns, rows, out)


@compiled
def first_cell(rules: Rules, sensor: Sensor, game: Game, agent: int) -> tuple[int, int]:
    """Return (px, py) of the window's cell farthest ahead on the left; it may lie off the grid."""
    row = math.floor(rules.ego_y / CELL_LENGTH)
    if rules.sense_from_own_row:
        y = game.y[agent]
        row = math.floor(math.floor(y) / CELL_LENGTH) if abs(y) < 1e6 else -1000000
    return game.lane[agent] - sensor.lanes_side, row - sensor.patches_ahead


@compiled
def readings(rules: Rules, game: Game) -> F64:
    """Return what a cell reads by the number that it holds, (N + 1,)."""
    reading = np.empty(game.map_speed.size)
    for number in range(reading.size):
        reading[number] = game.map_speed[number] / rules.empty
    return reading


@compiled
def read_cells(game: Game, reading: F64, px: int, py: int, columns: int, rows: int, out: F64) -> None:
    """Write what the cells from (px, py) on read to out (rows * columns,), row by row; off the grid 0."""
    lanes, length = game.cells.shape[0], game.cells.shape[1] - 2 * PAD
    begin, end = max(0, min(rows, -py)), max(0, min(rows, length - py))  # the rows on the grid
    whole = end - ((end - begin) & 3)  # up to here, four cells are read at once
    for k in range(rows * columns):
        out[k] = 1.0 if begin * columns <= k < end * columns else 0.0
    for s in range(columns):
        if 0 <= px + s < lanes:
            first = index_of(game, px + s, py)
            for r in range(begin, whole, 4):
                numbers, at = get_four(game.cells, first + r), np.uint64(r * columns + s)
                if numbers != 0:
                    for _ in range(4):
                        out[at] = reading[np.uint64(numbers & 255)]
                        numbers >>= 8
                        at += np.uint64(columns)
            for r in range(whole, end):
                out[r * columns + s] = reading[game.cells[ZERO, np.uint64(first + r)]]
        else:
            for r in range(begin, end):
                out[r * columns + s] = 0.0
