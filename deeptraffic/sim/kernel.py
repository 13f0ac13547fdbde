"""The simulator: one function for each step of a frame, over one game record.

Source: `RULES.md`, "One frame"; the steps are its steps. Read `drive` first: it is the game. Each function mutates
`game` in place and allocates nothing; Numba compiles them as they stand. All arithmetic is float64 in the order
written, for the published game's results to the last bit.

The speed map holds vehicle numbers instead of speeds (`Game.cells`), one byte a cell, a lane's cells side by side:
marking a vehicle is four bytes in a row, and looking four cells ahead is one load.
"""

import math

import numpy as np

from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.random import JUMP, MODULUS, SPAN, advance_stream, draw
from deeptraffic.sim.rules import (
    BASE_SCROLL,
    CELL_LENGTH,
    LANE_MARGIN,
    LANE_WIDTH,
    MAX_FOLLOWING_SPEED,
    MAX_SPEED_FACTOR,
    THROTTLE,
    TURN_TOLERANCE,
    VEHICLE_LENGTH,
    VEHICLE_WIDTH,
    Action,
    Rules,
)
from deeptraffic.sim.state import NOBODY, PAD, SLOW_ROW, U8, Game

SIDE_STEP = LANE_WIDTH / 30.0  # [px/frame] sideways
HALF_WIDTH = VEHICLE_WIDTH / 2.0  # [px]
OUT_OF_VIEW = 2.0 * VEHICLE_LENGTH  # [px] beyond the road's end, where a vehicle leaves it
AHEAD = 4  # cells that a vehicle looks ahead
TURN_AHEAD = 3.0  # [cells per unit of speed factor] before its front that a lane change needs free
TURN_BEHIND = 4.0  # [cells] behind its front that a lane change needs free
LANES_PER_PX, CELLS_PER_PX = 1.0 / LANE_WIDTH, 1.0 / CELL_LENGTH
EDGE = 1e-6  # [cells] a y nearer to a cell's edge than this is computed exactly
NOTHING, ACCELERATE, DECELERATE = int(Action.NOTHING), int(Action.ACCELERATE), int(Action.DECELERATE)
LEFT, RIGHT = int(Action.LEFT), int(Action.RIGHT)
ONE, TWO, THREE = np.uint64(1), np.uint64(2), np.uint64(3)


# --- the game -----------------------------------------------------------------------------------------------------


@compiled
def drive(rules: Rules, game: Game, action: int, end_frame: int) -> None:
    """Hand `action` to the agent that the game waits for, then run on until a decision is due or frame `end_frame`.

    On return `game.waiting` names the agent whose decision is due (0 the ego car), or NOBODY between two frames.
    """
    agent = game.waiting
    if agent != NOBODY:
        game.action = action
        agent = resume_frame(rules, game, agent)
    while agent == NOBODY and game.frame < end_frame:
        begin_frame(rules, game)
        agent = let_agents_act(rules, game, 1)
    game.waiting = agent


@compiled
def begin_frame(rules: Rules, game: Game) -> None:
    """Steps 1 to 3: everything moves, is marked, follows the traffic ahead, and traffic may change lanes."""
    move(rules, game)
    mark_all(rules, game)
    game.scroll = BASE_SCROLL - (game.y[0] - rules.ego_y)
    any_negative = follow(rules, game)
    wander(rules, game, any_negative)
    if not rules.action_persists:
        game.action = NOTHING


@compiled
def let_agents_act(rules: Rules, game: Game, first: int) -> int:
    """Steps 4 to 7 from other agent `first` on; returns the agent whose decision is due, or NOBODY at the frame's end.

    The pending action is one variable for all: agents behind one that decided in this frame execute its action.
    """
    clock = game.frame % rules.decision_period
    for i in range(first, rules.other_agents + 1):
        if clock == i * rules.agent_stagger:
            return i
        execute(rules, game, i)
    mark_ego(rules, game)
    game.speed_sum += game.following_speed[0] * game.speed_factor[0]
    if clock == 0:
        period = rules.decision_period
        game.reward = (game.speed_sum - 2.0 * period) / (2.0 * period / 3.0)  # 0 at a mean of 2 px/frame, 40 mph
        game.speed_sum = 0.0
        return 0
    finish_frame(rules, game)
    return NOBODY


@compiled
def resume_frame(rules: Rules, game: Game, agent: int) -> int:
    """Continue the frame in which `agent` has just decided; returns what `let_agents_act` returns."""
    if agent == 0:
        game.blocked = not finish_frame(rules, game)
        return NOBODY
    execute(rules, game, agent)
    return let_agents_act(rules, game, agent + 1)


@compiled
def finish_frame(rules: Rules, game: Game) -> bool:
    """Steps 6 and 7: the ego car executes, the frame is counted and scored; False if a lane change was refused."""
    allowed = execute(rules, game, 0)
    if game.action >= LEFT:  # tried once, then forgotten
        game.action = NOTHING
    game.frame += 1
    for i in range(rules.other_agents + 1):
        speed = game.following_speed[i] * game.speed_factor[i]
        if rules.score_clamps and speed < 0.0:  # max(0, speed) as the game's own language has it: NaN stays NaN
            speed = 0.0
        game.score_sum += speed / (rules.other_agents + 1)
    return allowed


# --- moving -------------------------------------------------------------------------------------------------------


@compiled
def move(rules: Rules, game: Game) -> None:
    """Step 1a: each vehicle moves with its speed of the frame before, which is also what it will mark."""
    scroll, ego_y, rear_end = game.scroll, rules.ego_y, rules.rows * CELL_LENGTH
    passed, any_out_of_view, changing_lanes = 0, False, False
    for i in range(game.x.size):
        speed = game.following_speed[i] * game.speed_factor[i]
        y_before = game.y[i]
        y = y_before - (speed - scroll)
        game.y[i] = y
        game.map_speed[i + 1] = speed
        game.row[i] = y_cell(y)
        passed += (i > 0) & (y_before < ego_y) & (ego_y <= y)
        passed -= (i > 0) & (y_before > ego_y) & (ego_y >= y)
        any_out_of_view |= (0.0 > y + OUT_OF_VIEW) | (rear_end < y - OUT_OF_VIEW)
        changing_lanes |= game.x[i] != lane_middle(game.lane[i])
    game.passed += passed
    if changing_lanes:
        move_sideways(game)
    if any_out_of_view:
        re_enter(rules, game)


@compiled
def lane_middle(lane: int) -> float:
    """Return x [px] of a vehicle in the middle of its lane."""
    return LANE_WIDTH * lane + LANE_MARGIN


@compiled
def y_cell(y: float) -> int:
    """floor(y / 10), or SLOW_ROW where y is so near a cell's edge that rounding of y + 10 k might matter."""
    cell = y * CELLS_PER_PX
    row = np.floor(cell)
    inside = cell - row
    return np.int32(row) if (inside > EDGE) & (inside < 1.0 - EDGE) else np.int32(SLOW_ROW)


@compiled
def move_sideways(game: Game) -> None:
    """Vehicles between two lanes move toward the middle of theirs."""
    for i in range(game.x.size):
        middle = lane_middle(game.lane[i])
        t = middle - game.x[i]
        if abs(t) < SIDE_STEP:
            game.x[i] = middle
        else:
            game.x[i] += SIDE_STEP if t > 0.0 else -SIDE_STEP


@compiled
def re_enter(rules: Rules, game: Game) -> None:
    """Vehicles beyond one end of the road re-enter at the other, in a random lane."""
    rear_end = rules.rows * CELL_LENGTH
    for i in range(game.x.size):
        y = game.y[i]
        if 0.0 > y + OUT_OF_VIEW or rear_end < y - OUT_OF_VIEW:
            game.y[i] = rear_end + VEHICLE_LENGTH if 0.0 > y + OUT_OF_VIEW else -VEHICLE_LENGTH
            game.row[i] = y_cell(game.y[i])
            spawn(rules, game, i)
            game.map_speed[i + 1] = game.following_speed[i] * game.speed_factor[i]


@compiled
def spawn(rules: Rules, game: Game, i: int) -> None:
    """Put vehicle i into a random lane; traffic gets a new speed factor."""
    width = LANE_WIDTH * rules.lanes
    lane = math.floor(width * draw(game) / LANE_WIDTH)
    game.lane[i] = lane
    game.x[i] = lane_middle(lane)
    if i > rules.other_agents or not rules.controlled_keep_factor:
        game.speed_factor[i] = draw_traffic_factor(rules, game)


@compiled
def draw_traffic_factor(rules: Rules, game: Game) -> float:
    """Draw the speed factor of a traffic car."""
    share = rules.traffic_factor_share * draw(game)
    return rules.traffic_factor_min + rules.traffic_factor_range * share


# --- marking ------------------------------------------------------------------------------------------------------


@compiled
def mark_all(rules: Rules, game: Game) -> None:
    """Step 1b: an empty map, then every vehicle in order; a later mark overwrites an earlier one."""
    cells = game.cells
    for px in range(cells.shape[0]):
        for py in range(cells.shape[1]):
            cells[px, py] = 0
    for i in range(game.x.size):
        mark(rules, game, i)
    for px in range(cells.shape[0]):  # what was marked beyond the road's ends is not there
        for k in range(PAD):
            cells[px, k] = 0
            cells[px, cells.shape[1] - PAD + k] = 0


@compiled
def mark(rules: Rules, game: Game, i: int) -> None:
    """Write vehicle i into the cells it covers: four in a row of its lane, between two lanes in both."""
    row, x = game.row[i], game.x[i]
    if row == SLOW_ROW:
        mark_exactly(rules, game, i)
    elif x == lane_middle(game.lane[i]):
        put_four(game.cells, game.lane[i], PAD + row, i + 1)
    else:
        put_four(game.cells, int(x / LANE_WIDTH), PAD + row, i + 1)
        put_four(game.cells, int((x + 10.0) / LANE_WIDTH), PAD + row, i + 1)


@compiled
def mark_exactly(rules: Rules, game: Game, i: int) -> None:
    """`mark` by the rules' own arithmetic, cell by cell."""
    x, y = game.x[i], game.y[i]
    for dx in range(0, 11, 10):
        px = math.floor((x + dx) / LANE_WIDTH)
        for dy in range(0, 31, 5):
            py = np.floor((y + dy) / CELL_LENGTH)
            if 0.0 <= py < rules.rows:
                game.cells[px, PAD + int(py)] = np.uint8(i + 1)


@compiled
def mark_ego(rules: Rules, game: Game) -> None:
    """Step 5: the ego car marks itself again, over whatever was there, with its new speed."""
    game.map_speed[1] = (rules.ego_mark_gain * game.following_speed[0]) * game.speed_factor[0]
    mark(rules, game, 0)  # beyond the road's ends nothing reads the map, and the next frame empties the map


# --- four cells at once; unsigned indices spare the compiler Python's rule for negative ones ------------------------


@compiled
def put_four(cells: U8, px: int, at: int, number: int) -> None:
    """Write `number` into the four cells of column px from `at` on."""
    column, first, byte = np.uint64(px), np.uint64(at), np.uint8(number)
    cells[column, first] = byte
    cells[column, first + ONE] = byte
    cells[column, first + TWO] = byte
    cells[column, first + THREE] = byte


@compiled
def get_four(cells: U8, px: int, at: int) -> int:
    """Read the four cells of column px from `at` on as one number, the cell at `at` in its lowest byte."""
    column, first = np.uint64(px), np.uint64(at)
    return (
        np.int64(cells[column, first])
        | np.int64(cells[column, first + ONE]) << 8
        | np.int64(cells[column, first + TWO]) << 16
        | np.int64(cells[column, first + THREE]) << 24
    )


# --- reading the map ----------------------------------------------------------------------------------------------


@compiled
def follow(rules: Rules, game: Game) -> bool:
    """Step 3a: set every vehicle's following speed by the four cells ahead; True if one of them became negative."""
    any_negative = False
    for i in range(game.x.size):
        row = game.row[i]
        v = MAX_FOLLOWING_SPEED
        if row == SLOW_ROW:
            v = follow_exactly(rules, game, i)
        else:
            px = int((game.x[i] + HALF_WIDTH) * LANES_PER_PX)  # exact as / 20: lane changes step over the edges
            ahead = get_four(game.cells, px, PAD + row - AHEAD)
            if ahead != 0:
                v = brake_for(game, i, ahead)
        game.following_speed[i] = v
        any_negative |= v < 0.0
    return any_negative


@compiled
def brake_for(game: Game, i: int, ahead: int) -> float:
    """Vehicle i's following speed for the four cells ahead of it, the nearest in the highest byte."""
    v, seen = MAX_FOLLOWING_SPEED, 0
    for k in range(1, AHEAD + 1):
        number = (ahead >> 24) & 255
        if number != seen:  # the second cell of the same vehicle asks for nothing more
            v = brake(game, i, v, k, number)
        seen, ahead = number, ahead << 8
    return v


@compiled
def brake(game: Game, i: int, v: float, k: int, number: int) -> float:
    """Lower vehicle i's following speed v for what stands k cells ahead."""
    d = game.map_speed[number]
    if d < game.map_speed[0]:
        v = min(v, 0.5 * (k - 1))
        match_speed = d / game.speed_factor[i]
        if match_speed < v or math.isnan(match_speed):
            v = match_speed
    return v


@compiled
def follow_exactly(rules: Rules, game: Game, i: int) -> float:
    """`follow` for a vehicle on a cell's edge."""
    px = math.floor((game.x[i] + HALF_WIDTH) / LANE_WIDTH)
    v = MAX_FOLLOWING_SPEED
    for k in range(1, AHEAD + 1):
        py = np.floor((game.y[i] - CELL_LENGTH * k) / CELL_LENGTH)
        if 0.0 <= py < rules.rows:
            v = brake(game, i, v, k, game.cells[px, PAD + int(py)])
    return v


@compiled
def is_free(rules: Rules, game: Game, px: float, py: float) -> bool:
    """Whether a vehicle may turn into cell (px, py); beside the road and beyond its ends it may not."""
    if not (0.0 <= px < rules.lanes and 0.0 <= py < rules.rows):
        return False
    return game.map_speed[game.cells[int(px), PAD + int(py)]] >= rules.empty


@compiled
def turn(rules: Rules, game: Game, i: int, side: int) -> bool:
    """Start a lane change to side -1 (left) or +1 (right) if the safety system allows it."""
    if not abs(game.x[i] - lane_middle(game.lane[i])) < TURN_TOLERANCE:
        return False
    px = np.floor((game.x[i] + HALF_WIDTH) / LANE_WIDTH + side)
    f = -TURN_AHEAD * game.speed_factor[i]
    while f < TURN_BEHIND:
        if not is_free(rules, game, px, np.floor(game.y[i] / CELL_LENGTH + f)):
            return False
        f += 1.0
    game.lane[i] += side
    return True


# --- deciding -----------------------------------------------------------------------------------------------------


@compiled
def wander(rules: Rules, game: Game, any_negative: bool) -> None:
    """Step 3b: every traffic car draws, and occasionally tries a lane change.

    A draw above the threshold is rare, so the frame's draws are first looked at all together by jumping ahead in the
    stream; only if one of them might count are they taken one by one. (Negative following speeds lower the threshold.)
    """
    first = rules.other_agents + 1
    traffic = game.x.size - first
    if not any_negative and not any_draw_above(game.rng, traffic, rules.turn_threshold):
        game.rng = advance_stream(game.rng, np.int64(JUMP[traffic]))
        return
    for i in range(first, game.x.size):
        if draw(game) > rules.turn_threshold + rules.turn_slope * game.following_speed[i]:
            turn(rules, game, i, -1 if draw(game) > 0.5 else 1)


@compiled
def any_draw_above(rng: int, draws: int, threshold: float) -> bool:
    """Whether one of the next draws may exceed the threshold; by a hair too often True, never wrongly False."""
    limit = np.uint64(max(0.0, threshold * SPAN - 8.0))
    highest = np.uint64(0)
    for k in range(1, draws + 1):
        product = np.uint64(rng) * np.uint64(JUMP[k])
        state = (product & np.uint64(MODULUS)) + (product >> np.uint64(31))
        highest = max(highest, min(state, state - np.uint64(MODULUS)))  # below the modulus, the difference wraps around
    return highest > limit


@compiled
def execute(rules: Rules, game: Game, i: int) -> bool:
    """Vehicle i carries out the pending action; False if the safety system refused a lane change."""
    action = game.action
    if action == ACCELERATE:
        if game.speed_factor[i] < MAX_SPEED_FACTOR:
            game.speed_factor[i] += THROTTLE
    elif action == DECELERATE:
        if game.speed_factor[i] > 0.0:
            game.speed_factor[i] -= THROTTLE
    elif action >= LEFT:
        return turn(rules, game, i, -1 if action == LEFT else 1)
    return True
