"""Read-outs beside the road, or on a road without room beside it: speed, vehicles passed, rules and policy."""

import math
from typing import TYPE_CHECKING, NamedTuple

from deeptraffic.render.board import Counter, DrawingBoard
from deeptraffic.render.compositor import Rectangle
from deeptraffic.render.drawing import TextRenderer
from deeptraffic.render.overlays import LEVELS, SLOW_MPH, CellTiles
from deeptraffic.render.theme import TOP_SPEED_MPH, Colour, Theme

if TYPE_CHECKING:
    import pygame


KEPT_PILLS = 256
INDENT = 22.0
LEGENDS: dict[str, tuple[str, tuple[tuple[str, int, str], ...]]] = {  # overlay: title, (tile, level, words)
    "input": (
        "LEARNING INPUT",
        (
            ("free", 0, "free: 1"),
            ("occupied", 0, "car at 40 mph: {slow:.2g}"),
            ("occupied", LEVELS - 1, "car at 80 mph: {top:.2g}"),
            ("off", 0, "no road: 0"),
        ),
    ),
    "safety": ("SAFETY SYSTEM", (("clear", 0, "may go there"), ("blocked", 0, "blocked"))),
    "map": ("FULL MAP", (("occupied", 0, "car at 40 mph"), ("occupied", LEVELS - 1, "car at 80 mph"))),
}


class Readout(NamedTuple):
    """Content of the panel: speed [mph], vehicles passed, overlay, frame, the policy's label and a note above it.

    action, refused: the ego car's last decision, "" for none, and whether the safety system refused it
    lane: of another vehicle than the ego car that is followed, counted from 1, in place of the vehicles passed; else 0
    """

    speed_mph: int
    passed: int
    overlay: str
    frame: int
    label: str
    note: str
    action: str = ""
    refused: bool = False
    lane: int = 0


class Caption:
    """Read-out on the road of an image without a panel: speed, vehicles passed, label, and the overlay's legend."""

    def __init__(self, canvas: "pygame.Surface", theme: Theme, place: Rectangle, unit: float, top: float) -> None:
        self.canvas, self.theme, self.place, self.unit, self.top = canvas, theme, place, max(unit, 0.5), top
        self.text = TextRenderer()
        self._tiles = CellTiles(theme, 0.7 * self.unit)
        self._pills: dict[tuple[str, ...], pygame.Surface] = {}  # the last few, by their texts

    def draw(self, readout: Readout) -> None:
        """Draw the read-out over the upper left of the road, unless the image is too small."""
        canvas, unit, size = self.canvas, self.unit, 15 * self.unit
        count = f"lane {readout.lane}" if readout.lane else signed(readout.passed)
        pill = self._pill(str(readout.speed_mph), f" mph  \u00b7  {count}")
        if pill.get_width() > self.place.width - 8 * unit:
            return
        gap = round(6 * unit)
        left, bottom = self.place.left + gap, self.place.top + self.place.height - gap
        canvas.blit(pill, (left, self.place.top + gap))
        if readout.label and self.text.width(readout.label, size) < self.place.width - 28 * unit:
            label = self._pill(readout.label, "")
            bottom -= label.get_height()
            canvas.blit(label, (left, bottom))
            bottom -= gap
        if readout.overlay in LEGENDS:
            legend = self._legend(readout.overlay)
            if legend.get_width() < self.place.width - 8 * unit and legend.get_height() < self.place.height / 4:
                canvas.blit(legend, (left, bottom - legend.get_height()))

    def _pill(self, first: str, rest: str) -> "pygame.Surface":
        """Return two texts, bright and muted, on a background with round ends."""
        if (first, rest) not in self._pills:
            unit, size = self.unit, 15 * self.unit
            width = sum(self.text.width(text, size) for text in (first, rest)) + 16 * unit
            pill = self._plate(width, size * 1.5, size * 0.75)
            end = self.text.write(pill, first, (8 * unit, size * 0.3), size, self.theme.text)
            if rest:
                self.text.write(pill, rest, (end.right, size * 0.3), size, self.theme.muted)
            if len(self._pills) == KEPT_PILLS:
                self._pills.clear()
            self._pills[first, rest] = pill
        return self._pills[first, rest]

    def _legend(self, overlay: str) -> "pygame.Surface":
        """Return the overlay's tiles and what they mean, on a background."""
        if (overlay,) not in self._pills:
            unit, size, entries = self.unit, 12 * self.unit, legend_entries(overlay, self.top)
            width = max(self.text.width(words, size) for _, _, words in entries) + 36 * unit
            plate = self._plate(width, (17 * len(entries) + 9) * unit, 8 * unit)
            for k, (tile, level, words) in enumerate(entries):
                y = (6 + 17 * k) * unit
                plate.blit(self._tiles.surface(tile, level), (round(8 * unit), round(y + 2 * unit)))
                self.text.write(plate, words, (28 * unit, y), size, self.theme.text)
            self._pills[(overlay,)] = plate
        return self._pills[(overlay,)]

    def _plate(self, width: float, height: float, radius: float) -> "pygame.Surface":
        import pygame

        plate = pygame.Surface((round(width), round(height)), pygame.SRCALPHA, 32)
        pygame.draw.rect(plate, (*self.theme.page, 205), plate.get_rect(), border_radius=round(radius))
        return plate


class Panel:
    """Draws read-outs on a board beside a road; redraws only what has changed.

    Args:
        title: at the top
        top: value of a cell at 80 mph in an observation
    """

    def __init__(self, board: DrawingBoard, accent: Colour, title: str, top: float) -> None:
        self.theme, self.accent, self.top = board.theme, accent, top
        self._board, unit = board, board.unit
        self._tiles = CellTiles(self.theme, max(unit, 0.2))
        self._shown: Readout | None = None
        self._clear(0, board.height)
        self._write(title, 30, 17, self.theme.text)
        left, foot = round(INDENT * unit), board.height - 34
        end = self._write("frame ", foot, 14, self.theme.muted).right
        self._frame = Counter(board, (end, foot), 14, self.theme.muted)
        self._passed = Counter(board, (left, 270), 54, self.theme.text)
        self._speed = Counter(board, (left, 110), 86, self.theme.text)

    def draw(self, readout: Readout) -> None:
        """Draw the panel where it differs from the last one."""
        shown = self._shown
        if shown is None or shown.speed_mph != readout.speed_mph:
            self._draw_speed(readout.speed_mph)
        if shown is None or bool(shown.lane) != bool(readout.lane):
            self._clear(250, 84)
            self._write("LANE" if readout.lane else "CARS PASSED", 252, 14, self.theme.muted)
        if shown is None or (shown.passed, shown.lane) != (readout.passed, readout.lane):
            self._passed.write(readout.lane or readout.passed)
        if shown is None or shown.overlay != readout.overlay:
            self._draw_legend(readout.overlay)
        if shown is None or shown[4:6] != readout[4:6]:
            self._draw_foot(readout)
        if shown is None or shown[6:] != readout[6:]:
            self._draw_decision(readout)
        if shown is None or shown.frame != readout.frame:
            self._frame.write(readout.frame)
        self._shown = readout

    def _draw_speed(self, speed_mph: int) -> None:
        board, muted, text = self._board, self.theme.muted, str(speed_mph)
        width = math.ceil(board.text.width(text, 86 * board.unit))
        if self._shown is None or len(str(self._shown.speed_mph)) != len(text):
            self._clear(92, 112)
            self._write("SPEED", 94, 14, muted)
            small, large = (board.text.ascent(size * board.unit) for size in (22, 86))
            end = round(INDENT * board.unit) + width
            board.write("mph", (end / board.unit + 6, 110 + (large - small) / board.unit), 22, muted)
        self._speed.write(speed_mph, width)
        right = board.width - INDENT
        fraction = min(max(speed_mph / TOP_SPEED_MPH, 0.0), 1.0)
        board.bar(self.theme.track, INDENT, right, 206, 6)
        if fraction > 0:
            board.bar(self.accent, INDENT, INDENT + max((right - INDENT) * fraction, 8), 206, 6)

    def _draw_legend(self, overlay: str) -> None:
        self._clear(360, 130)
        if overlay not in LEGENDS:
            return
        self._write(LEGENDS[overlay][0], 362, 14, self.theme.muted)
        for k, (tile, level, words) in enumerate(legend_entries(overlay, self.top)):
            y, unit = 384.0 + 20 * k, self._board.unit
            self._board.canvas.blit(self._tiles.surface(tile, level), (round(INDENT * unit), round((y + 2) * unit)))
            self._write(words, y, 14, self.theme.text, indent=28)

    def _draw_decision(self, readout: Readout) -> None:
        """Draw the last decision, struck out where the safety system refused it."""
        self._clear(505, 76)
        if not readout.action:
            return
        self._write("DECISION", 507, 14, self.theme.muted)
        box = self._write(readout.action, 526, 22, self.theme.muted if readout.refused else self.theme.text)
        if readout.refused:
            line = max(1, round(2 * self._board.unit))
            self._board.canvas.fill(self.theme.blocked, (box.left, box.centery, box.width, line))
            self._write("refused by the safety system", 556, 13, self.theme.blocked)

    def _draw_foot(self, readout: Readout) -> None:
        height = self._board.height
        self._clear(height - 84, 48)
        if readout.note:
            self._write(readout.note, height - 78, 13, self.theme.muted)
        self._write(readout.label, height - 56, 15, self.theme.text)

    def _write(self, text: str, y: float, size: float, colour: Colour, indent: float = 0.0) -> "pygame.Rect":
        """Write a line, in smaller letters where it is too long."""
        board, left = self._board, INDENT + indent
        room = board.width - left * 1.3
        width = board.text.width(text, size * board.unit) / board.unit
        return board.write(text, (left, y), size * min(1.0, room / max(width, 1e-9)), colour)

    def _clear(self, y: float, height: float) -> None:
        self._board.fill(self.theme.panel, 0, y, self._board.width, height)


def legend_entries(overlay: str, top: float) -> list[tuple[str, int, str]]:
    """Return (tile, level, words) of an overlay's legend; top: value of a cell at 80 mph in an observation."""
    slow = top * SLOW_MPH / TOP_SPEED_MPH
    return [(tile, level, words.format(top=top, slow=slow)) for tile, level, words in LEGENDS[overlay][1]]


def signed(number: int) -> str:
    """Return an integer with thousands separators and a true minus sign."""
    return f"{number:,}".replace("-", "\u2212")
