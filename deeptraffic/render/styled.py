"""Styled pixel observations: the images of `deeptraffic/render/road.py` in other colours, blurred, covered, noisy.

    >>> painter = StyledPainter(rules, 84, 84, styles_by_name("unseen"))
    >>> painter.paint(sim.state, sim.env_indices, run_keys, frame_keys)   # (B, 84, 84, 3) uint8

Style, colours and blur are drawn once in a run, by its key; noise and occluding patches in every frame, by its key
(`deeptraffic/sim/noise.py`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.render.road import F32, U8, PixelPainter, lay_box, lay_vehicle
from deeptraffic.render.sprites import HALF
from deeptraffic.render.styles import RoadStyle
from deeptraffic.render.theme import LUMINANCE
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.noise import mix, normal, uniform
from deeptraffic.sim.rules import VEHICLE_LENGTH, Rules
from deeptraffic.sim.state import I64, State

ASPHALT, MARK, GLASS, STRIPE, EGO, AGENT, TRAFFIC = range(7)  # rows of a palette; then more shades of traffic
STYLE, BLUR, SHADES, JITTER = 0, 1, 16, 1024  # indices of draws of a run's key
LEVEL, COVERS, PIXELS = 2, 3, 65_536  # indices of draws of a frame's key
STRIPE_WIDTH = 4.0  # [px] along the ego car's roof
BYTES_MEAN, BYTES_SD = 510.0, 147.8  # of the sum of four random bytes, which is nearly normal


class Palettes(NamedTuple):
    """Colours and degradations of S styles, see `RoadStyle`.

    colours: (S, TRAFFIC + shades, 3); shades: (S,) number of those of traffic
    jitter, noise, blur, patches, patch_side: (S,)
    luminance: (3,) weights of a grey image's channel
    """

    colours: F32
    shades: I64
    jitter: F32
    noise: F32
    blur: F32
    patches: I64
    patch_side: F32
    luminance: F32


class StyledPainter:
    """Renders the envs of a State as small images, each run in one of some styles.

    Args:
        rules, height, width, grey: as for `PixelPainter`
        styles: at least one
    """

    def __init__(
        self, rules: Rules, height: int, width: int, styles: Sequence[RoadStyle], *, grey: bool = False
    ) -> None:
        plain = PixelPainter(rules, height, width, grey=grey)
        self.shape, self._scale, self._marks = plain.shape, plain.scale, plain.lane_marks()
        self._driven = rules.other_agents + 1
        shades = max(len(style.traffic) for style in styles)
        colours = [
            [
                s.asphalt,
                s.mark,
                s.glass,
                s.stripe,
                s.ego,
                s.agent,
                *(s.traffic[k % len(s.traffic)] for k in range(shades)),
            ]
            for s in styles
        ]
        numbers = {
            name: np.array([getattr(style, name) for style in styles], np.float32)
            for name in ("jitter", "noise", "blur", "patch_side")
        }
        self._palettes = Palettes(
            colours=np.array(colours, np.float32),
            shades=np.array([len(style.traffic) for style in styles]),
            patches=np.array([style.patches for style in styles]),
            luminance=np.array(LUMINANCE, np.float32),
            **numbers,
        )

    def paint(self, state: State, env_indices: I64, run_keys: I64, frame_keys: I64) -> U8:
        """Return images of envs, (len(env_indices), H, W, C) uint8; keys (len(env_indices),)."""
        out = np.empty((len(env_indices), *self.shape), np.uint8)
        keys = np.stack([run_keys, frame_keys], 1)
        places = state["x"][env_indices], state["y"][env_indices]
        _paint_styled(places, keys, self._driven, self._scale, self._marks, self._palettes, out)
        return out


@compiled
def add_noise(images: U8, keys: I64, level: float) -> None:
    """Add noise of a standard deviation of `level` to the values of images (B, H, W, C), by a frame's key each."""
    for k in range(len(images)):
        _add_noise(images[k], keys[k], level)


@compiled
def _add_noise(image: U8, key: int, level: float) -> None:
    values = image.reshape(-1)
    for i in range(values.size):
        drawn = mix(key + PIXELS + i)
        total = (drawn & 255) + (drawn >> 8 & 255) + (drawn >> 16 & 255) + (drawn >> 24)
        value = values[i] + level * (total - BYTES_MEAN) / BYTES_SD
        values[i] = np.uint8(min(max(value + 0.5, 0.0), 255.0))


@compiled
def _paint_styled(
    places: tuple[NDArray, NDArray],
    keys: I64,
    driven: int,
    scale: tuple[float, float],
    marks: F32,
    palettes: Palettes,
    out: U8,
) -> None:
    x, y = places
    image = np.empty(out.shape[1:], np.float32)
    inks = np.empty((palettes.colours.shape[1], out.shape[3]), np.float32)
    for k in range(len(out)):
        run, frame = keys[k]
        style = int(uniform(run, STYLE) * palettes.colours.shape[0])
        _draw_inks(palettes, style, run, inks)
        for column in range(out.shape[2]):
            for channel in range(out.shape[3]):
                ink = inks[ASPHALT, channel] + (inks[MARK, channel] - inks[ASPHALT, channel]) * marks[column]
                image[:, column, channel] = ink
        for vehicle in range(x.shape[1] - 1, -1, -1):  # the ego vehicle last, so that nothing hides it
            ink = TRAFFIC + int(uniform(run, SHADES + vehicle) * palettes.shades[style])
            if vehicle < driven:
                ink = EGO if vehicle == 0 else AGENT
            left, top = x[k, vehicle], y[k, vehicle]
            lay_vehicle(image, scale, left, top, inks[ink], inks[GLASS])
            if vehicle == 0:
                across = left + HALF[0] - STRIPE_WIDTH / 2
                lay_box(image, scale, across, top, STRIPE_WIDTH, VEHICLE_LENGTH, inks[STRIPE])
        blur(image, uniform(run, BLUR) * palettes.blur[style])
        _cover(palettes, style, frame, image)
        for row in range(out.shape[1]):
            for column in range(out.shape[2]):
                for channel in range(out.shape[3]):
                    out[k, row, column, channel] = np.uint8(image[row, column, channel] + np.float32(0.5))
        if palettes.noise[style] > 0:
            _add_noise(out[k], frame, uniform(frame, LEVEL) * palettes.noise[style])


@compiled
def _draw_inks(palettes: Palettes, style: int, run: int, inks: F32) -> None:
    """Write a run's colours, (colours, C): the palette's, each with a jitter of its own."""
    for i in range(inks.shape[0]):
        if inks.shape[1] == 1:
            inks[i, 0] = 0.0
        for c in range(3):
            value = palettes.colours[style, i, c] + palettes.jitter[style] * normal(run, JITTER + 6 * i + 2 * c)
            value = min(max(value, 0.0), 255.0)
            if inks.shape[1] == 1:
                inks[i, 0] += palettes.luminance[c] * value
            else:
                inks[i, c] = value


@compiled
def _cover(palettes: Palettes, style: int, frame: int, image: F32) -> None:
    """Cover a frame with up to `patches` patches of one colour each."""
    height, width, channels = image.shape
    side = palettes.patch_side[style]
    for p in range(int(uniform(frame, COVERS) * (palettes.patches[style] + 1))):
        first = COVERS + 1 + 8 * p
        top, left = int(uniform(frame, first) * height), int(uniform(frame, first + 1) * width)
        bottom = min(height, top + int((0.2 + 0.8 * uniform(frame, first + 2)) * side * height) + 1)
        right = min(width, left + int((0.2 + 0.8 * uniform(frame, first + 3)) * side * width) + 1)
        for channel in range(channels):
            image[top:bottom, left:right, channel] = 255.0 * uniform(frame, first + 4 + channel)


@compiled
def blur(image: F32, fraction: float) -> None:
    """Mix each pixel of (H, W, C) with a fraction of its neighbours, first across, then down."""
    if fraction == 0:
        return
    height, width = image.shape[0], image.shape[1]
    for channel in range(image.shape[2]):
        for row in range(height):
            before = image[row, 0, channel]
            for column in range(width):
                here, after = image[row, column, channel], image[row, min(column + 1, width - 1), channel]
                image[row, column, channel] = here + fraction * (before + after - 2 * here)
                before = here
        for column in range(width):
            before = image[0, column, channel]
            for row in range(height):
                here, after = image[row, column, channel], image[min(row + 1, height - 1), column, channel]
                image[row, column, channel] = here + fraction * (before + after - 2 * here)
                before = here
