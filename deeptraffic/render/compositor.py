"""Compositor: blends overlay tiles, trail and vehicles into the bytes of an image, in compiled code.

An image is (H, W * 3) uint8 here: lines of red, green and blue. What is drawn comes as pre-rendered `Images` of one
size, premultiplied by alpha: a byte becomes colour + byte * (255 - alpha) / 255.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.episodes.history import TRAIL_FRAMES, Rings
from deeptraffic.render.theme import Colour
from deeptraffic.sim.compiled import compiled, inlined
from deeptraffic.sim.rules import LANE_MARGIN, LANE_WIDTH, VEHICLE_LENGTH, VEHICLE_WIDTH

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
F64 = NDArray[np.float64]

TRAIL_HALF_WIDTH = 4.2  # [px]
TRAIL_FADE = 0.85  # opacity at the vehicle
TRAIL_FADE_POWER = 0.8  # opacity is TRAIL_FADE * (1 - age) ** TRAIL_FADE_POWER, age 0..1
TRAIL_TAPER = 0.55  # of its width that it has lost at its end
MANNERS = 6  # of driving that a vehicle shows, see `manner`
PACES = 4  # of traffic cars that are drawn differently, the fastest first, see `pace_of`
TURN = 0.5  # [px] beside a lane's middle at which a lane change is shown
BRAKE_FRAMES, BRAKE_DROP = 6, 0.05  # [frames], [px/frame] of speed lost in them, at which brake lights are shown
JUMP = 5.0  # [px/frame] a faster one was moved to the other end of the road


class Images(NamedTuple):
    """S images of one size; colour, keep: (S, h, w * 3), premultiplied by alpha, and 255 - alpha."""

    colour: U8
    keep: U8


class View(NamedTuple):
    """Part of an image that shows a road.

    left, top, width, height: its place in the image [pixels]
    scale: [pixels per px]
    across, along: its upper left corner on the road [px]
    """

    left: int
    top: int
    width: int
    height: int
    scale: float
    across: float
    along: float


class Tiles(NamedTuple):
    """K images to be copied at the nearest pixels.

    number: (K,) int64 of the images
    x, y: (K,) float64 [px] where their upper left corners are on the road
    """

    number: I64
    x: F64
    y: F64


class Ribbon(NamedTuple):
    """The trail of one vehicle of one env, and its colour; env is -1 for none."""

    rings: Rings
    env: int
    vehicle: int
    colour: Colour


class Fleet(NamedTuple):
    """N vehicles to be drawn, the first one last.

    x, y: (N,) float64 [px] front left corners
    lane: (N,) int32 that a vehicle is in or changes to
    kind: (N,) int64 line of `numbers`; of a traffic car that of the fastest ones
    factor: (N,) float64 speed factors; factors: least one of traffic, and how far the greatest is above it
    numbers: (kinds, 6, P, P) int64 image of a kind and a manner at a fraction of a pixel down and across; -1 if there
        is none yet; the last `PACES` kinds are traffic cars
    pad: [px] around a vehicle in its image
    """

    x: F64
    y: F64
    lane: I32
    kind: I64
    factor: F64
    factors: tuple[float, float]
    numbers: I64
    pad: float


@compiled
def paint_road(
    image: U8, view: View, tiles: Tiles, tile_images: Images, ribbon: Ribbon, fleet: Fleet, vehicle_images: Images
) -> int:
    """Blend tiles, trail and vehicles into a view, in this order; return -1.

    If an image of a vehicle is missing, nothing is done, and its place in `fleet.numbers`, flattened, is returned.
    """
    phases, shown = fleet.numbers.shape[2], 0
    places = np.empty((len(fleet.x), 3), np.int64)
    for vehicle in range(len(fleet.x) - 1, -1, -1):
        x = (fleet.x[vehicle] - view.across - fleet.pad) * view.scale
        y = (fleet.y[vehicle] - view.along - fleet.pad) * view.scale
        if not (-2 * VEHICLE_LENGTH * view.scale < y < view.height and abs(x) < 2 * view.width):
            continue
        across, along = int(np.floor(x * phases + 0.5)), int(np.floor(y * phases + 0.5))
        column, line = across // phases, along // phases
        kind = fleet.kind[vehicle]
        if kind >= fleet.numbers.shape[0] - PACES:
            kind += pace_of(fleet.factor[vehicle], fleet.factors[0], fleet.factors[1])
        drawn = kind * MANNERS + manner(ribbon, vehicle, fleet.x[vehicle], fleet.lane[vehicle])
        place = (drawn * phases + along - line * phases) * phases + across - column * phases
        places[shown, 0], places[shown, 1], places[shown, 2] = fleet.numbers.flat[place], column, line
        if places[shown, 0] < 0:
            return place
        shown += 1
    paint_tiles(image, view, tiles, tile_images)
    lay_ribbon(image, view, ribbon)
    for k in range(shown):
        lay_image(image, view, vehicle_images, places[k, 0], places[k, 1], places[k, 2])
    return -1


@inlined
def pace_of(factor: float, slowest: float, spread: float) -> int:
    """Return the quarter of the traffic's speed factors that one is in, 0 for the fastest; 1 where all are alike."""
    if not spread > 0.0:
        return 1
    return int(min(max((1.0 - (factor - slowest) / spread) * PACES, 0.0), PACES - 1.0))


@inlined
def manner(ribbon: Ribbon, vehicle: int, x: float, lane: int) -> int:
    """Return what a vehicle does: 0 nothing, 1 a lane change to the left, 2 to the right; 3 more while it brakes."""
    aside = LANE_WIDTH * lane + LANE_MARGIN - x
    turn = 1 if aside < -TURN else 2 if aside > TURN else 0
    rings, env = ribbon.rings, ribbon.env
    if env < 0 or vehicle >= rings.x.shape[2] or rings.heads[env, 1] <= BRAKE_FRAMES:
        return turn
    now = rings.heads[env, 0]
    before = (now - BRAKE_FRAMES) % rings.x.shape[1]
    slower = rings.speed[env, before, vehicle] - rings.speed[env, now, vehicle]
    stayed = abs(rings.y[env, before, vehicle] - rings.y[env, now, vehicle]) < JUMP * BRAKE_FRAMES
    return turn + 3 if stayed and slower > BRAKE_DROP else turn


@compiled
def paint_tiles(image: U8, view: View, tiles: Tiles, images: Images) -> None:
    """Blend images into a view."""
    for k in range(len(tiles.number)):
        left, top = (tiles.x[k] - view.across) * view.scale, (tiles.y[k] - view.along) * view.scale
        if abs(left) < 2 * view.width and abs(top) < 2 * view.height:
            lay_image(image, view, images, tiles.number[k], int(np.rint(left)), int(np.rint(top)))


@compiled
def lay_image(image: U8, view: View, images: Images, number: int, left: int, top: int) -> None:
    """Blend one image into a view, cut off at its edges."""
    first, last = 3 * max(0, -left), min(images.colour.shape[2], 3 * (view.width - left))
    if first >= last:
        return
    begin = 3 * (view.left + left)
    for line in range(max(0, -top), min(images.colour.shape[1], view.height - top)):
        ink, rest = images.colour[number, line, first:last], images.keep[number, line, first:last]
        target = image[view.top + top + line, begin + first : begin + last]
        for i in range(len(target)):
            blended = np.uint32(target[i]) * np.uint32(rest[i]) + np.uint32(128)
            target[i] = np.uint8(ink[i] + ((blended + (blended >> np.uint32(8))) >> np.uint32(8)))


@inlined
def lay_ribbon(image: U8, view: View, ribbon: Ribbon) -> None:
    """Blend a fading ribbon along a vehicle's last positions, as far back as they are finite and without a jump."""
    rings, env, vehicle = ribbon.rings, ribbon.env, ribbon.vehicle
    if env < 0:
        return
    size, newest, count = rings.x.shape[1], rings.heads[env, 0], rings.heads[env, 1]
    middle, centre, width, opacity = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    ground, frame, kept = rings.ground[env, newest], rings.frame[env, newest], 0
    before_y, before_frame = 0.0, 0
    for k in range(count):
        at = (newest - k) % size
        x, y = rings.x[env, at, vehicle], rings.y[env, at, vehicle] + (ground - rings.ground[env, at])
        jumped = k > 0 and not abs(y - before_y) <= JUMP * abs(rings.frame[env, at] - before_frame)
        if jumped or not abs(x) + abs(y) < np.inf:
            break
        before_y, before_frame = y, rings.frame[env, at]
        middle[k] = y + VEHICLE_LENGTH / 2 if k == 0 else max(y + VEHICLE_LENGTH / 2, middle[k - 1])
        centre[k] = x + VEHICLE_WIDTH / 2
        age = min((frame - before_frame) / TRAIL_FRAMES, 1.0)
        width[k] = TRAIL_HALF_WIDTH * view.scale * (1 - TRAIL_TAPER * age)
        opacity[k] = TRAIL_FADE * (1 - age) ** TRAIL_FADE_POWER
        kept = k + 1
    if kept < 2:
        return
    first = max(0.0, np.floor((middle[0] - view.along) * view.scale))
    last = min(float(view.height), np.ceil((middle[kept - 1] - view.along) * view.scale))
    k = 0
    for line in range(int(first), int(last)):
        y = (line + 0.5) / view.scale + view.along
        while k + 2 < kept and middle[k + 1] <= y:
            k += 1
        step = middle[k + 1] - middle[k]
        part = min(max((y - middle[k]) / step, 0.0), 1.0) if step > 0 else 1.0
        x = (centre[k] + (centre[k + 1] - centre[k]) * part - view.across) * view.scale
        half, strength = width[k] + (width[k + 1] - width[k]) * part, opacity[k] + (opacity[k + 1] - opacity[k]) * part
        low, high = max(0, int(x - half)), min(view.width, int(x + half) + 2)
        if low >= high:
            continue
        target = image[view.top + line, 3 * (view.left + low) : 3 * (view.left + high)]
        for column in range(high - low):
            inside = strength * min(max(half - abs(low + column + 0.5 - x) + 0.5, 0.0), 1.0)
            for channel in range(3):
                value = target[3 * column + channel]
                target[3 * column + channel] = np.uint8(value + (ribbon.colour[channel] - value) * inside + 0.5)
