"""Road overlays: which cells they show with which values, read from State, and the tiles that draw them.

Overlays: none; input, exactly the cells and values that a policy observes; safety, the cells that the safety system
checks ahead, to the left and to the right; map, every occupied cell of the speed map.

A tile shows whether its cell is free, occupied (shaded by speed, from 40 to 80 mph), off the road or blocked. Where
there is room, the input overlay also outlines occupied cells over their vehicles and writes each one's speed on it.
"""

import math
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.render.compositor import Tiles
from deeptraffic.render.drawing import Atlas, ByteArray, Sheet, TextRenderer
from deeptraffic.render.theme import TOP_SPEED_MPH, Theme, mix
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.rules import CELL_LENGTH, LANE_MARGIN, LANE_WIDTH, MPH_PER_PX, VEHICLE_WIDTH, Rules, Sensor
from deeptraffic.sim.state import F64, I64, PAD

if TYPE_CHECKING:
    import pygame

FAR_AWAY = 1e6  # [px] beyond all cells; braking without end can lead there
OVERLAYS = ("none", "input", "safety", "map")
LEVELS = 16  # shades of an occupied cell
SLOW_MPH = 40.0  # of the first shade; the last one's is TOP_SPEED_MPH
TOP_MARK = 4.0  # [px/frame] the highest speed in the map, except the ego car's in 2017
LABEL_ROOM = 1.3  # [pixels per px] least scale at which speeds are written on vehicles
LABEL_TOP, LABEL_LENGTH = 15.5, 9.0  # [px] of a vehicle that its label covers
LABEL_INK, LABEL_PAGE = (240, 244, 248), (14, 16, 20)


class Cells(NamedTuple):
    """K cells of the road.

    column, line: (K,) int64, counted from the road's left edge and from its far end
    mark: (K,) int64, index of a cell's value in `values`; in the speed map, 0 is empty and v + 1 is vehicle v
    values: (M,) float64
    """

    column: NDArray[np.int64]
    line: NDArray[np.int64]
    mark: NDArray[np.int64]
    values: NDArray[np.float64]

    @property
    def value(self) -> NDArray[np.float64]:
        """The cells' values, (K,)."""
        return self.values[self.mark]


def check_overlay(name: str) -> str:
    """Return the name of an overlay, or raise ValueError that lists all of them."""
    if name not in OVERLAYS:
        raise ValueError(f"there is no overlay {name!r}; choose one of {', '.join(OVERLAYS)}")
    return name


def describe_cell(value: float, overlay: str, empty: float) -> str:
    """Return a text about a cell's value; empty: the speed mark of free road [px/frame], `rules.empty`."""
    if overlay == "safety":
        return "blocked" if value else "free"
    words = f"a vehicle at {value * empty * MPH_PER_PX:.0f} mph"
    if overlay == "input":
        words = {1.0: "free road", 0.0: "no road"}.get(value, words)
    return f"{value:.4g}: {words}"


def input_cells(rules: Rules, scene: np.void, sensor: Sensor, vehicle: int = 0) -> Cells:
    """Return the cells that the sensor of `vehicle` reads, in the order of the observation vector, with its values.

    Independent of the simulator's `sense`, so that each tests the other.
    A value is 1 for free road, 0 beside it or beyond its ends, and a vehicle's speed mark / `rules.empty` elsewhere.
    """
    y = float(scene["y"][vehicle]) if rules.sense_from_own_row else rules.ego_y
    base = math.floor(math.floor(y) / CELL_LENGTH) if abs(y) < FAR_AWAY else -round(FAR_AWAY)
    lane, grid = int(scene["lane"][vehicle]), scene["cells"]
    shape = sensor.patches_ahead + sensor.patches_behind, 2 * sensor.lanes_side + 1
    values = np.append(scene["map_speed"], 0.0) / rules.empty
    corner = base - sensor.patches_ahead, lane - sensor.lanes_side
    column, line, mark = _read_cells(grid, corner, shape, rules.rows, len(values) - 1)
    return Cells(column, line, mark, values)


@compiled
def _read_cells(
    grid: NDArray, corner: tuple[int, int], shape: tuple[int, int], rows: int, outside: int
) -> tuple[I64, I64, I64]:
    """Return column, line and mark of the cells from a corner (line, column) on, line by line."""
    count = shape[0] * shape[1]
    column, line, mark = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    for k in range(count):
        line[k], column[k] = corner[0] + k // shape[1], corner[1] + k % shape[1]
        on_road = 0 <= line[k] < rows and 0 <= column[k] < grid.shape[0]
        mark[k] = grid[column[k], PAD + line[k]] if on_road else outside
    return column, line, mark


def map_cells(rules: Rules, scene: np.void) -> Cells:
    """Return the occupied cells of the speed map, with the speed mark / `rules.empty` that a driver reads there."""
    indices = scene["cells"][:, PAD : PAD + rules.rows]
    column, line = np.nonzero(indices)
    return Cells(column, line, indices[column, line].astype(np.int64), scene["map_speed"] / rules.empty)


def safety_cells(rules: Rules, scene: np.void, vehicle: int = 0) -> Cells:
    """Return the cells that limit `vehicle`: value 0 lets it pass, value 1 blocks.

    Ahead: the four cells whose vehicles it must follow. Left and right: the cells that must be free for a lane change;
    they all block while it is still changing lanes. Beyond the road's ends nothing is free.
    """
    x, y = scene["x"][vehicle], scene["y"][vehicle]
    if not abs(y) < FAR_AWAY:
        nowhere = np.empty(0, np.int64)
        return Cells(nowhere, nowhere, nowhere, np.array([0.0, 1.0]))
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
    blocked = ~np.where(beside, may_turn, may_go_on)
    return Cells(columns, lines, blocked.astype(np.int64), np.array([0.0, 1.0]))


def _reads_free(
    rules: Rules, scene: np.void, column: NDArray[np.int64], line: NDArray[np.int64], outside: bool
) -> NDArray[np.bool_]:
    """Whether cells (K,) read as free; off the grid they count as `outside`."""
    on_road = (column >= 0) & (column < rules.lanes) & (line >= 0) & (line < rules.rows)
    free = np.full(len(column), outside)
    free[on_road] = scene["map_speed"][scene["cells"][column[on_road], PAD + line[on_road]]] >= rules.empty
    return free


class CellTiles:
    """Images of cells at one scale [pixels per px], and of the speeds that are written on vehicles, made when needed.

    numbers: of tiles in `atlas`, by (meaning, level)
    """

    def __init__(self, theme: Theme, scale: float) -> None:
        self.theme, self.scale = theme, scale
        self.atlas = Atlas(math.ceil(LANE_WIDTH * scale), math.ceil(CELL_LENGTH * scale))
        self.labels = Atlas(math.ceil(VEHICLE_WIDTH * scale), math.ceil(LABEL_LENGTH * scale))
        self._labels: dict[int, int] = {}
        self._text = TextRenderer()

    @cached_property
    def numbers(self) -> dict[tuple[str, int], int]:
        """Draw all tiles."""
        meanings = [(meaning, 0) for meaning in ("free", "clear", "off", "blocked")]
        shaded = [(meaning, level) for meaning in ("occupied", "outline") for level in range(LEVELS)]
        return {key: self.atlas.add(self._sheet(*key).rgba8()) for key in [*meanings, *shaded]}

    def place(self, cells: Cells, overlay: str, empty: float, top: str = "occupied") -> Tiles:
        """Return the tiles of cells, one looked up for each value.

        empty: what a free cell reads [px/frame]
        top: meaning of an occupied cell's tile, occupied or outline
        """
        one, zero = ("blocked", "clear") if overlay == "safety" else ("free", "off")
        nothing = self.numbers[zero, 0] if overlay in ("safety", "input") else -1
        numbers = self.numbers[one, 0], nothing, self.numbers[top, 0]
        placed = _place_tiles(cells.column, cells.line, cells.mark, cells.values, numbers, empty * MPH_PER_PX)
        return Tiles(self.atlas.images, *placed)

    def label(self, speed_mph: int) -> int:
        """Return the number in `labels` of the image of a speed."""
        if speed_mph not in self._labels:
            self._labels[speed_mph] = self.labels.add(self._draw_label(str(speed_mph)))
        return self._labels[speed_mph]

    def surface(self, meaning: str, level: int) -> "pygame.Surface":
        """Return a tile as a pygame surface with alpha, for a legend."""
        return self._sheet(meaning, level).surface()

    def _sheet(self, meaning: str, level: int) -> Sheet:
        sheet = Sheet(self.atlas.width, self.atlas.height, self.scale)
        draw_tile(sheet, self.theme, meaning, level)
        return sheet

    def _draw_label(self, text: str) -> ByteArray:
        import pygame

        width, height = self.labels.width, self.labels.height
        sheet = Sheet(width, height, self.scale)
        half = VEHICLE_WIDTH / 2, LABEL_LENGTH / 2
        sheet.box(half, (half[0] - 0.6, half[1] - 0.3), LABEL_PAGE, radius=2.4, alpha=0.8)
        canvas, size = sheet.surface(), 1.05 * height
        at = width / 2, (height - self._text.ascent(size)) / 2
        self._text.write(canvas, text, at, size, LABEL_INK, "centre")
        return np.dstack([pygame.surfarray.array3d(canvas), pygame.surfarray.array_alpha(canvas)]).swapaxes(0, 1)


@compiled
def _place_tiles(
    column: I64, line: I64, mark: I64, values: F64, numbers: tuple[int, int, int], mph: float
) -> tuple[I64, F64, F64]:
    """Return number, x and y of cells' tiles; numbers: of values 1 and 0 (-1: none of its own), and of 40 mph."""
    chosen, x, y = np.empty(len(mark), np.int64), np.empty(len(mark)), np.empty(len(mark))
    for k in range(len(mark)):
        value = values[mark[k]]
        fraction = min(max((value * mph - SLOW_MPH) / (TOP_SPEED_MPH - SLOW_MPH), 0.0), 1.0)
        chosen[k] = numbers[2] + int(np.rint(fraction * (LEVELS - 1)))
        if value == 1.0:
            chosen[k] = numbers[0]
        elif value == 0.0 and numbers[1] >= 0:
            chosen[k] = numbers[1]
        x[k], y[k] = column[k] * LANE_WIDTH, line[k] * CELL_LENGTH
    return chosen, x, y


def draw_tile(sheet: Sheet, theme: Theme, meaning: str, level: int) -> None:
    """Draw the tile of a free, clear, blocked, off-road or occupied cell, from the sheet's world origin on.

    level: shade 0..15 of the speed in an occupied cell, whose outline is drawn over its vehicle
    """
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
        if meaning == "occupied":
            sheet.box(middle, half, shade, radius=1.6, alpha=0.86)
        else:
            sheet.frame(middle, half, shade, radius=1.6, line=0.8, alpha=0.45)
