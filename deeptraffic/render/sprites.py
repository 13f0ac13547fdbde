"""Sprites of vehicles, pre-rendered at any scale and at fractions of a pixel, drawn or from an image file.

Each kind of vehicle is rendered once per fraction of a pixel in x and in y, so that slow relative motion looks smooth
although sprites are copied at whole pixels.
"""

import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deeptraffic.render.compositor import MANNERS, PACES
from deeptraffic.render.drawing import Atlas, ByteArray, Sheet
from deeptraffic.render.theme import Colour, Theme, mix
from deeptraffic.sim.rules import VEHICLE_LENGTH, VEHICLE_WIDTH

if TYPE_CHECKING:
    from PIL import Image


PAD = 3.0  # [px] around a vehicle for its shadow, rim and mirrors
HALF = (VEHICLE_WIDTH / 2, VEHICLE_LENGTH / 2)
GLASS = (
    (-5.8, 5.7, 3.0),
    (10.6, 5.2, 2.0),
)  # windscreen and rear window: middle along the vehicle, half width and length
TRAFFIC, AGENT, EGO = "traffic", "agent", "ego"
MIN_SIDE, MAX_SIDE = 8, 8192  # [pixels]
MAX_BYTES = 16 * 1024 * 1024
MIN_OPACITY = 0.25  # of an image of one's own, on average
YAW = 5.0  # [degrees] of a vehicle that changes lanes
BRAKE_LIGHT: Colour = (255, 36, 24)
INDICATOR: Colour = (255, 170, 0)
CORNER = 4.6  # [px] radius of a vehicle's corners
EGO_KIND, AGENT_KIND, TRAFFIC_KIND = 0, 1, 2  # lines of `SpriteSet.numbers`; then traffic, the fastest first


class SpriteSet:
    """Sprites of one theme at one scale [pixels per px], made when they are first needed.

    image: replaces the drawn ego vehicle

    numbers: (kinds, 6, P, P) int64, the image in `atlas` of a kind and a manner of driving (`compositor.manner`) at a
        fraction of a pixel down and across, else -1
    """

    def __init__(self, theme: Theme, scale: float, accent: Colour, image: "VehicleImage | None" = None) -> None:
        self.theme, self.scale, self.accent, self.image = theme, scale, accent, image
        phases = 4 if scale < 1.8 else 2 if scale < 4 else 1
        self.atlas = Atlas(*sprite_size(scale))
        self.numbers = np.full((TRAFFIC_KIND + PACES, MANNERS, phases, phases), -1)

    def make(self, place: int) -> None:
        """Make the sprite whose place in `numbers`, flattened, is given."""
        kind, manner, along, across = (int(index) for index in np.unravel_index(place, self.numbers.shape))
        phases = self.numbers.shape[2]
        step = 2 if manner and phases > 2 else 1  # what is seen for moments is made at fewer fractions
        across, along = across // step * step, along // step * step
        image = self._image(kind, manner, across / phases, along / phases)
        self.numbers[kind, manner, along : along + step, across : across + step] = self.atlas.add(image)

    def _image(self, kind: int, manner: int, across: float, along: float) -> ByteArray:
        if kind == EGO_KIND and self.image is not None:
            return self.image.drawn(vehicle_sheet(self.scale, across, along), self.theme.rim)
        return sprite(self.theme, self.scale, self.accent, kind, manner, (across, along))


@lru_cache(1024)
def sprite(theme: Theme, scale: float, accent: Colour, kind: int, manner: int, phase: tuple[float, float]) -> ByteArray:
    """Return the image (H, W, 4) of a kind and a manner of driving, drawn once for all painters of a process.

    phase: fractions of a pixel across and along
    """
    sheet, turn = vehicle_sheet(scale, *phase), manner % 3
    if turn:
        sheet.turn(YAW if turn == 2 else -YAW)
    name = {EGO_KIND: EGO, AGENT_KIND: AGENT}.get(kind, TRAFFIC)
    draw_vehicle(sheet, theme, name, max(0, kind - TRAFFIC_KIND), accent)
    draw_signals(sheet, turn, manner >= 3)
    return sheet.rgba8()


def sprite_size(scale: float) -> tuple[int, int]:
    """Return width and height of a vehicle's image, with room for its shadow and a fraction of a pixel."""
    wide, high = (math.ceil((side + 2 * PAD) * scale) + 1 for side in (VEHICLE_WIDTH, VEHICLE_LENGTH))
    return wide, high


def vehicle_sheet(scale: float, across: float = 0.0, along: float = 0.0) -> Sheet:
    """Return an empty sheet with a vehicle's middle at the world's origin, moved by fractions of a pixel."""
    return Sheet(*sprite_size(scale), scale, -PAD - HALF[0] - across / scale, -PAD - HALF[1] - along / scale)


class VehicleBody(NamedTuple):
    """Shape of a vehicle's upper side [px from its middle, along it]: half lengths and middles of its parts.

    windscreen, cabin, roof: (middle, half width, half length); ribs: places of lines across the roof
    rear: whether there is a rear window; spoiler: whether there is one
    """

    windscreen: tuple[float, float, float] = GLASS[0]
    cabin: tuple[float, float, float] = (2.6, 6.1, 6.4)
    roof: tuple[float, float, float] = (2.6, 4.9, 7.0)
    ribs: tuple[float, ...] = ()
    rear: bool = True
    spoiler: bool = False


SALOON = VehicleBody()
BODIES = (
    VehicleBody((-4.6, 5.6, 2.7), (2.9, 5.8, 5.4), (2.9, 4.6, 5.8), spoiler=True),
    SALOON,
    VehicleBody((-6.4, 5.8, 2.7), (3.2, 6.2, 8.2), (3.2, 5.2, 8.7), ribs=(-1.5, 8.0)),
    VehicleBody((-10.6, 5.9, 2.2), (3.6, 6.9, 11.6), (3.6, 6.6, 11.4), ribs=(-4.0, 1.0, 6.0, 11.0), rear=False),
)  # of traffic cars by their pace: sports car, saloon, estate car, van


def draw_vehicle(sheet: Sheet, theme: Theme, kind: str, pace: int, accent: Colour) -> None:
    """Draw one vehicle, seen from above and heading up, around the sheet's world origin; pace: 0 for the fastest."""
    body = {TRAFFIC: theme.traffic[pace], AGENT: theme.agent, EGO: theme.ego}[kind]
    shape = BODIES[pace] if kind == TRAFFIC else SALOON
    sheet.box((0, 0.8), (HALF[0] + 0.6, HALF[1] + 0.4), (0, 0, 0), radius=5, alpha=0.45, blur=3.0)
    for side in (-1, 1):
        sheet.box((side * 7.3, shape.windscreen[0] + 0.2), (1.1, 1.2), mix(body, (0, 0, 0), 0.25), radius=0.8)
    if kind == EGO:
        sheet.box((0, 0), (HALF[0] + 1.3, HALF[1] + 1.3), theme.rim, radius=5.8)
    sheet.box((0, 0), HALF, mix(body, (0, 0, 0), 0.22), radius=4.6)
    sheet.box((0, 0), (HALF[0] - 0.8, HALF[1] - 0.7), body, radius=4.0)
    bonnet = (shape.windscreen[0] - shape.windscreen[2] - 15.4) / 2
    sheet.box((0, bonnet), (4.6, bonnet + 15.4), mix(body, (255, 255, 255), 0.35), radius=2.4, alpha=0.7)
    _draw_lights(sheet, theme)
    for middle, half_width, half_length in (shape.windscreen, GLASS[1])[: 1 + shape.rear]:
        sheet.box((0, middle), (half_width, half_length), theme.glass, radius=0.65 * half_length)
    sheet.box((0, shape.cabin[0]), shape.cabin[1:], theme.glass, radius=2.2)
    sheet.box((0, shape.roof[0]), shape.roof[1:], mix(body, (255, 255, 255), 0.12), radius=2.0)
    for along in shape.ribs:
        sheet.box((0, along), (shape.roof[1] - 0.9, 0.5), mix(body, (0, 0, 0), 0.35), radius=0.4)
    if shape.spoiler:
        sheet.box((0, 14.2), (6.4, 1.1), theme.glass, radius=0.8)
    if kind == AGENT:
        sheet.box((0, 2.6), (3.3, 3.3), theme.rim, radius=3.3)
        sheet.box((0, 2.6), (1.5, 1.5), body, radius=1.5)
    if kind == EGO:
        for side in (-1, 1):
            sheet.box((side * 1.9, 2.6), (0.8, 6.6), theme.rim, radius=0.3)
            sheet.box((side * 1.9, -12.4), (0.8, 3.0), theme.rim, radius=0.3)


def draw_signals(sheet: Sheet, turn: int, brakes: bool) -> None:
    """Draw the indicators of a turn (1 left, 2 right, 0 none) and the brake lights."""
    if brakes:
        for side in (-1, 1):
            sheet.box((side * 4.7, 16.4), (3.4, 2.2), BRAKE_LIGHT, radius=2.0, alpha=0.5, blur=2.0)
            sheet.box((side * 4.7, 15.6), (2.5, 1.1), BRAKE_LIGHT, radius=0.8)
    if turn:
        for end in (-14.6, 14.9):
            place = ((2 * turn - 3) * 6.6, end)
            sheet.box(place, (2.6, 2.6), INDICATOR, radius=2.6, alpha=0.45, blur=2.0)
            sheet.box(place, (1.2, 1.5), INDICATOR, radius=0.9)


def _draw_lights(sheet: Sheet, theme: Theme) -> None:
    for side in (-1, 1):
        sheet.box((side * 4.9, -15.3), (1.7, 0.9), theme.headlight, radius=0.8)
        sheet.box((side * 4.9, 15.6), (1.9, 0.8), theme.tail_light, radius=0.7)


class VehicleImage:
    """A PNG file as the ego vehicle, its front up, centre-cropped to the shape of a vehicle (15 : 34).

    Its corners are rounded, and it gets a vehicle's shadow and the ego vehicle's rim. The original page took images of
    268 x 586 pixels. Raises ValueError if the file is missing, too large, not a PNG or nearly transparent.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        image = _load(self.path)
        wide, high = image.size
        width = min(wide, high * VEHICLE_WIDTH / VEHICLE_LENGTH)
        height = width * VEHICLE_LENGTH / VEHICLE_WIDTH
        left, top = round((wide - width) / 2), round((high - height) / 2)
        self._picture = image.crop((left, top, left + round(width), top + round(height))).convert("RGBa")
        opacity = float(np.asarray(self._picture)[..., 3].mean()) / 255
        if opacity < MIN_OPACITY:
            raise ValueError(
                f"vehicle image {str(path)!r} is transparent in its middle 15 : 34, by {1 - opacity:.0%}, "
                f"and could not be seen; fill at least {MIN_OPACITY:.0%} of it"
            )

    def drawn(self, sheet: Sheet, rim: Colour) -> ByteArray:
        """Return the sprite, (H, W, 4) uint8, drawn around the sheet's world origin."""
        from PIL import Image

        fine = sheet.scale  # [pixels of the sheet per px]
        body = max(1, round(VEHICLE_WIDTH * fine)), max(1, round(VEHICLE_LENGTH * fine))
        small = np.asarray(self._picture.resize(body, Image.Resampling.LANCZOS), np.float64) / 255
        left, top = (round((-half - start) * fine) for half, start in zip(HALF, sheet.origin, strict=True))
        small = small * sheet.box_coverage((0, 0), HALF, CORNER, 0.0)[top : top + body[1], left : left + body[0], None]
        sheet.box((0, 0.8), (HALF[0] + 0.6, HALF[1] + 0.4), (0, 0, 0), radius=5, alpha=0.45, blur=3.0)
        sheet.frame((0, 0), (HALF[0] + 1.3, HALF[1] + 1.3), rim, radius=CORNER + 1.2, line=1.5, alpha=1.0)
        place = sheet.rgba[top : top + body[1], left : left + body[0]]
        place *= 1 - small[..., 3:]
        place += small
        return sheet.rgba8()


def _load(path: Path) -> "Image.Image":
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise ValueError(f"vehicle image {str(path)!r} does not exist; give the path of a PNG image")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"vehicle image {str(path)!r} is larger than {MAX_BYTES >> 20} MiB; scale it down")
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.load()
            loaded = image.convert("RGBA")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"vehicle image {str(path)!r} is not a readable PNG image ({error}); export it as PNG"
        ) from error
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in loaded.size):
        raise ValueError(
            f"vehicle image {str(path)!r} must have sides in [{MIN_SIDE}, {MAX_SIDE}] pixels, got {loaded.size}"
        )
    return loaded
