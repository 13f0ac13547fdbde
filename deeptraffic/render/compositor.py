"""Compositor: lays road, overlay tiles, trail, vehicles and numbers into the bytes of an image, in compiled code.

An image is (H, W * 3) uint8 here: lines of red, green and blue. What is drawn comes as S pre-rendered images of one
size, (2, S, h, w * 3) uint8: colours, premultiplied by alpha, and 255 - alpha; a byte becomes colour + byte * (255 -
alpha) / 255.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.episodes.history import TRAIL_FRAMES, Rings
from deeptraffic.render.theme import PATTERN_PERIOD
from deeptraffic.sim.compiled import compiled, inlined
from deeptraffic.sim.rules import LANE_MARGIN, LANE_WIDTH, VEHICLE_LENGTH, VEHICLE_WIDTH

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
F64 = NDArray[np.float64]

TRAIL_HALF_WIDTH = 4.2  # [px]
TRAIL_FADE = 0.85  # opacity at the vehicle
TRAIL_FADE_POWER = 0.8  # opacity is TRAIL_FADE * (1 - age) ** TRAIL_FADE_POWER, age 0..1
OPACITIES = tuple(TRAIL_FADE * (1 - age / TRAIL_FRAMES) ** TRAIL_FADE_POWER for age in range(TRAIL_FRAMES + 1))
TRAIL_TAPER = 0.55  # of its width that it has lost at its end
MANNERS = 6  # of driving that a vehicle shows, see `manner`
PACES = 4  # of traffic cars that are drawn differently, the fastest first, see `pace_of`
TURN = 0.5  # [px] beside a lane's middle at which a lane change is shown
BRAKE_FRAMES, BRAKE_DROP = 6, 0.05  # [frames], [px/frame] of speed lost in them, at which brake lights are shown
SEPARATOR, MINUS = 10, 11  # among `Letters`
JUMP = 5.0  # [px/frame] a faster one was moved to the other end of the road


class Rectangle(NamedTuple):
    """A rectangle of an image [pixels]."""

    left: int
    top: int
    width: int
    height: int


class Camera(NamedTuple):
    """What a view shows of the road.

    left, top: world coordinates [px] of its left and upper edges
    place: rectangle of the canvas that it fills; scale: [pixels per px]
    """

    left: float
    top: float
    place: Rectangle
    scale: float

    def pixel(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return where a point of the road [px] is on the canvas [pixels]; also of arrays."""
        return self.place.left + (x - self.left) * self.scale, self.place.top + (y - self.top) * self.scale


class Surface(NamedTuple):
    """Verge, asphalt and marks, of which most lines are alike.

    lines: (2, L, w * 3) uint8 the different ones, on the simulated road and beyond its ends
    order: (P, M) int64 which of them follow each other, moved up by a fraction of a pixel
    left: of the lines [px]; ends: of the simulated road [px]; marks: distance at which marks are shown [px]
    """

    lines: U8
    order: I64
    left: float
    ends: tuple[float, float]
    marks: float


class Tiles(NamedTuple):
    """K images to be copied at the nearest pixels.

    images: see the module
    number: (K,) int64 of the images
    x, y: (K,) float64 [px] where their upper left corners are on the road
    """

    images: U8
    number: I64
    x: F64
    y: F64


class Ribbon(NamedTuple):
    """The trail of one vehicle of one env, and its ink: (w * 3,) float64, its colour for each pixel of a line."""

    rings: Rings
    env: int
    vehicle: int
    ink: F64


class Fleet(NamedTuple):
    """How vehicles are drawn: the ego car, then `others`, then traffic.

    numbers: (3 + `PACES` - 1, 6, P, P) int64 of `images`, of the kind and manner at a fraction of a pixel down and
        across; -1 if there is none yet; kinds are ego car, others, and traffic, the fastest first
    factors: least speed factor of traffic, and how far the greatest is above it
    pad: [px] around a vehicle in its image
    """

    images: U8
    numbers: I64
    others: int
    factors: tuple[float, float]
    pad: float


@compiled
def paint_road(image: U8, camera: Camera, surface: Surface, tiles: Tiles, ribbon: Ribbon, fleet: Fleet) -> int:
    """Paint surface, tiles, trail and the vehicles of an env's newest frame, the first one last; return -1.

    If an image of a vehicle is missing, nothing is done, and its place in `fleet.numbers`, flattened, is returned.
    """
    rings, env, scale, place = ribbon.rings, ribbon.env, camera.scale, camera.place
    newest, phases, shown = rings.heads[env, 0], fleet.numbers.shape[2], 0
    places = np.empty((rings.x.shape[2], 3), np.int64)
    for vehicle in range(rings.x.shape[2] - 1, -1, -1):
        x = (rings.x[env, newest, vehicle] - camera.left - fleet.pad) * scale
        y = (rings.y[env, newest, vehicle] - camera.top - fleet.pad) * scale
        if not (-2 * VEHICLE_LENGTH * scale < y < place.height and abs(x) < 2 * place.width):
            continue
        across, along = int(np.floor(x * phases + 0.5)), int(np.floor(y * phases + 0.5))
        column, line = across // phases, along // phases
        kind = min(vehicle, 1)
        if vehicle > fleet.others:
            kind = 2 + pace_of(rings.factor[env, vehicle], fleet.factors[0], fleet.factors[1])
        drawn = kind * MANNERS + manner(rings, env, vehicle)
        number = (drawn * phases + along - line * phases) * phases + across - column * phases
        places[shown, 0], places[shown, 1], places[shown, 2] = fleet.numbers.flat[number], column, line
        if places[shown, 0] < 0:
            return number
        shown += 1
    lay_surface(image, camera, surface)
    paint_tiles(image, camera, tiles)
    lay_ribbon(image, camera, ribbon)
    for k in range(shown):
        lay_image(image, place, fleet.images, places[k, 0], places[k, 1], places[k, 2])
    return -1


@inlined
def lay_surface(image: U8, camera: Camera, surface: Surface) -> None:
    """Copy a surface, scrolled by its marks."""
    place, scale, phases = camera.place, camera.scale, surface.order.shape[0]
    start = int(np.floor(((camera.top - surface.marks) % PATTERN_PERIOD) * scale * phases + 0.5))
    whole, phase = start // phases, start % phases
    far, near = np.rint((surface.ends[0] - camera.top) * scale), np.rint((surface.ends[1] - camera.top) * scale)
    aside = 3 * int(np.rint((camera.left - surface.left) * scale))
    for line in range(place.height):
        beyond = int(line < far or line >= near)
        source = surface.lines[beyond, surface.order[phase, whole + line], aside : aside + 3 * place.width]
        target = image[place.top + line, 3 * place.left : 3 * (place.left + place.width)]
        for i in range(len(target)):
            target[i] = source[i]


@inlined
def pace_of(factor: float, slowest: float, spread: float) -> int:
    """Return the quarter of the traffic's speed factors that one is in, 0 for the fastest; 1 where all are alike."""
    if not spread > 0.0:
        return 1
    return int(min(max((1.0 - (factor - slowest) / spread) * PACES, 0.0), PACES - 1.0))


@inlined
def manner(rings: Rings, env: int, vehicle: int) -> int:
    """Return what a vehicle does: 0 nothing, 1 a lane change to the left, 2 to the right; 3 more while it brakes."""
    now = rings.heads[env, 0]
    aside = LANE_WIDTH * rings.lane[env, vehicle] + LANE_MARGIN - rings.x[env, now, vehicle]
    turn = 1 if aside < -TURN else 2 if aside > TURN else 0
    if rings.heads[env, 1] <= BRAKE_FRAMES:
        return turn
    before = (now - BRAKE_FRAMES) % rings.x.shape[1]
    slower = rings.speed[env, before, vehicle] - rings.speed[env, now, vehicle]
    stayed = abs(rings.y[env, before, vehicle] - rings.y[env, now, vehicle]) < JUMP * BRAKE_FRAMES
    return turn + 3 if stayed and slower > BRAKE_DROP else turn


@compiled
def paint_tiles(image: U8, camera: Camera, tiles: Tiles) -> None:
    """Blend images into a view."""
    place = camera.place
    for k in range(len(tiles.number)):
        left, top = (tiles.x[k] - camera.left) * camera.scale, (tiles.y[k] - camera.top) * camera.scale
        if abs(left) < 2 * place.width and abs(top) < 2 * place.height:
            lay_image(image, place, tiles.images, tiles.number[k], int(np.rint(left)), int(np.rint(top)))


@compiled
def lay_image(image: U8, place: Rectangle, images: U8, number: int, left: int, top: int) -> None:
    """Blend one image into a rectangle, cut off at its edges."""
    first, last = 3 * max(0, -left), min(images.shape[3], 3 * (place.width - left))
    if first >= last:
        return
    begin = 3 * (place.left + left)
    for line in range(max(0, -top), min(images.shape[2], place.height - top)):
        ink, rest = images[0, number, line, first:last], images[1, number, line, first:last]
        target = image[place.top + top + line, begin + first : begin + last]
        for i in range(len(target)):
            blended = np.uint32(target[i]) * np.uint32(rest[i]) + np.uint32(128)
            target[i] = np.uint8(ink[i] + ((blended + (blended >> np.uint32(8))) >> np.uint32(8)))


class Letters(NamedTuple):
    """Letters of which numbers consist: 0 to 9, separator and minus sign.

    images: four of each, moved by quarters of a pixel
    advances, begins: (12,) float64 of their places [quarters of a pixel]
    ground: (w * 3,) uint8 line of the background
    """

    images: U8
    advances: F64
    begins: F64
    ground: U8


@compiled
def lay_number(image: U8, place: Rectangle, letters: Letters, number: int) -> None:
    """Write a number with thousands separators into a rectangle, from its left edge on, and clear the rest."""
    for line in range(place.height):
        target = image[place.top + line, 3 * place.left : 3 * (place.left + place.width)]
        for i in range(len(target)):
            target[i] = letters.ground[i]
    text, count, rest = np.empty(32, np.int64), 0, abs(number)
    while rest > 0 or count == 0:
        if count % 4 == 3:
            text[count], count = SEPARATOR, count + 1
        text[count], count, rest = rest % 10, count + 1, rest // 10
    if number < 0:
        text[count], count = MINUS, count + 1
    at = 0.0
    for k in range(count - 1, -1, -1):
        left = int(np.rint(at + letters.begins[text[k]]))
        lay_image(image, place, letters.images, 4 * text[k] + left % 4, left // 4, 0)
        at += letters.advances[text[k]]


@inlined
def lay_ribbon(image: U8, camera: Camera, ribbon: Ribbon) -> None:
    """Blend a fading ribbon along a vehicle's last positions, as far back as they are finite and without a jump."""
    rings, env, vehicle, place, scale = ribbon.rings, ribbon.env, ribbon.vehicle, camera.place, camera.scale
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
        width[k] = TRAIL_HALF_WIDTH * scale * (1 - TRAIL_TAPER * age)
        opacity[k] = OPACITIES[min(frame - before_frame, TRAIL_FRAMES)]
        kept = k + 1
    if kept < 2:
        return
    first = max(0.0, np.floor((middle[0] - camera.top) * scale))
    last = min(float(place.height), np.ceil((middle[kept - 1] - camera.top) * scale))
    k, inside = 0, np.empty(len(ribbon.ink))
    for line in range(int(first), int(last)):
        y = (line + 0.5) / scale + camera.top
        while k + 2 < kept and middle[k + 1] <= y:
            k += 1
        step = middle[k + 1] - middle[k]
        part = min(max((y - middle[k]) / step, 0.0), 1.0) if step > 0 else 1.0
        x = (centre[k] + (centre[k + 1] - centre[k]) * part - camera.left) * scale
        half, strength = width[k] + (width[k + 1] - width[k]) * part, opacity[k] + (opacity[k + 1] - opacity[k]) * part
        low, high = max(0, int(x - half)), min(place.width, int(x + half) + 2)
        if low >= high:
            continue
        target = image[place.top + line, 3 * (place.left + low) : 3 * (place.left + high)]
        covered = inside[: len(target)]
        for column in range(high - low):
            share = strength * min(max(half - abs(low + column + 0.5 - x) + 0.5, 0.0), 1.0)
            covered[3 * column] = covered[3 * column + 1] = covered[3 * column + 2] = share
        for i in range(len(target)):
            target[i] = np.uint8(target[i] + (ribbon.ink[i] - target[i]) * covered[i] + 0.5)
