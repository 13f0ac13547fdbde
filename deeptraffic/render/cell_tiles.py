"""Pictures of single overlay cells: what is free, taken (by how fast a vehicle), beside the road, or blocked."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from deeptraffic.render.shapes import Sheet
from deeptraffic.render.theme import Theme, mix
from deeptraffic.sim.rules import CELL_LENGTH, LANE_WIDTH

if TYPE_CHECKING:
    import pygame

LEVELS = 16  # shades of an occupied cell
TOP_MARK = 4.0  # [px/frame] the fastest mark that a car makes, but for the ego car of 2017


class CellTiles:
    """Pictures of single overlay cells: one per meaning and shade."""

    def __init__(self, theme: Theme, scale: float) -> None:
        self.size = (math.ceil(LANE_WIDTH * scale), math.ceil(CELL_LENGTH * scale))
        self.theme, self.scale = theme, scale
        self._made: dict[tuple[str, int], pygame.Surface] = {}

    def picker(self, style: str, empty: float) -> "Callable[[float], pygame.Surface]":
        """Return a function from a cell's value to its picture; `empty` is what a free cell reads [px/frame]."""
        if style == "safety":
            return lambda value: self.tile("blocked" if value else "clear", 0)
        top = TOP_MARK / empty

        def pick(value: float) -> "pygame.Surface":
            if value >= 1.0:
                return self.tile("free", 0)
            if value == 0.0 and style == "input":
                return self.tile("off", 0)
            return self.tile("occupied", round(min(max(value / top, 0.0), 1.0) * (LEVELS - 1)))

        return pick

    def tile(self, meaning: str, level: int) -> "pygame.Surface":
        """Return the picture of a free, clear, blocked, off-road or occupied cell; `level` 0..15 is a speed."""
        if (meaning, level) not in self._made:
            self._made[meaning, level] = self._make(meaning, level)
        return self._made[meaning, level]

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
        elif meaning == "blocked":
            sheet.box(middle, half, theme.blocked, radius=1.6, alpha=0.78)
            sheet.box(middle, (4.5, 1.1), theme.rim, radius=1.0)
        else:
            shade = mix(theme.occupied_slow, theme.occupied_fast, level / (LEVELS - 1))
            sheet.box(middle, half, shade, radius=1.6, alpha=0.86)
        return sheet.surface()
