"""Words and numbers: pygame's own bundled font, rendered once per text and kept."""

import math
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from deeptraffic.render.shapes import surface_from_rgba
from deeptraffic.render.theme import Colour

if TYPE_CHECKING:
    import pygame

LARGE, FINER = 160, 4  # texts below LARGE are rendered FINER times larger and shrunk
KEPT = 512  # texts whose pictures are kept


class Lettering:
    """Renders texts at sizes given as pygame's font heights [pixels]; the same text is rendered once."""

    def __init__(self) -> None:
        self._fonts: dict[int, pygame.font.Font] = {}
        self._widths: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._texts: OrderedDict[tuple[str, int, Colour], pygame.Surface] = OrderedDict()

    def picture(self, text: str, size: float, colour: Colour) -> "pygame.Surface":
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
        """Write `text` with its top at `at`; the anchor (left, centre, right) says which end is meant; return where."""
        picture = self.picture(text, size, colour)
        shift = {"left": 0.0, "centre": picture.get_width() / 2, "right": float(picture.get_width())}[anchor]
        return target.blit(picture, (round(at[0] - shift), round(at[1])))

    def write_digits(
        self, target: "pygame.Surface", text: str, at: tuple[float, float], size: float, colour: Colour
    ) -> None:
        """Write a text that changes with every picture letter by letter, so that only letters are rendered and kept."""
        left = at[0]
        for letter in text:
            self.write(target, letter, (left, at[1]), size, colour)
            left += self.width(letter, size)

    def _render(self, text: str, size: int, colour: Colour) -> "pygame.Surface":
        """Render small letters larger and shrink them: hinting at small sizes would set them unevenly."""
        import pygame

        if size >= LARGE:
            return self._font(size).render(text, True, colour)
        alpha = pygame.surfarray.array_alpha(self._font(size * FINER).render(text or " ", True, colour)).T
        height, width = (math.ceil(side / FINER) for side in alpha.shape)
        fine = np.zeros((height * FINER, width * FINER))
        fine[: alpha.shape[0], : alpha.shape[1]] = alpha
        letters = np.empty((height, width, 4), np.uint8)
        letters[..., :3] = colour
        letters[..., 3] = np.rint(fine.reshape(height, FINER, width, FINER).mean(axis=(1, 3)))
        return surface_from_rgba(letters)

    def width(self, text: str, size: float) -> float:
        """Return how wide `text` is [pixels]."""
        key = (text, max(7, round(size)))
        if key not in self._widths:
            self._widths[key] = self._font(key[1] * FINER).size(text)[0] / FINER
            if len(self._widths) > KEPT:
                self._widths.popitem(last=False)
        return self._widths[key]

    def ascent(self, size: float) -> int:
        """Return how far the baseline is below the top [pixels]."""
        return int(self._font(max(7, round(size))).get_ascent())

    def _font(self, size: int) -> "pygame.font.Font":
        """Return the font; others may have ended pygame since it was made (as Gymnasium's `play` does)."""
        import pygame

        try:
            self._fonts[size].get_ascent()
        except (KeyError, pygame.error):
            pygame.font.init()
            self._fonts[size] = pygame.font.Font(None, size)
        return self._fonts[size]
