"""Dashboard beside the road in the viewer: speed graph, action values, scores and network activations."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.episodes.decision import ACTION_NAMES, LANE_CHANGES, Insight
from deeptraffic.render.board import MARGIN, DrawingBoard, canvas_of
from deeptraffic.render.drawing import ByteArray
from deeptraffic.render.theme import TOP_SPEED_MPH, Colour, Theme, mix

GRAPH_FRAMES = 600
POINT_SPACING = 2.0  # [pixels] between points of the graph
TOP_OF_DECISION = 210.0  # of 700 units
SCORE_BEGINS, SCORE_ENDS = 67.0, 27.0  # before the graph's right end
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
    """Draws into an image of its own, `size` (width, height) [pixels]."""

    def __init__(self, size: tuple[int, int], theme: Theme, accent: Colour) -> None:
        self.size, self.theme, self.accent = size, theme, accent
        self._board = DrawingBoard(np.full((size[1], size[0], 3), theme.panel, np.uint8), theme, size[1] / 700)
        self._end = self._board.width - MARGIN
        self._graph = MARGIN + 26, self._end, 56.0, 190.0  # left, right, top, bottom
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
        return self._board.pixels

    def _draw_decision(
        self, insight: Insight | None, scores: Sequence[tuple[str, float]], status: str, differing: tuple[int, int]
    ) -> None:
        """Draw everything below the graph, which changes twice a second."""
        board = self._board
        board.fill(self.theme.panel, 0, TOP_OF_DECISION, board.width, board.height - TOP_OF_DECISION)
        self._columns = []
        if insight is not None:
            self._draw_actions(insight)
        if len(scores) > 1:
            self._draw_scores(scores, differing)
        if insight is not None and insight.layers:
            self._draw_network(insight.layers, 376 + (52 + 22 * len(scores) if len(scores) > 1 else 0))
        if insight is not None and insight.sentence:
            board.write(insight.sentence, (MARGIN, 700 - 60), 15, self.theme.text, room=self._end - MARGIN)
        board.write(status, (MARGIN, 700 - 34), 14, self.theme.muted)

    def _draw_graph(self, speeds: NDArray[np.float64], frame: int, score: float) -> None:
        """Draw the last 600 frames' speed from 0 to 80 mph, and the run's score so far as a line."""
        board, (left, right, top, bottom) = self._board, self._graph
        board.pixels[: len(self._axes)] = self._axes
        board.write_digits(f"{score:.2f}", (right - SCORE_ENDS, 28), 14, self.theme.muted, "right")
        first = max(0, frame - GRAPH_FRAMES + 1)
        shown = speeds[first : frame + 1]
        frames = np.flatnonzero(np.isfinite(shown))
        if len(frames) < 2:
            return
        mean_y = bottom - (bottom - top) * min(max(score, 0.0), TOP_SPEED_MPH) / TOP_SPEED_MPH
        row, columns = round(mean_y * board.unit), np.arange(round(left * board.unit), round(right * board.unit))
        dots = columns[(columns - columns[0]) / board.unit % 8.0 < 4.0]
        board.pixels[row : row + max(1, int(board.unit)), dots] = self.theme.muted
        step = max(1, round((GRAPH_FRAMES - 1) / (right - left) / board.unit * POINT_SPACING))
        frames = frames[::-1][::step][::-1]  # counted from the newest, where the dot is
        heights = np.clip(shown[frames], 0, TOP_SPEED_MPH + 4) / TOP_SPEED_MPH
        x = left + (right - left) * frames / (GRAPH_FRAMES - 1)
        board.curve(self.accent, np.column_stack([x, bottom - (bottom - top) * heights]), 3.0, self.theme.text)

    def _draw_axes(self) -> ByteArray:
        """Return the graph's part of the dashboard without the graph, (H, W, 3)."""
        board, (left, right, top, bottom) = self._board, self._graph
        board.write("SPEED", (MARGIN, 28), 14, self.theme.muted)
        board.write("mph", (right, 28), 14, self.theme.muted, "right")
        board.write("score so far", (right - SCORE_BEGINS, 28), 14, self.theme.muted, "right")
        for mph in range(0, 81, 20):
            y = bottom - (bottom - top) * mph / TOP_SPEED_MPH
            board.fill(self.theme.track, left, y, right - left, 0)
            board.write(str(mph), (left - 8, y - 7), 13, self.theme.muted, "right")
        return board.pixels[: round(TOP_OF_DECISION * board.unit)].copy()

    def _draw_actions(self, insight: Insight) -> None:
        """Draw a bar for each action, and mark the chosen one; say so where it was not carried out."""
        import pygame

        board, values, end = self._board, insight.values, self._end
        board.write("ACTION" if values is None else values.title, (MARGIN, 222), 14, self.theme.muted)
        if values is not None and values.unit:
            board.write(values.unit, (end, 222), 14, self.theme.muted, "right")
        left, right = MARGIN + 112, end - 62
        if insight.note:
            colour = self.theme.blocked if insight.refused else self.theme.muted
            board.write(insight.note, (MARGIN + 16, 355), 13, colour)
        for action, name in ACTION_NAMES.items():
            y, chosen = 246.0 + 22 * int(action), int(action) == insight.action
            colour = self.theme.text if chosen else self.theme.muted
            refused = chosen and insight.refused and action in LANE_CHANGES
            box = board.write(name, (MARGIN + 16, y - 0.5), 15, colour)
            if chosen:
                tip = [(MARGIN, y + 1), (MARGIN + 8, y + 6.5), (MARGIN, y + 12)]
                corners = [(round(a * board.unit), round(b * board.unit)) for a, b in tip]
                pygame.draw.polygon(board.canvas, self.theme.blocked if refused else self.accent, corners)
            if refused:
                line = max(1, round(board.unit))
                board.canvas.fill(self.theme.blocked, (box.left, box.centery, box.width, line))
            if values is None:
                continue
            if values.candidates[action]:
                shade = self.theme.muted if not chosen else self.theme.blocked if refused else self.accent
                self._draw_bar(left, right, y, values.fraction(int(action)), shade)
            board.write(values.text(int(action)), (end, y + 0.5), 14, colour, "right")

    def _draw_scores(self, scores: Sequence[tuple[str, float]], differing: tuple[int, int]) -> None:
        """Draw a bar from 0 to 80 mph for each policy."""
        board = self._board
        board.write("SCORE SO FAR", (MARGIN, 376), 14, self.theme.muted)
        if differing[1]:
            words, colour = "{} of {} decisions differ".format(*differing), self.theme.muted
            board.write(words, (self._end, 376), 14, self.theme.positive if differing[0] else colour, "right")
        best = max(mph for _, mph in scores)
        for k, (label, mph) in enumerate(scores):
            y, colour = 400.0 + 22 * k, self.theme.text if mph == best else self.theme.muted
            board.write(label, (MARGIN + 16, y - 0.5), 15, colour, room=92)
            shade = self.accent if mph == best else self.theme.muted
            self._draw_bar(MARGIN + 112, self._end - 62, y, min(mph / TOP_SPEED_MPH, 1.0), shade)
            board.write(f"{mph:.2f}", (self._end, y + 0.5), 14, colour, "right")

    def _draw_network(self, layers: Sequence[NDArray[np.floating]], y: float) -> None:
        """Draw one column per layer: positive blue, negative red, each layer on its own scale."""
        board, unit = self._board, self._board.unit
        board.write("NETWORK", (MARGIN, y), 14, self.theme.muted)
        right = self._end
        for words, colour in (("positive", self.theme.positive), ("negative", self.theme.negative)):
            right = board.write(words, (right, y), 13, self.theme.muted, "right").left / unit - 14
            board.fill(colour, right, y + 2, 9, 9)
            right -= 14
        left, right, top, bottom = MARGIN, self._end, y + 28, 700.0 - 84
        place = int((right - left) / len(layers) * unit * 0.8), int((bottom - top) * unit)
        most = int(MAX_UNIT_SIDE * unit)
        fitted = [_fitted(layer, place, most) for layer in layers]
        images = [_activation_image(*each, self.theme) for each in fitted]
        gap = (right - left - sum(p.shape[1] for p in images) / unit) / max(1, len(layers) - 1)
        for layer, image, (_, _, side) in zip(layers, images, fitted, strict=True):
            width, height = image.shape[1] / unit, image.shape[0] / unit
            at = round(left * unit), round((top + bottom - height) / 2 * unit)
            board.canvas.blit(canvas_of(image), at)
            units, shape, _ = _fitted(np.arange(layer.size).reshape(layer.shape), place, most)
            self._columns.append(Column(at, side, _laid_out(units, shape, -1), layer.ravel()))
            below = (left + width / 2, (top + bottom + height) / 2 + 6)
            if board.text.width(str(layer.size), 12 * unit) < (width + gap) * unit:
                board.write(str(layer.size), below, 12, self.theme.muted, "centre")
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

    def _draw_bar(self, left: float, right: float, y: float, fraction: float, colour: Colour) -> None:
        self._board.bar(self.theme.track, left, right, y + 2)
        self._board.bar(colour, left, left + (right - left) * max(fraction, 0.02), y + 2)


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
