"""Tokens of traffic: a scene as 21 tokens, for a language model.

Token 0 is the ego vehicle: its lane and its speed in the last period. Tokens 1 to 20 are segments of 35 px, the
farthest ahead first: which of the seven lanes hold the front of another vehicle, as 7 bits.

    >>> tokens = scene_tokens(recording)                           # (R, T, 21) int64, 0..183
    >>> cars, lane, speed = scene_of(tokens)                       # (R, T, 20, 7) bool, (R, T), (R, T) [mph]

Letters in shapes: R runs, T decisions, (S...) any batch shape, H segments, L lanes.
"""

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.reward import mean_speed_mph
from deeptraffic.sim.rules import FULL_SPEED_MPH, LANE_WIDTH, VEHICLE_WIDTH, Rules
from representation.data.recording import Recording

I64 = NDArray[np.int64]

LANES, SEGMENTS = 7, 20  # L, H
SEGMENT_LENGTH = 35.0  # [px], a little more than a vehicle is long
SPEEDS = 8  # classes of the ego speed
SPEED_CLASS = FULL_SPEED_MPH / SPEEDS  # [mph]
PATTERNS = 2**LANES  # tokens 0..127 are stretches, those from 128 on the ego car
TOKENS = SEGMENTS + 1  # of one scene
VOCABULARY = PATTERNS + LANES * SPEEDS
BITS = (np.arange(PATTERNS)[:, None] >> np.arange(LANES)) & 1  # (128, L) lanes of each pattern


def scene_tokens(recording: Recording) -> I64:
    """Return the tokens of the scene at each decision, (R, T, 21)."""
    _check_road(recording.rules)
    states = recording.states[:, :-1]
    lane = np.clip(np.floor((states["x"] + VEHICLE_WIDTH / 2) / LANE_WIDTH), 0, LANES - 1).astype(np.int64)
    stretch = np.floor(states["y"] / SEGMENT_LENGTH).astype(np.int64)  # (R, T, N)
    tokens = np.zeros((*lane.shape[:2], TOKENS), np.int64)
    for place in range(SEGMENTS):
        here = stretch[..., 1:] == place
        for k in range(LANES):
            tokens[..., 1 + place] |= (here & (lane[..., 1:] == k)).any(-1).astype(np.int64) << k
    speed = np.clip(mean_speed_mph(states["reward"]), 0.0, FULL_SPEED_MPH - 1e-6)
    tokens[..., 0] = PATTERNS + SPEEDS * lane[..., 0] + (speed // SPEED_CLASS).astype(np.int64)
    return tokens


def scene_of(tokens: I64) -> tuple[NDArray[np.bool_], I64, NDArray[np.float64]]:
    """Return (where vehicles are (S..., H, L), ego lane (S...), ego speed (S...) [mph]) of tokens (S..., 21)."""
    own = tokens[..., 0] - PATTERNS
    cars = BITS[tokens[..., 1:]].astype(np.bool_)
    return cars, own // SPEEDS, (own % SPEEDS + 0.5) * SPEED_CLASS


def _check_road(rules: Rules) -> None:
    if rules.lanes != LANES or rules.road_length != SEGMENTS * SEGMENT_LENGTH:
        raise ValueError(
            f"a road of {rules.lanes} lanes and {rules.road_length:g} px has no tokens; take the contests' road of "
            f"{LANES} lanes and {SEGMENTS * SEGMENT_LENGTH:g} px"
        )
