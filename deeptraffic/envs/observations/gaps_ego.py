"""Lane gaps and the own car's speed factor and following speed, which the sensor does not show."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.observations.gaps import write_gaps
from deeptraffic.envs.observations.observation import FlatObservation, Floats
from deeptraffic.policies.gaps import GAP_FEATURES
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.rules import Sensor
from deeptraffic.sim.state import I64, Games


@compiled
def write_gaps_ego(rules: NDArray, sensor: Sensor, games: Games, env_indices: I64, agent: int, out: Floats) -> None:
    """As `write_gaps`, followed by the agent's own speed factor and following speed, both halved, within -1..2."""
    write_gaps(rules, sensor, games, env_indices, agent, out)
    at = (2 * sensor.lanes_side + 1) * GAP_FEATURES
    for k in range(env_indices.size):
        out[k, at] = min(max(games[env_indices[k]].speed_factor[agent] / 2.0, -1.0), 2.0)
        out[k, at + 1] = min(max(games[env_indices[k]].following_speed[agent] / 2.0, -1.0), 2.0)


@dataclass(frozen=True)
class GapsEgoObservation(FlatObservation):
    """Lane gaps, then the own car's speed factor / 2 and following speed / 2, which the sensor does not show.

    ((2L+1) * 6 + 2,) float32, in -1..2
    """

    kind: str = field(default="gaps_ego", init=False)

    loop = staticmethod(write_gaps_ego)

    @property
    def size(self) -> int:
        """(2L+1) * 6 + 2 features."""
        return self.sensor.columns * GAP_FEATURES + 2

    def mirror(self) -> I64 | None:
        """Exchange the lanes."""
        lanes = np.arange(self.size - 2).reshape(-1, GAP_FEATURES)[::-1].ravel()
        return None if self.temporal_window else np.concatenate([lanes, self.size - 2 + np.arange(2)])
