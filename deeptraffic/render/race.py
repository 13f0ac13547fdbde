"""Race of two to eight policies in the same traffic: ghosts in their colours, standings, and the curve of gaps.

Every entrant drives in an episode of its own from one seed. On the road of the first one the others appear as ghosts,
at their lead in distance; they do not touch each other.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.render.board import MARGIN, DrawingBoard
from deeptraffic.render.compositor import PACES, Camera
from deeptraffic.render.drawing import ByteArray, TextRenderer
from deeptraffic.render.layers import draw_polygon
from deeptraffic.render.sprites import EGO, HALF, PAD, TRAFFIC, YAW, draw_vehicle, vehicle_sheet
from deeptraffic.render.theme import DARK, FEET_PER_PX, Colour, Theme
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
TOP, ROW = 70.0, 30.0
ALPHA = 0.6  # of a ghost
PHASES, KEPT_SPRITES = 4, 1024  # fractions of a pixel at which ghosts are drawn; images of them at most
ARROW = 8.0  # [px]
CURVE_FRAMES = 15  # [frames] after which the curves are drawn anew


class Entrant(NamedTuple):
    """An entrant at a moment: label, colour, mean speed of its run so far [mph], and distance [px] since the start."""

    label: str
    colour: Colour
    mph: float
    distance: float


class Ghost(NamedTuple):
    """An ego car on another's road.

    number: on its roof, 0 for none
    x, y: upper left corner [px]
    turn: 1 while it changes lanes to the right, -1 to the left
    """

    number: int
    colour: Colour
    x: float
    y: float
    turn: int = 0


def check_entrants(count: int) -> None:
    """Raise ValueError unless so many may race."""
    if not FEWEST <= count <= MOST:
        raise ValueError(f"a race has {FEWEST} to {MOST} entrants, got {count}; name them as A,B,C")


class Ghosts:
    """Draws ghosts, and an arrow at the edge of the road for each that is out of view."""

    def __init__(self) -> None:
        self._text = TextRenderer()
        self._sprites: dict[tuple[Any, ...], pygame.Surface] = {}

    def draw(self, canvas: "pygame.Surface", camera: Camera, ghosts: Sequence[Ghost]) -> None:
        """Draw on a road."""
        place, scale = camera.place, camera.scale
        for ghost in reversed(ghosts):
            left, top = camera.pixel(ghost.x, ghost.y)
            middle, size = left + VEHICLE_WIDTH / 2 * scale, 11 * scale
            words, ink = str(ghost.number or ""), ghost.colour
            if place.top < top + VEHICLE_LENGTH * scale and top < place.top + place.height:
                corner = camera.pixel(ghost.x - PAD, ghost.y - PAD)
                column, row = (math.floor(at * PHASES + 0.5) for at in corner)
                sprite = self._sprite(ghost, scale, column % PHASES, row % PHASES)
                canvas.blit(sprite, (column // PHASES, row // PHASES))
                y, ink = top + 21 * scale - size / 2, ink_on(ghost.colour)
            else:
                ahead = top < place.top
                edge = place.top + 3 * scale if ahead else place.top + place.height - 3 * scale
                inward = ARROW * scale * (1.6 if ahead else -1.6)
                sides = [(middle + side * ARROW * scale, edge + inward) for side in (-1, 1)]
                draw_polygon(canvas, ghost.colour, 0.9, [(middle, edge), *sides])
                y = edge + inward * (1.1 if ahead else 1.9)
            self._text.write(canvas, words, (middle, y), size, ink, "centre")

    def _sprite(self, ghost: Ghost, scale: float, across: int, down: int) -> "pygame.Surface":
        """Return the car's image at a fraction of a pixel."""
        key = ghost.colour, ghost.number > 0, ghost.turn, scale, across, down
        if key not in self._sprites:
            if len(self._sprites) >= KEPT_SPRITES:
                self._sprites.clear()
            sheet = vehicle_sheet(scale, across / PHASES, down / PHASES)
            sheet.turn(YAW * ghost.turn)
            theme = replace(DARK, ego=ghost.colour, traffic=(ghost.colour,) * PACES)
            draw_vehicle(sheet, theme, TRAFFIC if ghost.number else EGO, 1, ghost.colour)
            sheet.rgba *= ALPHA
            sheet.frame((0, 0), (HALF[0] + 0.6, HALF[1] + 0.6), ghost.colour, radius=5.2, line=1.4)
            self._sprites[key] = sheet.surface()
        return self._sprites[key]


def ink_on(colour: Colour) -> Colour:
    """Return the colour of a number on an entrant's colour."""
    return (16, 18, 22) if sum(colour) > 330 else (255, 255, 255)


class RaceBoard:
    """Draws standings and gaps into an image of its own, `size` (width, height) [pixels]."""

    def __init__(self, size: tuple[int, int], theme: Theme) -> None:
        self.size, self.theme = size, theme
        self._board = DrawingBoard(np.full((size[1], size[0], 3), theme.panel, np.uint8), theme, size[1] / 700)
        self._end = self._board.width - MARGIN
        self._key: tuple[int, int, bytes] | None = None  # of the curves that are drawn

    def paint(self, entrants: Sequence[Entrant], distances: NDArray[np.float64], frame: int) -> ByteArray:
        """Return the board, (H, W, 3) uint8; the next call overwrites it.

        entrants: K of them, in the order in which they were named
        distances: (F + 1, K) [px] at frames 0, 1, ..., NaN where they are not known
        """
        board, muted = self._board, self.theme.muted
        drawn, below = frame // CURVE_FRAMES * CURVE_FRAMES, TOP + ROW * len(entrants) + 20
        key = drawn, len(entrants), distances[: drawn + 1].tobytes()
        if key != self._key:
            self._key = key
            board.fill(self.theme.panel, 0, below, board.width, board.height - below)
            self._draw_gaps(entrants, distances, drawn, below + 14)
        board.fill(self.theme.panel, 0, 0, board.width, below)
        board.write("RACE", (MARGIN, 28), 14, muted)
        board.write("mph so far", (self._end - 110, 28), 14, muted, "right")
        board.write("behind [ft]", (self._end, 28), 14, muted, "right")
        order = sorted(range(len(entrants)), key=lambda k: (-entrants[k].distance, k))
        for rank, k in enumerate(order):
            gap = (entrants[order[0]].distance - entrants[k].distance) * FEET_PER_PX
            self._draw_row(rank, k + 1, entrants[k], gap)
        return board.pixels

    def _draw_row(self, rank: int, number: int, entrant: Entrant, gap: float) -> None:
        board, y = self._board, TOP + ROW * rank
        colour = self.theme.text if rank == 0 else self.theme.muted
        board.write(f"{rank + 1}.", (MARGIN, y), 18, colour)
        board.fill(entrant.colour, MARGIN + 30, y - 1, 20, 20)
        board.write(str(number), (MARGIN + 40, y + 3.5), 15, ink_on(entrant.colour), "centre")
        board.write(entrant.label, (MARGIN + 62, y), 18, self.theme.text, room=self._end - MARGIN - 270)
        board.write(f"{entrant.mph:.2f}", (self._end - 110, y), 18, colour, "right")
        board.write(f"{gap:,.0f}" if rank else "", (self._end, y), 18, colour, "right")

    def _draw_gaps(self, entrants: Sequence[Entrant], distances: NDArray[np.float64], frame: int, y: float) -> None:
        """Draw each entrant's lead over the mean of all, over the whole run."""
        board, left, right, top, bottom = self._board, MARGIN + 40, self._end, y + 26, 700.0 - 40
        board.write("AHEAD OF THE MEAN [ft]", (MARGIN, y), 14, self.theme.muted)
        step = max(1, (frame + 1) // 400)
        frames, known = np.arange(0, frame + 1, step), distances[: frame + 1 : step]
        leads = (known - known.mean(1, keepdims=True)) * FEET_PER_PX
        most = max(50.0, float(np.nanmax(np.abs(leads), initial=0.0)) * 1.1)
        middle, half = (top + bottom) / 2, (bottom - top) / 2
        for value in (-1, 0, 1):
            at = middle - half * value / 1.1
            board.fill(self.theme.track, left, at, right - left, 1)
            words = f"{value * most / 1.1:+,.0f}".replace("-", "\u2212") if value else "0"
            board.write(words, (left - 8, at - 7), 13, self.theme.muted, "right")
        x, ends = left + (right - left) * frames / max(1, len(distances) - 1), []
        for k, entrant in enumerate(entrants):
            shown = np.isfinite(leads[:, k])
            points = np.column_stack([x[shown], middle - half * leads[shown, k] / most])
            if len(points) > 1:
                board.curve(entrant.colour, points, 3.0, entrant.colour)
                ends.append((float(points[-1, 1]) - 8, float(points[-1, 0]) + 8, k))
        lowest = -math.inf
        for end_y, end_x, k in sorted(ends):  # numbers below each other where lines end together
            lowest = max(end_y, lowest + 13)
            board.write(str(k + 1), (end_x, lowest), 13, entrants[k].colour)
