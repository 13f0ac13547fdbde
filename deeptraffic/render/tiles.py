"""Several games in one picture: tiles of a batch, and pictures side by side.

>>> tiles = TiledPainter(RULES_2018, games=16, size=(1280, 720))
>>> picture = tiles.paint(simulator.state)  # the first 16 rows, (720, 1280, 3) uint8
"""

import math
from collections.abc import Sequence

import numpy as np

from deeptraffic.render.painter import MIN_SIDE, Painter
from deeptraffic.render.shapes import ByteArray
from deeptraffic.render.theme import Colour, theme_by_name
from deeptraffic.sim.rules import Rules
from deeptraffic.sim.state import State

GAP = 6  # [pixels]


class TiledPainter:
    """Paints many games of one batch as tiles: roads with a short read-out each.

    Args:
        rules: of all games
        games: how many tiles
        size: (width, height) [pixels] of the whole picture
        theme, trail, overlay: as the painter's
    """

    def __init__(
        self,
        rules: Rules,
        games: int,
        size: tuple[int, int] = (1280, 720),
        *,
        theme: str = "dark",
        trail: str = "yellow",
        overlay: str = "none",
    ) -> None:
        if games < 1:
            raise ValueError(f"games={games} are no tiles; give at least 1")
        self.games, self.size = games, size
        self.columns, self.lines = _grid(rules, games, size)
        width, height = (size[0] - GAP) // self.columns - GAP, (size[1] - GAP) // self.lines - GAP
        if min(width, height) < MIN_SIDE:
            raise ValueError(f"{games} tiles do not fit into {size[0]} x {size[1]} pixels; paint fewer or larger")
        self._painter = Painter(rules, (width, height), theme=theme, trail=trail, overlay=overlay, panel=False)
        self._page = theme_by_name(theme).page

    def paint(self, state: State, rows: Sequence[int] | None = None) -> ByteArray:
        """Return one picture (H, W, 3) uint8 of `rows`, by default the first ones of the batch."""
        rows = range(min(self.games, len(state))) if rows is None else rows
        if len(rows) > self.games:
            raise ValueError(f"{len(rows)} rows for {self.games} tiles; give at most {self.games}")
        picture = np.full((self.size[1], self.size[0], 3), self._page, np.uint8)
        width, height = self._painter.size
        for k, row in enumerate(rows):
            top, left = GAP + k // self.columns * (height + GAP), GAP + k % self.columns * (width + GAP)
            picture[top : top + height, left : left + width] = self._painter.paint(state, row)
        return picture

    def observe(self, state: State, rows: Sequence[int] | None = None) -> None:
        """Remember the rows' present frames for trails and read-outs without painting them."""
        for row in range(min(self.games, len(state))) if rows is None else rows:
            self._painter.observe(state, row)


def side_by_side(pictures: Sequence[ByteArray], colour: Colour = (0, 0, 0), gap: int = GAP) -> ByteArray:
    """Return pictures of one height beside each other, `gap` pixels of `colour` between them."""
    heights = {picture.shape[0] for picture in pictures}
    if len(heights) != 1:
        raise ValueError(f"pictures are {sorted(heights)} pixels high; give at least one, all of one height")
    between = np.full((heights.pop(), gap, 3), colour, np.uint8)
    parts = [part for picture in pictures for part in (between, picture)]
    return np.concatenate(parts[1:], axis=1)


def _grid(rules: Rules, games: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return the (columns, lines) that show the roads largest."""

    def scale(columns: int) -> float:
        lines = math.ceil(games / columns)
        return min(size[0] / columns / (rules.road_width + 40), size[1] / lines / rules.road_length)

    columns = max(range(1, games + 1), key=scale)
    return columns, math.ceil(games / columns)
