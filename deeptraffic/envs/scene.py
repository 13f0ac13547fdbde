"""Observations with more structure than a row of numbers: the sensor's window as a picture, and a list of vehicles."""

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from deeptraffic.envs.row_loop import RowLoop
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.observation import sense
from deeptraffic.sim.rules import Rules, Sensor
from deeptraffic.sim.state import F64, I64, Game, Games

if TYPE_CHECKING:
    from deeptraffic.envs.observation import ObservationConfig

Floats = NDArray[np.floating]
OCCUPIED, SPEED, OFF_ROAD, OWN = range(4)  # channels of the grid
CHANNELS = 4
OWN_ROWS = 4  # cells that the own car covers, from the row its sensor is centred on
FULL_SPEED = 4.0  # [px/frame], 80 mph
VEHICLE_FEATURES = 6
EGO_FEATURES = 5
REACH = 2.0  # features are clipped to -REACH..REACH


@compiled
def limited(value: float, low: float, high: float) -> float:
    """Return value held within low..high; what is no number becomes 0."""
    if np.isnan(value):
        return 0.0
    return min(max(value, low), high)


# --- grid ---------------------------------------------------------------------------------------------------------


@compiled
def write_grid(rules: NDArray, sensor: Sensor, games: Games, rows: I64, agent: int, out: Floats) -> None:
    """Write the channels of each row's sensor window to out[k], (4, P+Q, 2L+1)."""
    columns, length = 2 * sensor.lanes_side + 1, sensor.patches_ahead + sensor.patches_behind
    cells = np.empty(columns * length)
    for k in range(rows.size):
        sense(rules[0], sensor, games[rows[k]], agent, cells)
        paint_grid(cells.reshape((length, columns)), rules[0].empty, sensor, out[k])


@compiled
def paint_grid(cells: F64, empty: float, sensor: Sensor, out: Floats) -> None:
    """Write the channels of one window of cells (P+Q, 2L+1), from its readings alone."""
    length, columns = cells.shape
    for r in range(length):
        beyond_the_end = not np.any(cells[r])
        for s in range(columns):
            off = beyond_the_end or not np.any(cells[:, s])
            occupied = not off and not cells[r, s] >= 1.0
            out[OCCUPIED, r, s] = occupied
            out[SPEED, r, s] = limited(cells[r, s] * (empty / FULL_SPEED), 0.0, 1.0) if occupied else 0.0
            out[OFF_ROAD, r, s] = off
            out[OWN, r, s] = s == sensor.lanes_side and 0 <= r - sensor.patches_ahead < OWN_ROWS


class GridKind:
    """The sensor's window as a picture of 4 channels, (4, P+Q, 2L+1), row 0 the farthest ahead, all 0..1.

    occupied: 1 where the sensor sees a car (in 2017 the own car's mark mostly reads as a free cell)
    speed: of that car / 80 mph, else 0
    off the road: 1 in columns and rows that read 0 throughout
    own: 1 in the four cells that the own car covers while it is in the middle of a lane
    """

    options: ClassVar[tuple[str, ...]] = ("lanes_side", "patches_ahead", "patches_behind", "dtype")
    contest: ClassVar[bool] = True

    def __init__(self, rules: Rules, config: "ObservationConfig", num_envs: int, agent: int) -> None:
        sensor = config.sensor.check(rules)
        self.dtype = np.dtype(config.dtype or "float32")
        self.shape = (CHANNELS, sensor.length, sensor.columns)
        self.space = spaces.Box(0.0, 1.0, self.shape, self.dtype.type)
        self.fill = RowLoop(write_grid, (sensor,), agent)

    def reset(self, rows: I64 | slice) -> None:
        """There is no past."""

    def history_arrays(self) -> dict[str, NDArray]:
        """There are none."""
        return {}

    def observe(self, sim: Simulator, rows: I64, actions: ArrayLike | None) -> Floats:
        """Return (len(rows), 4, P+Q, 2L+1)."""
        out = np.empty((rows.size, *self.shape), self.dtype)
        self.fill(sim, rows, out)
        return out


# --- kinematics ---------------------------------------------------------------------------------------------------


@compiled
def write_kinematics(
    rules: NDArray, games: Games, rows: I64, agent: int, ego: Floats, vehicles: Floats, mask: NDArray[np.int8]
) -> None:
    """Write each row's own car to ego[k] (5,), the vehicles nearest to it to vehicles[k] (K, 6) and mask[k] (K,)."""
    distances = np.empty(rules[0].vehicles)
    for k in range(rows.size):
        game = games[rows[k]]
        describe_own_car(rules[0], game, agent, ego[k])
        for j in range(distances.size):
            across, along = game.x[j] - game.x[agent], game.y[j] - game.y[agent]
            distances[j] = across * across + along * along
        distances[agent] = np.inf
        for place in range(mask.shape[1]):
            j = nearest(distances)
            mask[k, place] = j >= 0
            vehicles[k, place] = 0.0
            if j >= 0:
                describe_vehicle(rules[0], game, agent, j, vehicles[k, place])
                distances[j] = np.inf


@compiled
def nearest(distances: F64) -> int:
    """Index of the smallest finite distance, the first of equals; -1 if there is none."""
    found, least = -1, np.inf
    for j in range(distances.size):
        if distances[j] < least:
            found, least = j, distances[j]
    return found


@compiled
def describe_own_car(rules: Rules, game: Game, agent: int, out: Floats) -> None:
    """Write lane (0 leftmost, 1 rightmost), offset from its middle in lanes, speed / 80 mph, a / 2, c / 2."""
    out[0] = game.lane[agent] / max(rules.lanes - 1, 1)
    out[1] = (game.x[agent] - (20.0 * game.lane[agent] + 4.0)) / 20.0
    out[2] = limited(game.following_speed[agent] * game.speed_factor[agent] / FULL_SPEED, -REACH, REACH)
    out[3] = limited(game.speed_factor[agent] / 2.0, -REACH, REACH)
    out[4] = limited(game.following_speed[agent] / 2.0, -REACH, REACH)


@compiled
def describe_vehicle(rules: Rules, game: Game, agent: int, j: int, out: Floats) -> None:
    """Write vehicle j as seen from the agent's car: see `KinematicsKind`."""
    speed = game.following_speed[j] * game.speed_factor[j]
    own_speed = game.following_speed[agent] * game.speed_factor[agent]
    out[0] = limited((game.y[agent] - game.y[j]) / (rules.rows * 10.0), -REACH, REACH)
    out[1] = (game.x[j] - game.x[agent]) / (20.0 * rules.lanes)
    out[2] = limited(speed / FULL_SPEED, -REACH, REACH)
    out[3] = limited((speed - own_speed) / FULL_SPEED, -REACH, REACH)
    out[4] = (game.lane[j] - game.lane[agent]) / rules.lanes
    out[5] = j <= rules.other_agents


class KinematicsKind:
    """The own car and the K nearest vehicles, nearest first, as a dict; all features lie in -2..2.

    ego: (5,) lane (0 leftmost, 1 rightmost), offset from the lane's middle [lanes], speed / 80 mph, speed factor / 2,
        following speed / 2
    vehicles: (K, 6) distance ahead / length of the road, to the right / width of the road, speed / 80 mph, speed minus
        the own / 80 mph, lanes to the right of the own lane it is in or moving to / lanes, 1 if an agent drives it
    mask: (K,) int8, 1 for a vehicle, 0 for a row of zeros that fills up
    """

    options: ClassVar[tuple[str, ...]] = ("nearest", "dtype")
    contest: ClassVar[bool] = False

    def __init__(self, rules: Rules, config: "ObservationConfig", num_envs: int, agent: int) -> None:
        self.nearest, self.dtype = config.nearest, np.dtype(config.dtype or "float32")
        self.space = spaces.Dict(
            {
                "ego": spaces.Box(-REACH, REACH, (EGO_FEATURES,), self.dtype.type),
                "vehicles": spaces.Box(-REACH, REACH, (self.nearest, VEHICLE_FEATURES), self.dtype.type),
                "mask": spaces.MultiBinary(self.nearest),
            }
        )
        self.fill = RowLoop(write_kinematics, (), agent)

    def reset(self, rows: I64 | slice) -> None:
        """There is no past."""

    def history_arrays(self) -> dict[str, NDArray]:
        """There are none."""
        return {}

    def observe(self, sim: Simulator, rows: I64, actions: ArrayLike | None) -> dict[str, NDArray]:
        """Return ego (len(rows), 5), vehicles (len(rows), K, 6) and mask (len(rows), K)."""
        ego = np.empty((rows.size, EGO_FEATURES), self.dtype)
        vehicles = np.empty((rows.size, self.nearest, VEHICLE_FEATURES), self.dtype)
        mask = np.empty((rows.size, self.nearest), np.int8)
        self.fill(sim, rows, ego, vehicles, mask)
        return {"ego": ego, "vehicles": vehicles, "mask": mask}
