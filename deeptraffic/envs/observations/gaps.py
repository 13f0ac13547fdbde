"""Lane gaps: distance and speed of the next vehicle ahead and behind in each lane."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.observations.observation import FlatObservation, Floats
from deeptraffic.policies.gaps import GAP_FEATURES, lane_features
from deeptraffic.policies.layer import Layer
from deeptraffic.policies.sensor_layers import Gaps
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.observation import first_cell, read_cells, readings
from deeptraffic.sim.rules import Rules, Sensor
from deeptraffic.sim.state import I64, Games


@compiled
def write_gaps(rules: NDArray, sensor: Sensor, games: Games, env_indices: I64, agent: int, out: Floats) -> None:
    """Write the gap features of the agent's sensor in each env to the first entries of out[k]."""
    columns, rows = 2 * sensor.lanes_side + 1, sensor.patches_ahead + sensor.patches_behind
    lane = np.empty(rows)
    for k in range(env_indices.size):
        game = games[env_indices[k]]
        reading, (px, py) = readings(rules[0], game), first_cell(rules[0], sensor, game, agent)
        for s in range(columns):
            read_cells(game, reading, px + s, py, 1, rows, lane)
            features = out[k, s * GAP_FEATURES : (s + 1) * GAP_FEATURES]
            lane_features(lane, 0, 1, sensor, s == sensor.lanes_side, rules[0].empty, features)


@dataclass(frozen=True)
class GapsObservation(FlatObservation):
    """Six features of each lane, from the sensor's cells alone: gap and speed ahead and behind, clear, on the road.

    ((2L+1) * 6,) float32, in 0..1 but for a vehicle that brakes below 0; see `deeptraffic/policies/gaps.py`.
    """

    kind: str = field(default="gaps", init=False)

    contest_kind: ClassVar[bool] = True
    loop = staticmethod(write_gaps)

    @property
    def size(self) -> int:
        """(2L+1) * 6 features."""
        return self.sensor.columns * GAP_FEATURES

    def layers(self, rules: Rules) -> tuple[Layer, ...] | None:
        """The layer of gap features; None for a weakened sensor."""
        return None if self.is_weak else (Gaps(**self.sensor._asdict(), empty=rules.empty),)

    def mirror(self) -> I64 | None:
        """Exchange the lanes."""
        lanes = np.arange(self.size).reshape(-1, GAP_FEATURES)
        return None if self.temporal_window else lanes[::-1].ravel()
