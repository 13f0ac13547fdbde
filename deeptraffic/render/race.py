"""Race of two to eight policies in the same traffic: ghosts in their colours, standings, and the curve of gaps.

Every entrant drives in an episode of its own from one seed. On the road of the first one the others appear as ghosts,
at their lead in distance; they do not touch each other.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.render.drawing import ByteArray, TextRenderer, draw_curve
from deeptraffic.render.layers import draw_frame, draw_polygon
from deeptraffic.render.road import Camera
from deeptraffic.render.theme import FEET_PER_PX, Colour, Theme
from deeptraffic.sim.rules import VEHICLE_LENGTH, VEHICLE_WIDTH

if TYPE_CHECKING:
    import pygame

FEWEST, MOST = 2, 8  # entrants
COLOURS: tuple[Colour, ...] = (
    (255, 84, 62),
    (86, 190, 255),
    (255, 205, 60),
    (40, 200, 140),
    (240, 140, 210),
    (170, 176, 186),
    (160, 130, 255),
    (190, 110, 50),
)  # of entrants on the dark theme, the first that of its car
MARGIN, TOP, ROW = 24.0, 70.0, 30.0
ALPHA = 0.55  # of a ghost
ARROW = 8.0  # [px]
CURVE_FRAMES = 15  # [frames] after which the curves are drawn anew


class Entrant(NamedTuple):
    """An entrant at a moment: label, colour, mean speed of its run so far [mph], and distance [px] since the start."""

    label: str
    colour: Colour
    mph: float
    distance: float


class Ghost(NamedTuple):
    """An entrant's car on another's road: its number on the roof, colour, and upper left corner [px]."""

    number: int
    colour: Colour
    x: float
    y: float


def check_entrants(count: int) -> None:
    """Raise ValueError unless so many may race."""
    if not FEWEST <= count <= MOST:
        raise ValueError(f"a race has {FEWEST} to {MOST} entrants, got {count}; name them as A,B,C")


def draw_ghosts(canvas: "pygame.Surface", camera: Camera, ghosts: Sequence[Ghost], text: TextRenderer) -> None:
    """Draw ghosts, and an arrow at the edge of the road for each that is out of view; a number tells them apart."""
    place, scale = camera.place, camera.scale
    for ghost in reversed(ghosts):
        left, top = camera.pixel(ghost.x, ghost.y)
        wide, high = VEHICLE_WIDTH * scale, VEHICLE_LENGTH * scale
        middle, size = left + wide / 2, 11 * scale
        if top + high < place.top or top > place.top + place.height:
            ahead = top < place.top
            edge = place.top + 3 * scale if ahead else place.top + place.height - 3 * scale
            inward = ARROW * scale * (1.6 if ahead else -1.6)
            corners = [(middle, edge), (middle - ARROW * scale, edge + inward), (middle + ARROW * scale, edge + inward)]
            draw_polygon(canvas, ghost.colour, 0.9, corners)
            beyond = middle, edge + inward * (1.1 if ahead else 1.9)
            text.write(canvas, str(ghost.number), beyond, size, ghost.colour, "centre")
            continue
        box = [(left, top), (left + wide, top), (left + wide, top + high), (left, top + high)]
        draw_polygon(canvas, ghost.colour, ALPHA * 0.7, box)
        draw_frame(canvas, ghost.colour, 1.0, (left, top, wide, high), max(1.0, 1.4 * scale))
        text.write(canvas, str(ghost.number), (middle, top + high / 2 - size / 2), size, (255, 255, 255), "centre")


class RaceBoard:
    """Draws standings and gaps into an image of its own, `size` (width, height) [pixels]."""

    def __init__(self, size: tuple[int, int], theme: Theme) -> None:
        self.size, self.theme, self.unit = size, theme, size[1] / 700
        self._text = TextRenderer()
        self._key: tuple[int, int, bytes] | None = None
        self._still = np.empty((size[1], size[0], 3), np.uint8)  # all but the standings

    def paint(self, entrants: Sequence[Entrant], distances: NDArray[np.float64], frame: int) -> ByteArray:
        """Return the board, (H, W, 3) uint8.

        entrants: K of them, in the order in which they were named
        distances: (F + 1, K) [px] at frames 0, 1, ..., NaN where they are not known
        """
        import pygame

        drawn = frame // CURVE_FRAMES * CURVE_FRAMES
        key = drawn, len(entrants), distances[: drawn + 1].tobytes()
        if key != self._key:
            self._key = key
            canvas = pygame.image.frombuffer(self._still.data, self.size, "RGB")
            canvas.fill(self.theme.panel)
            self._draw_gaps(canvas, entrants, distances, drawn, TOP + ROW * len(entrants) + 34)
        image = self._still.copy()
        canvas = pygame.image.frombuffer(image.data, self.size, "RGB")
        self._write(canvas, "RACE", (MARGIN, 28), 14, self.theme.muted)
        right = self.size[0] / self.unit - MARGIN
        self._write(canvas, "mph so far", (right - 110, 28), 14, self.theme.muted, "right")
        self._write(canvas, "behind [ft]", (right, 28), 14, self.theme.muted, "right")
        order = sorted(range(len(entrants)), key=lambda k: (-entrants[k].distance, k))
        for rank, k in enumerate(order):
            gap = (entrants[order[0]].distance - entrants[k].distance) * FEET_PER_PX
            self._draw_row(canvas, rank, k + 1, entrants[k], gap)
        return image

    def _draw_row(self, canvas: "pygame.Surface", rank: int, number: int, entrant: Entrant, gap: float) -> None:
        y, right = TOP + ROW * rank, self.size[0] / self.unit - MARGIN
        colour = self.theme.text if rank == 0 else self.theme.muted
        self._write(canvas, f"{rank + 1}.", (MARGIN, y), 18, colour)
        box = [round(v * self.unit) for v in (MARGIN + 30, y - 1, 20, 20)]
        canvas.fill(entrant.colour, box)
        ink = (16, 18, 22) if sum(entrant.colour) > 330 else (255, 255, 255)
        self._write(canvas, str(number), (MARGIN + 40, y + 1.5), 15, ink, "centre")
        label, room = entrant.label, (right - MARGIN - 270) * self.unit
        while label and self._text.width(label, 18 * self.unit) > room:
            label = label[:-1]
        self._write(canvas, label, (MARGIN + 62, y), 18, self.theme.text)
        self._write(canvas, f"{entrant.mph:.2f}", (right - 110, y), 18, colour, "right")
        self._write(canvas, f"{gap:,.0f}" if rank else "", (right, y), 18, colour, "right")

    def _draw_gaps(
        self,
        canvas: "pygame.Surface",
        entrants: Sequence[Entrant],
        distances: NDArray[np.float64],
        frame: int,
        y: float,
    ) -> None:
        """Draw each entrant's lead over the mean of all, over the whole run."""
        left, right, top, bottom = MARGIN + 40, self.size[0] / self.unit - MARGIN, y + 26, 700.0 - 40
        self._write(canvas, "AHEAD OF THE MEAN [ft]", (MARGIN, y), 14, self.theme.muted)
        known = distances[: frame + 1]
        known = known[:: max(1, len(known) // 400)]
        leads = (known - known.mean(1, keepdims=True)) * FEET_PER_PX
        frames = np.arange(0, frame + 1, max(1, (frame + 1) // 400))[: len(leads)]
        most = max(50.0, float(np.nanmax(np.abs(leads), initial=0.0)) * 1.1)
        middle, half = (top + bottom) / 2, (bottom - top) / 2
        for value in (-1, 0, 1):
            at = middle - half * value / 1.1
            canvas.fill(self.theme.track, [round(v * self.unit) for v in (left, at, right - left, 1)])
            words = f"{value * most / 1.1:+,.0f}".replace("-", "\u2212") if value else "0"
            self._write(canvas, words, (left - 8, at - 7), 13, self.theme.muted, "right")
        whole, ends = max(1, len(distances) - 1), []
        for k, entrant in enumerate(entrants):
            shown = np.isfinite(leads[:, k])
            x = (left + (right - left) * frames[shown] / whole) * self.unit
            heights = (middle - half * leads[shown, k] / most) * self.unit
            points = list(zip(x.tolist(), heights.tolist(), strict=True))
            if len(points) > 1:
                draw_curve(canvas, entrant.colour, points, max(1.5, 2.2 * self.unit), entrant.colour)
                ends.append((points[-1][1] / self.unit - 8, points[-1][0] / self.unit + 8, k))
        lowest = -math.inf
        for end_y, end_x, k in sorted(ends):  # numbers below each other where lines end together
            lowest = max(end_y, lowest + 13)
            self._write(canvas, str(k + 1), (end_x, lowest), 13, entrants[k].colour)

    def _write(
        self,
        canvas: "pygame.Surface",
        text: str,
        at: tuple[float, float],
        size: float,
        colour: Colour,
        anchor: str = "left",
    ) -> None:
        where = at[0] * self.unit, at[1] * self.unit
        self._text.write(canvas, text, where, size * self.unit, colour, anchor)
