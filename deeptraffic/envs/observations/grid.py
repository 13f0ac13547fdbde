"""The sensor's cells as an image of four channels."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.envs.observations.observation import Floats, FrameObservation, SensorObservation, run_loop
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.observation import sense
from deeptraffic.sim.rules import FULL_SPEED, VEHICLE_CELLS, Rules, Sensor
from deeptraffic.sim.state import F64, I64, Games

OCCUPIED, SPEED, OFF_ROAD, OWN = range(4)  # channels
CHANNELS = 4


@compiled
def write_grid(rules: NDArray, sensor: Sensor, games: Games, env_indices: I64, agent: int, out: Floats) -> None:
    """Write the channels of the agent's sensor in each env to out[k], (4, P+Q, 2L+1)."""
    columns, length = 2 * sensor.lanes_side + 1, sensor.patches_ahead + sensor.patches_behind
    cells = np.empty(columns * length)
    for k in range(env_indices.size):
        sense(rules[0], sensor, games[env_indices[k]], agent, cells)
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
            speed = 0.0 if np.isnan(cells[r, s]) else cells[r, s] * (empty / FULL_SPEED)
            out[OCCUPIED, r, s] = occupied
            out[SPEED, r, s] = min(max(speed, 0.0), 1.0) if occupied else 0.0
            out[OFF_ROAD, r, s] = off
            out[OWN, r, s] = s == sensor.lanes_side and 0 <= r - sensor.patches_ahead < VEHICLE_CELLS


@dataclass(frozen=True)
class GridObservation(FrameObservation, SensorObservation):
    """The sensor's cells as an image of 4 channels, row 0 the farthest ahead: occupied, speed, off the road, own car.

    (4, P+Q, 2L+1) float32, in a stack (4 * (temporal_window + 1), P+Q, 2L+1), all in 0..1:

    occupied: 1 where the sensor sees a vehicle (in 2017 the own car's mark mostly reads as a free cell)
    speed: of that vehicle / 80 mph, else 0
    off the road: 1 in columns and rows that read 0 throughout
    own car: 1 in the four cells that it covers while it is in the middle of a lane
    """

    kind: str = field(default="grid", init=False)

    contest_kind: ClassVar[bool] = True
    axis: ClassVar[int] = 0

    def present_space(self, rules: Rules) -> spaces.Box:
        """Return the space of (4, P+Q, 2L+1) values."""
        self.sensor.check()
        shape, dtype = self._image
        return spaces.Box(0.0, 1.0, shape, dtype.type)

    def observe(self, sim: Simulator, env_indices: I64, agent: int) -> Floats:
        """Return (len(env_indices), 4, P+Q, 2L+1)."""
        shape, dtype = self._image
        out = np.empty((env_indices.size, *shape), dtype)
        run_loop(write_grid, sim, env_indices, agent, (self.sensor,), (out,))
        return out

    @cached_property
    def _image(self) -> tuple[tuple[int, int, int], np.dtype]:
        """Shape and type of the image, worked out once."""
        return (CHANNELS, self.sensor.length, self.sensor.columns), np.dtype(self.dtype)

    def mirror(self) -> I64:
        """Exchange the columns."""
        return (
            np.arange((self.temporal_window + 1) * CHANNELS * self.sensor.size)
            .reshape(-1, self.sensor.columns)[:, ::-1]
            .ravel()
        )
