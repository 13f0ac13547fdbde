"""Observation vector of the original game: the sensor's cells."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.observations.observation import FlatObservation, Floats
from deeptraffic.policies.layer import Layer
from deeptraffic.settings import choice
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.observation import sense
from deeptraffic.sim.rules import Rules, Sensor
from deeptraffic.sim.state import I64, Games


@compiled
def write_vector(rules: NDArray, sensor: Sensor, games: Games, env_indices: I64, agent: int, out: Floats) -> None:
    """Write what the agent's sensor shows in each env to out[k]."""
    for k in range(env_indices.size):
        sense(rules[0], sensor, games[env_indices[k]], agent, out[k])


@dataclass(frozen=True)
class VectorObservation(FlatObservation):
    """The sensor's cells, from the farthest row ahead: free 1, off the road 0, a vehicle its speed / 100 (2017: / 7).

    (D,) float64, D = (2L+1) * (P+Q), in -1..6; a vehicle reads 0..0.04, in 2017 0..0.58 and the own car's cells up to
    5.8. (By the rules, a policy that accelerates right after braking to a speed factor of about -1e-17 can reach
    any speed; this is not hidden.)
    """

    kind: str = field(default="vector", init=False)
    dtype: str = choice("float64", "float32", "float64")

    contest_kind: ClassVar[bool] = True
    loop = staticmethod(write_vector)

    @property
    def size(self) -> int:
        """(2L+1) * (P+Q) cells."""
        return self.sensor.size

    def layers(self, rules: Rules) -> tuple[Layer, ...] | None:
        """No layer: it is what a policy file reads; None for a weakened sensor."""
        return None if self.is_weak else ()

    def mirror(self) -> I64 | None:
        """Exchange the columns of cells."""
        cells = np.arange(self.size).reshape(-1, self.sensor.columns)
        return None if self.temporal_window else cells[:, ::-1].ravel()
