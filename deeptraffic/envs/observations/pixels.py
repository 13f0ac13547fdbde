"""An image of the whole simulated road."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.envs.observations.observation import FrameObservation
from deeptraffic.render.pixels import MAX_SIDE, MIN_SIDE, PixelPainter
from deeptraffic.settings import boolean, integer
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Rules
from deeptraffic.sim.state import I64


@dataclass(frozen=True)
class PixelsObservation(FrameObservation):
    """An image of the whole simulated road, the ego car in red.

    (height, width, 3), or grey (height, width, 1), uint8; in a stack temporal_window + 1 times as many channels. An
    image depends on the state alone: no trail, no read-outs, dashes that do not scroll.

    height, width: [pixels]
    grey: whether there is one channel, of luminance, in place of three
    """

    kind: str = field(default="pixels", init=False)
    height: int = integer(84, MIN_SIDE, MAX_SIDE)
    width: int = integer(84, MIN_SIDE, MAX_SIDE)
    grey: bool = boolean(False)

    ego_only: ClassVar[bool] = True
    axis: ClassVar[int] = -1

    def frame_space(self, rules: Rules) -> spaces.Box:
        """Return the space of images."""
        return spaces.Box(0, 255, (self.height, self.width, 1 if self.grey else 3), np.uint8)

    def observe(self, sim: Simulator, env_indices: I64, agent: int) -> NDArray[np.uint8]:
        """Return (len(env_indices), height, width, channels)."""
        return pixel_painter(sim.rules, self.height, self.width, self.grey).paint(sim.state, env_indices)


@lru_cache(maxsize=16)
def pixel_painter(rules: Rules, height: int, width: int, grey: bool) -> PixelPainter:
    """Return the painter of these images, made once: it holds their background."""
    return PixelPainter(rules, height, width, grey=grey)
