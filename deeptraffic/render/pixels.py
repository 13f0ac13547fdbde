"""Pixel observations: small images of many envs at once, in the painter's palette, rendered without pygame.

The image shows the whole simulated road without verge and panel: at 84 x 84 pixels, a lane is 12 pixels wide and a
vehicle 9 x 4. Pixels are anti-aliased by the area that a shape covers, so that motion of a fraction of a pixel shows.
An image depends on State alone: dashes do not scroll.

    >>> pixels = PixelPainter(RULES_2018, height=84, width=84)
    >>> obs = pixels.paint(simulator.state)  # (B, 84, 84, 3) uint8
"""

import numpy as np
from numpy.typing import NDArray

from deeptraffic.render.sprites import GLASS, HALF
from deeptraffic.render.theme import DARK, LUMINANCE, OBSERVED_AGENT, Colour
from deeptraffic.sim.compiled import compiled, inlined
from deeptraffic.sim.rules import LANE_WIDTH, VEHICLE_LENGTH, VEHICLE_WIDTH, Rules
from deeptraffic.sim.state import State

MIN_SIDE, MAX_SIDE = 16, 1024  # [pixels]
LANE_LINE = 1.4  # [px]

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


class PixelPainter:
    """Renders the envs of a State as small images.

    Args:
        rules: sizes of the road, and which vehicles are driven
        height, width: [pixels], 16..1024
        grey: one luminance channel in place of red, green and blue
    """

    def __init__(self, rules: Rules, height: int = 84, width: int = 84, *, grey: bool = False) -> None:
        for name, side in (("height", height), ("width", width)):
            if not MIN_SIDE <= side <= MAX_SIDE:
                raise ValueError(f"{name} must be in [{MIN_SIDE}, {MAX_SIDE}] pixels, got {side}")
        self.rules, self.grey = rules, grey
        self.shape = (height, width, 1 if grey else 3)
        self.scale = (height / rules.road_length, width / rules.road_width)
        bodies = [DARK.traffic[i % len(DARK.traffic)] for i in range(rules.vehicles)]
        bodies[: rules.other_agents + 1] = [DARK.ego] + [OBSERVED_AGENT] * rules.other_agents
        self._inks = self._ink([*bodies, DARK.glass])
        self._background = self._road()
        self._empty = (self._background + np.float32(0.5)).astype(np.uint8)

    def paint(self, state: State, env_indices: NDArray[np.int64] | None = None, out: U8 | None = None) -> U8:
        """Return images of envs (all by default), (B, H, W, C) uint8, or write them into `out` of that shape."""
        env_indices = np.arange(len(state["x"])) if env_indices is None else np.asarray(env_indices, np.int64)
        if out is None:
            out = np.empty((len(env_indices), *self.shape), np.uint8)
        elif out.shape != (len(env_indices), *self.shape) or out.dtype != np.uint8:
            raise ValueError(
                f"out must be uint8 of shape {(len(env_indices), *self.shape)}, got {out.dtype} of {out.shape}"
            )
        out[:] = self._empty
        games = state.view(np.ndarray)
        _paint_envs((games["x"], games["y"]), env_indices, self.scale, self._background, self._inks, out)
        return out

    def _ink(self, colours: list[Colour]) -> F32:
        """Return colours as (K, C) in this painter's channels."""
        table = np.array(colours, np.float32)
        return (table @ np.array(LUMINANCE, np.float32))[:, None] if self.grey else table

    def _road(self) -> F32:
        """Return the empty road, (H, W, C): asphalt and lines between the lanes."""
        asphalt, line = self._ink([DARK.asphalt]), self._ink([DARK.lane_mark])
        across = asphalt + (line - asphalt) * self.lane_marks()[:, None] * 0.5
        return np.tile(across[None], (self.shape[0], 1, 1)).astype(np.float32)

    def lane_marks(self) -> F32:
        """Return the fraction of each pixel column that lines between the lanes cover, (W,)."""
        left = np.arange(self.shape[1]) / self.scale[1]
        right = left + 1 / self.scale[1]
        fraction = np.zeros(self.shape[1], np.float32)
        for lane in range(1, self.rules.lanes):
            middle, half = lane * LANE_WIDTH, LANE_LINE / 2
            reach = np.minimum(right, middle + half) - np.maximum(left, middle - half)
            fraction += np.clip(reach * self.scale[1], 0, 1).astype(np.float32)
        return fraction


@compiled
def _paint_envs(
    places: tuple[NDArray, NDArray],
    env_indices: NDArray,
    scale: tuple[float, float],
    background: F32,
    inks: F32,
    out: U8,
) -> None:
    """Lay the vehicles of envs over the empty roads in `out`; inks: (N + 1, C) of the bodies, then of the glass."""
    x, y = places
    image, areas = background.copy(), np.empty((x.shape[1], 4), np.int64)
    for k in range(len(env_indices)):
        shown = 0
        for vehicle in range(x.shape[1] - 1, -1, -1):  # the ego vehicle last, so that nothing hides it
            left, top = x[env_indices[k], vehicle], y[env_indices[k], vehicle]
            lay_vehicle(image, scale, left, top, inks[vehicle], inks[-1])
            if -VEHICLE_LENGTH < top < image.shape[0] / scale[0]:
                areas[shown] = area(image, scale, left, top, VEHICLE_WIDTH, VEHICLE_LENGTH)
                shown += 1
        for v in range(shown):
            for row in range(areas[v, 0], areas[v, 1]):
                for column in range(areas[v, 2], areas[v, 3]):
                    for channel in range(out.shape[3]):
                        out[k, row, column, channel] = np.uint8(image[row, column, channel] + np.float32(0.5))
        for v in range(shown):
            for row in range(areas[v, 0], areas[v, 1]):
                for column in range(areas[v, 2], areas[v, 3]):
                    for channel in range(out.shape[3]):
                        image[row, column, channel] = background[row, column, channel]


@compiled
def lay_vehicle(image: F32, scale: tuple[float, float], left: float, top: float, body: F32, glass: F32) -> None:
    """Blend a vehicle with its left side and front at (left, top), in px of the road, into the image."""
    if -VEHICLE_LENGTH < top < image.shape[0] / scale[0]:
        lay_box(image, scale, left, top, VEHICLE_WIDTH, VEHICLE_LENGTH, body)
        for middle, half_width, half_length in GLASS:
            lay_box(
                image,
                scale,
                left + HALF[0] - half_width,
                top + HALF[1] + middle - half_length,
                2 * half_width,
                2 * half_length,
                glass,
            )


@compiled
def lay_box(
    image: F32, scale: tuple[float, float], left: float, top: float, width: float, length: float, ink: F32
) -> None:
    """Blend a box, in px of the road, into the image: each pixel by the fraction that the box covers."""
    y0, y1 = top * scale[0], (top + length) * scale[0]
    x0, x1 = left * scale[1], (left + width) * scale[1]
    row0, row1, column0, column1 = area(image, scale, left, top, width, length)
    for row in range(row0, row1):
        along = min(y1, row + 1.0) - max(y0, float(row))
        for column in range(column0, column1):
            fraction = np.float32(along * (min(x1, column + 1.0) - max(x0, float(column))))
            for channel in range(image.shape[2]):
                image[row, column, channel] += (ink[channel] - image[row, column, channel]) * fraction


@inlined
def area(
    image: F32, scale: tuple[float, float], left: float, top: float, width: float, length: float
) -> tuple[int, int, int, int]:
    """Return first and end row, first and end column of the pixels that a box, in px of the road, touches."""
    row0, row1 = max(0, int(np.floor(top * scale[0]))), min(image.shape[0], int(np.ceil((top + length) * scale[0])))
    column0 = max(0, int(np.floor(left * scale[1])))
    return row0, row1, column0, min(image.shape[1], int(np.ceil((left + width) * scale[1])))
