"""An image of the simulated road, or of the part around the ego car."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.envs.observations.degradation import Scene, Weakness, WeakSensor
from deeptraffic.envs.observations.observation import FrameObservation
from deeptraffic.render.road import MAX_SIDE, MIN_SIDE, PixelPainter
from deeptraffic.render.styled import StyledPainter, add_noise
from deeptraffic.render.styles import STYLE_SETS, STYLES, styles_by_name
from deeptraffic.settings import boolean, choice, integer, real
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import CELL_LENGTH, MAX_LANES, MAX_ROWS, VEHICLE_WIDTH, Rules
from deeptraffic.sim.state import I64


@dataclass(frozen=True)
class PixelsObservation(WeakSensor, FrameObservation):
    """An image of the simulated road, whole or cropped around the ego car, the ego car in red.

    (height, width, 3), or grey (height, width, 1), uint8; in a stack temporal_window + 1 times as many channels. An
    image depends on the state alone: no trail, no read-outs, dashes that do not scroll. A cropped image is smaller, at
    the same scale; what lies beyond the painted road is black.

    height, width: [pixels] of the whole road
    view_side: [lanes] shown to each side of the ego car; 0 for the whole road
    view_ahead, view_behind: [cells of 10 px] shown ahead of the ego car's front, and behind that; 0 and 0 for the whole
        road
    grey: whether there is one channel, of luminance, in place of three
    style: appearance of `deeptraffic/render/styles.py`, or a set of which each run takes one; "" for the painter's own
    pixel_noise: [levels] standard deviation of noise on every value
    """

    kind: str = field(default="pixels", init=False)
    height: int = integer(84, MIN_SIDE, MAX_SIDE)
    width: int = integer(84, MIN_SIDE, MAX_SIDE)
    view_side: int = integer(0, 0, MAX_LANES)
    view_ahead: int = integer(0, 0, MAX_ROWS)
    view_behind: int = integer(0, 0, MAX_ROWS)
    grey: bool = boolean(False)
    style: str = choice("", "", *STYLE_SETS, *STYLES)
    pixel_noise: float = real(0.0, 0.0, 255.0)

    ego_only: ClassVar[bool] = True
    axis: ClassVar[int] = -1

    def present_space(self, rules: Rules) -> spaces.Box:
        """Return the space of images."""
        return spaces.Box(0, 255, (*self.view_size(rules), self.channels), np.uint8)

    def view_size(self, rules: Rules) -> tuple[int, int]:
        """Return height and width of an image [pixels]."""
        length, lanes = CELL_LENGTH * (self.view_ahead + self.view_behind), 2 * self.view_side + 1
        height = round(self.height * length / rules.road_length) if length else self.height
        width = round(self.width * lanes / rules.lanes) if self.view_side else self.width
        if not height or not width:
            raise ValueError(
                f"a view of {length / CELL_LENGTH:g} cells by {lanes} lanes has no pixel in an image of "
                f"{self.height} x {self.width}; raise height, width or the view"
            )
        return height, width

    @property
    def channels(self) -> int:
        """Channels of one image."""
        return 1 if self.grey else 3

    @property
    def weakness(self) -> Weakness | None:
        """How the sensor changes the scene; None if the image is the painter's own."""
        return self.changes() if self.style or self.pixel_noise else super().weakness

    def observe(self, sim: Simulator, env_indices: I64, agent: int) -> NDArray[np.uint8]:
        """Return (len(env_indices), height, width, channels)."""
        size = sim.rules, self.height, self.width, self.grey
        if not isinstance(sim, Scene):
            return self._cropped(pixel_painter(*size).paint(sim.state, env_indices), sim, env_indices)
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
        return self._cropped(images, sim, env_indices)

    def _cropped(self, images: NDArray[np.uint8], sim: Simulator, env_indices: I64) -> NDArray[np.uint8]:
        """Return the views of images (K, height, width, C) of the whole road."""
        height, width = self.view_size(sim.rules)
        if (height, width) == images.shape[1:3]:
            return images
        x, y = (sim.state[name][env_indices, 0] for name in ("x", "y"))
        top = np.rint((y - CELL_LENGTH * self.view_ahead) * (self.height / sim.rules.road_length))
        left = np.rint((x + VEHICLE_WIDTH / 2) * (self.width / sim.rules.road_width) - width / 2)
        rows = window(top if height < self.height else 0 * top, height)[:, :, None]
        columns = window(left if width < self.width else 0 * left, width)[:, None, :]
        shown = (0 <= rows) & (rows < self.height) & (0 <= columns) & (columns < self.width)
        games = np.arange(len(images))[:, None, None]
        views = images[games, rows.clip(0, self.height - 1), columns.clip(0, self.width - 1)]
        return views * shown[..., None].astype(np.uint8)


def window(first: NDArray[np.floating], size: int) -> I64:
    """Return the indices (K, size) of windows that begin at `first` (K,)."""
    return first.astype(np.int64)[:, None] + np.arange(size)


@lru_cache(maxsize=16)
def pixel_painter(rules: Rules, height: int, width: int, grey: bool) -> PixelPainter:
    """Return the painter of these images, made once: it holds their background."""
    return PixelPainter(rules, height, width, grey=grey)


@lru_cache(maxsize=16)
def styled_painter(rules: Rules, height: int, width: int, grey: bool, style: str) -> StyledPainter:
    """Return the painter of these images in a style or a set of styles, made once."""
    return StyledPainter(rules, height, width, styles_by_name(style), grey=grey)
