"""An image of the whole simulated road."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.envs.observations.degradation import Scene, Weakness, WeakSensor
from deeptraffic.envs.observations.observation import FrameObservation
from deeptraffic.render.pixels import MAX_SIDE, MIN_SIDE, PixelPainter
from deeptraffic.render.styled import StyledPainter, add_noise
from deeptraffic.render.styles import STYLE_SETS, STYLES, styles_by_name
from deeptraffic.settings import boolean, choice, integer, real
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Rules
from deeptraffic.sim.state import I64


@dataclass(frozen=True)
class PixelsObservation(WeakSensor, FrameObservation):
    """An image of the whole simulated road, the ego car in red.

    (height, width, 3), or grey (height, width, 1), uint8; in a stack temporal_window + 1 times as many channels. An
    image depends on the state alone: no trail, no read-outs, dashes that do not scroll.

    height, width: [pixels]
    grey: whether there is one channel, of luminance, in place of three
    style: appearance of `deeptraffic/render/styles.py`, or a set of which each run takes one; "" for the painter's own
    pixel_noise: [levels] standard deviation of noise on every value
    """

    kind: str = field(default="pixels", init=False)
    height: int = integer(84, MIN_SIDE, MAX_SIDE)
    width: int = integer(84, MIN_SIDE, MAX_SIDE)
    grey: bool = boolean(False)
    style: str = choice("", "", *STYLE_SETS, *STYLES)
    pixel_noise: float = real(0.0, 0.0, 255.0)

    ego_only: ClassVar[bool] = True
    axis: ClassVar[int] = -1

    def present_space(self, rules: Rules) -> spaces.Box:
        """Return the space of images."""
        return spaces.Box(0, 255, (self.height, self.width, 1 if self.grey else 3), np.uint8)

    @property
    def weakness(self) -> Weakness | None:
        """How the sensor changes the scene; None if the image is the painter's own."""
        return self.changes() if self.style or self.pixel_noise else super().weakness

    def observe(self, sim: Simulator, env_indices: I64, agent: int) -> NDArray[np.uint8]:
        """Return (len(env_indices), height, width, channels)."""
        size = sim.rules, self.height, self.width, self.grey
        if not isinstance(sim, Scene):
            return pixel_painter(*size).paint(sim.state, env_indices)
        frame_keys = sim.frame_keys[env_indices]
        if self.style:
            images = styled_painter(*size, self.style).paint(
                sim.state, env_indices, sim.run_keys[env_indices], frame_keys
            )
        else:
            images = pixel_painter(*size).paint(sim.state, env_indices)
        if self.pixel_noise:
            add_noise(images, frame_keys, self.pixel_noise)
        images[sim.lost[env_indices]] = 0
        return images


@lru_cache(maxsize=16)
def pixel_painter(rules: Rules, height: int, width: int, grey: bool) -> PixelPainter:
    """Return the painter of these images, made once: it holds their background."""
    return PixelPainter(rules, height, width, grey=grey)


@lru_cache(maxsize=16)
def styled_painter(rules: Rules, height: int, width: int, grey: bool, style: str) -> StyledPainter:
    """Return the painter of these images in a style or a set of styles, made once."""
    return StyledPainter(rules, height, width, styles_by_name(style), grey=grey)
