"""Heads-up display of a run driven by hand: countdown, clock, target, gap to the rival, and the end card."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pygame
from numpy.typing import NDArray

from deeptraffic.render.drawing import ByteArray, TextRenderer, draw_curve
from deeptraffic.render.painter import Layout
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

    def draw_countdown(self, image: ByteArray, layout: Layout, seconds: int) -> None:
        """Draw 3, 2 or 1 over the road."""
        canvas, unit, road = _canvas(image), image.shape[0] / 700, layout.road
        centre, radius = (road.left + road.width // 2, round(image.shape[0] * 0.4)), round(72 * unit)
        shade = pygame.Surface((2 * radius, 2 * radius), pygame.SRCALPHA)
        pygame.draw.circle(shade, (*self.theme.panel, 210), (radius, radius), radius)
        canvas.blit(shade, (centre[0] - radius, centre[1] - radius))
        at = (centre[0], centre[1] - 43 * unit)
        self._text.write(canvas, str(seconds), at, 130 * unit, self.theme.text, "centre")

    def draw_standing(self, image: ByteArray, layout: Layout, standing: Standing) -> None:
        """Draw clock, target and gap below the read-outs, or at the top of the road where there is no panel."""
        canvas = _canvas(image)
        clock = f"{standing.seconds_left // 60:.0f}:{standing.seconds_left % 60:04.1f}"
        blocks = [("TIME LEFT", clock, "")]
        if standing.target is not None:
            blocks.append(("TO BEAT", f"{standing.target[1]:.2f}", standing.target[0]))
        if standing.gap is not None:
            side = "ahead of" if standing.gap[1] >= 0 else "behind"
            blocks.append(("GAP", f"{abs(standing.gap[1]):,.0f} ft", f"{side} {standing.gap[0]}"))
        if not layout.panel.width:
            line = "   ".join(value for _, value, _ in blocks)
            size = 18 * image.shape[0] / 700
            self._text.write_digits(canvas, line, (layout.road.left + size, size), size, self.theme.text)
            return
        unit, x = layout.unit, layout.panel.left + 22 * layout.unit
        for k, (title, value, below) in enumerate(blocks):
            y = (346 + 92 * k) * unit
            self._text.write(canvas, title, (x, y), 14 * unit, self.theme.muted)
            self._text.write_digits(canvas, value, (x, y + 18 * unit), 32 * unit, self.theme.text)
            if below:
                room = layout.panel.width - 2 * 22 * unit
                self._text.write(canvas, self._text.fit(below, 14 * unit, room), (x, y + 50 * unit), 14 * unit, self.theme.muted)

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
            write(self._text.fit(name, 17 * unit, right - left - 80 * unit), y, 17, self.theme.text if is_own else colour)
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
        y = box.bottom - box.height * np.clip(card.speeds[frames], 0, TOP_SPEED_MPH) / TOP_SPEED_MPH
        draw_curve(canvas, self.accent, list(zip(x.tolist(), y.tolist(), strict=True)), 2 * unit, self.theme.text)


def _canvas(image: ByteArray) -> pygame.Surface:
    return pygame.image.frombuffer(image.data, (image.shape[1], image.shape[0]), "RGB")
