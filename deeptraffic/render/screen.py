"""Screen of the viewer: roads side by side, a dashboard or a race's board beside them, and a timeline below."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from deeptraffic.episodes.episode import Episode
from deeptraffic.render.controls import Controls
from deeptraffic.render.dashboard import Dashboard
from deeptraffic.render.drawing import ByteArray, ImageMemory
from deeptraffic.render.layers import RoadLayer
from deeptraffic.render.painter import Painter
from deeptraffic.render.race import RaceBoard
from deeptraffic.render.road import Rectangle
from deeptraffic.render.sprites import VehicleImage
from deeptraffic.render.theme import theme_by_name, trail_colour_by_name, visible
from deeptraffic.render.timeline import Timeline
from deeptraffic.sim.rules import Sensor

LEAST_SIZE = 200, 240  # [pixels]
MIN_HEIGHT_OF_TIMELINE = 400  # [pixels] of a window that shows a timeline


class RoadLook(NamedTuple):
    """A road: its episode, the image of its ego car, and the layers on it."""

    episode: Episode
    image: VehicleImage | None
    layers: Sequence[RoadLayer]


class Screen:
    """Parts of the window's image, fitted to its size.

    Args:
        size: (width, height) [pixels]
        roads: from the left
        controls: theme, trail, zoom, and whether a dashboard is shown
        sensor: of the input overlay
        has_timeline: whether there is a timeline if there is room
        is_race: whether a race's board takes the place of the dashboard

    painters: of the roads
    beside: dashboard or board; None if it is hidden, or there is no room for it
    """

    # parameters: what is arranged, and how
    def __init__(
        self,
        size: tuple[int, int],
        roads: Sequence[RoadLook],
        controls: Controls,
        sensor: Sensor,
        has_timeline: bool,
        is_race: bool,
    ) -> None:
        width, height = (max(side, least) for side, least in zip(size, LEAST_SIZE, strict=True))
        theme, count = theme_by_name(controls.theme), len(roads)
        accent = visible(trail_colour_by_name(controls.trail), theme.panel)
        self.timeline: Timeline | None = None
        if has_timeline and controls.dashboard and height >= MIN_HEIGHT_OF_TIMELINE:
            self.timeline = Timeline(width, height / 700, roads[0].episode.frames, theme, accent)
            height -= self.timeline.size[1]
        road_width = min(round(height / 700 * (220 + 180 * controls.zoom)), width // count)
        rest = width - count * road_width
        if not controls.dashboard or rest < 0.35 * height:
            road_width, rest = width // count, 0
        looks: dict[str, Any] = {"theme": controls.theme, "trail": controls.trail, "zoom": controls.zoom, "film": True}
        self.painters = [
            Painter(
                episode.rules,
                (road_width, height),
                sensor=sensor,
                label=episode.label,
                image=image,
                layers=layers,
                **looks,
            )
            for episode, image, layers in roads
        ]
        self.beside: Dashboard | RaceBoard | None = None
        if rest:
            self.beside = RaceBoard((rest, height), theme) if is_race else Dashboard((rest, height), theme, accent)
        below = 0 if self.timeline is None else self.timeline.size[1]
        self._memory = ImageMemory((height + below, count * road_width + rest, 3))

    @property
    def roads(self) -> list[Rectangle]:
        """Where the roads are."""
        width = self.painters[0].size[0]
        places = [painter.layout.road for painter in self.painters]
        return [place._replace(left=place.left + k * width) for k, place in enumerate(places)]

    @property
    def place_beside(self) -> Rectangle | None:
        """Where the dashboard is; None if there is none."""
        left = len(self.painters) * self.painters[0].size[0]
        return None if self.beside is None else Rectangle(left, 0, *self.beside.size)

    def road_at(self, x: int) -> tuple[int, int]:
        """Return which road's image is at x [pixels], and x in it; the number of roads if it is beside them."""
        width, count = self.painters[0].size[0], len(self.painters)
        number = min(max(x // width, 0), count)
        return number, x - number * width

    def is_on_timeline(self, y: int) -> bool:
        """Whether a point is on the timeline."""
        return self.timeline is not None and y >= self.painters[0].size[1]

    def put_together(self, images: Sequence[ByteArray], below: ByteArray | None) -> ByteArray:
        """Return a new image of the parts, (H, W, 3)."""
        whole, left = self._memory.empty(), 0
        for image in images:
            whole[: len(image), left : left + image.shape[1]] = image
            left += image.shape[1]
        if below is not None:
            whole[len(images[0]) :] = below
        return whole
