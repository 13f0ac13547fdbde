"""Tokens of scenes: the cars of a road, from its far end to its near one, as numbers for autoregressive models.

    >>> tokens = scene_tokens(rules, states)                       # of states (S...), see `SceneTokens`
    >>> drawn = place_tokens(rules, tokens, seed=0)                # states, and whether each was a legal scene
    >>> sim.set_state(drawn.states); sim.step(sim.idle)            # the run continues from there

The road is moved so that the ego front stands at y = 525 px, as in `representation/data/rasters.py`; cars in view are
those whose front is at 0 to 700 px. The state is real-valued: positions and speed factors are binned, and drawn
uniformly within their bins again. Following speeds are mostly exact values of the rules (`EXACT`), among them the
speed of the car ahead, so these tokens are exact; the rest is binned.

Letters in shapes: (S...) any batch shape, B scenes, K cars.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.rules import RULES_2018, VEHICLE_LENGTH, Rules
from representation.data.labels import SCENES, scene_class
from representation.data.rasters import CELL, PlacedScenes, place_scenes, raster_rows

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

LANES, CARS = 7, 19  # of the contests' road; other cars
PLACE = 2.5  # [px] of a bin of positions
PLACES, EGO_PLACE = 280, 210  # bins of the road; the bin of the ego front
FACTORS = 16  # bins of the speed factor of traffic
EGO_STEP, EGO_FACTORS = 0.02, 102  # a decision changes the ego car's factor by one bin
END = PLACES  # in place of bins: no car follows
EXACT = (0.0, 0.5, 1.0, 1.5, 2.0)  # following speeds by free road ahead, see RULES.md
MATCHED = len(EXACT)  # at the speed of the car ahead in the lane
REST = 0.25  # of a bin of other following speeds
FOLLOWINGS = MATCHED + 1 + int(2.0 / REST)
EGO_SIZES = (len(SCENES), LANES, EGO_FACTORS, FOLLOWINGS)  # numbers of tokens, see `SceneTokens`
CAR_SIZES = (PLACES + 1, LANES, FACTORS, FOLLOWINGS)


class SceneTokens(NamedTuple):
    """Scenes as tokens.

    ego: (S..., 4) class of the scene (`SCENES`), lane, speed factor, following speed of the ego car
    cars: (S..., K + 1, 4) bins from the car before (from the far end) or END, lane, speed factor, following speed of
        each other car in view; 0 behind END
    """

    ego: I64
    cars: I64

    def at(self, index: Any) -> "SceneTokens":
        """Return the scenes at an index of (S...)."""
        return SceneTokens(self.ego[index], self.cars[index])


def scene_tokens(rules: Rules, states: NDArray[Any]) -> SceneTokens:
    """Return the tokens of states (S...); of cars that overlap in a lane, all are listed."""
    _check_road(rules)
    flat = states.reshape(-1)
    along = flat["y"] - flat["y"][:, :1] + rules.ego_y  # (B, N) [px]
    following = _following_tokens(flat, along)
    place = np.floor(along / PLACE).astype(np.int64)
    lane = flat["lane"].astype(np.int64)
    seen = (place >= 0) & (place < PLACES)
    seen[:, 0] = False
    order = np.argsort(np.where(seen, place * LANES + lane, np.iinfo(np.int64).max), axis=1, kind="stable")[:, :CARS]
    low, width = _factor_bins(rules)
    factor = np.clip(np.floor((flat["speed_factor"] - low) / width), 0, FACTORS - 1).astype(np.int64)
    parts = [np.take_along_axis(values, order, 1) for values in (place, lane, factor, following)]
    there = np.take_along_axis(seen, order, 1)
    parts[0] = np.diff(parts[0], axis=1, prepend=0)
    cars = np.zeros((flat.size, CARS + 1, 4), np.int64)
    cars[:, :CARS] = np.stack(parts, -1) * there[..., None]
    cars[np.arange(flat.size), there.sum(1), 0] = END
    own = np.clip(np.round(flat["speed_factor"][:, 0] / EGO_STEP), 0, EGO_FACTORS - 1).astype(np.int64)
    ego = np.stack([scene_class(rules, flat), lane[:, 0], own, following[:, 0]], -1)
    return SceneTokens(ego.reshape(*states.shape, 4), cars.reshape(*states.shape, CARS + 1, 4))


def place_tokens(rules: Rules, tokens: SceneTokens, seed: int = 0) -> PlacedScenes:
    """Return the states of tokens (B, ...), with nothing moved or left out to make them legal."""
    _check_road(rules)
    random, count = np.random.default_rng(seed), len(tokens.ego)
    there = there_are(tokens.cars)
    place, (low, width) = tokens.cars[..., 0].cumsum(1), _factor_bins(rules)
    shape = place[:, :CARS].shape
    y, factor = np.full((count, CARS + 1), rules.ego_y), tokens.ego[:, 2:3] * EGO_STEP * np.ones((1, CARS + 1))
    lane, following = np.repeat(tokens.ego[:, 1:2], CARS + 1, 1), np.repeat(tokens.ego[:, 3:4], CARS + 1, 1)
    y[:, 1:] = np.where(there, (place[:, :CARS] + random.random(shape)) * PLACE, np.inf)
    lane[:, 1:] = np.where(there, tokens.cars[:, :CARS, 1], 0)
    factor[:, 1:] = low + (tokens.cars[:, :CARS, 2] + random.random(shape)) * width
    following[:, 1:] = tokens.cars[:, :CARS, 3]
    apart = np.abs(y[:, :, None] - np.where(np.isinf(y), -1e9, y)[:, None])
    overlaps = (apart < VEHICLE_LENGTH) & (lane[:, :, None] == lane[:, None]) & ~np.eye(CARS + 1, dtype=bool)
    beyond = (y >= rules.road_length) & np.isfinite(y)
    is_valid = ~(overlaps.any((1, 2)) | beyond.any(1))
    speed = _following_speeds(lane, y, factor, following, random)
    return PlacedScenes(place_scenes(rules, lane, y, factor, speed, seed), is_valid)


def there_are(cars: I64) -> NDArray[np.bool_]:
    """Whether each place of a scene's list (S..., K + 1, 4) holds a car, (S..., K)."""
    return ((cars[..., 0] == END).cumsum(-1) == 0)[..., :CARS]


# --- following speeds -------------------------------------------------------------------------------------------------


def _leaders(lane: NDArray[Any], y: F64) -> tuple[I64, NDArray[np.bool_]]:
    """Return (the next car ahead of each in its lane, whether there is one), (B, N)."""
    y = np.where(np.isfinite(y), y, -1e9)
    ahead = y[:, :, None] - y[:, None]  # (B, N, N)
    ahead = np.where((lane[:, :, None] == lane[:, None]) & (ahead > 0) & (ahead < 1e6), ahead, np.inf)
    return ahead.argmin(2), np.isfinite(ahead.min(2))


def _following_tokens(states: NDArray[Any], along: F64) -> I64:
    free, speed = states["following_speed"], states["following_speed"] * states["speed_factor"]
    leader, has_leader = _leaders(states["lane"], np.where(along >= 0, along, np.inf))
    tokens = MATCHED + 1 + np.clip(free // REST, 0, FOLLOWINGS - MATCHED - 2).astype(np.int64)
    matched = has_leader & (np.abs(speed - np.take_along_axis(speed, leader, 1)) < 0.01)
    tokens[matched] = MATCHED
    for k, value in enumerate(EXACT):
        tokens[np.abs(free - value) < 1e-6] = k
    return tokens


def _following_speeds(lane: I64, y: F64, factor: F64, tokens: I64, random: np.random.Generator) -> F64:
    """Return following speeds (B, N); those that match the car ahead from the front backward."""
    rest = (tokens - MATCHED - 1 + random.random(tokens.shape)) * REST
    free = np.where(tokens < MATCHED, np.array([*EXACT, 2.0])[np.minimum(tokens, MATCHED)], rest)
    free = np.where(tokens == MATCHED, 2.0, free)
    leader, has_leader = _leaders(lane, y)
    rows = np.arange(len(y))
    for k in np.argsort(y, axis=1).T:
        ahead = leader[rows, k]
        value = free[rows, ahead] * factor[rows, ahead] / np.maximum(factor[rows, k], 1e-6)
        matched = (tokens[rows, k] == MATCHED) & has_leader[rows, k]
        free[rows, k] = np.where(matched, np.minimum(value, 2.0), free[rows, k])
    return free


def following_values() -> F64:
    """Return the typical following speed of each token; of `MATCHED` ones the mean of recorded driving."""
    return np.array([*EXACT, 1.7, *(REST * (k + 0.5) for k in range(FOLLOWINGS - MATCHED - 1))])


def factor_values() -> F64:
    """Return the middle of each bin of speed factors under the 2018 rules, and at the end that of a lane's end."""
    low, width = _factor_bins(RULES_2018)
    return np.array([low + width * (k + 0.5) for k in range(FACTORS + 1)])


def _factor_bins(rules: Rules) -> tuple[float, float]:
    """Slowest speed factor of traffic, and the width of a bin."""
    return rules.traffic_factor_min, rules.traffic_factor_range * rules.traffic_factor_share / FACTORS


def _check_road(rules: Rules) -> None:
    if (rules.lanes, rules.vehicles) != (LANES, CARS + 1) or raster_rows(rules) * CELL != PLACES * PLACE:
        raise ValueError(
            f"a road of {rules.lanes} lanes, {rules.road_length:g} px and {rules.vehicles} cars has no scene tokens; "
            f"take the contests' road of {LANES} lanes, {PLACES * PLACE:g} px and {CARS + 1} cars"
        )
