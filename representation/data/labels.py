"""Ground-truth labels computed from the state: class of the scene, free road around the ego vehicle, best lane.

A vehicle occupies the columns that it marks in the simulator's speed map: those of its x and of its x + 10 px. All
distances are from bumper to bumper [px]; 10 px are one cell, 20 px one lane.

Letters in shapes: (S...) any batch shape of states, N vehicles, L lanes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.rules import LANE_WIDTH, VEHICLE_LENGTH, Rules

SCENES = ("free", "following", "boxed in", "gap left", "gap right")
FREE, FOLLOWING, BOXED_IN, GAP_LEFT, GAP_RIGHT = range(len(SCENES))
LOOK_AHEAD = 100.0  # [px] a car nearer than this ahead is followed
GAP_AHEAD, GAP_BEHIND = 60.0, 10.0  # [px] free road beside the ego car that makes a gap
FAR = 1000.0  # [px] stands for no car at all

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


def scene_class(rules: Rules, states: NDArray[Any]) -> I64:
    """Return the class of each scene, (S...), an index of `SCENES`.

    free: no car within 100 px ahead in the ego lane. Otherwise by which neighbouring lanes have a gap, from 60 px ahead
    of the ego front to 10 px behind the ego tail: both or, on following, a choice of sides; one; or none (boxed in).
    """
    lane = states["lane"][..., 0].astype(np.int64)
    ahead = np.take_along_axis(free_ahead(rules, states), lane[..., None], -1)[..., 0]
    left, right = (_has_gap(rules, states, lane + side) for side in (-1, 1))
    blocked = np.select([left & right, left, right], [FOLLOWING, GAP_LEFT, GAP_RIGHT], BOXED_IN)
    return np.where(ahead >= LOOK_AHEAD, FREE, blocked)


def free_ahead(rules: Rules, states: NDArray[Any]) -> F64:
    """Return the free road ahead of the ego front in each lane, (S..., L) [px]; at most the road up to its end.

    A car beside the ego car leaves none.
    """
    front = states["y"][..., 0]
    distance = front[..., None] - (states["y"] + VEHICLE_LENGTH)  # (S..., N) ego front to their tails
    passed = states["y"] >= front[..., None] + VEHICLE_LENGTH
    distance = np.where(passed, FAR, np.maximum(distance, 0.0))
    distance[..., 0] = FAR
    return np.minimum(_least_by_lane(rules, states, distance), np.maximum(front, 0.0)[..., None])


def best_lane(rules: Rules, states: NDArray[Any]) -> I64:
    """Return the lane with the most free road ahead, (S...); of equals the nearest to the own, then the leftmost."""
    free = free_ahead(rules, states)
    away = np.abs(np.arange(rules.lanes) - states["lane"][..., :1])
    return np.argmax(free - 1e-3 * away, -1)


def _has_gap(rules: Rules, states: NDArray[Any], lane: I64) -> NDArray[np.bool_]:
    """Whether a lane exists and is free beside the ego car, (S...)."""
    front = states["y"][..., :1]
    near = (states["y"] + VEHICLE_LENGTH > front - GAP_AHEAD) & (states["y"] < front + VEHICLE_LENGTH + GAP_BEHIND)
    near[..., 0] = False
    taken = _least_by_lane(rules, states, np.where(near, 0.0, FAR)) < FAR  # (S..., L)
    exists = (lane >= 0) & (lane < rules.lanes)
    inside = np.clip(lane, 0, rules.lanes - 1)
    return exists & ~np.take_along_axis(taken, inside[..., None], -1)[..., 0]


def _least_by_lane(rules: Rules, states: NDArray[Any], values: F64) -> F64:
    """Return the least of the vehicles' values (S..., N) in each lane, (S..., L); FAR where there is none."""
    least = np.full((*values.shape[:-1], rules.lanes), FAR)
    for mark in (0.0, 10.0):
        column = np.floor((states["x"] + mark) / LANE_WIDTH)  # (S..., N)
        for lane in range(rules.lanes):
            here = np.where(column == lane, values, FAR).min(-1)
            least[..., lane] = np.minimum(least[..., lane], here)
    return least
