"""Observations of the whole game, which no entrant could have: the rendered road, and the simulator's own state."""

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from deeptraffic.render.pixels import PixelPainter
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Rules
from deeptraffic.sim.state import I64, game_dtype

if TYPE_CHECKING:
    from deeptraffic.envs.observation import ObservationConfig


class PixelsKind:
    """The whole simulated road as a picture, (height, width, 3) or grey (height, width, 1) uint8, the ego car in red.

    The picture depends on the state alone: no trail, no read-outs, dashes that do not scroll.
    """

    options: ClassVar[tuple[str, ...]] = ("height", "width", "grey")
    contest: ClassVar[bool] = False

    def __init__(self, rules: Rules, config: "ObservationConfig", num_envs: int, agent: int) -> None:
        check_is_ego(config.kind, agent)
        self.painter = PixelPainter(rules, config.height, config.width, grey=config.grey)
        self.space = spaces.Box(0, 255, self.painter.shape, np.uint8)

    def reset(self, rows: I64 | slice) -> None:
        """There is no past."""

    def history_arrays(self) -> dict[str, NDArray]:
        """There are none."""
        return {}

    def observe(self, sim: Simulator, rows: I64, actions: ArrayLike | None) -> NDArray[np.uint8]:
        """Return (len(rows), height, width, channels)."""
        return self.painter.paint(sim.state, rows)


class FullKind:
    """Every field of `deeptraffic.sim.state.Game` under its name, in its own units and dtype; a number has shape (1,).

    Floats are unbounded; whole numbers lie within 32 bits.
    """

    options: ClassVar[tuple[str, ...]] = ()
    contest: ClassVar[bool] = False

    def __init__(self, rules: Rules, config: "ObservationConfig", num_envs: int, agent: int) -> None:
        check_is_ego(config.kind, agent)
        record = game_dtype(rules)
        self.shapes = {name: record[name].shape or (1,) for name in record.names or ()}
        self.space = spaces.Dict({name: field_space(record[name]) for name in self.shapes})

    def reset(self, rows: I64 | slice) -> None:
        """There is no past."""

    def history_arrays(self) -> dict[str, NDArray]:
        """There are none."""
        return {}

    def observe(self, sim: Simulator, rows: I64, actions: ArrayLike | None) -> dict[str, NDArray]:
        """Return a copy of every field, (len(rows), *shape)."""
        return {name: sim.games[name][rows].reshape(rows.size, *shape) for name, shape in self.shapes.items()}


def field_space(field: np.dtype) -> spaces.Box:
    """Return the space of one field of a game's record."""
    shape, base = field.shape or (1,), field.base
    if base.kind == "f":
        return spaces.Box(-np.inf, np.inf, shape, base.type)
    limits = np.iinfo(base) if base.kind == "u" else np.iinfo(np.int32)
    return spaces.Box(int(limits.min), int(limits.max), shape, base.type)


def check_is_ego(kind: str, agent: int) -> None:
    """Refuse a view of the whole game for another agent, which could not tell which car is its own."""
    if agent != 0:
        raise ValueError(
            f"observation kind {kind!r} shows the whole game without saying which car agent {agent} drives; "
            "choose vector, gaps, gaps_ego, grid or kinematics for other agents"
        )
