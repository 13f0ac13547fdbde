"""The read-outs beside the road: speed, vehicles passed, and what game and driver this is."""

from typing import TYPE_CHECKING, NamedTuple

from deeptraffic.render.lettering import Lettering
from deeptraffic.render.road import Rectangle
from deeptraffic.render.theme import TOP_SPEED_MPH, Colour, Theme

if TYPE_CHECKING:
    import pygame


class Readout(NamedTuple):
    """What the panel says: whole mph, vehicles passed, frames, the driver's label, and a line about the view."""

    speed_mph: int
    passed: int
    frame: int
    label: str
    note: str


class Panel:
    """Draws read-outs into `place`; parts that did not change since the last call are left as they are."""

    def __init__(self, theme: Theme, accent: Colour, place: Rectangle, unit: float, title: str) -> None:
        self.theme, self.accent, self.place, self.unit, self.title = theme, accent, place, unit, title
        self.lettering = Lettering()
        self._shown: Readout | None = None

    def draw(self, canvas: "pygame.Surface", readout: Readout) -> None:
        """Bring the panel up to date."""
        shown, place = self._shown, self.place
        if shown == readout or place.width < 60 * self.unit:
            return
        if shown is None:
            canvas.fill(self.theme.panel, place)
            self._write(canvas, self.title, 30, 17, self.theme.text)
        if shown is None or shown.speed_mph != readout.speed_mph:
            self._draw_speed(canvas, readout.speed_mph)
        if shown is None or shown.passed != readout.passed:
            self._draw_passed(canvas, readout.passed)
        if shown is None or shown[2:] != readout[2:]:
            self._draw_foot(canvas, readout)
        self._shown = readout

    def forget(self) -> None:
        """Draw everything afresh next time."""
        self._shown = None

    def _draw_speed(self, canvas: "pygame.Surface", speed_mph: int) -> None:
        self._clear(canvas, 92, 142)
        self._write(canvas, "SPEED", 94, 14, self.theme.muted)
        end = self._write(canvas, str(speed_mph), 110, 86, self.theme.text)
        small, large = (self.lettering.ascent(size * self.unit) for size in (22, 86))
        top = self._y(110) + large - small
        self.lettering.write(canvas, "mph", (end.right + 6 * self.unit, top), 22 * self.unit, self.theme.muted)
        margin = 22 * self.unit
        width = self.place.width - 2 * margin
        share = min(max(speed_mph / TOP_SPEED_MPH, 0.0), 1.0)
        self._bar(canvas, margin, self._y(206), width, self.theme.track)
        if share > 0:
            self._bar(canvas, margin, self._y(206), max(width * share, 8 * self.unit), self.accent)

    def _draw_passed(self, canvas: "pygame.Surface", passed: int) -> None:
        self._clear(canvas, 250, 84)
        self._write(canvas, "CARS PASSED", 252, 14, self.theme.muted)
        self._write(canvas, f"{passed:,}".replace("-", "\u2212"), 270, 54, self.theme.text)

    def _draw_foot(self, canvas: "pygame.Surface", readout: Readout) -> None:
        height = self.place.height / self.unit
        self._clear(canvas, height - 84, 84)
        if readout.note:
            self._write(canvas, readout.note, height - 78, 13, self.theme.muted)
        self._write(canvas, readout.label, height - 56, 15, self.theme.text)
        self._write(canvas, f"frame {readout.frame:,}", height - 34, 14, self.theme.muted)

    def _write(self, canvas: "pygame.Surface", text: str, y: float, size: float, colour: Colour) -> "pygame.Rect":
        margin = 22 * self.unit
        room = self.place.width - margin * 1.3
        size *= self.unit
        width = self.lettering.width(text, size)
        if width > room:
            size = max(size * room / width, 7)
        return self.lettering.write(canvas, text, (self.place.left + margin, self._y(y)), size, colour)

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
