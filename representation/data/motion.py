"""Constant-velocity forecasts of grids, the baseline of learned forecasts.

    >>> constant_velocity(grids, plan)                     # (B, 4, 60, 7), (B, K) -> (B, K, 2, 60, 7): occupied, speed

A grid is the observation of that kind (`deeptraffic/envs/observations/grid.py`), centred on the ego car: what is
slower comes nearer, and when the ego car changes lanes, everything moves the other way.

Letters in shapes: B grids, K steps ahead [decisions], H rows and W columns of cells.
"""

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.rules import CELL_LENGTH, FULL_SPEED, Action

OBSERVATION = {"kind": "grid"}
FORECAST = (OCCUPIED, SPEED)  # channels of a forecast

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


def constant_velocity(grids: F32, plan: I64, frames: int = 30) -> F32:
    """Return the forecast (B, K, 2, H, W) if each car keeps its speed and lane: occupied, and speed.

    Args:
        grids: (B, 4, H, W) the current ones
        plan: (B, K) the ego vehicle's decisions; a lane change onto the road is assumed to succeed
        frames: of one step
    """
    out = np.zeros((*plan.shape, len(FORECAST), *grids.shape[2:]), np.float32)
    _shift(np.ascontiguousarray(grids), np.ascontiguousarray(plan), frames * FULL_SPEED / CELL_LENGTH, out)
    return out


@compiled
def _shift(grids: F32, plan: I64, reach: float, out: F32) -> None:
    """Move cells; reach: cells per step at full speed."""
    height, width = grids.shape[2:]
    middle = width // 2
    for b in range(len(grids)):
        own = 0.0
        for row in range(height):
            if grids[b, OWN, row, middle] > 0:
                own = max(own, grids[b, SPEED, row, middle])
        side = 0
        for k in range(plan.shape[1]):
            wanted = side + (plan[b, k] == Action.RIGHT) - (plan[b, k] == Action.LEFT)
            if 0 <= middle + wanted < width and grids[b, OFF_ROAD, 0, middle + wanted] == 0:
                side = wanted
            for row in range(height):
                for column in range(width):
                    if grids[b, OCCUPIED, row, column] == 0:
                        continue
                    speed, is_own = grids[b, SPEED, row, column], grids[b, OWN, row, column] > 0
                    to_row = row + int(np.floor((own - speed) * reach * (k + 1) + 0.5))
                    to_column = column if is_own else column - side
                    if is_own:
                        to_row = row
                    if 0 <= to_row < height and 0 <= to_column < width:
                        out[b, k, 0, to_row, to_column] = 1.0
                        out[b, k, 1, to_row, to_column] = speed
