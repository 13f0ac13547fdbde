"""Presentation video: half a minute of driving, 1280 x 720 at 30 frames/s, the road enlarged around the ego vehicle.

    >>> card = Showcase("Ada", best_mph=74.21, rank=3, of=120, trail="aqua")
    >>> record_frames(showcase_frames(episode, card), "ada.mp4", fps=SHOWCASE_FPS)

Modelled on the original page's video: a speed-limit sign, a live counter, name, highest average speed, rank and the
entrant's own vehicle.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deeptraffic.episodes.episode import Episode
from deeptraffic.episodes.history import Histories
from deeptraffic.render.drawing import ByteArray, Sheet, TextRenderer, draw_curve
from deeptraffic.render.panel import signed
from deeptraffic.render.road import Rectangle, RoadView
from deeptraffic.render.sprites import VehicleImage
from deeptraffic.render.theme import DARK, TOP_SPEED_MPH, Colour, mix, trail_colour_by_name, visible

if TYPE_CHECKING:
    import pygame

SIZE = (1280, 720)  # [pixels]
SHOWCASE_FPS = 30
SECONDS = 30
SIM_FRAMES = 2  # [frames] of the simulation per frame of the video
ENLARGED = 2.8  # [pixels per px]
FADE = 15  # [frames] of the video to fade in and out
LEFT = 64  # [pixels] left edge of the text
ROAD, MAP = Rectangle(560, 0, 480, 720), Rectangle(1088, 0, 192, 720)
GRAPH = Rectangle(LEFT, 420, 432, 84)


class Showcase(NamedTuple):
    """Content of the video.

    name: of the entrant or team
    best_mph: highest average speed of the official evaluation; None to omit
    rank, of: place in the competition; None to omit
    speed_limit_mph: on the sign; the counter lights up above it
    trail: one of the 13 named colours
    image: replaces the drawn ego vehicle
    """

    name: str
    best_mph: float | None = None
    rank: int | None = None
    of: int | None = None
    speed_limit_mph: int = 65
    trail: str = "yellow"
    image: VehicleImage | None = None


def showcase_frames(episode: Episode, card: Showcase, seconds: float = SECONDS) -> Iterator[ByteArray]:
    """Yield the frames of the video, (720, 1280, 3) uint8, continuing the episode from its current frame."""
    images = round(seconds * SHOWCASE_FPS)
    painter = _ShowcasePainter(episode, card, images)
    for index in range(images):
        yield _faded(painter.paint(index), index, images)
        for _ in range(SIM_FRAMES):
            episode.advance()
            painter.histories.observe(episode.state)


def _faded(image: ByteArray, index: int, images: int) -> ByteArray:
    """Darken the first and the last half second."""
    light = min(1.0, (index + 1) / FADE, (images - index) / FADE)
    return image if light == 1.0 else (image * light).astype(np.uint8)


class _ShowcasePainter:
    """Paints the frames of the video in order."""

    def __init__(self, episode: Episode, card: Showcase, images: int) -> None:
        import pygame

        rules = episode.rules
        self.episode, self.card, self.images = episode, card, images
        self.histories = Histories(rules.vehicles)
        self.history = self.histories.observe(episode.state)
        trail = trail_colour_by_name(card.trail)
        self.trail, self.accent = visible(trail, DARK.asphalt), visible(trail, DARK.page)
        scale = min(ENLARGED, ROAD.width / (rules.road_width + 24))
        self.road = RoadView(rules, DARK, self.trail, ROAD, scale, card.image)
        map_scale = min(MAP.height / rules.road_length, MAP.width / (rules.road_width + 24))
        self.map = RoadView(rules, DARK, self.trail, MAP, map_scale, card.image)
        self.speeds: list[float] = []
        self.text = TextRenderer()
        self.pixels = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
        self.canvas = pygame.image.frombuffer(self.pixels.data, SIZE, "RGB")
        self.background = self._background()

    def paint(self, index: int) -> ByteArray:
        """Return a new image of the current frame."""
        scene = self.episode.state[0]
        self.speeds.append(self.history.mean_speed_mph(0))
        self.canvas.blit(self.background, (0, 0))
        for view, fraction in ((self.road, 0.56), (self.map, None)):
            camera = view.camera(scene, fraction=fraction)
            view.paint(self.pixels, scene, camera, self.history, self.history.ground)
        self._draw_window_of_map()
        self._draw_counter(int(self.speeds[-1] // 1))
        self._draw_graph()
        self._draw_facts(int(scene["passed"]))
        return self.pixels.copy()

    def _background(self) -> "pygame.Surface":
        """Draw the static parts: page, name, sign and captions."""
        import pygame

        page = pygame.Surface(SIZE, 0, 32)
        for y in range(SIZE[1]):
            pygame.draw.line(page, mix((24, 30, 40), DARK.page, y / SIZE[1]), (0, y), (SIZE[0], y))
        write = self.text.write
        write(page, "DEEPTRAFFIC", (LEFT, 58), 18, self.accent)
        size = 64.0
        while self.text.width(self.card.name, size) > ROAD.left - LEFT - 40 and size > 20:
            size -= 2
        write(page, self.card.name, (LEFT, 84), size, DARK.text)
        page.blit(self._sign(), (LEFT - 6, 196))
        write(page, "SPEED OVER THE RUN", (GRAPH.left, GRAPH.top - 30), 16, DARK.muted)
        return page

    def _sign(self) -> "pygame.Surface":
        """Draw the speed-limit sign."""
        sheet = Sheet(132, 164, 2.0, 0, 0)
        middle = (33.0, 41.0)
        sheet.box((33, 42), (30, 38), (0, 0, 0), radius=7, alpha=0.5, blur=4)
        sheet.box(middle, (29.5, 37.5), (250, 250, 248), radius=6)
        sheet.frame(middle, (27.5, 35.5), (20, 22, 26), radius=4.5, line=1.6)
        sign = sheet.surface()
        ink: Colour = (20, 22, 26)
        self.text.write(sign, "SPEED", (66, 28), 27, ink, "centre")
        self.text.write(sign, "LIMIT", (66, 50), 27, ink, "centre")
        self.text.write(sign, str(self.card.speed_limit_mph), (66, 74), 84, ink, "centre")
        return sign

    def _draw_counter(self, speed_mph: int) -> None:
        colour = self.accent if speed_mph > self.card.speed_limit_mph else DARK.text
        end = self.text.write(self.canvas, str(speed_mph), (LEFT + 156, 196), 190, colour)
        top = 196 + self.text.ascent(190) - self.text.ascent(40)
        self.text.write(self.canvas, "mph", (end.right + 12, top), 40, DARK.muted)

    def _draw_graph(self) -> None:
        """Plot the speed since the start, 0 to 80 mph, over the length of the whole video."""
        import pygame

        place, step = GRAPH, GRAPH.width / max(1, self.images - 1)
        bottom = place.top + place.height
        pygame.draw.line(self.canvas, DARK.track, (place.left, bottom), (place.left + place.width, bottom), 2)
        limit = bottom - place.height * self.card.speed_limit_mph / TOP_SPEED_MPH
        for x in range(place.left, place.left + place.width, 10):
            pygame.draw.line(self.canvas, DARK.track, (x, limit), (x + 4, limit))
        points = [
            (place.left + k * step, bottom - place.height * min(max(speed, 0.0), TOP_SPEED_MPH) / TOP_SPEED_MPH)
            for k, speed in enumerate(self.speeds)
        ]
        if len(points) > 1:
            area = [(place.left, bottom), *points, (points[-1][0], bottom)]
            pygame.draw.polygon(self.canvas, mix(DARK.page, self.accent, 0.25), area)
        draw_curve(self.canvas, self.accent, points, 3.0, DARK.text)

    def _draw_facts(self, passed: int) -> None:
        card, facts = self.card, [("CARS PASSED", signed(passed))]
        if card.best_mph is not None:
            facts.insert(0, ("HIGHEST AVERAGE SPEED", f"{card.best_mph:.2f} mph"))
        if card.rank is not None:
            facts.append(("RANK", f"{card.rank}" + (f" of {card.of}" if card.of is not None else "")))
        left = float(LEFT)
        for caption, value in facts:
            self.text.write(self.canvas, caption, (left, 566), 16, DARK.muted)
            self.text.write(self.canvas, value, (left, 590), 40, DARK.text)
            width = max(self.text.width(caption, 16), self.text.width(value, 40))
            left += width + 36

    def _draw_window_of_map(self) -> None:
        """Outline the part of the map that the enlarged road shows."""
        import pygame

        scene = self.episode.state[0]
        close, whole = self.road.camera(scene, fraction=0.56), self.map.camera(scene)
        top = (close.top - whole.top) * self.map.scale
        height = self.road.place.height / self.road.scale * self.map.scale
        width = self.episode.rules.road_width * self.map.scale + 10
        box = pygame.Rect(0, round(top), round(width), round(height))
        box.centerx = MAP.left + MAP.width // 2
        pygame.draw.rect(self.canvas, DARK.muted, box, width=2, border_radius=6)
