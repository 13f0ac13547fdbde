"""The state of B independent games: plain arrays, the batch axis first.

Everything that a game's future depends on is here, its random stream included, so a copied row continues exactly as
the original does. Derived values (`row`, `cells`, `map_speed`) are kept because a game pauses inside a frame, where a
driver senses what the frame has marked so far.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.rules import Rules

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

PAD = 16  # empty cells before the first and behind the last row of a map column, so that looking ahead needs no test
NOBODY = -1  # `waiting` between two frames
SLOW_ROW = -1000  # `row` of a vehicle so near a cell's edge that only exact arithmetic tells its cells


class State(NamedTuple):
    """B games of N vehicles on L lanes.

    x: (B, N) float64 [px] left side, from the road's left edge
    y: (B, N) float64 [px] front, from the picture's top; ahead is smaller
    following_speed: (B, N) float64 c, what the traffic ahead allows, at most 2
    speed_factor: (B, N) float64 a, what the driver wants; c * a [px/frame] is the speed, 20 * c * a [mph]
    lane: (B, N) int32 the lane a vehicle is in or moving to
    row: (B, N) int32 floor(y / 10), or SLOW_ROW where rounding might matter
    map_speed: (B, N + 1) float64 what a map cell holding number k reads; entry 0 is the empty cell
    cells: (B, L, PAD + H + PAD) uint8 the speed map: 0 empty, k + 1 marked by vehicle k; cell (px, py) at [px, PAD + py]
    scroll: (B,) float64 E [px/frame] how fast the road moves under the picture
    speed_sum: (B,) float64 N, the ego car's speed summed since its last decision [px/frame]
    reward: (B,) float64 the ego car's reward at its last decision
    score_sum: (B,) float64 mean speed of the driven vehicles, summed over the run's frames [px/frame]
    rng: (B,) int64 state of the random stream (2018: stream B)
    frame: (B,) int64 frames ended since the reset
    passed: (B,) int64 vehicles passed minus vehicles that passed
    action: (B,) int64 the pending action
    waiting: (B,) int64 the agent whose decision the game waits for; NOBODY between two frames
    blocked: (B,) int64 1 if the safety system refused the ego car's last attempt at a lane change
    """

    x: F64
    y: F64
    following_speed: F64
    speed_factor: F64
    lane: I32
    row: I32
    map_speed: F64
    cells: U8
    scroll: F64
    speed_sum: F64
    reward: F64
    score_sum: F64
    rng: I64
    frame: I64
    passed: I64
    action: I64
    waiting: I64
    blocked: I64


def make_state(rules: Rules, num_envs: int) -> State:
    """Return zeroed arrays for num_envs games under these rules."""
    b, n = num_envs, rules.vehicles

    def scalars(dtype: type) -> NDArray:
        return np.zeros(b, dtype)

    return State(
        x=np.zeros((b, n)),
        y=np.zeros((b, n)),
        following_speed=np.zeros((b, n)),
        speed_factor=np.zeros((b, n)),
        lane=np.zeros((b, n), np.int32),
        row=np.zeros((b, n), np.int32),
        map_speed=np.zeros((b, n + 1)),
        cells=np.zeros((b, rules.lanes, PAD + rules.rows + PAD), np.uint8),
        scroll=scalars(np.float64),
        speed_sum=scalars(np.float64),
        reward=scalars(np.float64),
        score_sum=scalars(np.float64),
        rng=scalars(np.int64),
        frame=scalars(np.int64),
        passed=scalars(np.int64),
        action=scalars(np.int64),
        waiting=np.full(b, NOBODY, np.int64),
        blocked=scalars(np.int64),
    )
