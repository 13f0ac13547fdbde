"""The simulator's whole state."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.envs.observations.observation import Observation
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Rules
from deeptraffic.sim.state import I64, game_dtype


@dataclass(frozen=True)
class FullObservation(Observation):
    """Every field of `deeptraffic.sim.state.Game` under its name, in its own units and dtype, as a dict.

    A scalar has shape (1,). Floats are unbounded; integers lie within 32 bits.
    """

    kind: str = field(default="full", init=False)

    ego_only: ClassVar[bool] = True

    def space(self, rules: Rules) -> spaces.Dict:
        """Return the space of all fields."""
        record = game_dtype(rules)
        return spaces.Dict({name: field_space(record[name]) for name in record.names or ()})

    def observe(self, sim: Simulator, env_indices: I64, agent: int) -> dict[str, NDArray]:
        """Return a copy of every field, (len(env_indices), *shape)."""
        record = sim.games.dtype
        shapes = {name: record[name].shape or (1,) for name in record.names or ()}
        return {name: sim.games[name][env_indices].reshape(env_indices.size, *shape) for name, shape in shapes.items()}


def field_space(kind: np.dtype) -> spaces.Box:
    """Return the space of one field of the state's record."""
    shape, base = kind.shape or (1,), kind.base
    if base.kind == "f":
        return spaces.Box(-np.inf, np.inf, shape, base.type)
    limits = np.iinfo(base) if base.kind == "u" else np.iinfo(np.int32)
    return spaces.Box(int(limits.min), int(limits.max), shape, base.type)
