"""The road, painted for people and for networks.

`RoadView` shows a scrolling surface, trail, vehicles and overlay cells from a camera, within a rectangle of an image.
`PixelPainter` renders small observations of many envs at once, without pygame: the whole simulated road without verge
and panel. At 84 x 84 pixels, a lane is 12 pixels wide and a vehicle 9 x 4; pixels are anti-aliased by the area that a
shape covers, so that motion of a fraction of a pixel shows. Such an image depends on State alone: dashes do not scroll.

    >>> pixels = PixelPainter(RULES_2018, height=84, width=84)
    >>> obs = pixels.paint(simulator.state)  # (B, 84, 84, 3) uint8
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deeptraffic.episodes.history import History
from deeptraffic.render.compositor import (
    Camera,
    Fleet,
    Rectangle,
    Ribbon,
    Surface,
    Tiles,
    paint_road,
    paint_tiles,
)
from deeptraffic.render.drawing import ByteArray
from deeptraffic.render.overlays import LABEL_ROOM, LABEL_TOP, Cells, CellTiles
from deeptraffic.render.sprites import GLASS, HALF, PAD, SpriteSet
from deeptraffic.render.theme import (
    DARK,
    DASH_LENGTH,
    DASH_PERIOD,
    LUMINANCE,
    OBSERVED_AGENT,
    PATTERN_PERIOD,
    SHOULDER,
    Colour,
    Theme,
)
from deeptraffic.sim.compiled import compiled, inlined
from deeptraffic.sim.rules import LANE_WIDTH, MPH_PER_PX, VEHICLE_LENGTH, VEHICLE_WIDTH, Rules
from deeptraffic.sim.state import I64, State

if TYPE_CHECKING:
    from deeptraffic.render.sprites import VehicleImage

SURFACE_PHASES = 4  # surfaces per pixel of scrolling
BEYOND = 190  # of 255, opacity of the page beyond the simulated road
NO_TILES = Tiles(np.empty((2, 0, 0, 0), np.uint8), np.empty(0, np.int64), np.empty(0), np.empty(0))


MIN_SIDE, MAX_SIDE = 16, 1024  # [pixels] of an observation
LANE_LINE = 1.4  # [px]

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


class RoadView:
    """Draws one scene's road into `place` of an image at `scale` [pixels per px].

    Args:
        rules: sizes of the road
        theme, trail_colour: colours
        place: where in the image
        scale: [pixels per px]
        image: replaces the drawn ego vehicle
    """

    def __init__(
        self,
        rules: Rules,
        theme: Theme,
        trail_colour: Colour,
        place: Rectangle,
        scale: float,
        image: "VehicleImage | None" = None,
    ) -> None:
        self.rules, self.theme, self.place, self.scale = rules, theme, place, scale
        self._ink = np.tile(np.array(trail_colour, np.float64), place.width)
        visible, whole = place.width / scale, rules.road_width + 2 * SHOULDER
        self._left = (rules.road_width - max(visible, whole)) / 2  # [px] of the surfaces
        self._room = max(0.0, whole - visible)  # [px] by which the camera can move across
        self.sprites = SpriteSet(theme, scale, trail_colour, image)
        self._surface = self._make_surface()
        self._tiles = CellTiles(theme, scale)
        self._factors = rules.traffic_factor_min, rules.traffic_factor_range * rules.traffic_factor_share

    def camera(self, scene: np.void, follow: int = 0, fraction: float | None = None) -> Camera:
        """Return the camera that holds vehicle `follow` at a fraction of the view's height, by default the original's.

        Where the road is wider than the view, the camera follows across, too. That of the ego vehicle stands still
        along the road: the simulator itself keeps that vehicle near one line.
        """
        visible = self.place.height / self.scale
        fraction = self.rules.ego_y / self.rules.road_length if fraction is None else fraction
        focus = self.rules.ego_y if follow == 0 else self._finite(scene["y"][follow])
        across = scene["x"][follow] + VEHICLE_WIDTH / 2 - self.place.width / self.scale / 2 - self._left
        aside = math.floor(min(max(across, 0.0), self._room) * self.scale)  # whole pixels
        return Camera(self._left + aside / self.scale, focus - fraction * visible, self.place, self.scale)

    # parameters: the layers of the road, the last of them optional
    def paint(
        self,
        image: ByteArray,
        scene: np.void,
        camera: Camera,
        history: History,
        marks: float,
        follow: int = 0,
        overlay: str = "none",
        cells: Cells | None = None,
    ) -> None:
        """Paint surface, overlay cells, a vehicle's trail and all vehicles into an image (H, W, 3) uint8.

        history: of the scene when it was observed, just before
        marks: distance of the road at which its marks are shown [px]
        follow: whose trail is drawn, and whose input the overlay shows
        overlay: meaning of the cells' values: input, safety or map
        """
        lines, sprites = image.reshape(len(image), -1), self.sprites
        tiles = NO_TILES if cells is None else self._tiles.place(cells, overlay, self.rules.empty)
        surface = Surface(*self._surface, marks)
        ribbon, missing = Ribbon(history.rings, history.env, follow, self._ink), 0
        while missing >= 0:
            fleet = Fleet(sprites.atlas.images, sprites.numbers, self.rules.other_agents, self._factors, PAD)
            missing = paint_road(lines, camera, surface, tiles, ribbon, fleet)
            if missing >= 0:
                sprites.make(missing)
        if cells is not None and overlay == "input" and self.scale >= LABEL_ROOM:
            self._label_vehicles(lines, camera, scene, cells, follow)

    def _label_vehicles(self, lines: ByteArray, camera: Camera, scene: np.void, cells: Cells, follow: int) -> None:
        """Outline the occupied cells over their vehicles, and write on each vehicle but `follow` the speed it reads."""
        occupied = (cells.mark > 0) & (cells.mark <= self.rules.vehicles)
        cells = cells._replace(column=cells.column[occupied], line=cells.line[occupied], mark=cells.mark[occupied])
        outlines = self._tiles.place(cells, "map", self.rules.empty, "outline")
        paint_tiles(lines, camera, outlines)
        vehicles = np.unique(cells.mark) - 1
        vehicles = vehicles[vehicles != follow]
        speeds = np.rint(cells.values[vehicles + 1] * self.rules.empty * MPH_PER_PX).astype(np.int64).tolist()
        numbers = np.array([self._tiles.label(speed) for speed in speeds], np.int64)
        x, y = scene["x"][vehicles], scene["y"][vehicles] + LABEL_TOP
        paint_tiles(lines, camera, Tiles(self._tiles.labels.images, numbers, x, y))

    def _finite(self, y: float) -> float:
        return float(min(max(y, -1e5), 1e5)) if math.isfinite(y) else self.rules.ego_y

    def _make_surface(self) -> tuple[ByteArray, I64, float, tuple[float, float]]:
        """Return the road's surface, one pattern period longer than the view, moved up by fractions of a pixel."""
        height = self.place.height + math.ceil(PATTERN_PERIOD * self.scale) + 2
        across = Axis(self.place.width + math.ceil(self._room * self.scale), self.scale, self._left)
        moved = [Axis(height, self.scale, phase / SURFACE_PHASES / self.scale) for phase in range(SURFACE_PHASES)]
        marks, order = np.unique(np.concatenate([marks_along(along) for along in moved]), axis=0, return_inverse=True)
        lines = paint_surface(self.rules, self.theme, across, marks)
        beyond = (lines * np.uint16(255 - BEYOND) + np.array(self.theme.page, np.uint16) * BEYOND) // 255
        both = np.stack([lines, beyond.astype(np.uint8)]).reshape(2, len(lines), -1)
        ends = -2.0 * VEHICLE_LENGTH, self.rules.road_length + 2.0 * VEHICLE_LENGTH
        return both, order.reshape(SURFACE_PHASES, height), self._left, ends


class Axis:
    """One axis of an image: `size` pixels that begin at `start` [px] of the world."""

    def __init__(self, size: int, scale: float, start: float) -> None:
        self.low = start + np.arange(size) / scale
        self.scale, self.end = scale, start + size / scale

    def bar(self, middle: float, half: float) -> NDArray[np.float32]:
        """Return the exact fraction of each pixel that the interval middle - half .. middle + half covers."""
        reach = np.minimum(self.low + 1 / self.scale, middle + half) - np.maximum(self.low, middle - half)
        return np.clip(reach * self.scale, 0, 1).astype(np.float32)

    def bars(self, middles: Iterable[float], half: float) -> NDArray[np.float32]:
        """Return the sum of several bars that do not overlap."""
        return np.sum([self.bar(middle, half) for middle in middles] or [np.zeros(len(self.low), np.float32)], axis=0)


def marks_along(along: Axis) -> NDArray[np.float32]:
    """Return which fraction of each line lane dashes and roadside posts cover, (H, 2)."""
    periods = (DASH_PERIOD, DASH_LENGTH / 2), (PATTERN_PERIOD, 3.0)
    bars = [along.bars(np.arange(0.5 * each, along.end + each, each), half) for each, half in periods]
    return np.stack(bars, axis=1)


def paint_surface(rules: Rules, theme: Theme, across: Axis, marks: NDArray[np.float32]) -> ByteArray:
    """Return lines of verge, asphalt, lane dashes, edge lines and roadside posts as (H, W, 3) uint8."""
    width = rules.road_width
    line = np.tile(np.array(theme.verge, np.float32), (len(across.low), 1))

    def lay(coverage: NDArray[np.float32], colour: Colour) -> None:
        line[:] += (np.array(colour, np.float32) - line) * coverage[:, None]

    lay(across.bar(width / 2, width / 2 + 2.5), theme.asphalt)
    odd_lanes = [LANE_WIDTH * (lane + 0.5) for lane in range(1, rules.lanes, 2)]
    lay(across.bars(odd_lanes, LANE_WIDTH / 2) * 0.022, (255, 255, 255))
    lay(across.bars((-0.6, width + 0.6), 0.9) * 0.9, theme.edge_mark)
    image = np.tile(line, (len(marks), 1, 1))
    dashes = across.bars([LANE_WIDTH * lane for lane in range(1, rules.lanes)], 0.7)
    posts = across.bars((-6.5, width + 6.5), 1.3)
    for k, (coverage, colour) in enumerate(((dashes, theme.lane_mark), (posts, theme.post))):
        image += (np.array(colour, np.float32) - image) * (marks[:, k, None, None] * coverage[None, :, None])
    return np.rint(image).astype(np.uint8)


class PixelPainter:
    """Renders the envs of a State as small images.

    Args:
        rules: sizes of the road, and which vehicles are driven
        height, width: [pixels], 16..1024
        grey: one luminance channel in place of red, green and blue
    """

    def __init__(self, rules: Rules, height: int = 84, width: int = 84, *, grey: bool = False) -> None:
        for name, side in (("height", height), ("width", width)):
            if not MIN_SIDE <= side <= MAX_SIDE:
                raise ValueError(f"{name} must be in [{MIN_SIDE}, {MAX_SIDE}] pixels, got {side}")
        self.rules, self.grey = rules, grey
        self.shape = (height, width, 1 if grey else 3)
        self.scale = (height / rules.road_length, width / rules.road_width)
        bodies = [DARK.traffic[i % len(DARK.traffic)] for i in range(rules.vehicles)]
        bodies[: rules.other_agents + 1] = [DARK.ego] + [OBSERVED_AGENT] * rules.other_agents
        self._inks = self._ink([*bodies, DARK.glass])
        self._background = self._road()
        self._empty = (self._background + np.float32(0.5)).astype(np.uint8)

    def paint(self, state: State, env_indices: NDArray[np.int64] | None = None, out: U8 | None = None) -> U8:
        """Return images of envs (all by default), (B, H, W, C) uint8, or write them into `out` of that shape."""
        env_indices = np.arange(len(state["x"])) if env_indices is None else np.asarray(env_indices, np.int64)
        if out is None:
            out = np.empty((len(env_indices), *self.shape), np.uint8)
        elif out.shape != (len(env_indices), *self.shape) or out.dtype != np.uint8:
            raise ValueError(
                f"out must be uint8 of shape {(len(env_indices), *self.shape)}, got {out.dtype} of {out.shape}"
            )
        out[:] = self._empty
        games = state.view(np.ndarray)
        _paint_envs((games["x"], games["y"]), env_indices, self.scale, self._background, self._inks, out)
        return out

    def _ink(self, colours: list[Colour]) -> F32:
        """Return colours as (K, C) in this painter's channels."""
        table = np.array(colours, np.float32)
        return (table @ np.array(LUMINANCE, np.float32))[:, None] if self.grey else table

    def _road(self) -> F32:
        """Return the empty road, (H, W, C): asphalt and lines between the lanes."""
        asphalt, line = self._ink([DARK.asphalt]), self._ink([DARK.lane_mark])
        across = asphalt + (line - asphalt) * self.lane_marks()[:, None] * 0.5
        return np.tile(across[None], (self.shape[0], 1, 1)).astype(np.float32)

    def lane_marks(self) -> F32:
        """Return the fraction of each pixel column that lines between the lanes cover, (W,)."""
        lines = [LANE_WIDTH * lane for lane in range(1, self.rules.lanes)]
        return Axis(self.shape[1], self.scale[1], 0.0).bars(lines, LANE_LINE / 2)


@compiled
def _paint_envs(
    places: tuple[NDArray, NDArray],
    env_indices: NDArray,
    scale: tuple[float, float],
    background: F32,
    inks: F32,
    out: U8,
) -> None:
    """Lay the vehicles of envs over the empty roads in `out`; inks: (N + 1, C) of the bodies, then of the glass."""
    x, y = places
    image, areas = background.copy(), np.empty((x.shape[1], 4), np.int64)
    for k in range(len(env_indices)):
        shown = 0
        for vehicle in range(x.shape[1] - 1, -1, -1):  # the ego vehicle last, so that nothing hides it
            left, top = x[env_indices[k], vehicle], y[env_indices[k], vehicle]
            lay_vehicle(image, scale, left, top, inks[vehicle], inks[-1])
            if -VEHICLE_LENGTH < top < image.shape[0] / scale[0]:
                areas[shown] = area(image, scale, left, top, VEHICLE_WIDTH, VEHICLE_LENGTH)
                shown += 1
        for v in range(shown):
            for row in range(areas[v, 0], areas[v, 1]):
                for column in range(areas[v, 2], areas[v, 3]):
                    for channel in range(out.shape[3]):
                        out[k, row, column, channel] = np.uint8(image[row, column, channel] + np.float32(0.5))
        for v in range(shown):
            for row in range(areas[v, 0], areas[v, 1]):
                for column in range(areas[v, 2], areas[v, 3]):
                    for channel in range(out.shape[3]):
                        image[row, column, channel] = background[row, column, channel]


@compiled
def lay_vehicle(image: F32, scale: tuple[float, float], left: float, top: float, body: F32, glass: F32) -> None:
    """Blend a vehicle with its left side and front at (left, top), in px of the road, into the image."""
    if -VEHICLE_LENGTH < top < image.shape[0] / scale[0]:
        lay_box(image, scale, left, top, VEHICLE_WIDTH, VEHICLE_LENGTH, body)
        for middle, half_width, half_length in GLASS:
            lay_box(
                image,
                scale,
                left + HALF[0] - half_width,
                top + HALF[1] + middle - half_length,
                2 * half_width,
                2 * half_length,
                glass,
            )


@compiled
def lay_box(
    image: F32, scale: tuple[float, float], left: float, top: float, width: float, length: float, ink: F32
) -> None:
    """Blend a box, in px of the road, into the image: each pixel by the fraction that the box covers."""
    y0, y1 = top * scale[0], (top + length) * scale[0]
    x0, x1 = left * scale[1], (left + width) * scale[1]
    row0, row1, column0, column1 = area(image, scale, left, top, width, length)
    for row in range(row0, row1):
        along = min(y1, row + 1.0) - max(y0, float(row))
        for column in range(column0, column1):
            fraction = np.float32(along * (min(x1, column + 1.0) - max(x0, float(column))))
            for channel in range(image.shape[2]):
                image[row, column, channel] += (ink[channel] - image[row, column, channel]) * fraction


@inlined
def area(
    image: F32, scale: tuple[float, float], left: float, top: float, width: float, length: float
) -> tuple[int, int, int, int]:
    """Return first and end row, first and end column of the pixels that a box, in px of the road, touches."""
    row0, row1 = max(0, int(np.floor(top * scale[0]))), min(image.shape[0], int(np.ceil((top + length) * scale[0])))
    column0 = max(0, int(np.floor(left * scale[1])))
    return row0, row1, column0, min(image.shape[1], int(np.ceil((left + width) * scale[1])))
