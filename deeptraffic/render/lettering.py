"""Words and numbers: pygame's own bundled font, rendered once per text and kept."""

from collections import OrderedDict
from typing import TYPE_CHECKING

from deeptraffic.render.theme import Colour

if TYPE_CHECKING:
    import pygame

KEPT = 512  # texts whose pictures are kept


class Lettering:
    """Renders texts at sizes given in pixels of capital height times 1.4; the same text is rendered once."""

    def __init__(self) -> None:
        import pygame

        if not pygame.font.get_init():
            pygame.font.init()
        self._fonts: dict[int, pygame.font.Font] = {}
        self._texts: OrderedDict[tuple[str, int, Colour], pygame.Surface] = OrderedDict()

    def picture(self, text: str, size: float, colour: Colour) -> "pygame.Surface":
        """Return `text` as a surface with alpha, in letters of `size` [pixels]."""
        key = (text, max(7, round(size)), colour)
        if key not in self._texts:
            self._texts[key] = self._font(key[1]).render(text, True, colour)
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

    def width(self, text: str, size: float) -> int:
        """Return how wide `text` is [pixels]."""
        return int(self._font(max(7, round(size))).size(text)[0])

    def ascent(self, size: float) -> int:
        """Return how far the baseline is below the top [pixels]."""
        return int(self._font(max(7, round(size))).get_ascent())

    def _font(self, size: int) -> "pygame.font.Font":
        import pygame

        if size not in self._fonts:
            self._fonts[size] = pygame.font.Font(None, size)
        return self._fonts[size]
