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
from deeptraffic.sim.rules import FULL_SPEED, VEHICLE_CELLS, Sensor

GAP_FEATURES = 6
SAFETY_AHEAD = 6  # rows before the own one which a lane change at full throttle needs free


@compiled
def gap_features(
    cells: np.ndarray, lanes_side: int, patches_ahead: int, patches_behind: int, empty: float, out: np.ndarray
) -> None:
    """Write the features of cells ((2L+1)*(P+Q),) to out ((2L+1)*6,); empty [px/frame]: what a free cell stands for."""
    sensor, columns = Sensor(lanes_side, patches_ahead, patches_behind), 2 * lanes_side + 1
    for s in range(columns):
        lane_features(cells, s, columns, sensor, s == lanes_side, empty, out[s * GAP_FEATURES : (s + 1) * GAP_FEATURES])


@compiled
def lane_features(
    cells: np.ndarray, first: int, step: int, sensor: Sensor, own: bool, empty: float, out: np.ndarray
) -> None:
    """Write the features of one lane to out (6,); its P+Q cells are every step-th from cells[first] on."""
    ahead, behind = sensor.patches_ahead, sensor.patches_behind
    rows = ahead + behind
    k = ahead - 1
    while k >= 0 and cells[first + k * step] >= 1.0:
        k -= 1
    out[0] = (ahead - 1 - k) / max(ahead, 1)
    out[1] = 1.0 if k < 0 else max(0.0, cells[first + k * step]) * (empty / FULL_SPEED)
    k = start = ahead + (VEHICLE_CELLS if own else 0)
    while k < rows and cells[first + k * step] >= 1.0:
        k += 1
    out[2] = max(0, k - start) / max(behind, 1)
    out[3] = 0.0 if k >= rows else max(0.0, cells[first + k * step]) * (empty / FULL_SPEED)
    clear = 1.0
    for k in range(max(0, ahead - SAFETY_AHEAD), min(rows, ahead + (0 if own else VEHICLE_CELLS))):
        if cells[first + k * step] < 1.0:
            clear = 0.0
    out[4] = clear
    out[5] = on_road(cells, first, step, rows)


@compiled
def on_road(cells: np.ndarray, first: int, step: int, rows: int) -> float:
    """The cells of a lane added up, at most 1: on the road some cell is free, beside it all read 0."""
    any_negative, total = False, 0.0
    for k in range(rows):
        any_negative |= cells[first + k * step] < 0.0
    for k in range(rows):
        total += cells[first + k * step]
        if total >= 1.0 and not any_negative:
            break
    return min(1.0, total)
