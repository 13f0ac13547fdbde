"""Camera frames of many scenes at once from above the road, with a label for every pixel.

    >>> frames = paint_frames(rules, states, 96, 40, "train", seed=1)      # (S..., 3, 96, 40) uint8
    >>> labels = label_maps(rules, states, 96, 40)                         # (S..., 96, 40) uint8, indices of CLASSES

A frame shows the whole simulated road with a shoulder of 10 px on either side. Pixels are anti-aliased by covered area
(as in `deeptraffic/render/road.py`); the class of a pixel is the vehicle that covers at least half of it, else what
lies below. A lane mark is at least one pixel wide, so that small frames show it too.

Appearance is drawn from `deeptraffic/render/styles.py` and applied in the order: colours, blur, occluding patches,
noise. Labels ignore patches.

Letters in shapes: (S...) any batch shape of states, F frames, H rows and W columns of pixels, N vehicles, K colours.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.render.road import LANE_LINE, MAX_SIDE, MIN_SIDE, lay_box
from deeptraffic.render.sprites import GLASS, HALF
from deeptraffic.render.styled import STRIPE_WIDTH, blur
from deeptraffic.render.styles import RoadStyle, styles_by_name
from deeptraffic.render.theme import SHOULDER as SHOULDER_WIDTH
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.rules import LANE_WIDTH, VEHICLE_LENGTH, VEHICLE_WIDTH, Rules

CLASSES = ("road", "lane mark", "shoulder", "vehicle", "ego")
ROAD, MARK, SHOULDER, VEHICLE, EGO = range(len(CLASSES))
PLAIN_COLOURS = 5  # asphalt, mark, shoulder, glass, stripe; then the bodies of the vehicles
CHUNK = 512  # frames in memory as float at a time

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]


# parameters: options of the images, each with a default and given by name
def paint_frames(
    rules: Rules,
    states: NDArray[Any],
    height: int,
    width: int,
    styles: str = "clean",
    seed: int = 0,
    *,
    cameras: F64 | None = None,
    clips: bool = False,
) -> U8:
    """Return frames of states, (S..., 3, H, W) uint8: deterministic on every machine.

    Args:
        rules: of the states
        states: (S...) state records
        height, width: of a frame, 16..1024 pixels
        styles: a set of `STYLE_SETS`, from which each frame draws one, or a style's name
        seed: of styles, colours, noise, blur and patches
        cameras: (S..., 3), as from `draw_cameras`; None to centre the whole road
        clips: one appearance per entry of the first axis, so that the frames of a clip match; noise and patches still
            differ from frame to frame
    """
    flat, views = _flat(rules, states, height, width, cameras)
    (x, y), random, known = _places(flat), np.random.default_rng(seed), styles_by_name(styles)
    fraction = flat.size // max(1, len(states)) if clips else 1  # frames of one appearance
    appearances = list(_draw_appearances(random, known, rules, -(-flat.size // max(1, fraction))))
    out = np.empty((flat.size, 3, height, width), np.uint8)
    for start in range(0, flat.size, CHUNK):
        rows = np.arange(start, min(start + CHUNK, flat.size))
        which = [appearances[row // fraction] for row in rows]
        colours, blur = (
            np.stack([appearance[1] for appearance in which]),
            np.array([appearance[2] for appearance in which], np.float32),
        )
        noise, patches, covers = _draw_noise(random, [appearance[0] for appearance in which], (height, width))
        _paint(x, y, rows, views, rules.lanes, FrameStyles(colours, blur, patches, covers, noise), out)
    return out.reshape(*states.shape, 3, height, width)


def label_maps(rules: Rules, states: NDArray[Any], height: int, width: int, *, cameras: F64 | None = None) -> U8:
    """Return the class of every pixel, (S..., H, W) uint8, indices of `CLASSES`; arguments as for `paint_frames`."""
    flat, views = _flat(rules, states, height, width, cameras)
    out = np.empty((flat.size, height, width), np.uint8)
    _label(*_places(flat), views, rules.lanes, out)
    return out.reshape(*states.shape, height, width)


def draw_cameras(shape: tuple[int, ...], seed: int, zoom: float = 0.1, shift_px: float = 8.0) -> F64:
    """Return shaking cameras, (*shape, 3): zoom, shift right and shift down [px].

    zoom, shift_px: largest deviations from 1 and from 0, four times as large down as right
    """
    spread = np.random.default_rng(seed).uniform(-1.0, 1.0, (*shape, 3))
    return np.array([1.0, 0.0, 0.0]) + spread * np.array([zoom, shift_px, 4 * shift_px])


def _flat(rules: Rules, states: NDArray[Any], height: int, width: int, cameras: F64 | None) -> tuple[NDArray[Any], F64]:
    """Return states as (F,) and the view of each frame, (F, 4): pixels per px down and across; left and top [px]."""
    for name, side in (("height", height), ("width", width)):
        if not MIN_SIDE <= side <= MAX_SIDE:
            raise ValueError(f"{name} must be in [{MIN_SIDE}, {MAX_SIDE}] pixels, got {side}")
    if cameras is not None and cameras.shape != (*states.shape, 3):
        raise ValueError(f"cameras must have shape {(*states.shape, 3)}, got {cameras.shape}")
    zoom, right, down = np.moveaxis(np.array([[1.0, 0.0, 0.0]]) if cameras is None else cameras.reshape(-1, 3), 1, 0)
    size = np.array([rules.road_length, rules.road_width + 2 * SHOULDER_WIDTH])
    views = np.empty((states.size, 4))
    views[:, :2] = zoom[:, None] * (np.array([height, width]) / size)
    views[:, 2] = rules.road_width / 2 + right - size[1] / 2 / zoom
    views[:, 3] = size[0] / 2 + down - size[0] / 2 / zoom
    return states.reshape(-1), views


def _places(flat: NDArray[Any]) -> tuple[F64, F64]:
    """Return x and y, (F, N) each, in one memory layout, so that the loops are compiled once."""
    return np.ascontiguousarray(flat["x"]), np.ascontiguousarray(flat["y"])


# --- appearance -------------------------------------------------------------------------------------------------------

Appearance = tuple[RoadStyle, F32, float]  # style, colours (K, 3), blur


def _draw_appearances(
    random: np.random.Generator, styles: list[RoadStyle], rules: Rules, count: int
) -> Iterator[Appearance]:
    driven = rules.other_agents + 1
    for _ in range(count):
        style = styles[random.integers(len(styles))]
        shades = [style.traffic[k] for k in random.integers(len(style.traffic), size=rules.vehicles - driven)]
        bodies = [style.ego] + [style.agent] * rules.other_agents + shades
        colours = np.array([style.asphalt, style.mark, style.shoulder, style.glass, style.stripe, *bodies], np.float32)
        colours += random.normal(0.0, style.jitter, colours.shape).astype(np.float32)
        yield style, np.clip(colours, 0, 255), random.uniform(0.0, style.blur)


def _draw_noise(
    random: np.random.Generator, styles: list[RoadStyle], size: tuple[int, int]
) -> tuple[F32, NDArray[np.int64], F32]:
    """Return (noise (F, 3, H, W), patches (F, P, 4) top, left, bottom, right; covers (F, P, 3) their colours)."""
    count, most = len(styles), max(style.patches for style in styles)
    noise = np.zeros((count, 3, *size), np.float32)
    if any(style.noise for style in styles):
        levels = random.uniform(0.0, [style.noise for style in styles]).astype(np.float32)
        random.standard_normal(out=noise, dtype=np.float32)
        noise *= levels[:, None, None, None]
    sides = np.array([style.patch_side for style in styles])[:, None, None] * np.array(size)
    corners = random.uniform(0.0, 1.0, (count, most, 2)) * np.array(size)
    ends = corners + random.uniform(0.2, 1.0, (count, most, 2)) * sides
    used = np.arange(most) < random.integers(0, [[style.patches + 1] for style in styles])
    patches = np.concatenate([corners, np.where(used[..., None], ends, corners)], -1).astype(np.int64)
    patches[..., 2:] = np.minimum(patches[..., 2:], np.array(size))
    return noise, patches, random.uniform(0, 255, (count, most, 3)).astype(np.float32)


# --- compiled ---------------------------------------------------------------------------------------------------------


@compiled
def _ground(column: int, view: F64, lanes: int) -> int:
    """Return the class of a pixel column of the empty road."""
    at = (column + 0.5) / view[1] + view[2]  # [px] the pixel's middle
    nearest = np.floor(at / LANE_WIDTH + 0.5)
    edge = nearest * LANE_WIDTH
    is_line = column == np.floor((edge - view[2]) * view[1]) or abs(at - edge) < LANE_LINE / 2
    if 0 <= nearest <= lanes and is_line:
        return MARK
    return ROAD if 0 <= at < lanes * LANE_WIDTH else SHOULDER


class FrameStyles(NamedTuple):
    """Appearance of K frames: colours (K, C, 3), blur (K,), patches (K, P, 4), their covers, noise (K, 3, H, W)."""

    colours: F32
    blur: F32
    patches: NDArray[Any]
    covers: F32
    noise: F32


@compiled
def _paint(x: F64, y: F64, rows: NDArray, views: F64, lanes: int, styles: FrameStyles, out: U8) -> None:
    colours, blurs, patches, covers, noise = styles
    height, width = out.shape[2], out.shape[3]
    image = np.empty((height, width, 3), np.float32)
    for k in range(len(rows)):
        view = views[rows[k]]
        for column in range(width):
            _lay_plain(image, 0, column, height, column + 1, colours[k, _ground(column, view, lanes)])
        for vehicle in range(x.shape[1] - 1, -1, -1):  # the ego car last, so that nothing hides it
            _paint_vehicle(image, view, vehicle, x[rows[k], vehicle], y[rows[k], vehicle], colours[k])
        blur(image, blurs[k])
        for p in range(patches.shape[1]):
            top, left, bottom, right = patches[k, p]
            _lay_plain(image, top, left, bottom, right, covers[k, p])
        for channel in range(3):
            for row in range(height):
                for column in range(width):
                    level = image[row, column, channel] + noise[k, channel, row, column] + np.float32(0.5)
                    out[rows[k], channel, row, column] = np.uint8(min(max(level, 0), 255))


@compiled
def _lay_plain(image: F32, top: int, left: int, bottom: int, right: int, ink: F32) -> None:
    for row in range(top, bottom):
        for column in range(left, right):
            for channel in range(3):
                image[row, column, channel] = ink[channel]


@compiled
def _paint_vehicle(image: F32, view: F64, vehicle: int, x: float, y: float, colours: F32) -> None:
    left, top, scale = x - view[2], y - view[3], (view[0], view[1])
    if not -VEHICLE_LENGTH < top < image.shape[0] / view[0]:
        return
    lay_box(image, scale, left, top, VEHICLE_WIDTH, VEHICLE_LENGTH, colours[PLAIN_COLOURS + vehicle])
    for middle, half_width, half_length in GLASS:
        at_x, at_y = left + HALF[0] - half_width, top + HALF[1] + middle - half_length
        lay_box(image, scale, at_x, at_y, 2 * half_width, 2 * half_length, colours[3])
    if vehicle == 0:
        lay_box(image, scale, left + HALF[0] - STRIPE_WIDTH / 2, top, STRIPE_WIDTH, VEHICLE_LENGTH, colours[4])


@compiled
def _label(x: F64, y: F64, views: F64, lanes: int, out: U8) -> None:
    height, width = out.shape[1], out.shape[2]
    for k in range(len(out)):
        down, across, left, top = views[k]
        for column in range(width):
            out[k, :, column] = _ground(column, views[k], lanes)
        for vehicle in range(x.shape[1] - 1, -1, -1):
            y0, x0 = (y[k, vehicle] - top) * down, (x[k, vehicle] - left) * across
            y1, x1 = y0 + VEHICLE_LENGTH * down, x0 + VEHICLE_WIDTH * across
            if not (y1 > 0 and y0 < height):
                continue
            for row in range(max(0, int(np.floor(y0))), min(height, int(np.ceil(y1)))):
                along = min(y1, row + 1.0) - max(y0, float(row))
                for column in range(max(0, int(np.floor(x0))), min(width, int(np.ceil(x1)))):
                    if along * (min(x1, column + 1.0) - max(x0, float(column))) >= 0.5:
                        out[k, row, column] = EGO if vehicle == 0 else VEHICLE
