"""State of B independent games: one record per game, so that copying a game is copying a few hundred bytes.

Everything that a game's future depends on is in its record, its random stream included, so a copied record continues
exactly as the original does. Derived values (`place`, `followers`, `cells`, `map_speed`) are kept because a game pauses
inside a frame, where an agent observes what the frame has marked so far.

Compiled code gets one record (`game.x[i]`) by reference, with sizes the compiler knows; from Python, the records of a
simulator read as arrays with the batch axis first (`sim.state.x` is (B, N)).
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.rules import Rules

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]
Games = NDArray[Any]  # (B,) of game records

PAD = 16  # empty cells before the first and behind the last row of a map column, so that looking ahead needs no test
NOBODY = -1  # `waiting` between two frames
ELSEWHERE = -1  # `place` of a vehicle between two lanes, out of view, or so near a cell's edge that rounding matters


class Game(Protocol):
    """One game of N vehicles on L lanes of H rows; `State` has the same fields with a batch axis B in front.

    x: (N,) float64 [px] left side, from the road's left edge
    y: (N,) float64 [px] front, from the far end of the road; ahead is smaller
    following_speed: (N,) float64 c, what the traffic ahead allows, at most 2
    speed_factor: (N,) float64 a, what its driver wants; c * a [px/frame] is the speed, 20 * c * a [mph]
    map_speed: (N + 1,) float64 what a map cell holding number k reads; entry 0 is the empty cell
    scroll: float64 E [px/frame] how fast the view moves along the road
    speed_sum: float64 N, the ego car's speed summed since its last decision [px/frame]
    reward: float64 the ego car's reward at its last decision
    score_sum: float64 mean speed of the driven vehicles, summed over the run's frames [px/frame]
    rng: int64 state of the random stream (2018: stream B)
    frame: int64 frames ended since the reset
    passed: int64 vehicles passed minus vehicles that passed
    action: int64 the pending action
    waiting: int64 the agent whose decision the game waits for; NOBODY between two frames
    blocked: int64 1 if the safety system refused the lane change the ego car last decided on
    lane: (N,) int32 the lane a vehicle is in or moving to
    place: (N,) int32 index of a vehicle's front cell in the flattened `cells`, or ELSEWHERE
    followers: (N,) uint8 in its first entries, the vehicles with another one within four cells ahead
    cells: (L, PAD + H + PAD) uint8 the speed map: 0 empty, k + 1 marked by vehicle k; cell (px, py) at [px, PAD + py]
    """

    x: F64
    y: F64
    following_speed: F64
    speed_factor: F64
    map_speed: F64
    scroll: float
    speed_sum: float
    reward: float
    score_sum: float
    rng: int
    frame: int
    passed: int
    action: int
    waiting: int
    blocked: int
    lane: I32
    place: I32
    followers: U8
    cells: U8


State = np.recarray  # (B,) of game records, each field readable as an attribute


def game_dtype(rules: Rules) -> np.dtype:
    """Return the record type of one game under these rules; the fields are those of `Game`."""
    n = rules.vehicles
    floats = ["scroll", "speed_sum", "reward", "score_sum"]
    counts = ["rng", "frame", "passed", "action", "waiting", "blocked"]
    fields: list[tuple] = [(name, np.float64, (n,)) for name in ("x", "y", "following_speed", "speed_factor")]
    fields += [("map_speed", np.float64, (n + 1,))]
    fields += [(name, np.float64) for name in floats] + [(name, np.int64) for name in counts]
    fields += [("lane", np.int32, (n,)), ("place", np.int32, (n,)), ("followers", np.uint8, (n,))]
    fields += [("cells", np.uint8, (rules.lanes, PAD + rules.rows + PAD))]
    return np.dtype(fields, align=True)


def make_games(rules: Rules, num_envs: int) -> Games:
    """Return (num_envs,) zeroed game records."""
    games = np.zeros(num_envs, game_dtype(rules))
    games["waiting"] = NOBODY
    return games


def rules_record(rules: Rules) -> NDArray[Any]:
    """Return the rules as (1,) record, which compiled code takes by reference (a tuple is unpacked on each call)."""
    kinds = [(name, type(value)) for name, value in rules._asdict().items()]
    return np.array([tuple(rules)], np.dtype([(n, np.int64 if k is int else k) for n, k in kinds], align=True))
