"""What a road overlay shows: which cells, and what they hold. Read from State, never written to it.

Overlays: `none`; `input`, exactly the cells and values that a policy sees; `safety`, the cells that the safety system
checks ahead, to the left and to the right; `map`, every cell of the speed map that something occupies.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.rules import CELL_LENGTH, LANE_MARGIN, LANE_WIDTH, VEHICLE_WIDTH, Rules, Sensor
from deeptraffic.sim.state import PAD

FAR_AWAY = 1e6  # [px]; a driver that keeps braking can be thrown this far, where no cell is
OVERLAYS = ("none", "input", "safety", "map")


class Cells(NamedTuple):
    """K cells of the road.

    column, line: (K,) int64, counted from the road's left edge and from its far end
    value: (K,) float64
    """

    column: NDArray[np.int64]
    line: NDArray[np.int64]
    value: NDArray[np.float64]


def check_overlay(name: str) -> str:
    """Return the name of an overlay, or raise ValueError that lists all of them."""
    if name not in OVERLAYS:
        raise ValueError(f"overlay={name!r} is not known; choose one of {', '.join(OVERLAYS)}")
    return name


def input_cells(rules: Rules, game: np.void, sensor: Sensor, vehicle: int = 0) -> Cells:
    """Return the cells that the sensor of `vehicle` reads, in the order of the observation vector, with its values.

    Written apart from the simulator's own `sense`, which is compiled and whose test this is.
    A value is 1 for free road, 0 beside it or beyond its ends, and a vehicle's speed mark / `rules.empty` elsewhere.
    """
    y = float(game["y"][vehicle]) if rules.sense_from_own_row else rules.ego_y
    base = math.floor(math.floor(y) / CELL_LENGTH) if abs(y) < FAR_AWAY else -round(FAR_AWAY)
    across = np.arange(-sensor.lanes_side, sensor.lanes_side + 1) + int(game["lane"][vehicle])
    along = np.arange(-sensor.patches_ahead, sensor.patches_behind) + base
    line, column = (grid.ravel() for grid in np.meshgrid(along, across, indexing="ij"))
    on_road = (column >= 0) & (column < rules.lanes) & (line >= 0) & (line < rules.rows)
    numbers = game["cells"][column[on_road], PAD + line[on_road]]
    value = np.zeros(sensor.size)
    value[on_road] = game["map_speed"][numbers] / rules.empty
    return Cells(column, line, value)


def map_cells(rules: Rules, game: np.void) -> Cells:
    """Return the occupied cells of the speed map, with the speed mark / `rules.empty` that a driver reads there."""
    numbers = game["cells"][:, PAD : PAD + rules.rows]
    column, line = np.nonzero(numbers)
    return Cells(column, line, game["map_speed"][numbers[column, line]] / rules.empty)


def safety_cells(rules: Rules, game: np.void, vehicle: int = 0) -> Cells:
    """Return the cells that limit `vehicle`: value 0 lets it pass, value 1 blocks.

    Ahead: the four cells whose vehicles it must follow. Left and right: the cells that must be free for a lane change;
    they all block while it is still changing lanes. Beyond the road's ends nothing is free.
    """
    x, y = game["x"][vehicle], game["y"][vehicle]
    if not abs(y) < FAR_AWAY:
        return Cells(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    column = math.floor((x + VEHICLE_WIDTH / 2) / LANE_WIDTH)
    cells = [(column, math.floor((y - CELL_LENGTH * k) / CELL_LENGTH), False) for k in range(1, 5)]
    settled = abs(x - (LANE_WIDTH * game["lane"][vehicle] + LANE_MARGIN)) < 0.5
    f = -3.0 * game["speed_factor"][vehicle]
    while f < 4.0:
        line = math.floor(y / CELL_LENGTH + f)
        cells += [(column - 1, line, True), (column + 1, line, True)]
        f += 1.0
    columns, lines, beside = (np.array(part) for part in zip(*cells, strict=True))
    may_turn = settled & _reads_free(rules, game, columns, lines, outside=False)
    may_go_on = _reads_free(rules, game, columns, lines, outside=True)
    return Cells(columns, lines, 1.0 - np.where(beside, may_turn, may_go_on))


def _reads_free(
    rules: Rules, game: np.void, column: NDArray[np.int64], line: NDArray[np.int64], outside: bool
) -> NDArray[np.bool_]:
    """Whether cells (K,) read as free; off the grid they count as `outside`."""
    on_road = (column >= 0) & (column < rules.lanes) & (line >= 0) & (line < rules.rows)
    free = np.full(len(column), outside)
    free[on_road] = game["map_speed"][game["cells"][column[on_road], PAD + line[on_road]]] >= rules.empty
    return free
