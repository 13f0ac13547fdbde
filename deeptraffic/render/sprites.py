"""Sprites of vehicles, pre-rendered at any scale and at fractions of a pixel, drawn or from an image file.

Each kind of vehicle is rendered once per fraction of a pixel in x and in y, so that slow relative motion looks smooth
although sprites are copied at whole pixels.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deeptraffic.render.drawing import ByteArray, Sheet, surface_from_rgba
from deeptraffic.render.theme import Colour, Theme, mix
from deeptraffic.sim.rules import VEHICLE_LENGTH, VEHICLE_WIDTH

if TYPE_CHECKING:
    import pygame
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


class SpriteSet:
    """Cached sprites of one theme at one scale [pixels per px].

    image: replaces the drawn ego vehicle
    """

    def __init__(self, theme: Theme, scale: float, accent: Colour, image: "VehicleImage | None" = None) -> None:
        self.theme, self.scale, self.accent, self.image = theme, scale, accent, image
        self.phases = 4 if scale < 1.8 else 2 if scale < 4 else 1
        self.size = (
            math.ceil((VEHICLE_WIDTH + 2 * PAD) * scale) + 1,
            math.ceil((VEHICLE_LENGTH + 2 * PAD) * scale) + 1,
        )
        self._made: dict[tuple[str, int, int, int], pygame.Surface] = {}

    def place(self, kind: str, vehicle: int, x: float, y: float) -> "tuple[pygame.Surface, tuple[int, int]]":
        """Return the sprite for a vehicle whose front left corner is at (x, y) [pixels], and where to copy it."""
        column, across = self._split(x - PAD * self.scale)
        line, along = self._split(y - PAD * self.scale)
        return self._sprite(kind, vehicle % len(self.theme.traffic), across, along), (column, line)

    def _split(self, position: float) -> tuple[int, int]:
        """Return whole pixels and the nearest phase."""
        steps = math.floor(position * self.phases + 0.5)
        return steps // self.phases, steps % self.phases

    def _sprite(self, kind: str, shade: int, across: int, along: int) -> "pygame.Surface":
        key = (kind, shade if kind == TRAFFIC else 0, across, along)
        if key not in self._made:
            self._made[key] = self._make(kind, shade, across / self.phases, along / self.phases)
        return self._made[key]

    def _make(self, kind: str, shade: int, across: float, along: float) -> "pygame.Surface":
        left, top = -PAD - HALF[0] - across / self.scale, -PAD - HALF[1] - along / self.scale
        sheet = Sheet(*self.size, self.scale, left, top)
        if kind == EGO and self.image is not None:
            return surface_from_rgba(self.image.drawn(self.size, self.scale, PAD, across, along))
        draw_vehicle(sheet, self.theme, kind, shade, self.accent)
        return sheet.surface()


def draw_vehicle(sheet: Sheet, theme: Theme, kind: str, shade: int, accent: Colour) -> None:
    """Draw one vehicle, seen from above and heading up, around the sheet's world origin."""
    body = {TRAFFIC: theme.traffic[shade], AGENT: theme.agent, EGO: theme.ego}[kind]
    sheet.box((0, 0.8), (HALF[0] + 0.6, HALF[1] + 0.4), (0, 0, 0), radius=5, alpha=0.45, blur=3.0)
    for side in (-1, 1):
        sheet.box((side * 7.3, -5.6), (1.1, 1.2), mix(body, (0, 0, 0), 0.25), radius=0.8)
    if kind == EGO:
        sheet.box((0, 0), (HALF[0] + 1.3, HALF[1] + 1.3), theme.rim, radius=5.8)
    sheet.box((0, 0), HALF, mix(body, (0, 0, 0), 0.22), radius=4.6)
    sheet.box((0, 0), (HALF[0] - 0.8, HALF[1] - 0.7), body, radius=4.0)
    sheet.box((0, -12.2), (4.6, 3.2), mix(body, (255, 255, 255), 0.35), radius=2.4, alpha=0.7)
    _draw_lights(sheet, theme)
    for middle, half_width, half_length in GLASS:
        sheet.box((0, middle), (half_width, half_length), theme.glass, radius=0.65 * half_length)
    sheet.box((0, 2.6), (6.1, 6.4), theme.glass, radius=2.2)
    sheet.box((0, 2.6), (4.9, 7.0), mix(body, (255, 255, 255), 0.12), radius=2.0)
    if kind == EGO:
        for side in (-1, 1):
            sheet.box((side * 1.9, 2.6), (0.8, 6.6), theme.rim, radius=0.3)
            sheet.box((side * 1.9, -12.4), (0.8, 3.0), theme.rim, radius=0.3)


def _draw_lights(sheet: Sheet, theme: Theme) -> None:
    for side in (-1, 1):
        sheet.box((side * 4.9, -15.3), (1.7, 0.9), theme.headlight, radius=0.8)
        sheet.box((side * 4.9, 15.6), (1.9, 0.8), theme.tail_light, radius=0.7)


class VehicleImage:
    """A PNG file as the ego vehicle, its front up, centre-cropped to the shape of a vehicle (15 : 34).

    The original page took images of 268 x 586 pixels. Raises ValueError if the file is missing, too large or not a PNG.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        image = _load(self.path)
        wide, high = image.size
        width = min(wide, high * VEHICLE_WIDTH / VEHICLE_LENGTH)
        height = width * VEHICLE_LENGTH / VEHICLE_WIDTH
        left, top = round((wide - width) / 2), round((high - height) / 2)
        self._picture = image.crop((left, top, left + round(width), top + round(height))).convert("RGBa")

    def drawn(self, size: tuple[int, int], scale: float, pad: float, across: float, along: float) -> ByteArray:
        """Return the sprite, (H, W, 4) uint8, `pad` [px] from its edge, moved by fractions of a pixel."""
        from PIL import Image

        factor = 4
        body = (round(VEHICLE_WIDTH * scale * factor), round(VEHICLE_LENGTH * scale * factor))
        small = np.asarray(self._picture.resize(body, Image.Resampling.LANCZOS), np.float64) / 255
        fine = np.zeros((size[1] * factor, size[0] * factor, 4))
        left, top = round((pad * scale + across) * factor), round((pad * scale + along) * factor)
        fine[top : top + body[1], left : left + body[0]] = small
        sheet = Sheet(*size, scale, -pad - across / scale, -pad - along / scale)
        sheet.rgba = fine.reshape(size[1], factor, size[0], factor, 4).mean(axis=(1, 3))
        sheet.factor = 1
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
