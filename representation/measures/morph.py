"""A film through scenes that no data set holds: vehicles slide from one placing to the next, also across lanes.

Source of the idea: the lecture's clip of a digit that turns into another while the network says what it sees (Lex
Fridman, MIT Deep Learning Basics 2019, "Introduction and Overview").

    >>> states = morph(RULES_2018, TOUR, steps=16)         # (81,) game records, of which only positions count
    >>> frames = paint_frames(RULES_2018, states, 88, 32, cameras=follow_camera(RULES_2018, states))
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.rules import LANE_MARGIN, LANE_WIDTH, VEHICLE_LENGTH, Rules
from deeptraffic.sim.state import make_games

Placing = tuple[float, float]  # lanes to the right of the own one; free road from the own front to its tail [px]
OUT_OF_SIGHT = 5000.0  # [px] y of vehicles that take no part

# Three vehicles: free, then one comes near, then boxed in step by step, a gap opens, and one slides out of the way.
TOUR: tuple[tuple[Placing, Placing, Placing], ...] = (
    ((0, 190.0), (-1, 180.0), (1, 170.0)),  # free
    ((0, 55.0), (-1, 180.0), (1, 170.0)),  # following
    ((0, 55.0), (-1, 15.0), (1, 170.0)),  # gap right
    ((0, 55.0), (-1, 15.0), (1, -10.0)),  # boxed in
    ((0, 55.0), (-1, 160.0), (1, -10.0)),  # gap left
    ((1, 55.0), (-1, 160.0), (1, -10.0)),  # free
)


def morph(rules: Rules, placings: Sequence[Sequence[Placing]], steps: int) -> NDArray[Any]:
    """Return states (F,) on straight ways between placings of the same vehicles, `steps` from one to the next.

    The ego car stays in the middle lane, at its usual place. F = steps * (placings - 1) + 1.
    """
    if len(placings) < 2 or len({len(placing) for placing in placings}) != 1:
        raise ValueError("a film needs at least two placings of the same number of vehicles")
    table = np.asarray(placings, np.float64)  # (P, vehicles, 2)
    at = np.linspace(0.0, len(table) - 1.0, steps * (len(table) - 1) + 1)
    before = np.minimum(at.astype(np.int64), len(table) - 2)
    share = (at - before)[:, None, None]
    ways = (1.0 - share) * table[before] + share * table[before + 1]  # (F, vehicles, 2)
    states = make_games(rules, len(at))
    own = rules.lanes // 2
    count = ways.shape[1] + 1
    states["y"] = OUT_OF_SIGHT
    states["lane"][:, 0] = own
    states["x"][:, 0], states["y"][:, 0] = LANE_WIDTH * own + LANE_MARGIN, rules.ego_y
    states["x"][:, 1:count] = LANE_WIDTH * (own + ways[..., 0]) + LANE_MARGIN
    states["y"][:, 1:count] = rules.ego_y - VEHICLE_LENGTH - ways[..., 1]
    return states
