"""Scene rasters: the whole road as a small grid of channels, and back to a state that the simulator continues.

    >>> rasters = rasterise(recording.rules, states)             # (B, 5, 20, 7) float32 in -1..1
    >>> scenes = decode_rasters(recording.rules, rasters, seed=0)       # states, and whether each raster was legal
    >>> sim.set_state(scenes.states); sim.step(sim.idle)               # the run continues from there

A cell is 35 px of one lane, a little more than a car's 34 px, so that a cell holds the front of one car at most. The
road is moved so that the ego front stands at y = 525 exactly, where the scrolling holds it: the ego car is always in
row 15. Vehicles between two lanes are drawn in the lane they are moving to. Vehicles beyond the raster's ends are not
drawn; in decoding they are placed behind the road's end, where the simulator places new ones.

| channel   | -1 .. 1                                                                               |
|-----------|---------------------------------------------------------------------------------------|
| vehicle   | -1 an empty cell, 1 the front of a car                                                |
| own       | 1 the ego car, else -1                                                                |
| position  | of the front in its cell, -1 at its far end, 1 at its near one                        |
| factor    | speed factor: of traffic 1 .. 1.35 (2018), of the ego car 0 .. 2                      |
| following | following speed 0 .. 2; 1 is a free road                                              |

In empty cells position, factor and following are 0. Letters in shapes: B scenes, R rows, L lanes, N vehicles.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import LANE_MARGIN, LANE_WIDTH, VEHICLE_LENGTH, Rules
from deeptraffic.sim.state import make_games

CHANNELS = ("vehicle", "own", "position", "factor", "following")
VEHICLE, OWN, POSITION, SPEED_FACTOR, FOLLOWING = range(len(CHANNELS))
CELL = 35.0  # [px]
EGO_POSITION = -1.0  # the ego front stands at the far end of its cell
SCROLL_LINE = (
    526.5  # [px] the ego front stands this minus its speed of the frame before: y - (v - E), E = 1.5 - (y - 525)
)

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class PlacedScenes:
    """Scenes as the simulator continues them.

    states: (B,) state records before frame 0, as after a reset; `Simulator.step` runs them to the first decision
    is_valid: (B,) whether each was a legal scene as it was drawn: no overlap, no surplus vehicle, one ego vehicle
    """

    states: NDArray[Any]
    is_valid: Bools


def raster_rows(rules: Rules) -> int:
    """R, rows of a scene's raster; ValueError for a road of another size."""
    if rules.road_length % CELL or rules.ego_y % CELL or rules.other_agents:
        raise ValueError(
            f"a road of {rules.rows} rows with {rules.other_agents} other agents has no raster of cells of "
            f"{CELL:g} px; use rows=70 and other_agents=0"
        )
    return int(rules.road_length / CELL)


def rasterise(rules: Rules, states: NDArray[Any]) -> F32:
    """Return the rasters of states (B,), (B, 5, R, L) float32; of two vehicles in one cell, the nearer one's."""
    rows, ego_row = raster_rows(rules), int(rules.ego_y / CELL)
    rasters = np.zeros((len(states), len(CHANNELS), rows, rules.lanes), np.float32)
    rasters[:, [VEHICLE, OWN]] = -1.0
    along = (states["y"] - states["y"][:, :1] + rules.ego_y) / CELL  # (B, N) [cells]
    wanted = _scaled(states["speed_factor"], *_wanted_range(rules))
    wanted[:, 0] = states["speed_factor"][:, 0] - 1.0
    following = np.clip(states["following_speed"] - 1.0, -1.0, 1.0)
    order = np.argsort(states["y"], axis=1)
    for k in (*order.T, np.zeros(len(states), np.int64)):  # the ego car last
        scene = np.arange(len(states))
        row = np.floor(along[scene, k]).astype(np.int64)
        seen = (row >= 0) & (row < rows)
        scene, k, row = scene[seen], k[seen], row[seen]
        values = np.stack(
            [
                np.ones(len(k)),
                np.where(k == 0, 1.0, -1.0),
                2.0 * (along[scene, k] - row) - 1.0,
                np.clip(wanted[scene, k], -1.0, 1.0),
                following[scene, k],
            ],
            1,
        )
        rasters[scene, :, row, states["lane"][scene, k]] = values
    assert (rasters[:, OWN, ego_row].max(1) == 1.0).all()
    return rasters


def decode_rasters(rules: Rules, rasters: NDArray[np.floating], seed: int = 0) -> PlacedScenes:
    """Return the valid states nearest to rasters (B, 5, R, L).

    The ego vehicle is the most probable cell of row 15. The other vehicles are cells above 0, most probable first, as
    long as they overlap none that was placed before and the road has vehicles left. Each state's random stream is drawn
    from `seed`.
    """
    rows, lanes = raster_rows(rules), rules.lanes
    if rasters.shape[1:] != (len(CHANNELS), rows, lanes):
        raise ValueError(f"rasters of shape {rasters.shape} are not (B, {len(CHANNELS)}, {rows}, {lanes})")
    count, random = len(rasters), np.random.default_rng(seed)
    states = make_games(rules, count)
    probability, is_valid = _likelihood(rules, rasters)
    order = np.argsort(-probability, axis=1, kind="stable")  # (B, R * L) the ego car first
    flat = rasters.reshape(count, len(CHANNELS), -1)
    taken = np.zeros(count, np.int64)
    states["y"] = np.inf
    for cell in order.T[: int((probability > 0.0).sum(1).max(initial=1))]:
        scene = np.flatnonzero(probability[np.arange(count), cell] > 0.0)
        values = flat[scene, :, cell[scene]]  # (b, 5)
        lane = cell[scene] % lanes
        y = CELL * (cell[scene] // lanes + 0.5 * (np.clip(values[:, POSITION], -1.0, 1.0) + 1.0))
        y = np.where(taken[scene] == 0, rules.ego_y, y)
        near = np.abs(states["y"][scene] - y[:, None]) < VEHICLE_LENGTH
        fits = ~(near & (states["lane"][scene] == lane[:, None])).any(1) & (taken[scene] < rules.vehicles)
        is_valid[scene[~fits]] = False
        _put(rules, states, scene[fits], taken[scene[fits]], lane[fits], y[fits], values[fits])
        taken[scene[fits]] += 1
    _fill_up(rules, states, random)
    _start(rules, states, random)
    return PlacedScenes(states, is_valid)


# parameters: the attributes of vehicles
def place_scenes(rules: Rules, lane: I64, y: F64, factor: F64, following: F64, seed: int = 0) -> NDArray[Any]:
    """Return states before frame 0 of vehicles (B, N), the ego vehicle first and at the scrolling's place.

    y: [px] of their fronts; inf for vehicles out of sight, which are placed where the simulator places new ones
    """
    states, random = make_games(rules, len(lane)), np.random.default_rng(seed)
    states["lane"], states["y"] = lane, y
    states["speed_factor"], states["following_speed"] = factor, following
    _fill_up(rules, states, random)
    _start(rules, states, random)
    return states


def settle(rules: Rules, states: NDArray[Any]) -> NDArray[Any]:
    """Return states run to the ego vehicle's first decision, where they can be observed, (B,)."""
    sim = Simulator(rules, len(states))
    sim.games[:] = states
    sim.step(sim.idle)
    return np.array(sim.games)


# --- inside -----------------------------------------------------------------------------------------------------------


def _wanted_range(rules: Rules) -> tuple[float, float]:
    """Slowest and fastest speed factor of traffic."""
    low = rules.traffic_factor_min
    return low, low + rules.traffic_factor_range * rules.traffic_factor_share


def _scaled(values: F64, low: float, high: float) -> F64:
    """Values from low..high as -1..1."""
    return 2.0 * (values - low) / max(high - low, 1e-9) - 1.0


def _likelihood(rules: Rules, rasters: NDArray[np.floating]) -> tuple[F64, Bools]:
    """Return (how surely each cell holds a car, above 0 where it does, (B, R * L); which have one ego car, (B,))."""
    ego_row = int(rules.ego_y / CELL)
    probability = rasters[:, VEHICLE].astype(np.float64)  # (B, R, L)
    own = np.argmax(rasters[:, OWN, ego_row], 1)
    probability[np.arange(len(rasters)), ego_row, own] = np.inf
    drawn = (rasters[:, OWN] > 0.0) & (rasters[:, VEHICLE] > 0.0)
    return probability.reshape(len(rasters), -1), drawn.sum((1, 2)) == 1


def _put(rules: Rules, states: NDArray[Any], scene: I64, k: I64, lane: I64, y: F64, values: NDArray[Any]) -> None:
    """Place vehicle k of each scene; 0 is the ego vehicle."""
    low, high = _wanted_range(rules)
    wanted = np.clip(values[:, SPEED_FACTOR].astype(np.float64), -1.0, 1.0)
    states["lane"][scene, k] = lane
    states["y"][scene, k] = y
    states["speed_factor"][scene, k] = np.where(k == 0, wanted + 1.0, low + (high - low) * 0.5 * (wanted + 1.0))
    states["following_speed"][scene, k] = np.clip(values[:, FOLLOWING].astype(np.float64), -1.0, 1.0) + 1.0


def _fill_up(rules: Rules, states: NDArray[Any], random: np.random.Generator) -> None:
    """Place the vehicles at y = inf where the simulator places new ones, out of sight."""
    waiting = np.isinf(states["y"])  # (B, N)
    shape, (low, high) = waiting.shape, _wanted_range(rules)
    rear = random.random(shape) < 0.5
    states["lane"] = np.where(waiting, random.integers(rules.lanes, size=shape), states["lane"])
    states["y"] = np.where(waiting, np.where(rear, rules.road_length + VEHICLE_LENGTH, -VEHICLE_LENGTH), states["y"])
    states["speed_factor"] = np.where(waiting, low + (high - low) * random.random(shape), states["speed_factor"])
    states["following_speed"] = np.where(waiting, 2.0, states["following_speed"])


def _start(rules: Rules, states: NDArray[Any], random: np.random.Generator) -> None:
    """Set the remaining fields of a state, as where the scrolling holds the ego vehicle at its speed."""
    speed = states["following_speed"][:, 0] * states["speed_factor"][:, 0]
    states["y"] += (SCROLL_LINE - speed - rules.ego_y)[:, None]
    states["x"] = LANE_WIDTH * states["lane"] + LANE_MARGIN
    states["scroll"] = speed
    states["map_speed"][:, 0] = rules.empty
    states["rng"] = random.integers(1, 2**31 - 1, size=len(states))
