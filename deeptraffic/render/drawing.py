"""Anti-aliased drawing of shapes in NumPy, for sprites and backgrounds, and text.

A `Sheet` covers a window of the world at a given scale. Shapes are signed distances turned into coverage, so that edges
are equally crisp at any scale and at any fraction of a pixel. Colours are premultiplied by alpha, so that shapes blend
and shrink without dark fringes.
"""

import copy
import math
import sys
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.render.theme import Colour

if TYPE_CHECKING:
    import pygame.freetype

FloatArray = NDArray[np.float64]
ByteArray = NDArray[np.uint8]
FINER = 4  # texts are rendered so much larger and downsampled
EM, ASCENT = 0.64, 0.54  # of a text's size: the font's em, and the baseline below the text's top
ABOVE, BELOW = 0.1, 0.2  # of a text's size: room for accents above its top, and below its baseline
FONT = Path(__file__).with_name("Inter-SemiBold.ttf")
KEPT = 512  # rendered texts in the cache
KEPT_IMAGES = 3
VECTOR = 32  # [bytes]
UNUSED = 3  # references: of the list, of the loop and of the question


class Sheet:
    """An image of `width` x `height` [pixels] whose pixel (0, 0) begins at world point (left, top) [px].

    rgba: (H*k, W*k, 4) float64 0..1, premultiplied; k is the supersampling factor, for shapes smaller than a pixel
    """

    def __init__(self, width: int, height: int, scale: float, left: float = 0.0, top: float = 0.0) -> None:
        self.factor = max(1, math.ceil(1.5 / scale))
        self.scale, self.origin = scale * self.factor, (left, top)
        self.rgba = np.zeros((height * self.factor, width * self.factor, 4))
        self.x = (left + (np.arange(width * self.factor) + 0.5) / self.scale)[np.newaxis, :]
        self.y = (top + (np.arange(height * self.factor) + 0.5) / self.scale)[:, np.newaxis]

    def turn(self, degrees: float) -> None:
        """Turn what is drawn from now on to the right around the world's origin."""
        angle = math.radians(degrees)
        x, y = self.x, self.y
        self.x, self.y = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)

    def cover(self, coverage: FloatArray, colour: Colour, alpha: float = 1.0) -> None:
        """Blend `colour` over the sheet with opacity `coverage` (H*k, W*k) * alpha."""
        opacity = (coverage * alpha)[..., np.newaxis]
        ink = np.array([*(c / 255 for c in colour), 1.0])
        self.rgba *= 1 - opacity
        self.rgba += ink * opacity

    def fill(self, colour: Colour, alpha: float = 1.0) -> None:
        """Blend `colour` over the whole sheet."""
        self.cover(np.ones(self.rgba.shape[:2]), colour, alpha)

    def box(
        self,
        centre: tuple[float, float],
        half: tuple[float, float],
        colour: Colour,
        *,
        radius: float = 0.0,
        alpha: float = 1.0,
        blur: float = 0.0,
    ) -> None:
        """Draw a rounded box around `centre` with half sizes `half` [px]; `blur` [px] softens its edge."""
        part = self
        if len(self.x) == 1:  # not turned: only what the box can reach
            reach = 10 * blur if blur > 0 else 0.5 / self.scale  # farther away a box covers less than 1e-17
            left, right = np.searchsorted(self.x[0], (centre[0] - half[0] - reach, centre[0] + half[0] + reach))
            top, bottom = np.searchsorted(self.y[:, 0], (centre[1] - half[1] - reach, centre[1] + half[1] + reach))
            part = copy.copy(self)
            part.x, part.y, part.rgba = self.x[:, left:right], self.y[top:bottom], self.rgba[top:bottom, left:right]
        part.cover(part.box_coverage(centre, half, radius, blur), colour, alpha)

    def frame(
        self,
        centre: tuple[float, float],
        half: tuple[float, float],
        colour: Colour,
        *,
        radius: float,
        line: float,
        alpha: float = 1.0,
    ) -> None:
        """Draw only the edge of a rounded box, `line` [px] wide and inside the box."""
        outer = self.box_coverage(centre, half, radius, 0.0)
        inner = self.box_coverage(centre, (half[0] - line, half[1] - line), max(0.0, radius - line), 0.0)
        self.cover(outer * (1 - inner), colour, alpha)

    def box_coverage(
        self, centre: tuple[float, float], half: tuple[float, float], radius: float, blur: float
    ) -> FloatArray:
        """Return how much of each pixel a rounded box covers, 0..1."""
        across = np.abs(self.x - centre[0]) - (half[0] - radius)
        along = np.abs(self.y - centre[1]) - (half[1] - radius)
        outside = np.hypot(np.maximum(across, 0.0), np.maximum(along, 0.0))
        distance = outside + np.minimum(np.maximum(across, along), 0.0) - radius
        if blur > 0:
            return 1 / (1 + np.exp(np.clip(4 * distance / blur, -40, 40)))
        return np.clip(0.5 - distance * self.scale, 0.0, 1.0)

    def rgba8(self) -> ByteArray:
        """Return the image as (H, W, 4) bytes, colours no longer multiplied by alpha."""
        height, width = self.rgba.shape[0] // self.factor, self.rgba.shape[1] // self.factor
        mean = self.rgba.reshape(height, self.factor, width, self.factor, 4).mean(axis=(1, 3))
        alpha = mean[..., 3:]
        colours = np.divide(mean[..., :3], alpha, out=np.zeros_like(mean[..., :3]), where=alpha > 1e-6)
        return np.rint(np.concatenate([colours, alpha], axis=2).clip(0, 1) * 255).astype(np.uint8)

    def surface(self) -> "pygame.Surface":
        """Return the image as a pygame surface with alpha."""
        return surface_from_rgba(self.rgba8())


class ImageMemory:
    """Memory for new images of one shape, taken again when no array refers to it any more.

    An image is larger than what C's allocator keeps, and new pages from the system cost several times what painting
    costs. An array and all its views refer to the memory's own array, which never leaves this object.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self._owned: list[ByteArray] = []

    def empty(self) -> ByteArray:
        """Return a new image with arbitrary content."""
        for memory in self._owned:
            if sys.getrefcount(memory) == UNUSED:
                return memory.reshape(self.shape)
        memory = np.empty(math.prod(self.shape), np.uint8)
        self._owned = [*self._owned[1 - KEPT_IMAGES :], memory]
        return memory.reshape(self.shape)


class Atlas:
    """Images of `width` x `height` [pixels] for the compositor, numbered in the order in which they are added.

    Lines are filled up with transparent bytes, so that a processor's vector unit takes them whole.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height, self.count = width, height, 0
        self.images = np.zeros((2, 8, height, -(-3 * width // VECTOR) * VECTOR), np.uint8)
        self.images[1] = 255

    def add(self, rgba: ByteArray) -> int:
        """Add an image, (height, width, 4) uint8; return its number."""
        if self.count == self.images.shape[1]:
            self.images = np.concatenate([self.images, self.images], axis=1)
        alpha, size = rgba[..., 3:].astype(np.int64), 3 * self.width
        self.images[0, self.count, :, :size] = ((rgba[..., :3] * alpha + 127) // 255).reshape(self.height, size)
        self.images[1, self.count, :, :size] = np.repeat(255 - alpha, 3, axis=2).reshape(self.height, size)
        self.count += 1
        return self.count - 1


def surface_from_rgba(pixels: ByteArray) -> "pygame.Surface":
    """Copy (H, W, 4) bytes into a surface with alpha; needs no display."""
    import pygame

    height, width = pixels.shape[:2]
    return pygame.image.frombuffer(np.ascontiguousarray(pixels).tobytes(), (width, height), "RGBA").copy()


class TextRenderer:
    """Renders texts in sizes of a line [pixels], with a cache.

    The font is Inter SemiBold (deeptraffic/render/Inter-LICENSE.txt) with its tabular figures in place of the
    proportional ones, so that a changing number keeps its place. Texts with other letters are set in pygame's own font.
    """

    def __init__(self) -> None:
        self._faces: list[pygame.freetype.Font] = []
        self._widths: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._texts: OrderedDict[tuple[str, int, Colour], pygame.Surface] = OrderedDict()
        self._letters: OrderedDict[tuple[int, str, int, float], tuple[int, NDArray[np.float32]]] = OrderedDict()

    def image(self, text: str, size: float, colour: Colour) -> "pygame.Surface":
        """Return `text` as a surface with alpha, in letters of `size` [pixels]."""
        key = (text, max(7, round(size)), colour)
        if key not in self._texts:
            self._texts[key] = self._render(*key)
            if len(self._texts) > KEPT:
                self._texts.popitem(last=False)
        return self._texts[key]

    def write(
        self,
        target: "pygame.Surface",
        text: str,
        at: tuple[float, float],
        size: float,
        colour: Colour,
        anchor: str = "left",
    ) -> "pygame.Rect":
        """Write `text` with its top at `at`, aligned by the anchor (left, centre, right); return its rectangle."""
        image = self.image(text, size, colour)
        shift = {"left": 0.0, "centre": image.get_width() / 2, "right": float(image.get_width())}[anchor]
        return target.blit(image, (round(at[0] - shift), round(at[1]) - self._above(size)))

    def width(self, text: str, size: float) -> float:
        """Return how wide `text` is [pixels]."""
        key = (text, max(7, round(size)))
        if key not in self._widths:
            self._widths[key] = sum(advance for *_, advance, _ in self._glyphs(text, key[1] * FINER)[1]) / FINER
            if len(self._widths) > KEPT:
                self._widths.popitem(last=False)
        return self._widths[key]

    def sheet(self, letters: str, size: float, colour: Colour) -> tuple[ByteArray, FloatArray, FloatArray]:
        """Return images of letters without accents, each `FINER` times, moved to the right by a quarter of a pixel.

        Then their advances, and how far each begins to the right of its place, in quarters of a pixel.
        """
        size = max(7, round(size))
        face, glyphs = self._glyphs(letters, size * FINER)
        begins = [face.get_rect(letter, size=EM * size * FINER).x for letter in letters]
        covered = [
            self._letter(face, letter, size, float(shift - begin))[1][self._above(size) :]
            for letter, begin in zip(letters, begins, strict=True)
            for shift in range(FINER)
        ]
        atlas = Atlas(max(each.shape[1] for each in covered), len(covered[0]))
        for each in covered:
            image = np.zeros((atlas.height, atlas.width, 4), np.uint8)
            image[..., :3] = colour
            image[:, : each.shape[1], 3] = np.rint(each)
            atlas.add(image)
        return atlas.images, np.array([advance for *_, advance, _ in glyphs]), np.array(begins, np.float64)

    def fit(self, text: str, size: float, room: float) -> str:
        """Return the text, cut with an ellipsis if it is wider than `room` [pixels]."""
        if self.width(text, size) <= room:
            return text
        while text and self.width(text + "\u2026", size) > room:
            text = text[:-1]
        return text + "\u2026"

    def ascent(self, size: float) -> int:
        """Return how far the baseline is below the top [pixels]."""
        return round(ASCENT * max(7, round(size)))

    def _above(self, size: float) -> int:
        return math.ceil(ABOVE * max(7, round(size)))

    def _render(self, text: str, size: int, colour: Colour) -> "pygame.Surface":
        """Put letters together at fractions of a pixel."""
        face, glyphs = self._glyphs(text, size * FINER)
        width = max(1, math.ceil(self.width(text, size)))
        ink = np.zeros((self._above(size) + self.ascent(size) + math.ceil(BELOW * size), width), np.float32)
        origin = 0.0
        for letter, (*_, advance, _) in zip(text, glyphs, strict=True):
            left, covered = self._letter(face, letter, size, round(origin % FINER, 3))
            left += int(origin // FINER)
            first = max(0, -left)
            place = ink[:, left + first : left + covered.shape[1]]
            place += covered[:, first : first + place.shape[1]]
            origin += advance
        letters = np.empty((*ink.shape, 4), np.uint8)
        letters[..., :3] = colour
        letters[..., 3] = np.rint(np.minimum(ink, 255.0))
        return surface_from_rgba(letters)

    def _letter(
        self, face: "pygame.freetype.Font", letter: str, size: int, origin: float
    ) -> tuple[int, NDArray[np.float32]]:
        """Render a letter larger and downsample it; return its left edge [pixels] and how it covers pixels, 0 to 255.

        origin: [fine pixels] from a pixel's edge
        """
        key = (self._faces.index(face), letter, size, origin)
        if key not in self._letters:
            box = face.get_rect(letter, size=EM * size * FINER)
            raw, (wide, high) = face.render_raw(letter, size=EM * size * FINER)
            baseline = self._above(size) + self.ascent(size)
            left, top = round(origin + box.x), max(0, baseline * FINER - box.y)
            shift = left % FINER
            lines, columns = baseline + math.ceil(BELOW * size), -(-(shift + wide) // FINER)
            fine = np.zeros((lines * FINER, columns * FINER), np.uint8)
            place = fine[top : top + high, shift : shift + wide]
            place[:] = np.frombuffer(raw, np.uint8).reshape(high, wide)[: place.shape[0]]
            covered = fine.reshape(lines, FINER, columns, FINER).mean(axis=(1, 3), dtype=np.float32)
            self._letters[key] = left // FINER, covered
            if len(self._letters) > KEPT:
                self._letters.popitem(last=False)
        return self._letters[key]

    def _glyphs(self, text: str, size: int) -> "tuple[pygame.freetype.Font, list[Any]]":
        """Return the face that has all letters, and their metrics; the faces are opened again after pygame.quit."""
        import pygame.freetype

        try:
            known: list[list[Any]] = [face.get_metrics(text, size=EM * size) for face in self._faces]
        except pygame.error:
            known = []
        if not known:
            pygame.freetype.init()
            self._faces = [pygame.freetype.Font(FONT), pygame.freetype.Font(None)]
            known = [face.get_metrics(text, size=EM * size) for face in self._faces]
        for face, metrics in zip(self._faces, known, strict=True):
            if None not in metrics:
                return face, metrics
        return face, [each or (0, 0, 0, 0, 0.0, 0.0) for each in metrics]
