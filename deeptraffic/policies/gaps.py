"""Lane-gap features: distances and speeds of the nearest vehicles per lane, computed from the sensor's cells alone.

For each lane s = -L..L that the sensor shows, GAP_FEATURES values in this order:

0. ahead: free cells before the first occupied one, from the row in front of the own car (r = -1, -2, ..., -P), / P
1. ahead speed: of that occupied cell, / 80 mph; 1 if the lane is free as far as the sensor sees
2. behind: free cells from r = 0 backwards (own lane: from r = 4, the first row behind the own car), / Q
3. behind speed: of the first occupied cell there, / 80 mph; 0 if there is none
4. clear: 1 if the rows -6..3, where the safety system looks before a lane change, are free (own lane: rows -6..-1)
5. on the road: 1, or 0 for a lane beside the road (whose other features are 0 but for rounding)

A cell is free if it reads at least 1, as in the sensor's vector; off the grid it reads 0, an occupied cell of speed 0.
Divisors of 0 count as 1. Every feature is a sum of thresholds and products with 0 or 1, so that the layer can be
written as dense layers with relu (`convnetjs/write.py`).

    >>> from deeptraffic.policies.gaps import gap_features
    >>> gap_features(obs, 3, 50, 10, 100.0, out)        # obs (420,) -> out (42,)
"""

import numpy as np

from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.rules import FULL_SPEED, VEHICLE_CELLS

GAP_FEATURES = 6
SAFETY_AHEAD = 6  # rows before the own one which a lane change at full throttle needs free


@compiled
def gap_features(
    cells: np.ndarray, lanes_side: int, patches_ahead: int, patches_behind: int, empty: float, out: np.ndarray
) -> None:
    """Write the features of cells ((2L+1)*(P+Q),) to out ((2L+1)*6,); empty [px/frame]: what a free cell stands for."""
    columns = 2 * lanes_side + 1
    rows = patches_ahead + patches_behind
    for s in range(columns):
        at = s * GAP_FEATURES
        own = s == lanes_side
        k = first_occupied(cells, columns, s, patches_ahead - 1, -1, -1)
        out[at] = (patches_ahead - 1 - k) / max(patches_ahead, 1)
        out[at + 1] = 1.0 if k < 0 else max(0.0, cells[k * columns + s]) * (empty / FULL_SPEED)
        start = patches_ahead + (VEHICLE_CELLS if own else 0)
        k = first_occupied(cells, columns, s, start, rows, 1)
        out[at + 2] = max(0, k - start) / max(patches_behind, 1)
        out[at + 3] = 0.0 if k >= rows else max(0.0, cells[k * columns + s]) * (empty / FULL_SPEED)
        out[at + 4] = lane_is_clear(cells, columns, s, patches_ahead, rows, own)
        out[at + 5] = on_road(cells, columns, s, rows)


@compiled
def first_occupied(cells: np.ndarray, columns: int, s: int, start: int, stop: int, step: int) -> int:
    """First row from start, by step, whose cell in column s is not free; stop (or beyond) if there is none."""
    k = start
    while (k - stop) * step < 0 and cells[k * columns + s] >= 1.0:
        k += step
    return k


@compiled
def lane_is_clear(cells: np.ndarray, columns: int, s: int, patches_ahead: int, rows: int, own: bool) -> float:
    """1.0 if every safety row that the sensor shows is free in column s, else 0.0."""
    last = patches_ahead + (0 if own else VEHICLE_CELLS)
    for k in range(max(0, patches_ahead - SAFETY_AHEAD), min(rows, last)):
        if cells[k * columns + s] < 1.0:
            return 0.0
    return 1.0


@compiled
def on_road(cells: np.ndarray, columns: int, s: int, rows: int) -> float:
    """The cells of column s added up, at most 1: on the road some cell is free, beside it all read 0."""
    total = 0.0
    for k in range(rows):
        total += cells[k * columns + s]
    return min(1.0, total)
