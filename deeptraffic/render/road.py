"""Road view: scrolling surface, trail, vehicles, overlay cells, ghost and camera, within one rectangle of an image.

`RoadView` draws into an (H, W, 3) byte array that a pygame surface shares, so that nothing is converted afterwards.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.render.drawing import ByteArray, surface_from_rgb
from deeptraffic.render.history import Trail
from deeptraffic.render.overlays import VALUE_ROOM, Cells, CellTiles
from deeptraffic.render.sprites import AGENT, EGO, TRAFFIC, SpriteSet
from deeptraffic.render.theme import DASH_LENGTH, DASH_PERIOD, PATTERN_PERIOD, TRAIL_FRAMES, Colour, Theme
from deeptraffic.sim.rules import CELL_LENGTH, LANE_WIDTH, VEHICLE_LENGTH, VEHICLE_WIDTH, Rules

if TYPE_CHECKING:
    import pygame

    from deeptraffic.render.sprites import VehicleImage

SURFACE_PHASES = 4  # surfaces per pixel of scrolling
TRAIL_HALF_WIDTH = 4.2  # [px]
GHOST_ALPHA = 120  # of 255
TRAIL_FADE = 0.85  # opacity at the vehicle
TRAIL_FADE_POWER = 0.8  # opacity is TRAIL_FADE * (1 - age) ** TRAIL_FADE_POWER, age 0..1
TRAIL_TAPER = 0.55  # of its width that it has lost at its end


class Rectangle(NamedTuple):
    """A rectangle of an image [pixels]."""

    left: int
    top: int
    width: int
    height: int


class Camera(NamedTuple):
    """World coordinates [px] of the view's upper and left edges."""

    left: float
    top: float


class RoadView:
    """Draws one scene's road into `place` of a canvas at `scale` [pixels per px].

    Args:
        rules: sizes of the road
        theme, trail_colour: colours
        place: where in the canvas
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
        self._left = -(place.width / scale - rules.road_width) / 2
        self.sprites = SpriteSet(theme, scale, trail_colour, image)
        self._surfaces = [self._surface(phase / SURFACE_PHASES) for phase in range(SURFACE_PHASES)]
        self._tiles = CellTiles(theme, scale)

    def camera(self, scene: np.void, follow: int = 0, fraction: float | None = None) -> Camera:
        """Return the camera that holds vehicle `follow` at a fraction of the view's height, by default the original's.

        The camera of the ego vehicle stands still: the simulator itself keeps that vehicle near one line.
        """
        visible = self.place.height / self.scale
        fraction = self.rules.ego_y / self.rules.road_length if fraction is None else fraction
        focus = self.rules.ego_y if follow == 0 else self._finite(scene["y"][follow])
        return Camera(self._left, focus - fraction * visible)

    def draw_surface(self, canvas: "pygame.Surface", camera: Camera, ground: float) -> None:
        """Draw verge, asphalt and marks, scrolled by `ground` [px], dark beyond the simulated road."""
        start = ((camera.top - ground) % PATTERN_PERIOD) * self.scale
        steps = math.floor(start * SURFACE_PHASES + 0.5)
        whole, phase = divmod(steps, SURFACE_PHASES)
        place = self.place
        canvas.blit(self._surfaces[phase], place[:2], (0, whole, place.width, place.height))
        self._darken_beyond(canvas, camera)

    def draw_vehicles(self, canvas: "pygame.Surface", scene: np.void, camera: Camera) -> None:
        """Draw all vehicles, the ego vehicle last so that nothing hides it."""
        shift_x = self.place.left - camera.left * self.scale
        shift_y = self.place.top - camera.top * self.scale
        xs, ys = (scene["x"] * self.scale + shift_x).tolist(), (scene["y"] * self.scale + shift_y).tolist()
        above, below = self.place.top - VEHICLE_LENGTH * self.scale * 1.5, self.place.top + self.place.height
        images = []
        for vehicle in reversed(range(len(xs))):
            if above < ys[vehicle] < below:
                kind = EGO if vehicle == 0 else AGENT if vehicle <= self.rules.other_agents else TRAFFIC
                images.append(self.sprites.place(kind, vehicle, xs[vehicle], ys[vehicle]))
        canvas.blits(images, False)

    def draw_trail(self, pixels: ByteArray, trail: Trail, camera: Camera, colour: Colour) -> None:
        """Draw a fading ribbon along a vehicle's trail of at least two positions."""
        if len(trail.x) < 2 or not np.isfinite(trail.y).all():
            return
        middle = np.maximum.accumulate(trail.y + VEHICLE_LENGTH / 2)
        first = self.place.top + math.floor((middle[0] - camera.top) * self.scale)
        last = self.place.top + math.ceil((middle[-1] - camera.top) * self.scale)
        first, last = max(first, self.place.top), min(last, self.place.top + self.place.height)
        if last - first < 1:
            return
        world_y = (np.arange(first, last) + 0.5 - self.place.top) / self.scale + camera.top
        x = np.interp(world_y, middle, trail.x + VEHICLE_WIDTH / 2)
        age = np.interp(world_y, middle, trail.age / TRAIL_FRAMES)
        centre = self.place.left + (x - camera.left) * self.scale
        _lay_ribbon(pixels, first, centre, age, TRAIL_HALF_WIDTH * self.scale, colour)

    def draw_cells(self, canvas: "pygame.Surface", cells: Cells, camera: Camera, style: str) -> None:
        """Draw overlay cells; `style` is the meaning of their values: input, map, safety, or value.

        Style value writes the values of occupied input cells, where a cell is large enough.
        """
        if style == "value":
            if self._tiles.size[1] < VALUE_ROOM:
                return
            cells = Cells(*(part[(cells.value != 0.0) & (cells.value != 1.0)] for part in cells))
        tile = self._tiles.picker(style, self.rules.empty)
        x = self.place.left + (cells.column * LANE_WIDTH - camera.left) * self.scale
        y = self.place.top + (cells.line * CELL_LENGTH - camera.top) * self.scale
        seen = (y > self.place.top - CELL_LENGTH * self.scale) & (y < self.place.top + self.place.height)
        seen &= (x > self.place.left - LANE_WIDTH * self.scale) & (x < self.place.left + self.place.width)
        images = []
        for left, top, value in zip(x[seen].tolist(), y[seen].tolist(), cells.value[seen].tolist(), strict=True):
            images.append((tile(value), (round(left), round(top))))
        canvas.blits(images, False)

    def draw_ghost(self, canvas: "pygame.Surface", scene: np.void, lead: float, camera: Camera) -> None:
        """Draw another run's ego vehicle semi-transparent, `lead` [px] ahead of its own position.

        Outside the view, an arrow at the edge points to it.
        """
        x = self.place.left + (scene["x"][0] - camera.left) * self.scale
        y = self.place.top + (self._finite(scene["y"][0]) - lead - camera.top) * self.scale
        sprite, at = self.sprites.place(EGO, 0, x, y)
        if -sprite.get_height() < at[1] - self.place.top < self.place.height:
            faint = sprite.copy()
            faint.set_alpha(GHOST_ALPHA)
            canvas.blit(faint, at)
        else:
            self._draw_arrow(canvas, x + VEHICLE_WIDTH / 2 * self.scale, ahead=y < self.place.top)

    def _draw_arrow(self, canvas: "pygame.Surface", x: float, ahead: bool) -> None:
        import pygame

        size, edge = 9 * self.scale, self.place.top + (4 * self.scale if ahead else self.place.height - 4 * self.scale)
        inward = size if ahead else -size
        points = [(x, edge), (x - size * 0.7, edge + inward), (x + size * 0.7, edge + inward)]
        pygame.draw.polygon(canvas, self.theme.ego, points)
        pygame.draw.aalines(canvas, self.theme.rim, True, points)

    def _finite(self, y: float) -> float:
        return float(min(max(y, -1e5), 1e5)) if math.isfinite(y) else self.rules.ego_y

    def _darken_beyond(self, canvas: "pygame.Surface", camera: Camera) -> None:
        """Shade what lies beyond the simulated road, where a camera on another vehicle can reach."""
        import pygame

        place = self.place
        far = round((-2 * VEHICLE_LENGTH - camera.top) * self.scale)
        near = round((self.rules.road_length + 2 * VEHICLE_LENGTH - camera.top) * self.scale)
        for top, bottom in ((0, min(far, place.height)), (max(near, 0), place.height)):
            if bottom > top:
                shade = pygame.Surface((place.width, bottom - top), pygame.SRCALPHA, 32)
                shade.fill((*self.theme.page, 190))
                canvas.blit(shade, (place.left, place.top + top))

    def _surface(self, phase: float) -> "pygame.Surface":
        """Draw the road's surface, one pattern period longer than the view, moved up by `phase` of a pixel."""
        height = self.place.height + math.ceil(PATTERN_PERIOD * self.scale) + 2
        along = Axis(height, self.scale, phase / self.scale)
        across = Axis(self.place.width, self.scale, self._left)
        return surface_from_rgb(paint_surface(self.rules, self.theme, across, along))


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


def _lay_ribbon(
    pixels: ByteArray,
    first: int,
    centre: NDArray[np.float64],
    age: NDArray[np.float64],
    half: float,
    colour: Colour,
) -> None:
    """Blend a ribbon of half width `half` [pixels] around `centre` (K,) into lines first, first + 1, ..."""
    half_widths = half * (1 - TRAIL_TAPER * age)
    low = max(0, math.floor(float(centre.min()) - half) - 1)
    high = min(pixels.shape[1], math.ceil(float(centre.max()) + half) + 1)
    columns = np.arange(low, high) + 0.5
    inside = np.clip(half_widths[:, None] - np.abs(columns[None, :] - centre[:, None]) + 0.5, 0, 1)
    opacity = (inside * (TRAIL_FADE * (1 - age).clip(0, 1) ** TRAIL_FADE_POWER)[:, None]).astype(np.float32)[..., None]
    part = pixels[first : first + len(centre), low:high]
    part += ((np.array(colour, np.float32) - part) * opacity).astype(np.int16).astype(np.uint8)
