"""THE SIMULATOR: one function per phase of a frame, over row b of a `State`.

Read `drive` first: it is the game. Each function mutates row b in place and allocates nothing; Numba compiles them as
they stand. All arithmetic is float64 in the order written, for the published game's results to the last bit.

The speed map holds vehicle numbers instead of speeds (`State.cells`), one byte a cell, a lane's cells side by side:
marking a vehicle is four bytes in a row, and looking four cells ahead is one load.
"""

import math

import numpy as np
from numba import njit

from deeptraffic.sim.rules import Action, Rules, Sensor
from deeptraffic.sim.state import NOBODY, PAD, SLOW_ROW, State
from deeptraffic.sim.stream import JUMP, MAX_JUMP, MULTIPLIER, SPAN, advance_stream, draw

compiled = njit(cache=True, nogil=True, error_model="numpy")

SIDE_STEP = 20.0 / 30.0  # [px/frame] sideways
EDGE = 1e-6  # cells; a y nearer to a cell's edge than this is computed exactly
NOTHING, ACCELERATE, DECELERATE = int(Action.NOTHING), int(Action.ACCELERATE), int(Action.DECELERATE)
LEFT, RIGHT = int(Action.LEFT), int(Action.RIGHT)


# --- the game -----------------------------------------------------------------------------------------------------


@compiled
def drive(rules: Rules, state: State, b: int, action: int, end_frame: int) -> None:
    """Hand `action` to the agent that row b waits for, then run on until a decision is due or frame `end_frame`.

    On return `state.waiting[b]` names the agent whose decision is due (0 the ego car), or NOBODY between two frames.
    """
    agent = state.waiting[b]
    if agent != NOBODY:
        state.action[b] = action
        agent = end_frame_after(rules, state, b, agent)
    while agent == NOBODY and state.frame[b] < end_frame:
        begin_frame(rules, state, b)
        agent = let_agents_act(rules, state, b, 1)
    state.waiting[b] = agent


@compiled
def begin_frame(rules: Rules, state: State, b: int) -> None:
    """Steps 1 to 3: everything moves, is marked, follows the traffic ahead, and traffic may change lanes."""
    clear_map(state, b)
    move_and_mark(rules, state, b)
    state.scroll[b] = 1.5 - (state.y[b, 0] - rules.ego_y)
    may_turn_early = follow(rules, state, b)
    wander(rules, state, b, may_turn_early)
    if not rules.action_persists:
        state.action[b] = NOTHING


@compiled
def let_agents_act(rules: Rules, state: State, b: int, first: int) -> int:
    """Steps 4 to 7 from other agent `first` on; returns the agent whose decision is due, or NOBODY at the frame's end.

    The pending action is one variable for all: whoever follows an agent that decided in this frame executes its action.
    """
    clock = state.frame[b] % rules.decision_period
    for i in range(first, rules.other_agents + 1):
        if clock == i * rules.agent_stagger:
            return i
        execute(rules, state, b, i)
    mark_ego(rules, state, b)
    state.speed_sum[b] += state.following_speed[b, 0] * state.speed_factor[b, 0]
    if clock == 0:
        period = rules.decision_period
        state.reward[b] = (state.speed_sum[b] - 2.0 * period) / (2.0 * period / 3.0)
        state.speed_sum[b] = 0.0
        return 0
    finish_frame(rules, state, b)
    return NOBODY


@compiled
def end_frame_after(rules: Rules, state: State, b: int, agent: int) -> int:
    """Resume the frame in which `agent` has just decided; returns what `let_agents_act` returns."""
    if agent == 0:
        state.blocked[b] = not finish_frame(rules, state, b)
        return NOBODY
    execute(rules, state, b, agent)
    return let_agents_act(rules, state, b, agent + 1)


@compiled
def finish_frame(rules: Rules, state: State, b: int) -> bool:
    """Steps 6 and 7: the ego car executes, the frame is counted and scored; False if a lane change was refused."""
    allowed = execute(rules, state, b, 0)
    if state.action[b] >= LEFT:  # tried once, then forgotten
        state.action[b] = NOTHING
    state.frame[b] += 1
    for i in range(rules.other_agents + 1):
        speed = state.following_speed[b, i] * state.speed_factor[b, i]
        if rules.score_clamps:
            speed = max(0.0, speed)
        state.score_sum[b] += speed / (rules.other_agents + 1)
    return allowed


# --- moving and marking -------------------------------------------------------------------------------------------


@compiled
def clear_map(state: State, b: int) -> None:
    """Empty every cell of the speed map."""
    cells = state.cells
    for px in range(cells.shape[1]):
        for py in range(cells.shape[2]):
            cells[b, px, py] = 0


@compiled
def move_and_mark(rules: Rules, state: State, b: int) -> None:
    """Step 1: move each vehicle with its speed of the frame before and mark it with that speed."""
    scroll = state.scroll[b]
    ego_y, rear_end = rules.ego_y, rules.rows * 10.0
    passed = 0
    for i in range(rules.vehicles):
        speed = state.following_speed[b, i] * state.speed_factor[b, i]
        y_before = state.y[b, i]
        y = y_before - (speed - scroll)
        state.y[b, i] = y
        if i > 0:
            passed += int(y_before < ego_y <= y) - int(y_before > ego_y >= y)
        settled = state.x[b, i] == 20.0 * state.lane[b, i] + 4.0
        if not settled:
            settled = move_sideways(state, b, i)
        if 0.0 > y + 68.0 or rear_end < y - 68.0:
            state.y[b, i] = rear_end + 34.0 if 0.0 > y + 68.0 else -34.0
            spawn(rules, state, b, i)
            speed = state.following_speed[b, i] * state.speed_factor[b, i]
            settled = True
        state.map_speed[b, i + 1] = speed
        mark(rules, state, b, i, settled)
    state.passed[b] += passed


@compiled
def move_sideways(state: State, b: int, i: int) -> bool:
    """Move vehicle i toward the middle of its lane; True once it is there."""
    middle = 20.0 * state.lane[b, i] + 4.0
    t = middle - state.x[b, i]
    if abs(t) < SIDE_STEP:
        state.x[b, i] = middle
        return True
    state.x[b, i] += SIDE_STEP if t > 0.0 else -SIDE_STEP
    return False


@compiled
def spawn(rules: Rules, state: State, b: int, i: int) -> None:
    """Put vehicle i into a random lane; traffic gets a new speed factor."""
    width = 20.0 * rules.lanes
    lane = math.floor(width * draw(state.rng, b) / 20.0)
    state.lane[b, i] = lane
    state.x[b, i] = 20.0 * lane + 4.0
    if i > rules.other_agents or not rules.controlled_keep_factor:
        state.speed_factor[b, i] = draw_traffic_factor(rules, state, b)


@compiled
def draw_traffic_factor(rules: Rules, state: State, b: int) -> float:
    """Draw the speed factor of a traffic car."""
    share = rules.traffic_factor_share * draw(state.rng, b)
    return rules.traffic_factor_min + rules.traffic_factor_range * share


@compiled
def mark(rules: Rules, state: State, b: int, i: int, settled: bool) -> None:
    """Write vehicle i into the cells it covers, and note its row for `follow`."""
    rows = y_cell(state.y[b, i])
    state.row[b, i] = rows
    number = np.uint8(i + 1)
    if settled and 0 <= rows <= rules.rows - 4:
        lane, at = state.lane[b, i], PAD + rows
        for k in range(4):
            state.cells[b, lane, at + k] = number
    else:
        mark_anywhere(rules, state, b, i, number)


@compiled
def y_cell(y: float) -> int:
    """floor(y / 10), or SLOW_ROW where y is so near a cell's edge that rounding of y + 10 k might matter."""
    cell = y * 0.1
    row = math.floor(cell)
    inside = cell - row
    if EDGE < inside < 1.0 - EDGE:
        return row
    return SLOW_ROW


@compiled
def mark_anywhere(rules: Rules, state: State, b: int, i: int, number: int) -> None:
    """Mark by the rules' own arithmetic: between lanes, across the road's ends, on a cell's edge."""
    x, y = state.x[b, i], state.y[b, i]
    for dx in range(0, 11, 10):
        px = int(math.floor((x + dx) / 20.0))
        for dy in range(0, 31, 5):
            py = np.floor((y + dy) / 10.0)
            if 0.0 <= py < rules.rows:
                state.cells[b, px, PAD + int(py)] = number


@compiled
def mark_ego(rules: Rules, state: State, b: int) -> None:
    """Step 5: the ego car marks itself again, over whatever was there, with its new speed."""
    speed = (rules.ego_mark_gain * state.following_speed[b, 0]) * state.speed_factor[b, 0]
    state.map_speed[b, 1] = speed
    mark(rules, state, b, 0, state.x[b, 0] == 20.0 * state.lane[b, 0] + 4.0)


# --- reading the map ----------------------------------------------------------------------------------------------


@compiled
def follow(rules: Rules, state: State, b: int) -> bool:
    """Step 3a: set every vehicle's following speed by the four cells ahead; True if one of them became negative."""
    cells = state.cells
    negative = False
    for i in range(rules.vehicles):
        px = int((state.x[b, i] + 7.5) * 0.05)  # as / 20: lane changes step over the edges
        row = state.row[b, i]
        if row == SLOW_ROW:
            v = follow_exactly(rules, state, b, i)
            negative |= v < 0.0
        else:
            at = PAD + row
            v = 2.0
            one, two = cells[b, px, at - 1], cells[b, px, at - 2]
            three, four = cells[b, px, at - 3], cells[b, px, at - 4]
            if one | two | three | four:
                v = brake(state, b, i, v, 1, one)
                v = brake(state, b, i, v, 2, two)
                v = brake(state, b, i, v, 3, three)
                v = brake(state, b, i, v, 4, four)
                negative |= v < 0.0
        state.following_speed[b, i] = v
    return negative


@compiled
def brake(state: State, b: int, i: int, v: float, k: int, number: int) -> float:
    """Lower vehicle i's following speed v for what stands k cells ahead."""
    d = state.map_speed[b, number]
    if number != 0 and d < state.map_speed[b, 0]:
        v = min(v, 0.5 * (k - 1))
        match_speed = d / state.speed_factor[b, i]
        if match_speed < v or math.isnan(match_speed):
            v = match_speed
    return v


@compiled
def follow_exactly(rules: Rules, state: State, b: int, i: int) -> float:
    """`follow` for a vehicle on a cell's edge."""
    px = math.floor((state.x[b, i] + 7.5) / 20.0)
    v = 2.0
    for k in range(1, 5):
        py = np.floor((state.y[b, i] - 10.0 * k) / 10.0)
        if 0.0 <= py < rules.rows:
            v = brake(state, b, i, v, k, state.cells[b, px, PAD + int(py)])
    return v


@compiled
def is_free(rules: Rules, state: State, b: int, px: float, py: float) -> bool:
    """Whether a vehicle may turn into cell (px, py); beside the road and beyond its ends it may not."""
    if not (0.0 <= px < rules.lanes and 0.0 <= py < rules.rows):
        return False
    reading = state.map_speed[b, state.cells[b, int(px), PAD + int(py)]]
    return reading >= rules.empty


@compiled
def turn(rules: Rules, state: State, b: int, i: int, side: int) -> bool:
    """Start a lane change to side -1 (left) or +1 (right) if the safety system allows it."""
    if not abs(state.x[b, i] - (20.0 * state.lane[b, i] + 4.0)) < 0.5:
        return False
    px = np.floor((state.x[b, i] + 7.5) / 20.0 + side)
    f = -3.0 * state.speed_factor[b, i]
    while f < 4.0:
        if not is_free(rules, state, b, px, np.floor(state.y[b, i] / 10.0 + f)):
            return False
        f += 1.0
    state.lane[b, i] += side
    return True


# --- deciding -----------------------------------------------------------------------------------------------------


@compiled
def wander(rules: Rules, state: State, b: int, negative: bool) -> None:
    """Step 3b: every traffic car draws, and now and then tries a lane change.

    A draw above the threshold is rare, so the frame's draws are first looked at all together by jumping ahead in the
    stream; only if one of them might count are they taken one by one. (A negative following speed lowers the threshold.)
    """
    first = rules.other_agents + 1
    count = rules.vehicles - first
    rng = np.uint64(state.rng[b])
    limit = np.uint64(max(0.0, rules.turn_threshold * SPAN - 8.0))
    hit = negative
    for k in range(1, count + 1):
        product = rng * np.uint64(JUMP[k])
        folded = (product & np.uint64(0x7FFFFFFF)) + (product >> np.uint64(31))
        folded = min(folded, folded - np.uint64(0x7FFFFFFF))
        hit |= folded > limit
    if not hit:
        state.rng[b] = advance_stream(state.rng[b], np.int64(JUMP[count]))
        return
    for i in range(first, rules.vehicles):
        if draw(state.rng, b) > rules.turn_threshold + rules.turn_slope * state.following_speed[b, i]:
            turn(rules, state, b, i, -1 if draw(state.rng, b) > 0.5 else 1)


@compiled
def execute(rules: Rules, state: State, b: int, i: int) -> bool:
    """Vehicle i carries out the pending action; False if the safety system refused a lane change."""
    action = state.action[b]
    if action == ACCELERATE:
        if state.speed_factor[b, i] < 2.0:
            state.speed_factor[b, i] += 0.02
    elif action == DECELERATE:
        if state.speed_factor[b, i] > 0.0:
            state.speed_factor[b, i] -= 0.02
    elif action >= LEFT:
        return turn(rules, state, b, i, -1 if action == LEFT else 1)
    return True


@compiled
def sense(rules: Rules, sensor: Sensor, state: State, b: int, agent: int, out: np.ndarray) -> None:
    """Write what `agent` sees into out, (D,) with D = (2 L + 1) * (P + Q): free road 1, off the road 0, a car its speed."""
    row = math.floor(rules.ego_y / 10.0)
    if rules.sense_from_own_row:
        y = state.y[b, agent]
        row = math.floor(math.floor(y) / 10.0) if -1000.0 < y < 100000.0 else -100000
    lane = state.lane[b, agent]
    columns = 2 * sensor.lanes_side + 1
    for s in range(columns):
        px = lane + s - sensor.lanes_side
        on_road = 0 <= px < rules.lanes
        for r in range(sensor.patches_ahead + sensor.patches_behind):
            py = row + r - sensor.patches_ahead
            reading = 0.0
            if on_road and 0 <= py < rules.rows:
                reading = state.map_speed[b, state.cells[b, px, PAD + py]]
            out[r * columns + s] = reading / rules.empty
