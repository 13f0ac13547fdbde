"""Why a driven car is slower than 80 mph in a frame: one cause per car and frame, in compiled code.

The causes are told apart by the game's own state at the frame's end, in this order:

    throttle       nothing is near ahead, but the driver's speed factor is below 2
    moved          it is between two lanes by the decision of another agent (rule step 4: who follows executes it too)
    changing       it is between two lanes by its own decision, and a car is near ahead on the way
    picture's end  a car is near ahead, and the safety system would look beyond the picture, so it allows nothing
    boxed in       a car is near ahead, and no lane change is allowed; told apart by who is ahead, traffic or a copy
    no faster lane a lane change is allowed, but the next car there is not faster than the one ahead
    passed up      a faster lane is clear, and one was at its last decision, which did not take it
    too late       a faster lane is clear, but was not at its last decision; the next one has not come yet

"Near ahead" is the following distance, four cells. A car in "passed up" may have had its reasons: the faster lane may
end in a box. Losses that a move causes later (a box behind the next car) count as what they then are.
"""

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.masks import may_turn
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.kernel import drive
from deeptraffic.sim.rules import Rules
from deeptraffic.sim.state import F64, I64, NOBODY, Game, Games

CAUSES = (
    "below full throttle",
    "boxed in by traffic",
    "boxed in by a copy",
    "at the picture's end",
    "no faster lane",
    "passed up a faster lane",
    "faster lane opened too late",
    "changing lanes",
    "moved by another agent",
)
THROTTLE, BOXED, BOXED_BY_COPY, PICTURE_END, NO_FASTER, PASSED_UP, TOO_LATE, CHANGING, MOVED = range(len(CAUSES))
CLOSED, CLEAR, FASTER = range(3)  # what the best neighbouring lane is like

FULL_SPEED = 4.0  # [px/frame], 80 mph
FASTER_BY = 0.05  # [px/frame], 1 mph: less is no reason to change lanes
SLOW = 3.0  # [px/frame], 60 mph; traffic drives 40 to 54
BIN = 20  # [frames] that are noted together
SLOW_NOW, SLOW_LONGEST, BOXED_NOW, BOXED_LONGEST = range(4)  # entries of `streaks` [frames]


@compiled
def drive_and_note(
    rules: NDArray,
    games: Games,
    rows: I64,
    end_frame: int,
    actions: I64,
    lost: F64,
    open_before: NDArray[np.bool_],
    movers: I64,
    streaks: I64,
) -> None:
    """Run each row to its next decision or to `end_frame`, and note what every frame on the way lost.

    lost: (B, bins, causes) [px/frame] is added to: the mean over the driven cars, summed over the frames of a bin
    open_before: (B, A + 1) whether a faster lane was clear at each driver's last decision
    movers: (B, A + 1) whose decision each car's last lane change was
    streaks: (B, 4) of the ego car: frames below 60 mph and boxed in, now and at most
    """
    lanes = np.empty(rules[0].other_agents + 1, np.int32)
    for k in range(rows.size):
        game, action = games[rows[k]], actions[k]
        while True:
            agent = game.waiting
            if agent != NOBODY:
                open_before[k, agent] = outlook(rules[0], game, agent) == FASTER
            lanes[:] = game.lane[: lanes.size]
            drive(rules[0], game, action, game.frame + 1)
            if agent != NOBODY:  # nobody re-enters the picture in this part of a frame: these are lane changes
                for i in range(lanes.size):
                    movers[k, i] = agent if game.lane[i] != lanes[i] else movers[k, i]
            if game.waiting != NOBODY:
                break
            note_frame(rules[0], game, lost[k, (game.frame - 1) // BIN], open_before[k], movers[k], streaks[k])
            if game.frame >= end_frame:
                break


@compiled
def note_frame(rules: Rules, game: Game, lost: F64, open_before: NDArray[np.bool_], movers: I64, streaks: I64) -> None:
    """Note what the frame that has just ended lost, and by which cause."""
    drivers = rules.other_agents + 1
    for i in range(drivers):
        speed = game.following_speed[i] * game.speed_factor[i]
        if rules.score_clamps:
            speed = max(0.0, speed)
        cause = find_cause(rules, game, i, open_before[i], movers[i])
        lost[cause] += (FULL_SPEED - speed) / drivers
        if i == 0:
            lengthen(streaks, SLOW_NOW, speed < SLOW)
            lengthen(streaks, BOXED_NOW, cause in (BOXED, BOXED_BY_COPY))


@compiled
def lengthen(streaks: I64, now: int, goes_on: bool) -> None:
    """Count a frame of the streak at entry `now`, whose greatest length stands behind it."""
    streaks[now] = streaks[now] + 1 if goes_on else 0
    streaks[now + 1] = max(streaks[now + 1], streaks[now])


@compiled
def find_cause(rules: Rules, game: Game, i: int, open_before: bool, mover: int) -> int:
    """Return why driven car i is not at full speed (THROTTLE where it is), see above."""
    if game.following_speed[i] >= 2.0:
        return THROTTLE
    if abs(game.x[i] - (20.0 * game.lane[i] + 4.0)) >= 0.5:
        return CHANGING if mover == i else MOVED
    lane = outlook(rules, game, i)
    if lane == FASTER:
        return PASSED_UP if open_before else TOO_LATE
    if lane == CLEAR:
        return NO_FASTER
    cell = game.y[i] / 10.0
    if cell - 3.0 * game.speed_factor[i] < 0.0 or cell + 4.0 > rules.rows:
        return PICTURE_END
    ahead = next_ahead(game, i, int((game.x[i] + 7.5) / 20.0))
    return BOXED_BY_COPY if 0 <= ahead <= rules.other_agents else BOXED


@compiled
def outlook(rules: Rules, game: Game, i: int) -> int:
    """Return CLOSED if no lane change of car i is allowed, CLEAR if one is, FASTER if the next car there is faster.

    Faster than the next car in its own lane, that is; nobody there is faster than anybody, nobody ahead is best.
    """
    ahead = next_ahead(game, i, game.lane[i])
    best = CLOSED
    for side in (-1, 1):
        if may_turn(rules, game, i, side):
            there = next_ahead(game, i, game.lane[i] + side)
            gains = ahead >= 0 and (there < 0 or speed_of(game, there) > speed_of(game, ahead) + FASTER_BY)
            best = max(best, FASTER if gains else CLEAR)
    return best


@compiled
def speed_of(game: Game, i: int) -> float:
    """Return a vehicle's speed [px/frame]."""
    return game.following_speed[i] * game.speed_factor[i]


@compiled
def next_ahead(game: Game, i: int, lane: int) -> int:
    """Return the vehicle ahead of car i that is nearest in a lane, -1 if there is none; between lanes it is in both."""
    nearest = -1
    for j in range(game.x.size):
        inside = int(game.x[j] / 20.0) == lane or int((game.x[j] + 10.0) / 20.0) == lane
        nearer = game.y[j] < game.y[i] and (nearest < 0 or game.y[j] > game.y[nearest])
        if j != i and inside and nearer:
            nearest = j
    return nearest
