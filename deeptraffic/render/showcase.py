"""Presentation video: half a minute of driving at 30 frames/s, the road enlarged around the ego vehicle.

    >>> card = Showcase("Ada", best_mph=74.21, rank=3, of=120, trail="aqua")
    >>> record_frames(showcase_frames(episode, card), "ada.mp4", fps=SHOWCASE_FPS)

`WIDE` is 1280 x 720, `TALL` 1080 x 1920. Modelled on the original page's video: a speed-limit sign, a live counter,
name, highest average speed, rank and the entrant's own vehicle.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deeptraffic.episodes.episode import Episode
from deeptraffic.episodes.history import Histories
from deeptraffic.render.board import DrawingBoard
from deeptraffic.render.compositor import Rectangle
from deeptraffic.render.drawing import ByteArray, Sheet
from deeptraffic.render.panel import signed
from deeptraffic.render.road import RoadView
from deeptraffic.render.sprites import VehicleImage
from deeptraffic.render.theme import DARK, TOP_SPEED_MPH, Colour, mix, trail_colour_by_name, visible

if TYPE_CHECKING:
    import pygame

SHOWCASE_FPS = 30
SECONDS = 30
SIM_FRAMES = 2  # [frames] of the simulation per frame of the video
FADE = 15  # [frames] of the video to fade in and out
LEFT = 64  # [pixels] left edge of the text
END_SECONDS = 3.0  # of the end card, in a video that is four times as long


class ShowcaseLayout(NamedTuple):
    """Layout of a video [pixels].

    size: width and height
    road, map, graph: places of the enlarged road, of the whole one and of the speed
    enlarged: [pixels per px] at most
    room: width of the name
    sign, facts: upper edges of the speed-limit sign and of the line of facts
    unit: size of captions, facts and end card, 1 in the wide layout
    """

    size: tuple[int, int]
    road: Rectangle
    map: Rectangle
    graph: Rectangle
    enlarged: float
    room: int
    sign: int
    facts: int
    unit: float = 1.0


WIDE = ShowcaseLayout(
    (1280, 720),
    Rectangle(560, 0, 480, 720),
    Rectangle(1088, 0, 192, 720),
    Rectangle(LEFT, 420, 432, 84),
    enlarged=2.8,
    room=456,
    sign=196,
    facts=566,
)
TALL = ShowcaseLayout(
    (1080, 1920),
    Rectangle(0, 560, 760, 1360),
    Rectangle(790, 560, 290, 1360),
    Rectangle(560, 240, 456, 110),
    enlarged=4.6,
    room=952,
    sign=200,
    facts=430,
    unit=1.6,
)


class Showcase(NamedTuple):
    """Content of the video.

    name: of the entrant or team
    best_mph: highest average speed of the official evaluation; None to omit
    rank, of: place in the competition; None to omit
    speed_limit_mph: on the sign; the counter lights up above it
    trail: one of the 13 named colours
    image: replaces the drawn ego vehicle
    facts: (caption, value) pairs about the policy, on the end card
    """

    name: str
    best_mph: float | None = None
    rank: int | None = None
    of: int | None = None
    speed_limit_mph: int = 65
    trail: str = "yellow"
    image: VehicleImage | None = None
    facts: tuple[tuple[str, str], ...] = ()


def showcase_frames(
    episode: Episode, card: Showcase, seconds: float = SECONDS, stage: ShowcaseLayout = WIDE
) -> Iterator[ByteArray]:
    """Yield the frames of the video, (H, W, 3) uint8, continuing the episode from its current frame.

    The last three seconds of a video of at least twelve show an end card.
    """
    images = round(seconds * SHOWCASE_FPS)
    end = images - round(END_SECONDS * SHOWCASE_FPS) if seconds >= 4 * END_SECONDS else images
    painter = _ShowcasePainter(episode, card, images, stage)
    for index in range(end):
        yield _faded(painter.paint(), index, images)
        for _ in range(SIM_FRAMES):
            episode.advance()
            painter.history = painter.histories.observe(episode.state)
    if end < images:
        last = painter.paint_end()
        for index in range(end, images):
            yield _faded(last, index, images)


def _faded(image: ByteArray, index: int, images: int) -> ByteArray:
    """Darken the first and the last half second."""
    light = min(1.0, (index + 1) / FADE, (images - index) / FADE)
    return image if light == 1.0 else (image * light).astype(np.uint8)


class _ShowcasePainter:
    """Paints the frames of the video in order."""

    def __init__(self, episode: Episode, card: Showcase, images: int, stage: ShowcaseLayout) -> None:
        rules, self.stage = episode.rules, stage
        self.episode, self.card, self.images = episode, card, images
        self.histories = Histories(rules.vehicles)
        self.history = self.histories.observe(episode.state)
        trail = trail_colour_by_name(card.trail)
        self.trail, self.accent = visible(trail, DARK.asphalt), visible(trail, DARK.page)
        scale = min(stage.enlarged, stage.road.width / (rules.road_width + 24))
        self.road = RoadView(rules, DARK, self.trail, stage.road, scale, card.image)
        map_scale = min(stage.map.height / rules.road_length, stage.map.width / (rules.road_width + 24))
        self.map = RoadView(rules, DARK, self.trail, stage.map, map_scale, card.image)
        self.speeds: list[float] = []
        self.pixels = np.empty((stage.size[1], stage.size[0], 3), np.uint8)
        self.board = DrawingBoard(self.pixels, DARK, 1.0)
        self.canvas, self.text = self.board.canvas, self.board.text
        self.background = self._background()

    def paint(self) -> ByteArray:
        """Return a new image of the current frame."""
        scene = self.episode.state[0]
        self.speeds.append(self.history.mean_speed_mph)
        self.canvas.blit(self.background, (0, 0))
        for view, fraction in ((self.road, 0.56), (self.map, None)):
            camera = view.camera(scene, fraction=fraction)
            view.paint(self.pixels, scene, camera, self.history, self.history.ground)
        self._draw_window_of_map()
        self._draw_counter(int(self.speeds[-1] // 1))
        self._draw_graph()
        self._draw_facts(int(scene["passed"]))
        return self.pixels.copy()

    def paint_end(self) -> ByteArray:
        """Return the end card over the last image, dimmed."""
        card, mph = self.card, self.episode.score_mph()
        facts = [("CARS PASSED", signed(int(self.episode.state.passed[0]))), *card.facts]
        if card.rank is not None:
            facts.insert(0, ("RANK", self._rank()))
        if card.best_mph is not None:
            facts.append(("THIS RUN", f"{mph:.2f} mph"))
        np.right_shift(self.pixels, 1, out=self.pixels)
        board, muted = DrawingBoard(self.pixels, DARK, self.stage.unit, self.text), DARK.muted
        left, top = board.card(460, 276 + 44 * len(facts))
        middle = left + 230
        caption = "AVERAGE SPEED OF THIS RUN" if card.best_mph is None else "HIGHEST AVERAGE SPEED"
        board.write(card.name, (middle, top + 40), 44, DARK.text, "centre", room=396)
        board.write(caption, (middle, top + 102), 17, muted, "centre")
        score = mph if card.best_mph is None else card.best_mph
        board.write(f"{score:.2f} mph", (middle, top + 128), 92, self.accent, "centre")
        for k, (fact, value) in enumerate(facts):
            y = top + 244 + 44 * k
            board.write(fact, (left + 44, y + 6), 17, muted)
            board.write(value, (left + 416, y), 28, DARK.text, "right", room=230)
        return self.pixels.copy()

    def _rank(self) -> str:
        return f"{self.card.rank}" + (f" of {self.card.of}" if self.card.of is not None else "")

    def _background(self) -> "pygame.Surface":
        """Draw the static parts: page, name, sign and captions."""
        import pygame

        stage, (width, height) = self.stage, self.stage.size
        page = pygame.Surface((width, height), 0, 32)
        for y in range(height):
            pygame.draw.line(page, mix((24, 30, 40), DARK.page, y / height), (0, y), (width, y))
        write = self.text.write
        write(page, "DEEPTRAFFIC", (LEFT, 58 - 8 * (stage.unit - 1)), 18 * stage.unit, self.accent)
        size = 64.0
        while self.text.width(self.card.name, size) > stage.room and size > 20:
            size -= 2
        write(page, self.card.name, (LEFT, 84), size, DARK.text)
        page.blit(self._sign(), (LEFT - 6, stage.sign))
        above = stage.graph.left, stage.graph.top - 30 * stage.unit
        write(page, "SPEED OVER THE RUN", above, 16 * stage.unit, DARK.muted)
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
        end = self.board.write(str(speed_mph), (LEFT + 156, self.stage.sign), 190, colour)
        top = self.stage.sign + self.text.ascent(190) - self.text.ascent(40)
        self.board.write("mph", (end.right + 12, top), 40, DARK.muted)

    def _draw_graph(self) -> None:
        """Plot the speed since the start, 0 to 80 mph, over the length of the whole video."""
        import pygame

        place = self.stage.graph
        step = place.width / max(1, self.images - 1)
        bottom = place.top + place.height
        pygame.draw.line(self.canvas, DARK.track, (place.left, bottom), (place.left + place.width, bottom), 2)
        limit = bottom - place.height * self.card.speed_limit_mph / TOP_SPEED_MPH
        for x in range(place.left, place.left + place.width, 10):
            pygame.draw.line(self.canvas, DARK.track, (x, limit), (x + 4, limit))
        heights = np.clip(self.speeds, 0.0, TOP_SPEED_MPH) / TOP_SPEED_MPH
        points = np.column_stack([place.left + step * np.arange(len(heights)), bottom - place.height * heights])
        if len(points) > 1:
            area = [(place.left, bottom), *points.tolist(), (points[-1, 0], bottom)]
            pygame.draw.polygon(self.canvas, mix(DARK.page, self.accent, 0.25), area)
        self.board.curve(self.accent, points, 4.0, DARK.text)

    def _draw_facts(self, passed: int) -> None:
        card, facts = self.card, [("CARS PASSED", signed(passed))]
        if card.best_mph is not None:
            facts.insert(0, ("HIGHEST AVERAGE SPEED", f"{card.best_mph:.2f} mph"))
        if card.rank is not None:
            facts.append(("RANK", self._rank()))
        left, unit = float(LEFT), self.stage.unit
        for caption, value in facts:
            self.board.write(caption, (left, self.stage.facts), 16 * unit, DARK.muted)
            self.board.write(value, (left, self.stage.facts + 24 * unit), 40 * unit, DARK.text)
            width = max(self.text.width(caption, 16 * unit), self.text.width(value, 40 * unit))
            left += width + 36 * unit

    def _draw_window_of_map(self) -> None:
        """Outline the part of the map that the enlarged road shows."""
        import pygame

        scene = self.episode.state[0]
        close, whole = self.road.camera(scene, fraction=0.56), self.map.camera(scene)
        top = (close.top - whole.top) * self.map.scale
        height = self.road.place.height / self.road.scale * self.map.scale
        width = self.episode.rules.road_width * self.map.scale + 10
        box = pygame.Rect(0, round(top), round(width), round(height))
        box.centerx = self.map.place.left + self.map.place.width // 2
        pygame.draw.rect(self.canvas, DARK.muted, box, width=2, border_radius=6)
