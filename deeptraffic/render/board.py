"""Drawing board: an image with texts, bars, curves and cards in one scale, for what stands beside a road or over it."""

import math
from typing import TYPE_CHECKING

import numpy as np

from deeptraffic.render.compositor import Letters, Rectangle, lay_number
from deeptraffic.render.drawing import ByteArray, FloatArray, TextRenderer
from deeptraffic.render.strokes import stroke
from deeptraffic.render.theme import Colour, Theme

if TYPE_CHECKING:
    import pygame

NUMBER_LETTERS = "0123456789,\u2212"
MARGIN = 24.0  # at the sides of a board beside the road


def canvas_of(image: ByteArray) -> "pygame.Surface":
    """Return a pygame surface that draws into an image (H, W, 3)."""
    import pygame

    return pygame.image.frombuffer(image.data, (image.shape[1], image.shape[0]), "RGB")


class DrawingBoard:
    """Draws into an image (H, W, 3), in units of `unit` [pixels].

    width, height: of the image, in units
    text: renderer of a board that is made for every image anew
    width: [pixels] of the left part of the image that the board is
    """

    # parameters: two of them optional
    def __init__(
        self,
        pixels: ByteArray,
        theme: Theme,
        unit: float,
        text: TextRenderer | None = None,
        width: int | None = None,
    ) -> None:
        self.pixels, self.theme, self.unit = pixels, theme, unit
        self.canvas, self.text = canvas_of(pixels), text or TextRenderer()
        self.height, self.width = pixels.shape[0] / unit, (width or pixels.shape[1]) / unit

    # parameters: those of a text, two of them optional
    def write(
        self,
        text: str,
        at: tuple[float, float],
        size: float,
        colour: Colour,
        anchor: str = "left",
        room: float = np.inf,
    ) -> "pygame.Rect":
        """Write a text, cut where it is wider than `room`; return its rectangle [pixels]."""
        size *= self.unit
        if room < np.inf:
            text = self.text.fit(text, size, room * self.unit)
        return self.text.write(self.canvas, text, (at[0] * self.unit, at[1] * self.unit), size, colour, anchor)

    def write_digits(
        self, text: str, at: tuple[float, float], size: float, colour: Colour, anchor: str = "left"
    ) -> None:
        """Write a text that changes in every image, character by character, so that the cache holds characters."""
        widths = [math.ceil(self.text.width(letter, size * self.unit)) for letter in text]
        left = at[0] * self.unit - (sum(widths) if anchor == "right" else 0)
        for letter, width in zip(text, widths, strict=True):
            self.text.write(self.canvas, letter, (left, at[1] * self.unit), size * self.unit, colour)
            left += width

    def fill(self, colour: Colour, left: float, top: float, width: float, height: float) -> None:
        """Fill a rectangle of at least a pixel."""
        size = max(1, round(width * self.unit)), max(1, round(height * self.unit))
        self.canvas.fill(colour, (round(left * self.unit), round(top * self.unit), *size))

    def bar(self, colour: Colour, left: float, right: float, top: float, height: float = 9.0) -> None:
        """Draw a bar with round ends."""
        import pygame

        x, y = round(left * self.unit), round(top * self.unit)
        high = max(3, round((top + height) * self.unit) - y)
        box = (x, y, max(2, round(right * self.unit) - x), high)
        pygame.draw.rect(self.canvas, colour, box, border_radius=high // 2)

    def curve(self, colour: Colour, points: FloatArray, width: float, dot: Colour) -> None:
        """Draw a smooth line through points (P, 2), with a dot at its end."""
        clip, half = (0, 0, self.pixels.shape[1], self.pixels.shape[0]), max(1.5, width * self.unit) / 2
        if len(points):
            stroke(self.pixels, clip, points * self.unit, half, colour, 1.0)
            stroke(self.pixels, clip, points[-1:] * self.unit, 3.2 * half, dot, 1.0)

    def card(self, width: float, height: float) -> tuple[float, float]:
        """Dim the image and draw a card over its middle; return the card's left and upper edge."""
        import pygame

        np.right_shift(self.pixels, 1, out=self.pixels)
        box = pygame.Rect(0, 0, round(width * self.unit), round(height * self.unit))
        box.center = (self.pixels.shape[1] // 2, self.pixels.shape[0] // 2)
        radius = round(16 * self.unit)
        pygame.draw.rect(self.canvas, self.theme.panel, box, border_radius=radius)
        pygame.draw.rect(self.canvas, self.theme.track, box, max(1, round(1.5 * self.unit)), border_radius=radius)
        return box.left / self.unit, box.top / self.unit


class Counter:
    """A number with thousands separators at a place of a board, which compiled code puts together from letters.

    at: left edge [pixels] and top [units]
    """

    def __init__(self, board: DrawingBoard, at: tuple[int, float], size: float, colour: Colour) -> None:
        size *= board.unit
        self._lines = board.pixels.reshape(len(board.pixels), -1)
        width = round(board.width * board.unit) - at[0]
        ground = np.tile(np.array(board.theme.panel, np.uint8), width)
        self._letters = Letters(*board.text.sheet(NUMBER_LETTERS, size, colour), ground)
        self._place = Rectangle(at[0], round(at[1] * board.unit), width, self._letters.images.shape[2])

    def write(self, number: int, width: int | None = None) -> None:
        """Write another number over what is up to `width` [pixels] beside the left edge, or up to the board's end."""
        place = self._place if width is None else Rectangle(*self._place[:2], width, self._place.height)
        lay_number(self._lines, place, self._letters, number)


def draw_help(image: ByteArray, entries: tuple[tuple[str, str], ...], theme: Theme) -> None:
    """Draw the list of (key, meaning) over the middle of an image and dim the rest."""
    board = DrawingBoard(image, theme, min(image.shape[0] / 700, image.shape[1] / 480))
    line = min(27.0, 570 / len(entries))
    left, top = board.card(430, line * len(entries) + 92)
    board.write("Keys", (left + 28, top + 22), 26, theme.text)
    for k, (key, meaning) in enumerate(entries):
        board.write(key, (left + 28, top + 68 + k * line), 16, theme.text)
        board.write(meaning, (left + 150, top + 68 + k * line), 16, theme.muted)


def draw_tip(image: ByteArray, at: tuple[int, int], text: str, theme: Theme) -> None:
    """Write a text beside a point (x, y) [pixels] of an image."""
    import pygame

    board = DrawingBoard(image, theme, image.shape[0] / 700)
    unit = board.unit
    box = pygame.Rect(0, 0, round(board.text.width(text, 14 * unit) + 16 * unit), round(26 * unit))
    box.topleft = (at[0] + round(12 * unit), at[1] + round(12 * unit))
    box.clamp_ip(board.canvas.get_rect())
    pygame.draw.rect(board.canvas, theme.text, box, border_radius=round(5 * unit))
    board.write(text, (box.left / unit + 8, box.top / unit + 6), 14, theme.page)
