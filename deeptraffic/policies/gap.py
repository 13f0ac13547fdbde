"""Rule-based gap policy: plans lane changes for the next seven seconds by dynamic programming over the lanes.

It detects the vehicles in the sensor's cells, assumes that each keeps its present speed, and finds how far the ego car
gets in HORIZON decision periods at full throttle: per period it stays or
changes to a neighbouring lane that is clear beside it. Of two ways into the same lane the one that got farther counts.
It takes the first action of the best way; ties stay in lane.

The constants were tuned on 1,500 open runs of the tuning seeds, 2018 rules, no other agents (median there 73.2 mph; one
period ahead gives 67.4, six give 71.6).
"""

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.rules import CELL_LENGTH, FULL_SPEED, RULES_2018, VEHICLE_CELLS, Action
from deeptraffic.sim.state import F64, I64

HORIZON = 14  # [decision periods]
PERIOD = float(RULES_2018.decision_period)  # [frames]
CLEAR_AHEAD, CLEAR_BEHIND = 45.0, 30.0  # [px] from the ego car's front; free beside it when it changes lane
FOLLOWING_GAP = 40.0  # [px] at which a car ahead slows the ego car to its own speed
LANE_CHANGE_COST = 0.5  # [px]
MOST_VEHICLES = 200
NOWHERE = -1e9
ACCELERATE, LEFT, RIGHT = int(Action.ACCELERATE), int(Action.LEFT), int(Action.RIGHT)


@compiled
def choose_gaps(obs: F64, columns: int, patches_ahead: int, empty: float, out: I64) -> None:
    """Write an action for each row of obs (B, D); empty [px/frame] is what a free cell stands for."""
    vehicles = np.empty((MOST_VEHICLES, 4))
    for b in range(obs.shape[0]):
        found = find_vehicles(obs[b], columns, patches_ahead, empty, vehicles)
        out[b] = first_action(obs[b], columns, vehicles[:found])


@compiled
def find_vehicles(cells: F64, columns: int, patches_ahead: int, empty: float, vehicles: F64) -> int:
    """Write (lane, front, rear, speed) of each vehicle, [px] behind the ego car's front; return a count."""
    rows, own, found = cells.size // columns, columns // 2, 0
    for s in range(columns):
        start = 0
        for r in range(rows + 1):
            ends = r == rows or cells[r * columns + s] != cells[start * columns + s]
            if not ends and not (s == own and r == patches_ahead):
                continue
            reading = cells[start * columns + s]
            is_ego = s == own and patches_ahead <= start < patches_ahead + VEHICLE_CELLS
            if reading < 1.0 and start < r and not is_ego and found < vehicles.shape[0]:
                vehicles[found, 0] = s
                vehicles[found, 1] = CELL_LENGTH * (start - patches_ahead)
                vehicles[found, 2] = CELL_LENGTH * (r - patches_ahead)
                vehicles[found, 3] = reading * empty
                found += 1
            start = r
    return found


@compiled
def first_action(cells: F64, columns: int, vehicles: F64) -> int:
    """Return the first action of the plan that gets farthest."""
    own = columns // 2
    travelled, action = np.full(columns, NOWHERE), np.full(columns, ACCELERATE)
    travelled[own] = 0.0
    road = lanes_on_road(cells, columns)
    for period in range(HORIZON):
        reached, chosen = np.full(columns, NOWHERE), np.full(columns, ACCELERATE)
        for lane in range(columns):
            for to in (lane, lane - 1, lane + 1):
                if travelled[lane] == NOWHERE or not (0 <= to < columns and road[to]):
                    continue
                end = travelled[lane] + advance(vehicles, lane, to, travelled[lane], period)
                if end > reached[to]:
                    reached[to] = end
                    chosen[to] = action[lane]
                    if period == 0 and to != lane:
                        chosen[to] = LEFT if to < lane else RIGHT
        travelled, action = reached, chosen
    best = own
    for lane in range(columns):
        if travelled[lane] > travelled[best]:
            best = lane
    return action[best]


@compiled
def advance(vehicles: F64, lane: int, to: int, travelled: float, period: int) -> float:
    """Return how far [px] the ego car gets in this period from `lane` to lane `to`; NOWHERE if that is not clear."""
    ahead = ahead_before = FULL_SPEED * PERIOD
    for i in range(vehicles.shape[0]):
        if vehicles[i, 0] != to and vehicles[i, 0] != lane:
            continue
        speed = vehicles[i, 3]
        front = vehicles[i, 1] - speed * PERIOD * period + travelled
        rear = vehicles[i, 2] - speed * PERIOD * period + travelled
        if vehicles[i, 0] == to and to != lane and front < CLEAR_BEHIND and rear > -CLEAR_AHEAD:
            return NOWHERE
        if front + rear < 0.0:
            room = max(0.0, speed * PERIOD - rear - FOLLOWING_GAP)
            if vehicles[i, 0] == to:
                ahead = min(ahead, room)
            else:
                ahead_before = min(ahead_before, room)
    if to == lane:
        return ahead
    return 0.5 * (ahead + min(ahead, ahead_before)) - LANE_CHANGE_COST  # half of a lane change is spent in the old lane


@compiled
def lanes_on_road(cells: F64, columns: int) -> NDArray[np.bool_]:
    """Whether each column shows anything but the zeros beside the road, (columns,)."""
    road = np.zeros(columns, np.bool_)
    for k in range(cells.size):
        road[k % columns] |= cells[k] > 0.0
    return road
