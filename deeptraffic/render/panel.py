"""Read-outs beside the road: speed, vehicles passed, rules and policy."""

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

from deeptraffic.render.drawing import TextRenderer
from deeptraffic.render.overlays import LEVELS, SLOW_MPH, CellTiles
from deeptraffic.render.road import Rectangle
from deeptraffic.render.theme import TOP_SPEED_MPH, Colour, Theme

if TYPE_CHECKING:
    import pygame


KEPT_PILLS = 256
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
    """Read-out of an image too narrow for a panel: speed, vehicles passed and label on the road."""

    def __init__(self, theme: Theme, place: Rectangle, unit: float) -> None:
        self.theme, self.place, self.unit = theme, place, max(unit, 0.5)
        self.text = TextRenderer()
        self._pills: dict[tuple[str, str], pygame.Surface] = {}  # the last few, by their texts

    def draw(self, canvas: "pygame.Surface", readout: Readout) -> None:
        """Draw the read-out over the upper left of the road, unless the image is too small."""
        unit, size = self.unit, 15 * self.unit
        count = f"lane {readout.lane}" if readout.lane else signed(readout.passed)
        pill = self._pill(str(readout.speed_mph), f" mph  \u00b7  {count}")
        if pill.get_width() > self.place.width - 8 * unit:
            return
        left = self.place.left + round(6 * unit)
        canvas.blit(pill, (left, self.place.top + round(6 * unit)))
        if readout.label and self.text.width(readout.label, size) < self.place.width - 28 * unit:
            label = self._pill(readout.label, "")
            bottom = self.place.top + self.place.height
            canvas.blit(label, (left, bottom - label.get_height() - round(6 * unit)))

    def _pill(self, first: str, rest: str) -> "pygame.Surface":
        """Return two texts, bright and muted, on a background with round ends."""
        import pygame

        if (first, rest) not in self._pills:
            unit, size = self.unit, 15 * self.unit
            width = sum(self.text.width(text, size) for text in (first, rest)) + 16 * unit
            pill = pygame.Surface((round(width), round(size * 1.5)), pygame.SRCALPHA, 32)
            pygame.draw.rect(pill, (*self.theme.page, 205), pill.get_rect(), border_radius=round(size * 0.75))
            end = self.text.write(pill, first, (8 * unit, size * 0.3), size, self.theme.text)
            if rest:
                self.text.write(pill, rest, (end.right, size * 0.3), size, self.theme.muted)
            if len(self._pills) == KEPT_PILLS:
                self._pills.clear()
            self._pills[first, rest] = pill
        return self._pills[first, rest]


class Panel:
    """Draws read-outs into `place`; redraws only what has changed.

    `top` is the value of a cell at 80 mph in an observation.
    """

    def __init__(self, theme: Theme, accent: Colour, place: Rectangle, unit: float, title: str, top: float) -> None:
        self.theme, self.accent, self.place, self.unit, self.title = theme, accent, place, unit, title
        self.top = top
        self.text = TextRenderer()
        self._tiles = CellTiles(theme, max(unit, 0.2))
        self._shown: Readout | None = None
        self._frame, self._lefts = "", [0]  # the frame's number as it is drawn, and where its letters begin

    def draw(self, canvas: "pygame.Surface", readout: Readout) -> None:
        """Draw what has changed."""
        shown, place = self._shown, self.place
        if shown == readout or place.width < 60 * self.unit:
            return
        if shown is None:
            canvas.fill(self.theme.panel, place)
            self._write(canvas, self.title, 30, 17, self.theme.text)
        if shown is None or shown.speed_mph != readout.speed_mph:
            self._draw_speed(canvas, readout.speed_mph)
        if shown is None or (shown.passed, shown.lane) != (readout.passed, readout.lane):
            self._draw_passed(canvas, readout)
        if shown is None or shown.overlay != readout.overlay:
            self._draw_legend(canvas, readout.overlay)
        if shown is None or shown[4:6] != readout[4:6]:
            self._draw_foot(canvas, readout)
        if shown is None or shown[6:] != readout[6:]:
            self._draw_decision(canvas, readout)
        if shown is None or shown.frame != readout.frame:
            self._draw_frame(canvas, readout.frame)
        self._shown = readout

    def forget(self) -> None:
        """Redraw everything next time."""
        self._shown = None

    def _draw_speed(self, canvas: "pygame.Surface", speed_mph: int) -> None:
        self._clear(canvas, 92, 142)
        self._write(canvas, "SPEED", 94, 14, self.theme.muted)
        end = self._write(canvas, str(speed_mph), 110, 86, self.theme.text)
        small, large = (self.text.ascent(size * self.unit) for size in (22, 86))
        top = self._y(110) + large - small
        self.text.write(canvas, "mph", (end.right + 6 * self.unit, top), 22 * self.unit, self.theme.muted)
        margin = 22 * self.unit
        width = self.place.width - 2 * margin
        fraction = min(max(speed_mph / TOP_SPEED_MPH, 0.0), 1.0)
        self._bar(canvas, margin, self._y(206), width, self.theme.track)
        if fraction > 0:
            self._bar(canvas, margin, self._y(206), max(width * fraction, 8 * self.unit), self.accent)

    def _draw_passed(self, canvas: "pygame.Surface", readout: Readout) -> None:
        """Draw how many vehicles the ego car has passed, or the lane of another vehicle."""
        self._clear(canvas, 250, 84)
        self._write(canvas, "LANE" if readout.lane else "CARS PASSED", 252, 14, self.theme.muted)
        self._write(canvas, str(readout.lane) if readout.lane else signed(readout.passed), 270, 54, self.theme.text)

    def _draw_legend(self, canvas: "pygame.Surface", overlay: str) -> None:
        self._clear(canvas, 360, 130)
        if overlay not in LEGENDS:
            return
        title, entries = LEGENDS[overlay]
        self._write(canvas, title, 362, 14, self.theme.muted)
        for k, (tile, level, words) in enumerate(entries):
            y = 384 + 20 * k
            where = self.place.left + 22 * self.unit, self._y(y + 2)
            canvas.blit(self._tiles.surface(tile, level), (round(where[0]), round(where[1])))
            legend = words.format(top=self.top, slow=self.top * SLOW_MPH / TOP_SPEED_MPH)
            self._write(canvas, legend, y, 14, self.theme.text, indent=28)

    def _draw_decision(self, canvas: "pygame.Surface", readout: Readout) -> None:
        """Draw the last decision, struck out where the safety system refused it."""
        self._clear(canvas, 505, 76)
        if not readout.action:
            return
        self._write(canvas, "DECISION", 507, 14, self.theme.muted)
        box = self._write(canvas, readout.action, 526, 22, self.theme.muted if readout.refused else self.theme.text)
        if readout.refused:
            canvas.fill(self.theme.blocked, (box.left, box.centery, box.width, max(1, round(2 * self.unit))))
            self._write(canvas, "refused by the safety system", 556, 13, self.theme.blocked)

    def _draw_foot(self, canvas: "pygame.Surface", readout: Readout) -> None:
        height = self.place.height / self.unit
        self._clear(canvas, height - 84, 48)
        if readout.note:
            self._write(canvas, readout.note, height - 78, 13, self.theme.muted)
        self._write(canvas, readout.label, height - 56, 15, self.theme.text)

    def _draw_frame(self, canvas: "pygame.Surface", frame: int) -> None:
        """Draw the frame's number; of one that is as long as the last, only the digits that differ."""
        top, size = self._y(self.place.height / self.unit - 34), 14 * self.unit
        text, shown = f"frame {frame:,}", self._frame
        if len(shown) != len(text):
            self._clear(canvas, self.place.height / self.unit - 34, 34)
            widths = [math.ceil(self.text.width(letter, size)) for letter in text]
            self._lefts = list(itertools.accumulate(widths, initial=round(self.place.left + 22 * self.unit)))
            shown = " " * len(text)
        for k, letter in enumerate(text):
            if letter != shown[k]:
                left, right = self._lefts[k : k + 2]
                canvas.fill(self.theme.panel, (left, round(top), right - left, round(size)))
                self.text.write(canvas, letter, (left, top), size, self.theme.muted)
        self._frame = text

    def _write(
        self, canvas: "pygame.Surface", text: str, y: float, size: float, colour: Colour, indent: float = 0.0
    ) -> "pygame.Rect":
        margin = (22 + indent) * self.unit
        room = self.place.width - margin * 1.3
        size *= self.unit
        width = self.text.width(text, size)
        if width > room:
            size = max(size * room / width, 7)
        return self.text.write(canvas, text, (self.place.left + margin, self._y(y)), size, colour)

    def _clear(self, canvas: "pygame.Surface", y: float, height: float) -> None:
        top, bottom = round(self._y(y)), round(self._y(y + height))
        canvas.fill(self.theme.panel, (self.place.left, top, self.place.width, bottom - top))

    def _bar(self, canvas: "pygame.Surface", x: float, y: float, width: float, colour: Colour) -> None:
        import pygame

        height = max(3, round(6 * self.unit))
        where = pygame.Rect(round(self.place.left + x), round(y), round(width), height)
        pygame.draw.rect(canvas, colour, where, border_radius=height // 2)

    def _y(self, y: float) -> float:
        return self.place.top + y * self.unit


def signed(number: int) -> str:
    """Return an integer with thousands separators and a true minus sign."""
    return f"{number:,}".replace("-", "\u2212")
