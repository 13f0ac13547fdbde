"""Dashboard beside the road in the viewer: speed graph, action values, network activations, and the list of keys."""

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.render.drawing import ByteArray, TextRenderer, draw_curve, surface_from_rgb
from deeptraffic.render.insight import ACTION_NAMES, LANE_CHANGES, Insight
from deeptraffic.render.theme import TOP_SPEED_MPH, Colour, Theme, mix

if TYPE_CHECKING:
    import pygame

GRAPH_FRAMES = 600
POINT_SPACING = 2.0  # [pixels] between points of the graph
TOP_OF_DECISION = 210.0  # of 700 units
MARGIN = 24
MAX_UNIT_SIDE = 18.0
MAX_UNITS_HIGH = 32  # rows of a layer's column before a second one begins beside it


class Column(NamedTuple):
    """A layer of the network as it is drawn.

    at: its corner (left, top) [pixels]; side: of a unit [pixels]
    units: (rows, columns) number of the unit drawn there, -1 for none
    values: (D,) of the layer's units
    """

    at: tuple[int, int]
    side: int
    units: NDArray[np.int64]
    values: NDArray[np.floating]


class Dashboard:
    """Draws into an image of its own; `unit` is the number of pixels per 1/700 of the height."""

    def __init__(self, size: tuple[int, int], theme: Theme, accent: Colour) -> None:
        import pygame

        self.size, self.theme, self.accent = size, theme, accent
        self.unit = size[1] / 700
        self._pixels = np.empty((size[1], size[0], 3), np.uint8)
        self._canvas = pygame.image.frombuffer(self._pixels.data, size, "RGB")
        self._text = TextRenderer()
        self._graph = MARGIN + 26, size[0] / self.unit - MARGIN, 56.0, 190.0  # left, right, top, bottom
        self._axes = self._draw_axes()
        self._columns: list[Column] = []
        self._shown: tuple[Insight | None, list[tuple[str, str]], str, tuple[int, int]] | None = None  # below the graph

    def paint(
        self,
        speeds: NDArray[np.float64],
        frame: int,
        scores: Sequence[tuple[str, float]],
        insight: Insight | None,
        status: str,
        differing: tuple[int, int] = (0, 0),
    ) -> ByteArray:
        """Return the dashboard, (H, W, 3) uint8; the next call overwrites it.

        speeds: (F,) the read-out at frames 0, 1, ... [mph], NaN where it is not known
        frame: the current one
        scores: (label, mean speed of the run so far [mph]) of each policy, the first one also in the graph
        status: a line at the bottom
        differing: decisions in which two policies differ, and all
        """
        self._draw_graph(speeds, frame, scores[0][1])
        shown = (insight, [(label, f"{mph:.2f}") for label, mph in scores[1:] and scores], status, differing)
        if self._shown is None or self._shown[0] is not insight or self._shown[1:] != shown[1:]:
            self._draw_decision(insight, scores, status, differing)
            self._shown = shown
        return self._pixels

    def _draw_decision(
        self, insight: Insight | None, scores: Sequence[tuple[str, float]], status: str, differing: tuple[int, int]
    ) -> None:
        """Draw everything below the graph, which changes twice a second."""
        top = self._at(0, TOP_OF_DECISION)[1]
        self._canvas.fill(self.theme.panel, (0, top, self.size[0], self.size[1] - top))
        self._columns = []
        if insight is not None:
            self._draw_actions(insight)
        if len(scores) > 1:
            self._draw_scores(scores, differing)
        if insight is not None and insight.layers:
            self._draw_network(insight.layers, 376 + (52 + 22 * len(scores) if len(scores) > 1 else 0))
        if insight is not None and insight.sentence:
            room = self.size[0] / self.unit - 2 * MARGIN
            self._write(self._fit(insight.sentence, 15, room), (MARGIN, 700 - 60), 15, self.theme.text)
        self._write(status, (MARGIN, 700 - 34), 14, self.theme.muted)

    def _draw_graph(self, speeds: NDArray[np.float64], frame: int, score: float) -> None:
        """Draw the last 600 frames' speed from 0 to 80 mph, and the run's score so far as a line."""
        left, right, top, bottom = self._graph
        self._pixels[: len(self._axes)] = self._axes
        self._write(f"score so far {score:.2f} mph", (right, 28), 14, self.theme.muted, "right")
        first = max(0, frame - GRAPH_FRAMES + 1)
        shown = speeds[first : frame + 1]
        frames = np.flatnonzero(np.isfinite(shown))
        if len(frames) < 2:
            return
        x = left + (right - left) * frames / (GRAPH_FRAMES - 1)
        heights = bottom - (bottom - top) * np.clip(shown[frames], 0, TOP_SPEED_MPH + 4) / TOP_SPEED_MPH
        mean_y = bottom - (bottom - top) * min(max(score, 0.0), TOP_SPEED_MPH) / TOP_SPEED_MPH
        row, columns = self._at(0, mean_y)[1], np.arange(self._at(left, 0)[0], self._at(right, 0)[0])
        dots = columns[(columns - columns[0]) / self.unit % 8.0 < 4.0]
        self._pixels[row : row + max(1, int(self.unit)), dots] = self.theme.muted
        step = max(1, round((GRAPH_FRAMES - 1) / (right - left) / self.unit * POINT_SPACING))
        x, heights = x[::-1][::step], heights[::-1][::step]  # from the newest, where the dot is
        points = [(a * self.unit, b * self.unit) for a, b in zip(x.tolist(), heights.tolist(), strict=True)][::-1]
        draw_curve(self._canvas, self.accent, points, max(1.5, 2.2 * self.unit), self.theme.text)

    def _draw_axes(self) -> ByteArray:
        """Return the graph's part of the dashboard without the graph, (H, W, 3)."""
        import pygame

        left, right, top, bottom = self._graph
        self._canvas.fill(self.theme.panel)
        self._write("SPEED", (MARGIN, 28), 14, self.theme.muted)
        for mph in range(0, 81, 20):
            y = bottom - (bottom - top) * mph / TOP_SPEED_MPH
            pygame.draw.line(self._canvas, self.theme.track, self._at(left, y), self._at(right, y))
            self._write(str(mph), (left - 8, y - 7), 13, self.theme.muted, "right")
        return self._pixels[: self._at(0, TOP_OF_DECISION)[1]].copy()

    def _draw_actions(self, insight: Insight) -> None:
        """Draw a bar for each action, and mark the chosen one; say so where it was not carried out."""
        import pygame

        values = insight.values
        title, end = "ACTION" if values is None else values.title, self.size[0] / self.unit - MARGIN
        self._write(title, (MARGIN, 222), 14, self.theme.muted)
        if values is not None and values.unit:
            self._write(values.unit, (end, 222), 14, self.theme.muted, "right")
        left, right = MARGIN + 112, end - 62
        if insight.note:
            colour = self.theme.blocked if insight.refused else self.theme.muted
            self._write(insight.note, (MARGIN + 16, 355), 13, colour)
        for action, name in ACTION_NAMES.items():
            y, chosen = 246.0 + 22 * int(action), int(action) == insight.action
            colour = self.theme.text if chosen else self.theme.muted
            refused = chosen and insight.refused and action in LANE_CHANGES
            if chosen:
                tip = [self._at(MARGIN, y + 1), self._at(MARGIN + 8, y + 6.5), self._at(MARGIN, y + 12)]
                pygame.draw.polygon(self._canvas, self.theme.blocked if refused else self.accent, tip)
            box = self._write(name, (MARGIN + 16, y - 0.5), 15, colour)
            if refused:
                self._canvas.fill(self.theme.blocked, (box.left, box.centery, box.width, max(1, round(self.unit))))
            if values is None:
                continue
            if values.candidates[action]:
                self._bar(left, right, y, 1.0, self.theme.track)
                shade = self.theme.muted if not chosen else self.theme.blocked if refused else self.accent
                self._bar(left, right, y, max(values.fraction(int(action)), 0.02), shade)
            self._write(values.text(int(action)), (end, y + 0.5), 14, colour, "right")

    def _draw_scores(self, scores: Sequence[tuple[str, float]], differing: tuple[int, int]) -> None:
        """Draw a bar from 0 to 80 mph for each policy."""
        self._write("SCORE SO FAR", (MARGIN, 376), 14, self.theme.muted)
        if differing[1]:
            words, end = "{} of {} decisions differ".format(*differing), self.size[0] / self.unit - MARGIN
            self._write(words, (end, 376), 14, self.theme.positive if differing[0] else self.theme.muted, "right")
        left, right = MARGIN + 112, self.size[0] / self.unit - MARGIN - 62
        best = max(mph for _, mph in scores)
        for k, (label, mph) in enumerate(scores):
            y, colour = 400.0 + 22 * k, self.theme.text if mph == best else self.theme.muted
            self._write(self._fit(label, 15, 92), (MARGIN + 16, y - 0.5), 15, colour)
            self._bar(left, right, y, 1.0, self.theme.track)
            fraction = min(max(mph / TOP_SPEED_MPH, 0.02), 1.0)
            self._bar(left, right, y, fraction, self.accent if mph == best else self.theme.muted)
            self._write(f"{mph:.2f}", (self.size[0] / self.unit - MARGIN, y + 0.5), 14, colour, "right")

    def _fit(self, text: str, size: float, room: float) -> str:
        return self._text.fit(text, size * self.unit, room * self.unit)

    def _draw_network(self, layers: Sequence[NDArray[np.floating]], y: float) -> None:
        """Draw one column per layer: positive blue, negative red, each layer on its own scale."""
        self._write("NETWORK", (MARGIN, y), 14, self.theme.muted)
        self._draw_key(y)
        left, right, top, bottom = float(MARGIN), self.size[0] / self.unit - MARGIN, y + 28, 700.0 - 84
        place = int((right - left) / len(layers) * self.unit * 0.8), int((bottom - top) * self.unit)
        most = int(MAX_UNIT_SIDE * self.unit)
        fitted = [_fitted(layer, place, most) for layer in layers]
        images = [_activation_image(*each, self.theme) for each in fitted]
        gap = (right - left - sum(p.shape[1] for p in images) / self.unit) / max(1, len(layers) - 1)
        for layer, image, (_, _, side) in zip(layers, images, fitted, strict=True):
            width, height = image.shape[1] / self.unit, image.shape[0] / self.unit
            at = self._at(left, (top + bottom - height) / 2)
            self._canvas.blit(surface_from_rgb(image), at)
            units, shape, _ = _fitted(np.arange(layer.size).reshape(layer.shape), place, most)
            self._columns.append(Column(at, side, _laid_out(units, shape, -1), layer.ravel()))
            below = (left + width / 2, (top + bottom + height) / 2 + 6)
            if self._text.width(str(layer.size), 12 * self.unit) < (width + gap) * self.unit:
                self._write(str(layer.size), below, 12, self.theme.muted, "centre")
            left += width + gap

    def unit_at(self, x: int, y: int) -> str:
        """Return a text about the unit of the network at a point [pixels]; "" if there is none."""
        for number, column in enumerate(self._columns):
            row, across = ((at - edge) // column.side for at, edge in ((y, column.at[1]), (x, column.at[0])))
            if 0 <= row < column.units.shape[0] and 0 <= across < column.units.shape[1]:
                unit = int(column.units[row, across])
                name = "input" if number == 0 else f"layer {number} of {len(self._columns) - 1}"
                return f"{name}, unit {unit}: {column.values[unit]:.4g}" if unit >= 0 else ""
        return ""

    def _draw_key(self, y: float) -> None:
        right = self.size[0] / self.unit - MARGIN
        for words, colour in (("positive", self.theme.positive), ("negative", self.theme.negative)):
            end = self._write(words, (right, y), 13, self.theme.muted, "right")
            right = end.left / self.unit - 14
            self._canvas.fill(colour, (*self._at(right, y + 2), round(9 * self.unit), round(9 * self.unit)))
            right -= 14

    def _bar(self, left: float, right: float, y: float, fraction: float, colour: Colour) -> None:
        import pygame

        start, end = self._at(left, y + 2), self._at(left + (right - left) * fraction, y + 11)
        radius = max(1, (end[1] - start[1]) // 2)
        size = (max(2, end[0] - start[0]), end[1] - start[1])
        pygame.draw.rect(self._canvas, colour, (*start, *size), border_radius=radius)

    def _write(
        self, text: str, at: tuple[float, float], size: float, colour: Colour, anchor: str = "left"
    ) -> "pygame.Rect":
        where = (at[0] * self.unit, at[1] * self.unit)
        return self._text.write(self._canvas, text, where, size * self.unit, colour, anchor)

    def _at(self, x: float, y: float) -> tuple[int, int]:
        return round(x * self.unit), round(y * self.unit)


def _fitted(layer: NDArray[Any], place: tuple[int, int], most: int) -> tuple[NDArray[Any], tuple[int, int], int]:
    """Return a layer, the (rows, columns) of its display and the side of a unit, at most `most` [pixels].

    place: (width, height) [pixels] that the display has to fit into; of a layer with more units than pixels, units at
        even distances are shown
    """
    width, height = max(place[0], 1), max(place[1], 1)
    if layer.ndim == 2:
        skip = max(-(-layer.shape[0] // height), -(-layer.shape[1] // width))
        shown = layer[::skip, ::skip]
        return shown, shown.shape, max(1, min(most, height // shown.shape[0], width // shown.shape[1]))
    shown = layer[:: -(-layer.size // (width * height))]
    columns = -(-shown.size // MAX_UNITS_HIGH)
    rows = -(-shown.size // columns)
    side = min(most, height // rows, width // columns)
    if side < 1:  # more rows than usual, of smaller units
        side = math.isqrt(width * height // shown.size)
        while side > 1 and -(-shown.size // (height // side)) * side > width:
            side -= 1
        rows = height // side
        columns = -(-shown.size // rows)
    return shown, (rows, columns), side


def _laid_out(units: NDArray[Any], shape: tuple[int, int], empty: float) -> NDArray[Any]:
    """Return units in the (rows, columns) in which they are drawn, column by column unless they have two axes."""
    if units.ndim == 2:
        return units
    whole = np.full(shape[0] * shape[1], empty, units.dtype)
    whole[: units.size] = units
    return whole.reshape(shape[1], shape[0]).T


@cache
def _shades(theme: Theme) -> ByteArray:
    """Return the (65, 3) colours of activations from -1 to 1."""
    below = [mix(theme.track, theme.negative, k / 32) for k in range(32, 0, -1)]
    return np.array(below + [mix(theme.track, theme.positive, k / 32) for k in range(33)], np.uint8)


def _activation_image(layer: NDArray[np.floating], shape: tuple[int, int], side: int, theme: Theme) -> ByteArray:
    """Return squares of `side` [pixels] for a layer's units, filled column by column (or as the layer is shaped)."""
    strength = np.nan_to_num(layer.astype(np.float64))
    grid = _laid_out(strength / max(float(np.abs(strength).max(initial=0.0)), 1e-12), shape, 0.0)
    levels = np.rint(np.sign(grid) * np.sqrt(np.abs(grid)) * 32).astype(int) + 32
    image = _shades(theme)[levels].repeat(side, axis=0).repeat(side, axis=1)
    if side > 3:  # a thin grid sets units apart
        image[side - 1 :: side] = image[:, side - 1 :: side] = theme.panel
    return image


def draw_help(image: ByteArray, entries: tuple[tuple[str, str], ...], theme: Theme) -> None:
    """Draw the list of (key, meaning) over the middle of an image (H, W, 3) and dim the rest."""
    import pygame

    height, width = image.shape[:2]
    np.right_shift(image, 1, out=image)
    canvas = pygame.image.frombuffer(image.data, (width, height), "RGB")
    unit = min(height / 700, width / 480)
    line = min(27.0, 570 / len(entries)) * unit
    card = pygame.Rect(0, 0, round(430 * unit), round(line * len(entries) + 92 * unit))
    card.center = (width // 2, height // 2)
    pygame.draw.rect(canvas, theme.panel, card, border_radius=round(14 * unit))
    pygame.draw.rect(canvas, theme.track, card, width=max(1, round(1.5 * unit)), border_radius=round(14 * unit))
    text = TextRenderer()
    text.write(canvas, "Keys", (card.left + 28 * unit, card.top + 22 * unit), 26 * unit, theme.text)
    for k, (key, meaning) in enumerate(entries):
        y = card.top + 68 * unit + k * line
        text.write(canvas, key, (card.left + 28 * unit, y), 16 * unit, theme.text)
        text.write(canvas, meaning, (card.left + 150 * unit, y), 16 * unit, theme.muted)


def draw_tip(image: ByteArray, at: tuple[int, int], text: str, theme: Theme) -> None:
    """Write a text beside a point (x, y) [pixels] of an image (H, W, 3)."""
    import pygame

    height, width = image.shape[:2]
    canvas, unit = pygame.image.frombuffer(image.data, (width, height), "RGB"), height / 700
    renderer, size = TextRenderer(), 14 * unit
    box = pygame.Rect(0, 0, math.ceil(renderer.width(text, size) + 16 * unit), round(26 * unit))
    box.topleft = (at[0] + round(12 * unit), at[1] + round(12 * unit))
    box.clamp_ip(canvas.get_rect())
    pygame.draw.rect(canvas, theme.text, box, border_radius=round(5 * unit))
    renderer.write(canvas, text, (box.left + 8 * unit, box.top + 6 * unit), size, theme.page)
