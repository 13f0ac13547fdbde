"""The simulator: one function for each step of a frame, over one game record.

Source: `RULES.md`, "One frame"; the steps are its steps. Read `drive` first: it is the game. Each function mutates
`game` in place and allocates nothing; Numba compiles them as they stand. All arithmetic is float64 in the order
written, for the published game's results to the last bit.

The speed map holds vehicle numbers instead of speeds (`Game.cells`), one byte a cell, a lane's cells side by side:
marking a vehicle is one store of four bytes, and looking four cells ahead is one load. Almost every vehicle is in the
middle of a lane and off the edges of cells, so that its lane and row tell its cells (`Game.place`). `move` and
`find_places` have no branches, so that the compiler takes several vehicles in one instruction; the few vehicles that
are elsewhere are moved and marked one by one.
"""

import math

import numpy as np

from deeptraffic.sim.compiled import compiled, inlined
from deeptraffic.sim.random import JUMP, MAX_JUMP, MODULUS, SPAN, advance_stream, draw
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
from deeptraffic.sim.state import ELSEWHERE, NOBODY, PAD, U8, Game

SIDE_STEP = LANE_WIDTH / 30.0  # [px/frame] sideways
HALF_WIDTH = VEHICLE_WIDTH / 2.0  # [px]
OUT_OF_VIEW = 2.0 * VEHICLE_LENGTH  # [px] beyond the road's end, where a vehicle leaves it
AHEAD = 4  # cells that a vehicle looks ahead
ONE_IN_EACH = 0x01010101  # four cells that hold a 1
TURN_AHEAD = 3.0  # [cells per unit of speed factor] before its front that a lane change needs free
TURN_BEHIND = 4.0  # [cells] behind its front that a lane change needs free
CELLS_PER_PX = 1.0 / CELL_LENGTH
EDGE = 1e-6  # [cells] a y nearer to a cell's edge than this is computed exactly
ON_EDGE = -1000  # row of a vehicle there
NOTHING, ACCELERATE, DECELERATE = int(Action.NOTHING), int(Action.ACCELERATE), int(Action.DECELERATE)
LEFT, RIGHT = int(Action.LEFT), int(Action.RIGHT)
ZERO, ONE, TWO, THREE = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)


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


@inlined
def begin_frame(rules: Rules, game: Game) -> None:
    """Steps 1 to 3: everything moves and is marked, follows the traffic ahead, and traffic may change lanes."""
    clear(game)
    move(rules, game)
    find_places(rules, game)
    mark_all(rules, game)
    game.scroll = BASE_SCROLL - (game.y[0] - rules.ego_y)
    any_negative = follow(rules, game)
    wander(rules, game, any_negative)
    if not rules.action_persists:
        game.action = NOTHING


@inlined
def let_agents_act(rules: Rules, game: Game, first: int) -> int:
    """Steps 4 to 7 from other agent `first` on; returns the agent whose decision is due, or NOBODY at the frame's end.

    The pending action is one variable for all: agents behind one that decided in this frame execute its action.
    """
    clock = game.frame % rules.decision_period
    due, last = clock // rules.agent_stagger, rules.other_agents
    decides = (first <= due <= last) & (due * rules.agent_stagger == clock)
    if game.action != NOTHING:
        for i in range(first, due if decides else last + 1):
            execute(rules, game, i)
    if decides:
        return due
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


@inlined
def finish_frame(rules: Rules, game: Game) -> bool:
    """Steps 6 and 7: the ego car executes, the frame is counted and scored; False if a lane change was refused."""
    allowed = execute(rules, game, 0)
    if game.action >= LEFT:  # tried once, then forgotten
        game.action = NOTHING
    game.frame += 1
    drivers, slowest, score_sum = rules.other_agents + 1, 0.0 if rules.score_clamps else -np.inf, game.score_sum
    for i in range(drivers):
        speed = game.following_speed[i] * game.speed_factor[i]
        if speed < slowest:  # max(0, speed) as the game's own language has it: NaN stays NaN
            speed = slowest
        score_sum += speed / drivers
    game.score_sum = score_sum
    return allowed


# --- moving -------------------------------------------------------------------------------------------------------


@inlined
def move(rules: Rules, game: Game) -> None:
    """Step 1a, along the road: vehicles move with their speeds of the frame before, which are also what they mark."""
    scroll, ego_y = game.scroll, rules.ego_y
    passed = 0
    for i in range(game.x.size):
        speed = game.following_speed[i] * game.speed_factor[i]
        y_before = game.y[i]
        y = y_before - (speed - scroll)
        game.y[i] = y
        game.map_speed[i + 1] = speed
        passed += ((i > 0) & (y_before < ego_y) & (ego_y <= y)) - ((i > 0) & (y_before > ego_y) & (ego_y >= y))
    game.passed += passed


@inlined
def find_places(rules: Rules, game: Game) -> None:
    """Set every vehicle's place."""
    length, rear_end = float(game.cells.shape[1]), rules.rows * CELL_LENGTH
    for i in range(game.x.size):
        y, lane = game.y[i], game.lane[i]
        cell = y * CELLS_PER_PX
        row = np.floor(cell)
        off_edges = (cell - row > EDGE) & (cell - row < 1.0 - EDGE)
        in_view = (y >= -OUT_OF_VIEW) & (y <= rear_end + OUT_OF_VIEW)
        known = off_edges & in_view & (game.x[i] == lane_middle(lane))
        game.place[i] = np.int32(lane * length + PAD + row if known else ELSEWHERE)


@compiled
def lane_middle(lane: int) -> float:
    """Return x [px] of a vehicle in the middle of its lane."""
    return LANE_WIDTH * lane + LANE_MARGIN


@compiled
def finish_move(rules: Rules, game: Game, i: int) -> None:
    """Steps 1a and 1b of a vehicle elsewhere: toward its lane's middle, or from one end of the road to the other."""
    middle = lane_middle(game.lane[i])
    t = middle - game.x[i]
    if abs(t) < SIDE_STEP:
        game.x[i] = middle
    else:
        game.x[i] += SIDE_STEP if t > 0.0 else -SIDE_STEP
    y, rear_end = game.y[i], rules.rows * CELL_LENGTH
    if 0.0 > y + OUT_OF_VIEW or rear_end < y - OUT_OF_VIEW:
        game.y[i] = rear_end + VEHICLE_LENGTH if 0.0 > y + OUT_OF_VIEW else -VEHICLE_LENGTH
        spawn(rules, game, i)
        game.map_speed[i + 1] = game.following_speed[i] * game.speed_factor[i]
    mark_elsewhere(rules, game, i)


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


@inlined
def clear(game: Game) -> None:
    """Empty the map."""
    cells = game.cells
    for px in range(cells.shape[0]):
        for py in range(cells.shape[1]):
            cells[px, py] = 0


@inlined
def mark_all(rules: Rules, game: Game) -> None:
    """Step 1b: every vehicle in order marks the empty map; a later mark overwrites an earlier one."""
    cells = game.cells
    for i in range(game.x.size):
        if game.place[i] == ELSEWHERE:
            finish_move(rules, game, i)
        else:
            put_four(cells, game.place[i], i + 1)
    for px in range(cells.shape[0]):  # what was marked beyond the road's ends is not there
        for k in range(PAD):
            cells[px, k] = 0
            cells[px, cells.shape[1] - PAD + k] = 0


@compiled
def mark_elsewhere(rules: Rules, game: Game, i: int) -> None:
    """Write vehicle i, wherever it is, into the cells it covers: between two lanes in both."""
    x, row = game.x[i], find_row(game.y[i])
    if row == ON_EDGE:
        mark_exactly(rules, game, i)
    else:
        put_four(game.cells, index_of(game, int(x / LANE_WIDTH), row), i + 1)
        put_four(game.cells, index_of(game, int((x + 10.0) / LANE_WIDTH), row), i + 1)


@compiled
def mark_exactly(rules: Rules, game: Game, i: int) -> None:
    """`mark_elsewhere` by the rules' own arithmetic, cell by cell."""
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
    if game.place[0] == ELSEWHERE:
        mark_elsewhere(rules, game, 0)
    else:
        put_four(game.cells, game.place[0], 1)  # beyond the road's ends nothing reads the map before it is cleared


# --- cells --------------------------------------------------------------------------------------------------------
# An index counts through all columns, from column 0 on; unsigned, it needs no test for Python's negative ones.


@compiled
def find_row(y: float) -> int:
    """floor(y / 10), or ON_EDGE where y is so near a cell's edge that rounding of y + 10 k might matter."""
    cell = y * CELLS_PER_PX
    row = np.floor(cell)
    return np.int64(row) if (cell - row > EDGE) & (cell - row < 1.0 - EDGE) else ON_EDGE


@compiled
def index_of(game: Game, px: int, py: int) -> int:
    """Return the index of cell (px, py) in the flattened `cells`."""
    return px * game.cells.shape[1] + PAD + py


@compiled
def put_four(cells: U8, index: int, number: int) -> None:
    """Write `number` into four cells in a row from `index` on."""
    first, byte = np.uint64(index), np.uint8(number)
    cells[ZERO, first] = byte
    cells[ZERO, first + ONE] = byte
    cells[ZERO, first + TWO] = byte
    cells[ZERO, first + THREE] = byte


@compiled
def get_four(cells: U8, index: int) -> int:
    """Read four cells in a row from `index` on as one number, the first in its lowest byte."""
    first = np.uint64(index)
    return (
        np.int64(cells[ZERO, first])
        | np.int64(cells[ZERO, first + ONE]) << 8
        | np.int64(cells[ZERO, first + TWO]) << 16
        | np.int64(cells[ZERO, first + THREE]) << 24
    )


# --- reading the map ----------------------------------------------------------------------------------------------


@inlined
def follow(rules: Rules, game: Game) -> bool:
    """Step 3a: set every vehicle's following speed by the four cells ahead; True if one of them became negative."""
    followers, any_negative = 0, False
    for i in range(game.x.size):
        game.following_speed[i] = MAX_FOLLOWING_SPEED
    for i in range(game.x.size):  # lists those that follow without a branch, which the processor could not predict
        game.followers[np.uint64(followers)] = i
        followers += look_ahead(rules, game, i) != 0
    for k in range(followers):
        i = int(game.followers[k])
        ahead = look_ahead(rules, game, i)
        free = int(ahead < 1 << 24) + int(ahead < 1 << 16) + int(ahead < 1 << 8)
        nearest = (ahead >> 8 * (AHEAD - 1 - free)) & 255
        if ahead == nearest * ONE_IN_EACH >> 8 * free:  # almost always, one vehicle fills all cells from there on
            v = brake(game, i, MAX_FOLLOWING_SPEED, free + 1, nearest)
        else:
            v = brake_for_several(game, i, ahead)
        game.following_speed[i] = v
        any_negative |= v < 0.0
    return any_negative


@inlined
def look_ahead(rules: Rules, game: Game, i: int) -> int:
    """Return the four cells ahead of vehicle i as one number, the nearest in the highest byte."""
    place = game.place[i]
    return get_four(game.cells, place - AHEAD) if place != ELSEWHERE else look_ahead_elsewhere(rules, game, i)


@compiled
def look_ahead_elsewhere(rules: Rules, game: Game, i: int) -> int:
    """`look_ahead`, wherever the vehicle is."""
    px, row = int((game.x[i] + HALF_WIDTH) / LANE_WIDTH), find_row(game.y[i])
    if row != ON_EDGE:
        return get_four(game.cells, index_of(game, px, row - AHEAD))
    ahead = 0
    for k in range(1, AHEAD + 1):
        py = np.floor((game.y[i] - CELL_LENGTH * k) / CELL_LENGTH)
        number = game.cells[px, PAD + int(py)] if 0.0 <= py < rules.rows else 0
        ahead = ahead << 8 | number
    return ahead


@compiled
def brake_for_several(game: Game, i: int, ahead: int) -> float:
    """Vehicle i's following speed for the four cells ahead of it, cell by cell."""
    v = MAX_FOLLOWING_SPEED
    for k in range(1, AHEAD + 1):
        v = brake(game, i, v, k, (ahead >> 8 * (AHEAD - k)) & 255)
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


@inlined
def wander(rules: Rules, game: Game, any_negative: bool) -> None:
    """Step 3b: every traffic car draws, and occasionally tries a lane change.

    A draw above the threshold is rare: the stream jumps to the next one that might count. (A negative following speed
    lowers the threshold, so then each might.)
    """
    i = rules.other_agents + 1
    while i < game.x.size:
        left = game.x.size - i
        if not any_negative:
            low = count_low_draws(game.rng, rules.turn_threshold)
            if low >= left:
                game.rng = advance_stream(game.rng, np.int64(JUMP[left]))
                return
            game.rng = advance_stream(game.rng, np.int64(JUMP[low]))
            i += low
        if i < game.x.size:
            if draw(game) > rules.turn_threshold + rules.turn_slope * game.following_speed[i]:
                turn(rules, game, i, -1 if draw(game) > 0.5 else 1)
            i += 1


@compiled
def count_low_draws(rng: int, threshold: float) -> int:
    """How many of the next MAX_JUMP draws come before the first that may exceed the threshold."""
    limit = np.uint64(max(0.0, threshold * SPAN - 8.0))
    low = np.uint64(MAX_JUMP)
    for k in range(MAX_JUMP):
        product = np.uint64(np.uint32(rng)) * np.uint64(JUMP[k + 1])
        state = (product & np.uint64(MODULUS)) + (product >> np.uint64(31))
        state = min(state, state - np.uint64(MODULUS))  # below the modulus, the difference wraps around
        low = min(low, np.uint64(k) if state > limit else np.uint64(MAX_JUMP))
    return np.int64(low)


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
