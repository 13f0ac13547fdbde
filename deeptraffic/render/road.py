"""Road view: scrolling surface, trail, vehicles, overlay cells and camera, within one rectangle of an image."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.episodes.history import History
from deeptraffic.render.compositor import Fleet, Ribbon, Tiles, View, paint_road, paint_tiles
from deeptraffic.render.drawing import ByteArray
from deeptraffic.render.overlays import LABEL_ROOM, LABEL_TOP, Cells, CellTiles
from deeptraffic.render.sprites import PAD, SpriteSet
from deeptraffic.render.theme import DASH_LENGTH, DASH_PERIOD, PATTERN_PERIOD, SHOULDER, Colour, Theme
from deeptraffic.sim.rules import LANE_WIDTH, MPH_PER_PX, VEHICLE_LENGTH, VEHICLE_WIDTH, Rules

if TYPE_CHECKING:
    from deeptraffic.render.sprites import VehicleImage

SURFACE_PHASES = 4  # surfaces per pixel of scrolling
BEYOND = 190  # of 255, opacity of the page beyond the simulated road
NO_TILES = Tiles(np.empty(0, np.int64), np.empty(0), np.empty(0))


class Rectangle(NamedTuple):
    """A rectangle of an image [pixels]."""

    left: int
    top: int
    width: int
    height: int


class Camera(NamedTuple):
    """What a view shows of the road.

    left, top: world coordinates [px] of its left and upper edges
    place: rectangle of the canvas that it fills; scale: [pixels per px]
    """

    left: float
    top: float
    place: Rectangle
    scale: float

    def pixel(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return where a point of the road [px] is on the canvas [pixels]; also of arrays."""
        return self.place.left + (x - self.left) * self.scale, self.place.top + (y - self.top) * self.scale


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
        self.trail_colour = trail_colour
        visible, whole = place.width / scale, rules.road_width + 2 * SHOULDER
        self._left = (rules.road_width - max(visible, whole)) / 2  # [px] of the surfaces
        self._room = max(0.0, whole - visible)  # [px] by which the camera can move across
        self.sprites = SpriteSet(theme, scale, trail_colour, image)
        self._surfaces = [self._surface(phase / SURFACE_PHASES) for phase in range(SURFACE_PHASES)]
        self._tiles = CellTiles(theme, scale)
        self._kinds = self.sprites.kinds(rules.vehicles, rules.other_agents)
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

        history: has observed the scene
        marks: distance of the road at which its marks are shown [px]
        follow: whose trail is drawn, and whose input the overlay shows
        overlay: meaning of the cells' values: input, safety or map
        """
        self._copy_surface(image, camera, marks)
        lines, view, tiles = image.reshape(len(image), -1), self._view(camera), NO_TILES
        if cells is not None:
            tiles = self._tiles.place(cells, overlay, self.rules.empty)
        ribbon = Ribbon(history.histories.rings, history.env, follow, self.trail_colour)
        factors, numbers = self._factors, self.sprites.numbers
        fleet = Fleet(scene["x"], scene["y"], scene["lane"], self._kinds, scene["speed_factor"], factors, numbers, PAD)
        self._paint(lines, view, tiles, ribbon, fleet)
        if cells is not None and overlay == "input" and self.scale >= LABEL_ROOM:
            self._label_vehicles(lines, view, scene, cells, follow)

    def _paint(self, lines: ByteArray, view: View, tiles: Tiles, ribbon: Ribbon, fleet: Fleet) -> None:
        """Paint by the compositor, making the sprites that it lacks."""
        sprites, missing = self.sprites, 0
        while missing >= 0:
            missing = paint_road(lines, view, tiles, self._tiles.atlas.images, ribbon, fleet, sprites.atlas.images)
            if missing >= 0:
                sprites.make(missing)

    def _view(self, camera: Camera) -> View:
        return View(*self.place, self.scale, camera.left, camera.top)

    def _copy_surface(self, image: ByteArray, camera: Camera, ground: float) -> None:
        """Copy verge, asphalt and marks, scrolled by `ground` [px], dark beyond the simulated road."""
        start = ((camera.top - ground) % PATTERN_PERIOD) * self.scale
        whole, phase = divmod(math.floor(start * SURFACE_PHASES + 0.5), SURFACE_PHASES)
        left, top, width, height = self.place
        part = image[top : top + height, left : left + width]
        aside = round((camera.left - self._left) * self.scale)
        part[:] = self._surfaces[phase][whole : whole + height, aside : aside + width]
        far = round((-2 * VEHICLE_LENGTH - camera.top) * self.scale)
        near = round((self.rules.road_length + 2 * VEHICLE_LENGTH - camera.top) * self.scale)
        if far > 0 or near < height:
            for beyond in (part[: max(far, 0)], part[max(near, 0) :]):
                beyond[:] = (beyond * np.uint16(255 - BEYOND) + np.array(self.theme.page, np.uint16) * BEYOND) // 255

    def _label_vehicles(self, lines: ByteArray, view: View, scene: np.void, cells: Cells, follow: int) -> None:
        """Outline the occupied cells over their vehicles, and write on each vehicle but `follow` the speed it reads."""
        occupied = (cells.mark > 0) & (cells.mark <= self.rules.vehicles)
        cells = cells._replace(column=cells.column[occupied], line=cells.line[occupied], mark=cells.mark[occupied])
        outlines = self._tiles.place(cells, "map", self.rules.empty, "outline")
        paint_tiles(lines, view, outlines, self._tiles.atlas.images)
        vehicles = np.unique(cells.mark) - 1
        vehicles = vehicles[vehicles != follow]
        speeds = np.rint(cells.values[vehicles + 1] * self.rules.empty * MPH_PER_PX).astype(np.int64).tolist()
        numbers = np.array([self._tiles.label(speed) for speed in speeds], np.int64)
        labels = Tiles(numbers, scene["x"][vehicles], scene["y"][vehicles] + LABEL_TOP)
        paint_tiles(lines, view, labels, self._tiles.labels.images)

    def _finite(self, y: float) -> float:
        return float(min(max(y, -1e5), 1e5)) if math.isfinite(y) else self.rules.ego_y

    def _surface(self, phase: float) -> ByteArray:
        """Draw the road's surface, one pattern period longer than the view, moved up by `phase` of a pixel."""
        height = self.place.height + math.ceil(PATTERN_PERIOD * self.scale) + 2
        along = Axis(height, self.scale, phase / self.scale)
        across = Axis(self.place.width + math.ceil(self._room * self.scale), self.scale, self._left)
        return paint_surface(self.rules, self.theme, across, along)


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


def paint_surface(rules: Rules, theme: Theme, across: Axis, along: Axis) -> ByteArray:
    """Return verge, asphalt, lane dashes, edge lines and roadside posts as (H, W, 3) uint8."""
    width = rules.road_width
    line = np.tile(np.array(theme.verge, np.float32), (len(across.low), 1))

    def lay(coverage: NDArray[np.float32], colour: Colour) -> None:
        line[:] += (np.array(colour, np.float32) - line) * coverage[:, None]

    lay(across.bar(width / 2, width / 2 + 2.5), theme.asphalt)
    odd_lanes = [LANE_WIDTH * (lane + 0.5) for lane in range(1, rules.lanes, 2)]
    lay(across.bars(odd_lanes, LANE_WIDTH / 2) * 0.022, (255, 255, 255))
    lay(across.bars((-0.6, width + 0.6), 0.9) * 0.9, theme.edge_mark)
    image = np.tile(line, (len(along.low), 1, 1))
    dashes = across.bars([LANE_WIDTH * lane for lane in range(1, rules.lanes)], 0.7)
    posts = across.bars((-6.5, width + 6.5), 1.3)
    for coverage, colour, period, half in (
        (dashes, theme.lane_mark, DASH_PERIOD, DASH_LENGTH / 2),
        (posts, theme.post, PATTERN_PERIOD, 3.0),
    ):
        middles = np.arange(0.5 * period, along.end + period, period)
        mask = along.bars(middles, half)[:, None, None] * coverage[None, :, None]
        image += (np.array(colour, np.float32) - image) * mask
    return np.rint(image).astype(np.uint8)
