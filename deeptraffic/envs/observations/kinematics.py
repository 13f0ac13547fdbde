"""Positions and speeds of the nearest vehicles, as a list (after highway-env's observation of this name)."""

from dataclasses import dataclass, field

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.envs.observations.degradation import WeakSpeeds
from deeptraffic.envs.observations.observation import Floats, Observation, run_loop
from deeptraffic.settings import choice, integer
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import CELL_LENGTH, FULL_SPEED, LANE_MARGIN, LANE_WIDTH, MAX_VEHICLES, Rules
from deeptraffic.sim.state import F64, I64, Game, Games

VEHICLE_FEATURES = 6
EGO_FEATURES = 5
REACH = 2.0  # features are clipped to -REACH..REACH


@compiled
def write_kinematics(
    rules: NDArray, games: Games, env_indices: I64, agent: int, ego: Floats, vehicles: Floats, mask: NDArray[np.int8]
) -> None:
    """Write each env's own car to ego[k] (5,), the vehicles nearest to it to vehicles[k] (K, 6) and mask[k] (K,)."""
    distances = np.empty(rules[0].vehicles)
    for k in range(env_indices.size):
        game = games[env_indices[k]]
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
    """Return the index of the smallest finite distance, the first of equals; -1 if there is none."""
    found, least = -1, np.inf
    for j in range(distances.size):
        if distances[j] < least:
            found, least = j, distances[j]
    return found


@compiled
def clipped(value: float) -> float:
    """Return value within -REACH..REACH; 0 for NaN."""
    return 0.0 if np.isnan(value) else min(max(value, -REACH), REACH)


@compiled
def describe_own_car(rules: Rules, game: Game, agent: int, out: Floats) -> None:
    """Write the features of the agent's car: see `KinematicsObservation`."""
    out[0] = game.lane[agent] / max(rules.lanes - 1, 1)
    out[1] = (game.x[agent] - (LANE_WIDTH * game.lane[agent] + LANE_MARGIN)) / LANE_WIDTH
    out[2] = clipped(game.following_speed[agent] * game.speed_factor[agent] / FULL_SPEED)
    out[3] = clipped(game.speed_factor[agent] / 2.0)
    out[4] = clipped(game.following_speed[agent] / 2.0)


@compiled
def describe_vehicle(rules: Rules, game: Game, agent: int, j: int, out: Floats) -> None:
    """Write the features of vehicle j as seen from the agent's car: see `KinematicsObservation`."""
    speed = game.following_speed[j] * game.speed_factor[j]
    own_speed = game.following_speed[agent] * game.speed_factor[agent]
    out[0] = clipped((game.y[agent] - game.y[j]) / (rules.rows * CELL_LENGTH))
    out[1] = (game.x[j] - game.x[agent]) / (LANE_WIDTH * rules.lanes)
    out[2] = clipped(speed / FULL_SPEED)
    out[3] = clipped((speed - own_speed) / FULL_SPEED)
    out[4] = (game.lane[j] - game.lane[agent]) / rules.lanes
    out[5] = j <= rules.other_agents


@dataclass(frozen=True)
class KinematicsObservation(WeakSpeeds, Observation):
    """The own car and the K nearest vehicles, nearest first, as a dict of ego, vehicles and mask.

    float32, in -2..2:

    ego: (5,) lane (0 leftmost, 1 rightmost), offset from the lane's middle [lanes], speed / 80 mph, speed factor / 2,
        following speed / 2
    vehicles: (K, 6) distance ahead / length of the road, to the right / width of the road, speed / 80 mph, speed minus
        the own / 80 mph, lanes to the right of the own lane it is in or moving to / lanes, 1 if an agent drives it
    mask: (K,) int8, 1 for a vehicle, 0 for a row of padding zeros

    nearest: K, number of vehicles
    dtype: of ego and vehicles, "float32" or "float64"
    """

    kind: str = field(default="kinematics", init=False)
    nearest: int = integer(8, 1, MAX_VEHICLES)
    dtype: str = choice("float32", "float32", "float64")

    def space(self, rules: Rules) -> spaces.Dict:
        """Return the space of ego, vehicles and mask."""
        dtype = np.dtype(self.dtype).type
        return spaces.Dict(
            {
                "ego": spaces.Box(-REACH, REACH, (EGO_FEATURES,), dtype),
                "vehicles": spaces.Box(-REACH, REACH, (self.nearest, VEHICLE_FEATURES), dtype),
                "mask": spaces.MultiBinary(self.nearest),
            }
        )

    def observe(self, sim: Simulator, env_indices: I64, agent: int) -> dict[str, NDArray]:
        """Return ego (B, 5), vehicles (B, K, 6) and mask (B, K), B = len(env_indices)."""
        ego = np.empty((env_indices.size, EGO_FEATURES), self.dtype)
        vehicles = np.empty((env_indices.size, self.nearest, VEHICLE_FEATURES), self.dtype)
        mask = np.empty((env_indices.size, self.nearest), np.int8)
        run_loop(write_kinematics, sim, env_indices, agent, (), (ego, vehicles, mask))
        return {"ego": ego, "vehicles": vehicles, "mask": mask}
