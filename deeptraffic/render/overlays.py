"""Road overlays: which cells they show with which values, read from State, and the tiles that draw them.

Overlays: none; input, exactly the cells and values that a policy observes; safety, the cells that the safety system
checks ahead, to the left and to the right; map, every occupied cell of the speed map.

A tile shows whether its cell is free, occupied (shaded by speed), off the road or blocked. Where there is room, an
occupied cell of the input overlay also shows the value that the policy reads.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.render.drawing import Sheet, TextRenderer
from deeptraffic.render.theme import Theme, mix
from deeptraffic.sim.rules import CELL_LENGTH, LANE_MARGIN, LANE_WIDTH, VEHICLE_WIDTH, Rules, Sensor
from deeptraffic.sim.state import PAD

FAR_AWAY = 1e6  # [px] beyond all cells; braking without end can lead there
OVERLAYS = ("none", "input", "safety", "map")
LEVELS = 16  # shades of an occupied cell
TOP_MARK = 4.0  # [px/frame] the highest speed in the map, except the ego car's in 2017
VALUE_ROOM = 13  # [pixels] least height of a cell that shows its value
VALUE_INK = (240, 244, 248)


class Cells(NamedTuple):
    """K cells of the road.

    column, line: (K,) int64, counted from the road's left edge and from its far end
    value: (K,) float64
    """

    column: NDArray[np.int64]
    line: NDArray[np.int64]
    value: NDArray[np.float64]


def check_overlay(name: str) -> str:
    """Return the name of an overlay, or raise ValueError that lists all of them."""
    if name not in OVERLAYS:
        raise ValueError(f"there is no overlay {name!r}; choose one of {', '.join(OVERLAYS)}")
    return name


def input_cells(rules: Rules, scene: np.void, sensor: Sensor, vehicle: int = 0) -> Cells:
    """Return the cells that the sensor of `vehicle` reads, in the order of the observation vector, with its values.

    Independent of the simulator's compiled `sense`, so that each tests the other.
    A value is 1 for free road, 0 beside it or beyond its ends, and a vehicle's speed mark / `rules.empty` elsewhere.
    """
    y = float(scene["y"][vehicle]) if rules.sense_from_own_row else rules.ego_y
    base = math.floor(math.floor(y) / CELL_LENGTH) if abs(y) < FAR_AWAY else -round(FAR_AWAY)
    across = np.arange(-sensor.lanes_side, sensor.lanes_side + 1) + int(scene["lane"][vehicle])
    along = np.arange(-sensor.patches_ahead, sensor.patches_behind) + base
    line, column = (grid.ravel() for grid in np.meshgrid(along, across, indexing="ij"))
    on_road = (column >= 0) & (column < rules.lanes) & (line >= 0) & (line < rules.rows)
    indices = scene["cells"][column[on_road], PAD + line[on_road]]
    value = np.zeros(sensor.size)
    value[on_road] = scene["map_speed"][indices] / rules.empty
    return Cells(column, line, value)


def map_cells(rules: Rules, scene: np.void) -> Cells:
    """Return the occupied cells of the speed map, with the speed mark / `rules.empty` that a driver reads there."""
    indices = scene["cells"][:, PAD : PAD + rules.rows]
    column, line = np.nonzero(indices)
    return Cells(column, line, scene["map_speed"][indices[column, line]] / rules.empty)


def safety_cells(rules: Rules, scene: np.void, vehicle: int = 0) -> Cells:
    """Return the cells that limit `vehicle`: value 0 lets it pass, value 1 blocks.

    Ahead: the four cells whose vehicles it must follow. Left and right: the cells that must be free for a lane change;
    they all block while it is still changing lanes. Beyond the road's ends nothing is free.
    """
    x, y = scene["x"][vehicle], scene["y"][vehicle]
    if not abs(y) < FAR_AWAY:
        return Cells(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    column = math.floor((x + VEHICLE_WIDTH / 2) / LANE_WIDTH)
    cells = [(column, math.floor((y - CELL_LENGTH * k) / CELL_LENGTH), False) for k in range(1, 5)]
    settled = abs(x - (LANE_WIDTH * scene["lane"][vehicle] + LANE_MARGIN)) < 0.5
    f = -3.0 * scene["speed_factor"][vehicle]
    while f < 4.0:
        line = math.floor(y / CELL_LENGTH + f)
        cells += [(column - 1, line, True), (column + 1, line, True)]
        f += 1.0
    columns, lines, beside = (np.array(part) for part in zip(*cells, strict=True))
    may_turn = settled & _reads_free(rules, scene, columns, lines, outside=False)
    may_go_on = _reads_free(rules, scene, columns, lines, outside=True)
    return Cells(columns, lines, 1.0 - np.where(beside, may_turn, may_go_on))


def _reads_free(
    rules: Rules, scene: np.void, column: NDArray[np.int64], line: NDArray[np.int64], outside: bool
) -> NDArray[np.bool_]:
    """Whether cells (K,) read as free; off the grid they count as `outside`."""
    on_road = (column >= 0) & (column < rules.lanes) & (line >= 0) & (line < rules.rows)
    free = np.full(len(column), outside)
    free[on_road] = scene["map_speed"][scene["cells"][column[on_road], PAD + line[on_road]]] >= rules.empty
    return free


if TYPE_CHECKING:
    import pygame


class CellTiles:
    """Cached tiles, one per meaning and shade."""

    def __init__(self, theme: Theme, scale: float) -> None:
        self.size = (math.ceil(LANE_WIDTH * scale), math.ceil(CELL_LENGTH * scale))
        self.theme, self.scale = theme, scale
        self._made: dict[tuple[str, int, str], pygame.Surface] = {}
        self._text = TextRenderer()

    def picker(self, style: str, empty: float) -> "Callable[[float], pygame.Surface]":
        """Return a function from a cell's value to its tile; `empty` is the reading of a free cell [px/frame]."""
        if style == "safety":
            return lambda value: self.tile("blocked" if value else "clear", 0)
        if style == "value":
            return lambda value: self.tile("value", 0, f"{value:.3f}".removeprefix("0"))
        top = TOP_MARK / empty

        def pick(value: float) -> "pygame.Surface":
            if value == 1.0:
                return self.tile("free", 0)
            if value == 0.0 and style == "input":
                return self.tile("off", 0)
            return self.tile("occupied", round(min(max(value / top, 0.0), 1.0) * (LEVELS - 1)))

        return pick

    def tile(self, meaning: str, level: int, text: str = "") -> "pygame.Surface":
        """Return the tile of a free, clear, blocked, off-road or occupied cell; `level` 0..15 is a speed.

        Meaning "value" is the background of a value that is written over a vehicle.
        """
        key = meaning, level, text
        if key not in self._made:
            self._made[key] = self._make(meaning, level)
            if text:
                size = 0.8 * self.size[1]
                at = self.size[0] / 2, (self.size[1] - self._text.ascent(size)) / 2
                self._text.write(self._made[key], text, at, size, VALUE_INK, "centre")
        return self._made[key]

    def _make(self, meaning: str, level: int) -> "pygame.Surface":
        sheet = Sheet(*self.size, self.scale)
        draw_tile(sheet, self.theme, meaning, level)
        return sheet.surface()


def draw_tile(sheet: Sheet, theme: Theme, meaning: str, level: int) -> None:
    """Draw the tile of one cell, see `CellTiles.tile`, from the sheet's world origin on."""
    middle, half = (LANE_WIDTH / 2, CELL_LENGTH / 2), (LANE_WIDTH / 2 - 0.8, CELL_LENGTH / 2 - 0.8)
    if meaning == "free":
        sheet.box(middle, half, theme.free, radius=1.6, alpha=0.16)
        sheet.box(middle, (1.3, 1.3), theme.free, radius=1.3, alpha=0.9)
    elif meaning == "clear":
        sheet.box(middle, half, theme.free, radius=1.6, alpha=0.22)
        sheet.frame(middle, half, theme.free, radius=1.6, line=1.0, alpha=0.9)
    elif meaning == "off":
        sheet.frame(middle, half, theme.muted, radius=1.6, line=0.8, alpha=0.35)
    elif meaning == "value":
        sheet.box(middle, half, (14, 16, 20), radius=1.6, alpha=0.72)
    elif meaning == "blocked":
        sheet.box(middle, half, theme.blocked, radius=1.6, alpha=0.78)
        sheet.box(middle, (4.5, 1.1), theme.rim, radius=1.0)
    else:
        shade = mix(theme.occupied_slow, theme.occupied_fast, level / (LEVELS - 1))
        sheet.box(middle, half, shade, radius=1.6, alpha=0.86)
