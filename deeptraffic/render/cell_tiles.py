"""Pictures of single overlay cells: what is free, taken (by how fast a vehicle), beside the road, or blocked.

Where there is room, a cell of the learning input that a car is in shows the number that the policy reads.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from deeptraffic.render.lettering import Lettering
from deeptraffic.render.shapes import Sheet
from deeptraffic.render.theme import Theme, mix
from deeptraffic.sim.rules import CELL_LENGTH, LANE_WIDTH

if TYPE_CHECKING:
    import pygame

LEVELS = 16  # shades of an occupied cell
TOP_MARK = 4.0  # [px/frame] the fastest mark that a car makes, but for the ego car of 2017


NUMBER_ROOM = 13  # [pixels] height of a cell from which on it shows its number
NUMBER_INK = (240, 244, 248)


class CellTiles:
    """Pictures of single overlay cells: one per meaning and shade."""

    def __init__(self, theme: Theme, scale: float) -> None:
        self.size = (math.ceil(LANE_WIDTH * scale), math.ceil(CELL_LENGTH * scale))
        self.theme, self.scale = theme, scale
        self._made: dict[tuple[str, int, str], pygame.Surface] = {}
        self._lettering = Lettering()

    def picker(self, style: str, empty: float) -> "Callable[[float], pygame.Surface]":
        """Return a function from a cell's value to its picture; `empty` is what a free cell reads [px/frame]."""
        if style == "safety":
            return lambda value: self.tile("blocked" if value else "clear", 0)
        if style == "number":
            return lambda value: self.tile("number", 0, f"{value:.3f}".removeprefix("0"))
        top = TOP_MARK / empty

        def pick(value: float) -> "pygame.Surface":
            if value == 1.0:
                return self.tile("free", 0)
            if value == 0.0 and style == "input":
                return self.tile("off", 0)
            return self.tile("occupied", round(min(max(value / top, 0.0), 1.0) * (LEVELS - 1)))

        return pick

    def tile(self, meaning: str, level: int, number: str = "") -> "pygame.Surface":
        """Return the picture of a free, clear, blocked, off-road or occupied cell; `level` 0..15 is a speed.

        "number" has the ground for a number that is written over a car.
        """
        key = meaning, level, number
        if key not in self._made:
            self._made[key] = self._make(meaning, level)
            if number:
                size = 0.8 * self.size[1]
                at = self.size[0] / 2, (self.size[1] - self._lettering.ascent(size)) / 2
                self._lettering.write(self._made[key], number, at, size, NUMBER_INK, "centre")
        return self._made[key]

    def _make(self, meaning: str, level: int) -> "pygame.Surface":
        theme, sheet = self.theme, Sheet(*self.size, self.scale)
        middle, half = (LANE_WIDTH / 2, CELL_LENGTH / 2), (LANE_WIDTH / 2 - 0.8, CELL_LENGTH / 2 - 0.8)
        if meaning == "free":
            sheet.box(middle, half, theme.free, radius=1.6, alpha=0.16)
            sheet.box(middle, (1.3, 1.3), theme.free, radius=1.3, alpha=0.9)
        elif meaning == "clear":
            sheet.box(middle, half, theme.free, radius=1.6, alpha=0.22)
            sheet.frame(middle, half, theme.free, radius=1.6, line=1.0, alpha=0.9)
        elif meaning == "off":
            sheet.frame(middle, half, theme.muted, radius=1.6, line=0.8, alpha=0.35)
        elif meaning == "number":
            sheet.box(middle, half, (14, 16, 20), radius=1.6, alpha=0.72)
        elif meaning == "blocked":
            sheet.box(middle, half, theme.blocked, radius=1.6, alpha=0.78)
            sheet.box(middle, (4.5, 1.1), theme.rim, radius=1.0)
        else:
            shade = mix(theme.occupied_slow, theme.occupied_fast, level / (LEVELS - 1))
            sheet.box(middle, half, shade, radius=1.6, alpha=0.86)
        return sheet.surface()
