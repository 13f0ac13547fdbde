"""A picture of one's own for the ego car: cropped to a vehicle's shape, scaled, its corners rounded.

The original page took a PNG of 268 x 586 pixels; any PNG whose front points up will do.
"""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from deeptraffic.render.shapes import ByteArray, Sheet
from deeptraffic.sim.rules import VEHICLE_LENGTH, VEHICLE_WIDTH

MIN_SIDE, MAX_SIDE = 8, 8192  # [pixels]
MAX_BYTES = 16 * 1024 * 1024


class VehicleImage:
    """An image file, cut around its middle to the shape of a vehicle (15 : 34).

    Raises ValueError if the file is missing, too big, or no PNG image.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        picture = _load(self.path)
        wide, high = picture.size
        width = min(wide, high * VEHICLE_WIDTH / VEHICLE_LENGTH)
        height = width * VEHICLE_LENGTH / VEHICLE_WIDTH
        left, top = round((wide - width) / 2), round((high - height) / 2)
        self._picture = picture.crop((left, top, left + round(width), top + round(height))).convert("RGBa")

    def drawn(self, size: tuple[int, int], scale: float, pad: float, across: float, along: float) -> ByteArray:
        """Return it as a sprite, (H, W, 4) uint8: `pad` [px] from the sprite's edge, moved by a fraction of a pixel."""
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


def _load(path: Path) -> Image.Image:
    if not path.is_file():
        raise ValueError(f"vehicle image {str(path)!r} is not a file; give the path of a PNG image")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"vehicle image {str(path)!r} is larger than {MAX_BYTES >> 20} MiB; scale it down")
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            picture.load()
            loaded = picture.convert("RGBA")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"vehicle image {str(path)!r} is no readable PNG image ({error}); export it as PNG") from error
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in loaded.size):
        raise ValueError(f"vehicle image {str(path)!r} has {loaded.size} pixels; give {MIN_SIDE} to {MAX_SIDE} a side")
    return loaded
