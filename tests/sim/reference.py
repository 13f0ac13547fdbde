"""A second implementation of the game, to judge the first: naive, in the words and the order of the rules.

Speeds stand in a map of floats which is emptied at each frame, floors and divisions are made where the rules make
them, and random numbers are drawn one by one. Numba compiles it only so that millions of frames are cheap.
It was written from the rules' text alone and shares no line with the package.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

NONE, ACCELERATE, DECELERATE, LEFT, RIGHT = 0, 1, 2, 3, 4
PRIME = 2147483647

Cars = NDArray[Any]
Cells = NDArray[np.float64]

naive = njit(error_model="numpy")


class Road(NamedTuple):
    """The few numbers that a road is made of; the defaults are the 2018 contest's."""

    is_2018: bool = True
    other_agents: int = 0
    lanes: int = 7
    vehicles: int = 20
    rows: int = 70
    period: int = 30
    factor_min: float = 1.0
    factor_range: float = 0.7
    turn_rate: float = 0.01


CAR = np.dtype([(name, np.float64) for name in "xyca"] + [("lane", np.int64), ("driven", np.int64)])
GAME = np.dtype(
    [(name, np.float64) for name in ("E", "N", "reward", "score")]
    + [(name, np.int64) for name in ("g", "frame", "passed", "d", "waiting")]
)


class World(NamedTuple):
    """B games of N vehicles on L lanes of H rows, in the words of the rules.

    cars: (B, N) of CAR; speed_map: (B, L, H) float64; games: (B,) of GAME
    """

    cars: NDArray[Any]
    speed_map: NDArray[np.float64]
    games: NDArray[Any]


def make_world(road: Road, num_envs: int = 1) -> World:
    """Return B worlds in which nothing has been constructed yet."""
    return World(
        np.zeros((num_envs, road.vehicles), CAR),
        np.zeros((num_envs, road.lanes, road.rows)),
        np.zeros(num_envs, GAME),
    )


# --- random numbers ---------------------------------------------------------------------------------------------------


@naive
def seeded(n: int) -> int:
    g = n % PRIME
    if g <= 0:
        g += PRIME - 1
    return g


@naive
def draw(game: Any) -> float:
    game.g = 16807 * game.g % PRIME
    return (game.g - 1) / 2147483646


# --- the start --------------------------------------------------------------------------------------------------------


@naive
def start_program(road: Road, cars: Cars, game: Any, stream: int) -> None:
    """Seed the stream and construct all vehicles once."""
    game.g = stream
    game.d = NONE
    construct_all(road, cars, game)


@naive
def construct_all(road: Road, cars: Cars, game: Any) -> None:
    for i in range(road.vehicles):
        cars[i].c = 1.0
        cars[i].a = 1.0
        cars[i].driven = False
        spawn(road, cars[i], game)
        if not road.is_2018:
            cars[i].y = 10.0 * np.floor(road.rows * 10.0 * draw(game) / 10.0)


@naive
def reset(road: Road, cars: Cars, game: Any, k: int) -> None:
    """Reset number k."""
    construct_all(road, cars, game)
    if road.is_2018:
        for i in range(road.other_agents + 1):
            cars[i].driven = True
        game.g = seeded(k)
        lay_out(road, cars, game, seeded(k))
        game.d = NONE
    game.frame = 0
    game.E = 1.5
    game.passed = 0
    game.N = 0.0
    game.reward = 0.0
    game.score = 0.0
    game.waiting = -1


@naive
def lay_out(road: Road, cars: Cars, game: Any, stream_a: int) -> None:
    legal = np.arange(road.lanes * road.rows)
    length = legal.size
    for i in range(road.vehicles):
        if i == 0:
            column, row = road.lanes // 2, road.rows * 4 // 5
            cars[i].y = 0.75 * (road.rows * 10.0)
        else:
            stream_a = 16807 * stream_a % PRIME
            p = legal[int(np.floor(length * ((stream_a - 1) / 2147483646)))]
            row, column = p // road.lanes, p % road.lanes
            cars[i].y = np.floor(row / road.rows * (road.rows * 10.0))
        cars[i].x = 20.0 * column + 4.0
        cars[i].lane = column
        for r in range(row - 4, row + 12):
            length = remove(legal, length, road.lanes * r + column)
    for i in range(1, road.other_agents + 1):
        cars[i].a = 1.7
    cars[0].a = 2.0


@naive
def remove(legal: NDArray[np.int64], length: int, entry: int) -> int:
    """Remove an entry from the list's first `length`, or the last one if it is not there; returns the new length."""
    if length == 0:
        return 0
    place = length - 1
    for k in range(length):
        if legal[k] == entry:
            place = k
    for k in range(place, length - 1):
        legal[k] = legal[k + 1]
    return length - 1


# --- the frame --------------------------------------------------------------------------------------------------------


@naive
def run_to_decision(road: Road, cars: Cars, speed_map: Cells, game: Any, action: int) -> None:
    """Hand over the decision that is waited for, and run on until the next is due; `waiting` names whose it is."""
    if game.waiting >= 0:
        game.d = action
        after_decision(road, cars, speed_map, game, game.waiting)
    while True:
        game.waiting = before_decision(road, cars, speed_map, game)
        if game.waiting >= 0:
            return
        after_decision(road, cars, speed_map, game, -1)


@naive
def who_decides(road: Road, frame: int) -> int:
    clock = frame % road.period
    if clock == 0:
        return 0
    for i in range(1, road.other_agents + 1):
        if clock == i * (road.period // 10):
            return i
    return -1


@naive
def before_decision(road: Road, cars: Cars, speed_map: Cells, game: Any) -> int:
    """The frame up to its decision, which is at most one; returns the agent that decides, or -1."""
    speed_map[:, :] = empty(road)
    for i in range(road.vehicles):
        move(road, cars[i], i == 0, game)
        mark(speed_map, cars[i], cars[i].c * cars[i].a)
    game.E = 1.5 - (cars[0].y - 0.75 * (road.rows * 10.0))
    for i in range(road.vehicles):
        follow(road, speed_map, cars[i])
        if i > road.other_agents:
            u = draw(game)
            if u > (1.0 - road.turn_rate) + 0.4 * road.turn_rate * cars[i].c:
                turn(road, speed_map, cars[i], -1 if draw(game) > 0.5 else 1)
    if road.is_2018:
        game.d = NONE
    decider = who_decides(road, game.frame)
    for i in range(1, road.other_agents + 1):
        if i < decider or decider <= 0:
            execute(road, speed_map, cars[i], game.d)
    if decider <= 0:
        ego_counts(road, cars, speed_map, game)
    return decider


@naive
def ego_counts(road: Road, cars: Cars, speed_map: Cells, game: Any) -> None:
    c, a = cars[0].c, cars[0].a
    mark(speed_map, cars[0], c * a if road.is_2018 else (10.0 * c) * a)
    game.N += c * a
    if game.frame % road.period == 0:
        game.reward = (game.N - 2.0 * road.period) / (2.0 * road.period / 3.0)
        game.N = 0.0


@naive
def after_decision(road: Road, cars: Cars, speed_map: Cells, game: Any, decider: int) -> None:
    """The rest of the frame, after agent `decider` (-1: nobody) has left its action in d."""
    if decider > 0:
        for i in range(decider, road.other_agents + 1):
            execute(road, speed_map, cars[i], game.d)
        ego_counts(road, cars, speed_map, game)
    execute(road, speed_map, cars[0], game.d)
    if game.d == LEFT or game.d == RIGHT:
        game.d = NONE
    game.frame += 1
    for i in range(road.other_agents + 1):
        speed = cars[i].c * cars[i].a
        if road.is_2018 and speed < 0.0:
            speed = 0.0
        game.score += speed / (road.other_agents + 1)


@naive
def move(road: Road, car: Any, is_ego: bool, game: Any) -> None:
    ego_y, end = 0.75 * (road.rows * 10.0), road.rows * 10.0
    before = car.y
    after = before - (car.c * car.a - game.E)
    if not is_ego:
        if before < ego_y and ego_y <= after:
            game.passed += 1
        if before > ego_y and ego_y >= after:
            game.passed -= 1
    car.y = after
    t = 20.0 * car.lane + 4.0 - car.x
    if abs(t) < 20.0 / 30.0:
        car.x = 20.0 * car.lane + 4.0
    elif t > 0.0:
        car.x = car.x + 20.0 / 30.0
    else:
        car.x = car.x - 20.0 / 30.0
    if 0.0 > car.y + 68.0:
        car.y = end + 34.0
        spawn(road, car, game)
    if end < car.y - 68.0:
        car.y = -34.0
        spawn(road, car, game)


@naive
def spawn(road: Road, car: Any, game: Any) -> None:
    lane = int(np.floor(road.lanes * 20.0 * draw(game) / 20.0))
    car.lane = lane
    car.x = 20.0 * lane + 4.0
    if not road.is_2018:
        car.a = road.factor_min + road.factor_range * draw(game)
    elif not car.driven:
        car.a = road.factor_min + road.factor_range * (0.5 * draw(game))


@naive
def follow(road: Road, speed_map: Cells, car: Any) -> None:
    v = 2.0
    for k in range(1, 5):
        d = read(speed_map, (car.x + 7.5) / 20.0, (car.y - 10.0 * k) / 10.0, empty(road))
        if d < empty(road):
            v = smaller(v, 0.5 * (k - 1))
            v = smaller(v, d / car.a)
    car.c = v


@naive
def smaller(p: float, q: float) -> float:
    if math.isnan(p) or math.isnan(q):
        return math.nan
    return q if q < p else p


@naive
def turn(road: Road, speed_map: Cells, car: Any, s: int) -> None:
    if not abs(car.x - (20.0 * car.lane + 4.0)) < 0.5:
        return
    f = -3.0 * car.a
    while f < 4.0:
        if not read(speed_map, (car.x + 7.5) / 20.0 + s, car.y / 10.0 + f, 0.0) >= empty(road):
            return
        f += 1.0
    car.lane += s


@naive
def execute(road: Road, speed_map: Cells, car: Any, d: int) -> None:
    if d == ACCELERATE and car.a < 2.0:
        car.a += 0.02
    if d == DECELERATE and car.a > 0.0:
        car.a -= 0.02
    if d == LEFT:
        turn(road, speed_map, car, -1)
    if d == RIGHT:
        turn(road, speed_map, car, 1)


# --- the speed map ----------------------------------------------------------------------------------------------------


@naive
def empty(road: Road) -> float:
    return 100.0 if road.is_2018 else 7.0


@naive
def mark(speed_map: Cells, car: Any, speed: float) -> None:
    for dx in (0.0, 10.0):
        for dy in (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0):
            px, py = np.floor((car.x + dx) / 20.0), np.floor((car.y + dy) / 10.0)
            if 0.0 <= px < speed_map.shape[0] and 0.0 <= py < speed_map.shape[1]:
                speed_map[int(px), int(py)] = speed


@naive
def read(speed_map: Cells, px: float, py: float, off_grid: float) -> float:
    px, py = np.floor(px), np.floor(py)
    if 0.0 <= px < speed_map.shape[0] and 0.0 <= py < speed_map.shape[1]:
        return speed_map[int(px), int(py)]
    return off_grid


@naive
def sense(road: Road, speed_map: Cells, car: Any, lanes_side: int, ahead: int, behind: int) -> NDArray[np.float64]:
    """What an agent sees, ((2 L + 1) * (P + Q),)."""
    base = 0.75 * (road.rows * 10.0) / 10.0
    if road.is_2018:
        base = np.floor(car.y) / 10.0
    seen = np.empty((ahead + behind, 2 * lanes_side + 1))
    for r in range(-ahead, behind):
        for s in range(-lanes_side, lanes_side + 1):
            seen[r + ahead, s + lanes_side] = read(speed_map, car.lane + s, base + r, 0.0) / empty(road)
    return seen.ravel()


# --- many games at once -----------------------------------------------------------------------------------------------


@naive
def start_all(road: Road, world: World, streams: NDArray[np.int64]) -> None:
    """Start the program of each world on its own stream."""
    for b in range(streams.size):
        start_program(road, world.cars[b], world.games[b], streams[b])


@naive
def reset_all(road: Road, world: World, runs: NDArray[np.int64]) -> None:
    """Reset each world with its own number."""
    for b in range(runs.size):
        reset(road, world.cars[b], world.games[b], runs[b])


@naive
def run_all(road: Road, world: World, actions: NDArray[np.int64]) -> None:
    """Hand each world its action and run it to its next decision."""
    for b in range(actions.size):
        run_to_decision(road, world.cars[b], world.speed_map[b], world.games[b], actions[b])


@naive
def sense_all(
    road: Road, world: World, agent: int, lanes_side: int, ahead: int, behind: int, out: NDArray[np.float64]
) -> None:
    """Write what one agent sees in each world into out, (B, (2 L + 1) * (P + Q))."""
    for b in range(out.shape[0]):
        out[b] = sense(road, world.speed_map[b], world.cars[b, agent], lanes_side, ahead, behind)
