"""Screen of the viewer: roads side by side, a dashboard or a race's board beside them, and a timeline below."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from deeptraffic.episodes.decision import Insight
from deeptraffic.episodes.episode import Episode
from deeptraffic.render.compositor import Rectangle
from deeptraffic.render.controls import Controls
from deeptraffic.render.dashboard import Dashboard
from deeptraffic.render.drawing import ByteArray, ImageMemory
from deeptraffic.render.layers import RoadLayer
from deeptraffic.render.painter import Painter
from deeptraffic.render.race import RaceBoard
from deeptraffic.render.sprites import VehicleImage
from deeptraffic.render.theme import theme_by_name, trail_colour_by_name, visible
from deeptraffic.render.timeline import Timeline
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Sensor

LEAST_SIZE = 200, 240  # [pixels]
MIN_HEIGHT_OF_TIMELINE = 400  # [pixels] of a window that shows a timeline


MakeEpisode = Callable[[int], Episode]
"""seed -> a new episode whose policy has just been reset; a replay may ignore the seed."""


class ViewerOptions(NamedTuple):
    """What the viewer shows besides the episode.

    sensor: cells of the input overlay
    insight: returns the policy's activations at its last decision, or None
    rivals: make the episodes of other drivers, at most seven
    arrangement: "beside" has one rival on a road of its own, "ghost" as a ghost on the first road; "race" has all as
        numbered ghosts, and standings in place of the dashboard
    image: replaces the drawn ego vehicle
    countdown: seconds before an episode starts
    on_image: draws over the window's image (H, W, 3)
    layers, rival_layers: drawn on the first and on the second road, see `deeptraffic.render.layers`
    stuck: returns whether the ego car of a simulator's env 0 is stuck after a frame: 0, `timeline.SLOW` or
        `timeline.STUCK`; None marks nothing
    """

    sensor: Sensor = Sensor()
    insight: Callable[[], Insight | None] | None = None
    rivals: Sequence[MakeEpisode] = ()
    arrangement: str = "beside"
    image: VehicleImage | None = None
    countdown: int = 0
    on_image: Callable[[ByteArray], None] | None = None
    layers: Sequence[RoadLayer] = ()
    rival_layers: Sequence[RoadLayer] = ()
    stuck: Callable[[Simulator], int] | None = None

    @property
    def roads(self) -> int:
        """Number of roads side by side."""
        return 1 + (self.arrangement == "beside" and len(self.rivals) > 0)


class Screen:
    """Parts of the window's image, fitted to its size.

    Args:
        size: (width, height) [pixels]
        episodes: of the roads from the left, then others
        controls: theme, trail, zoom, and whether layers and a dashboard are shown
        options: what else is shown
        has_timeline: whether there is a timeline if there is room
        draw_ghosts: layer of the other drivers on the first road

    painters: of the roads
    beside: dashboard or board; None if it is hidden, or there is no room for it
    """

    # parameters: what is arranged, and how
    def __init__(
        self,
        size: tuple[int, int],
        episodes: Sequence[Episode],
        controls: Controls,
        options: ViewerOptions,
        has_timeline: bool,
        draw_ghosts: RoadLayer,
    ) -> None:
        width, height = (max(side, least) for side, least in zip(size, LEAST_SIZE, strict=True))
        theme, count = theme_by_name(controls.theme), options.roads
        accent = visible(trail_colour_by_name(controls.trail), theme.panel)
        self.timeline: Timeline | None = None
        if has_timeline and controls.dashboard and height >= MIN_HEIGHT_OF_TIMELINE:
            self.timeline = Timeline(width, height / 700, episodes[0].frames, theme, accent)
            height -= self.timeline.size[1]
        road_width = min(round(height / 700 * (220 + 180 * controls.zoom)), width // count)
        rest = width - count * road_width
        if not controls.dashboard or rest < 0.35 * height:
            road_width, rest = width // count, 0
        looks: dict[str, Any] = {"theme": controls.theme, "trail": controls.trail, "zoom": controls.zoom, "film": True}
        layers: list[Sequence[RoadLayer]] = [(), ()]
        if controls.layers:
            layers = [options.layers, options.rival_layers]
        if options.arrangement != "beside":
            layers[0] = (draw_ghosts, *layers[0])
        self.painters = [
            Painter(
                episode.rules,
                (road_width, height),
                sensor=options.sensor,
                label=episode.label,
                image=image,
                layers=over,
                **looks,
            )
            for episode, image, over in zip(episodes[:count], (options.image, None), layers, strict=False)
        ]  # a rival keeps the drawn car
        self.beside: Dashboard | RaceBoard | None = None
        if rest:
            is_race, place = options.arrangement == "race", (rest, height)
            self.beside = RaceBoard(place, theme) if is_race else Dashboard(place, theme, accent)
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
