"""Heads-up display of a run driven by hand: countdown, clock, target, gap to the rival, and the end card."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pygame
from numpy.typing import NDArray

from deeptraffic.render.dashboard import MARGIN
from deeptraffic.render.drawing import ByteArray, TextRenderer, draw_curve
from deeptraffic.render.road import Rectangle
from deeptraffic.render.theme import TOP_SPEED_MPH, Colour, Theme

Target = tuple[str, float]
"""Whose score it is, and the score [mph]."""


class Standing(NamedTuple):
    """What a driver sees during the run.

    seconds_left: of the run, at normal pace
    target: the next score to beat; None if none is left
    gap: (the rival's label, how far the driver is ahead of it [feet]); None without a rival
    """

    seconds_left: float
    target: Target | None = None
    gap: tuple[str, float] | None = None


class EndCard(NamedTuple):
    """What a driver sees after the run.

    score_mph: official score of the run
    title: result of the race, or of the run
    facts: line below it
    ranking: (name, score [mph], whether it is the driver's) from best to worst, around the driver's
    speeds: (F,) speed at each frame [mph], NaN where it is not known
    keys: what can be done next
    """

    score_mph: float
    title: str
    facts: str
    ranking: Sequence[tuple[str, float, bool]]
    speeds: NDArray[np.float64]
    keys: str


class Hud:
    """Draws over the window's image; sizes are in units of 1/700 of its height.

    Args:
        theme: colours
        accent: colour of the driver's own figures
    """

    def __init__(self, theme: Theme, accent: Colour) -> None:
        self.theme, self.accent = theme, accent
        self._text = TextRenderer()

    def draw_countdown(self, image: ByteArray, road: Rectangle, seconds: int) -> None:
        """Draw 3, 2 or 1 over the road."""
        canvas, unit = _canvas(image), image.shape[0] / 700
        centre, radius = (road.left + road.width // 2, round(image.shape[0] * 0.4)), round(72 * unit)
        shade = pygame.Surface((2 * radius, 2 * radius), pygame.SRCALPHA)
        pygame.draw.circle(shade, (*self.theme.panel, 220), (radius, radius), radius)
        canvas.blit(shade, (centre[0] - radius, centre[1] - radius))
        at = (centre[0], centre[1] - 43 * unit)
        self._text.write(canvas, str(seconds), at, 130 * unit, self.theme.text, "centre")

    def draw_standing(self, image: ByteArray, place: Rectangle, standing: Standing) -> None:
        """Draw clock, target and gap side by side at the top of a place, in one line where it is low."""
        canvas, unit = _canvas(image), image.shape[0] / 700
        blocks = _blocks(standing)
        room = (place.width - 2 * MARGIN * unit) / len(blocks)
        if place.height < 80 * unit:
            line, size = "   ".join(value for _, value, _ in blocks), 17 * unit
            canvas.fill(self.theme.panel, place)
            self._text.write_digits(canvas, line, (place.left + 8 * unit, place.top + 7 * unit), size, self.theme.text)
            return
        for k, (title, value, below) in enumerate(blocks):
            x, y = place.left + MARGIN * unit + k * room, float(place.top)
            self._text.write(canvas, title, (x, y), 14 * unit, self.theme.muted)
            self._text.write_digits(canvas, value, (x, y + 18 * unit), 34 * unit, self.theme.text)
            words = self._text.fit(below, 14 * unit, room - 8 * unit)
            self._text.write(canvas, words, (x, y + 50 * unit), 14 * unit, self.theme.muted)

    def draw_card(self, image: ByteArray, card: EndCard) -> None:
        """Draw the end card over the middle of the image and dim the rest."""
        height, width = image.shape[:2]
        np.right_shift(image, 1, out=image)
        canvas, unit = _canvas(image), min(height / 700, width / 480)
        rows = 26 * len(card.ranking)
        box = pygame.Rect(0, 0, round(440 * unit), round((336 + rows) * unit))
        box.center = (width // 2, height // 2)
        pygame.draw.rect(canvas, self.theme.panel, box, border_radius=round(16 * unit))
        pygame.draw.rect(canvas, self.theme.track, box, max(1, round(1.5 * unit)), border_radius=round(16 * unit))
        left, right, top = box.left + 28 * unit, box.right - 28 * unit, float(box.top)

        def write(text: str, y: float, size: float, colour: Colour, x: float = left, anchor: str = "left") -> None:
            self._text.write(canvas, text, (x, top + y * unit), size * unit, colour, anchor)

        write(self._text.fit(card.title, 26 * unit, right - left), 26, 26, self.theme.text)
        score = self._text.write(canvas, f"{card.score_mph:.2f}", (left, top + 64 * unit), 84 * unit, self.accent)
        write("mph", 98, 26, self.theme.muted, score.right + 10 * unit)
        write(self._text.fit(card.facts, 15 * unit, right - left), 138, 15, self.theme.muted)
        self._draw_speeds(canvas, card, pygame.Rect(left, top + 172 * unit, right - left, 74 * unit), unit)
        for k, (name, score_mph, is_own) in enumerate(card.ranking):
            y, colour = 268 + 26 * k, self.accent if is_own else self.theme.muted
            write(
                self._text.fit(name, 17 * unit, right - left - 80 * unit), y, 17, self.theme.text if is_own else colour
            )
            write(f"{score_mph:.2f}", y, 17, colour, right, "right")
        write(self._text.fit(card.keys, 15 * unit, right - left), 290 + rows, 15, self.theme.muted)

    def _draw_speeds(self, canvas: pygame.Surface, card: EndCard, box: pygame.Rect, unit: float) -> None:
        """Draw the speed over the run, 0 to 80 mph, with the score as a line."""
        for mph in (0, 40, 80):
            y = round(box.bottom - box.height * mph / TOP_SPEED_MPH)
            pygame.draw.line(canvas, self.theme.track, (box.left, y), (box.right, y))
        frames = np.flatnonzero(np.isfinite(card.speeds))
        if len(frames) < 2:
            return
        x = box.left + box.width * frames / (len(card.speeds) - 1)
        heights = box.height * np.clip(card.speeds[frames], 0, TOP_SPEED_MPH) / TOP_SPEED_MPH
        points = list(zip(x.tolist(), (box.bottom - heights).tolist(), strict=True))
        draw_curve(canvas, self.accent, points, 2 * unit, self.theme.text)


def _blocks(standing: Standing) -> list[tuple[str, str, str]]:
    """Return (title, value, what it is of) for everything that there is to say."""
    minutes, seconds = divmod(standing.seconds_left, 60)
    blocks = [("TIME LEFT", f"{minutes:.0f}:{seconds:04.1f}", "")]
    if standing.target is not None:
        blocks.append(("TO BEAT", f"{standing.target[1]:.2f} mph", standing.target[0]))
    if standing.gap is not None:
        label, feet = standing.gap
        side = "level with" if abs(feet) < 0.5 else "ahead of" if feet > 0 else "behind"
        blocks.append(("GAP", f"{abs(feet):,.0f} ft", f"{side} {label}"))
    return blocks


def _canvas(image: ByteArray) -> pygame.Surface:
    return pygame.image.frombuffer(image.data, (image.shape[1], image.shape[0]), "RGB")
