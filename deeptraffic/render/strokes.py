"""Strokes: smooth lines, dots and rounded frames blended into an image, in compiled code, for layers on the road.

Coverage is the signed distance to the shape, as in `deeptraffic.render.drawing`; a line's joints are blended once.
"""

from typing import NamedTuple

import numpy as np

from deeptraffic.render.drawing import ByteArray, FloatArray
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.state import I64

Clip = tuple[int, int, int, int]  # left, top, right and bottom [pixels]
Ink = tuple[int, int, int]


@compiled
def blend(image: ByteArray, row: int, column: int, ink: Ink, opacity: float) -> None:
    """Blend a colour over a pixel."""
    for channel in range(3):
        value = float(image[row, column, channel])
        image[row, column, channel] = np.uint8(value + (ink[channel] - value) * opacity + 0.5)


@compiled
def coverage(points: FloatArray, k: int, x: float, y: float, half: float) -> float:
    """Return how much of the pixel around (x, y) part k of a line covers, 0..1."""
    x0, y0 = points[k]
    x1, y1 = points[min(k + 1, points.shape[0] - 1)]
    dx, dy = x1 - x0, y1 - y0
    at = ((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, 1e-12)
    at = min(max(at, 0.0), 1.0)
    off_x, off_y = x - x0 - at * dx, y - y0 - at * dy
    square = off_x * off_x + off_y * off_y
    if square >= (half + 0.5) ** 2:
        return 0.0
    return 1.0 if square <= max(half - 0.5, 0.0) ** 2 else min(half + 0.5 - np.sqrt(square), 1.0)


@compiled
def stroke(image: ByteArray, clip: Clip, points: FloatArray, half: float, ink: Ink, alpha: float) -> None:
    """Blend a line through points (P, 2) [pixels], `half` its width, with round ends; one point alone is a dot."""
    reach = half + 0.5
    for k in range(max(1, points.shape[0] - 1)):
        x0, y0 = points[k]
        x1, y1 = points[min(k + 1, points.shape[0] - 1)]
        dx, dy = x1 - x0, y1 - y0
        low, high = min(x0, x1), max(x0, x1)
        top = max(clip[1], int(np.floor(min(y0, y1) - reach)))
        for row in range(top, min(clip[3], int(np.ceil(max(y0, y1) + reach)))):
            y = row + 0.5
            left, right = low, high
            if abs(dy) > 1e-9:  # only the part of the line that is near this row
                a, b = x0 + dx * (y - reach - y0) / dy, x0 + dx * (y + reach - y0) / dy
                left, right = min(max(min(a, b), low), high), max(min(max(a, b), high), low)
            first = max(clip[0], int(np.floor(left - reach)))
            for column in range(first, min(clip[2], int(np.ceil(right + reach)))):
                covered = coverage(points, k, column + 0.5, row + 0.5, half)
                before = coverage(points, k - 1, column + 0.5, row + 0.5, half) if k > 0 and covered > 0.0 else 0.0
                if covered > before:  # the part before has blended the rest
                    opacity = alpha * (covered - before) / (1.0 - alpha * before) if before > 0.0 else alpha * covered
                    blend(image, row, column, ink, opacity)


class Strokes(NamedTuple):
    """R lines of up to P points each.

    points: (R, P, 2) float64 [pixels]; counts: (R,) how many of them a line has, at least one
    halves: (R,) float64 of their widths; inks: (R, 3) int64; alphas: (R,) float64
    """

    points: FloatArray
    counts: I64
    halves: FloatArray
    inks: I64
    alphas: FloatArray


@compiled
def stroke_all(image: ByteArray, clip: Clip, strokes: Strokes) -> None:
    """Blend lines in their order."""
    for k in range(strokes.counts.size):
        ink = (strokes.inks[k, 0], strokes.inks[k, 1], strokes.inks[k, 2])
        points = strokes.points[k, : strokes.counts[k]]
        stroke(image, clip, points, strokes.halves[k], ink, strokes.alphas[k])


# parameters: a frame, and how it is drawn
@compiled
def outline(
    image: ByteArray,
    clip: Clip,
    box: tuple[float, float, float, float],
    radius: float,
    width: float,
    ink: Ink,
    alpha: float,
) -> None:
    """Blend a rounded frame; box: left, top, width and height [pixels] of its outer edge."""
    left, top, wide, high = box
    middle_x, middle_y = left + wide / 2, top + high / 2
    inner_x, inner_y = wide / 2 - radius, high / 2 - radius
    first = max(clip[0], int(np.floor(left - 1)))
    for row in range(max(clip[1], int(np.floor(top - 1))), min(clip[3], int(np.ceil(top + high + 1)))):
        for column in range(first, min(clip[2], int(np.ceil(left + wide + 1)))):
            x, y = abs(column + 0.5 - middle_x) - inner_x, abs(row + 0.5 - middle_y) - inner_y
            outside = np.hypot(max(x, 0.0), max(y, 0.0)) + min(max(x, y), 0.0) - radius
            distance = abs(outside + width / 2) - width / 2
            if distance < 0.5:
                blend(image, row, column, ink, alpha * min(0.5 - distance, 1.0))
