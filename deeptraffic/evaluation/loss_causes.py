"""Attribution of lost speed: one cause for each agent and frame in which it is slower than 80 mph, in compiled code.

The causes are distinguished by the state at the end of the frame, in this order:

    throttle       nothing is near ahead, but the agent's speed factor is below 2
    moved          it is between two lanes by another agent's decision (`deeptraffic/sim/RULES.md`: those behind the
                   deciding agent execute its action too)
    changing       it is between two lanes by its own decision, and a vehicle is near ahead on the way
    view's edge    a vehicle is near ahead, and the safety system would need cells beyond the view, so it allows nothing
    boxed in       a vehicle is near ahead, and no lane change is allowed; split by what is ahead, traffic or a copy
    no faster lane a lane change is allowed, but the next vehicle there is not faster than the one ahead
    passed up      a faster lane is clear, and was at the last decision, which did not take it
    too late       a faster lane is clear, but was not at the last decision; the next one has not come yet

"Near ahead" is the following distance, four cells. An agent in "passed up" may have had a reason: the faster lane may
end in a box. Later losses caused by a move (a box behind the next vehicle) count as what they then are.
"""

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.masks import may_turn
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.kernel import drive
from deeptraffic.sim.rules import (
    CELL_LENGTH,
    FULL_SPEED,
    LANE_MARGIN,
    LANE_WIDTH,
    MAX_FOLLOWING_SPEED,
    TURN_TOLERANCE,
    VEHICLE_CELLS,
    VEHICLE_WIDTH,
    Rules,
)
from deeptraffic.sim.state import I32, I64, NOBODY, Game, Games

CAUSES = (
    "below full throttle",
    "boxed in by traffic",
    "boxed in by a copy",
    "at the edge of the view",
    "no faster lane",
    "passed up a faster lane",
    "faster lane opened too late",
    "changing lanes",
    "moved by another agent",
)
THROTTLE, BOXED, BOXED_BY_COPY, VIEW_EDGE, NO_FASTER, PASSED_UP, TOO_LATE, CHANGING, MOVED = range(len(CAUSES))
CLOSED, CLEAR, FASTER = range(3)  # of the better neighbouring lane
FASTER_BY = 0.05  # [px/frame], 1 mph: less is no reason to change lanes
SLOW = 3.0  # [px/frame], 60 mph; traffic has 40 to 54
BIN = 20  # [frames] whose losses are added up
NOW, LONGEST = range(2)

Record = np.record  # an entry of `loss_records`


def loss_records(envs: int, agents: int, bins: int) -> NDArray[np.void]:
    """Return empty records, (envs,) structured.

    lost: (bins, causes) [px/frame] mean over the agents, summed over the frames of a bin
    was_open: (agents,) 1 if a faster lane was clear at each agent's last decision
    movers: (agents,) whose decision each agent's last lane change was, at first its own
    slow, boxed: (2,) [frames] that the ego agent was below 60 mph, and boxed in: the streak NOW, and the LONGEST
    """
    fields = [("lost", np.float64, (bins, len(CAUSES))), ("was_open", np.int8, (agents,))]
    fields += [("movers", np.int64, (agents,)), ("slow", np.int64, (2,)), ("boxed", np.int64, (2,))]
    records = np.zeros(envs, np.dtype(fields, align=True))
    records["movers"] = np.arange(agents)
    return records


@compiled
def run_and_record(
    rules: NDArray, games: Games, env_indices: I64, end_frame: int, actions: I64, records: NDArray[np.void]
) -> None:
    """Run each env to its next decision or to `end_frame`, and record what every frame on the way lost."""
    lanes = np.empty(rules[0].other_agents + 1, np.int32)
    for k in range(env_indices.size):
        game, record, action = games[env_indices[k]], records[k], actions[k]
        while not step_and_record(rules[0], game, action, record, lanes) and game.frame < end_frame:
            pass


@compiled
def step_and_record(rules: Rules, game: Game, action: int, record: Record, lanes: I32) -> bool:
    """Step to the next decision, for which it returns True, or the end of the frame, and record what this has lost.

    lanes: (agents,) scratch
    """
    agent = game.waiting
    if agent != NOBODY:
        record.was_open[agent] = better_lane(rules, game, agent) == FASTER
    lanes[:] = game.lane[: lanes.size]
    drive(rules, game, action, game.frame + 1)
    if agent != NOBODY:  # no vehicle re-enters in this part of a frame: these are lane changes
        for i in range(lanes.size):
            if game.lane[i] != lanes[i]:
                record.movers[i] = agent
    if game.waiting != NOBODY:
        return True
    record_frame(rules, game, record)
    return False


@compiled
def record_frame(rules: Rules, game: Game, record: Record) -> None:
    """Record what the frame that has just ended lost, and by which cause."""
    agents = rules.other_agents + 1
    for i in range(agents):
        speed = game.following_speed[i] * game.speed_factor[i]
        if rules.score_clamps:
            speed = max(0.0, speed)
        cause = find_cause(rules, game, i, record.was_open[i], record.movers[i])
        record.lost[(game.frame - 1) // BIN, cause] += (FULL_SPEED - speed) / agents
        if i == 0:
            count_streak(record.slow, speed < SLOW)
            count_streak(record.boxed, cause in (BOXED, BOXED_BY_COPY))


@compiled
def _stuck_level(rules: NDArray, games: Games) -> int:
    game = games[0]
    if game.following_speed[0] * game.speed_factor[0] >= SLOW:
        return 0
    return 2 if find_cause(rules[0], game, 0, 0, 0) in (BOXED, BOXED_BY_COPY) else 1


def stuck_level(sim: Simulator) -> int:
    """Return 1 if env 0's ego car is below 60 mph after a frame, 2 if it is also boxed in, else 0."""
    return int(_stuck_level(sim.table, sim.games))


@compiled
def count_streak(streak: I64, continues: bool) -> None:
    """Count a frame of a streak (2,): its length now, and the longest so far."""
    streak[NOW] = streak[NOW] + 1 if continues else 0
    streak[LONGEST] = max(streak[LONGEST], streak[NOW])


@compiled
def find_cause(rules: Rules, game: Game, i: int, was_open: int, mover: int) -> int:
    """Return why agent i is not at full speed (THROTTLE where it is); the causes are those of the module."""
    if game.following_speed[i] >= MAX_FOLLOWING_SPEED:
        return THROTTLE
    if abs(game.x[i] - (LANE_WIDTH * game.lane[i] + LANE_MARGIN)) >= TURN_TOLERANCE:
        return CHANGING if mover == i else MOVED
    lane = better_lane(rules, game, i)
    if lane == FASTER:
        return PASSED_UP if was_open else TOO_LATE
    if lane == CLEAR:
        return NO_FASTER
    cell = game.y[i] / CELL_LENGTH
    if cell - 3.0 * game.speed_factor[i] < 0.0 or cell + VEHICLE_CELLS > rules.rows:
        return VIEW_EDGE
    ahead = next_ahead(game, i, int((game.x[i] + VEHICLE_WIDTH / 2.0) / LANE_WIDTH))
    return BOXED_BY_COPY if 0 <= ahead <= rules.other_agents else BOXED


@compiled
def better_lane(rules: Rules, game: Game, i: int) -> int:
    """Return CLOSED if agent i may not change lanes, CLEAR if it may, FASTER if the next vehicle there is faster.

    Faster than the next vehicle in its own lane; an empty lane is faster than any vehicle, an empty own lane the best.
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
    """Return the nearest vehicle ahead of agent i in a lane, -1 if there is none; one between lanes is in both."""
    nearest = -1
    for j in range(game.x.size):
        inside = int(game.x[j] / LANE_WIDTH) == lane or int((game.x[j] + LANE_WIDTH / 2.0) / LANE_WIDTH) == lane
        nearer = game.y[j] < game.y[i] and (nearest < 0 or game.y[j] > game.y[nearest])
        if j != i and inside and nearer:
            nearest = j
    return nearest
