"""Contents of the road's cells, true or perceived, and the contest's sensor on them.

    >>> sensor_cells(true_cells(states), Sensor(), RULES_2018)          # (N, 420), as the simulator senses
    >>> sensor_cells(whole_vehicles(perceived), Sensor(), RULES_2018)   # as the layer `cells` of a policy file

Letters in shapes: N scenes, R rows and L lanes of the road's grid.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.rules import CELL_LENGTH, FULL_SPEED, Rules, Sensor
from deeptraffic.sim.state import PAD


@dataclass(frozen=True)
class RoadCells:
    """Content of every cell of the road.

    occupied: (N, R, L) whether a vehicle marks the cell, the ego vehicle included
    speed: (N, R, L) [px/frame] of that vehicle, undefined in a free cell
    lane: (N,) the ego lane
    """

    occupied: NDArray[np.bool_]
    speed: NDArray[np.floating]
    lane: NDArray[np.int64]


def true_cells(states: NDArray[Any]) -> RoadCells:
    """Return the simulator's own marks in states (N,) at a decision."""
    marks = states["cells"][:, :, PAD:-PAD].transpose(0, 2, 1)  # (N, R, L) vehicle + 1
    speeds = np.take_along_axis(states["map_speed"], marks.reshape(len(marks), -1).astype(np.int64), 1)
    return RoadCells(marks > 0, speeds.reshape(marks.shape), states["lane"][:, 0].astype(np.int64))


def whole_vehicles(seen: RoadCells) -> RoadCells:
    """Return cells with one speed along each run of occupied cells of a lane: the mean of theirs.

    A policy that tells vehicles apart by their speeds then sees one vehicle per run; touching vehicles are merged.
    """
    occupied = np.moveaxis(seen.occupied, 1, 2)  # (N, L, R): the cells of a run lie together
    starts = occupied.copy()
    starts[..., 1:] &= ~occupied[..., :-1]
    run = np.maximum(starts.ravel().cumsum() - 1, 0)  # which run a cell belongs to, if it is occupied
    weight = occupied.ravel().astype(np.float64)
    sums = np.bincount(run, weight * np.moveaxis(seen.speed, 1, 2).ravel())
    means = sums / np.maximum(np.bincount(run, weight), 1.0)
    speed = (weight * means[run]).reshape(occupied.shape)
    return replace(seen, speed=np.moveaxis(speed, 2, 1))


def ego_row(rules: Rules) -> int:
    """Return the row of cells near which the ego vehicle's front keeps: row P of the contest's sensor."""
    return math.floor(rules.ego_y / CELL_LENGTH)


def sensor_cells(seen: RoadCells, sensor: Sensor, rules: Rules, row: int | None = None) -> NDArray[np.float64]:
    """Return the reading of the contest's sensor, (N, sensor.size): free 1, off the grid 0, a vehicle its speed.

    row: of the ego vehicle in the grid; None for its row of the whole road
    """
    count, rows, lanes = seen.occupied.shape
    first = (ego_row(rules) if row is None else row) - sensor.patches_ahead
    reading = np.where(seen.occupied, np.clip(seen.speed, 0.0, FULL_SPEED) / rules.empty, 1.0)
    wide = np.zeros((count, sensor.length, lanes + 2 * sensor.lanes_side))
    shown = range(max(first, 0), min(first + sensor.length, rows))
    wide[:, shown.start - first : shown.stop - first, sensor.lanes_side : sensor.lanes_side + lanes] = reading[
        :, shown.start : shown.stop
    ]
    columns = seen.lane[:, None] + np.arange(sensor.columns)  # in the grid with a margin on either side
    return np.take_along_axis(wide, columns[:, None, :], 2).reshape(count, -1)
