"""Sprite atlas of the page: vehicles, overlay tiles and road surface, drawn by the package's own renderer.

One PNG image per theme, and one index for both: each part's place in the image.
"""

import io
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from deeptraffic.render.drawing import ByteArray, Sheet
from deeptraffic.render.overlays import LEVELS, draw_tile
from deeptraffic.render.road import Axis, marks_along, paint_surface
from deeptraffic.render.sprites import AGENT, EGO, HALF, PAD, TRAFFIC, draw_vehicle
from deeptraffic.render.theme import PATTERN_PERIOD, SHOULDER, TRAIL_COLOURS, Theme
from deeptraffic.sim.rules import CELL_LENGTH, LANE_WIDTH, RULES_2018, VEHICLE_LENGTH, VEHICLE_WIDTH

SCALE = 4  # [pixels per px]
GAP = 4  # transparent pixels between two parts

Index = dict[str, tuple[int, int, int, int]]  # (left, top, width, height) of each part [pixels]


def draw_atlas(theme: Theme) -> tuple[bytes, Index]:
    """Return the atlas of a theme as a PNG file, and its index."""
    from PIL import Image

    parts = dict(draw_parts(theme))
    width = max(part.shape[1] for part in parts.values())
    index: Index = {}
    left = top = line = 0
    for name, part in parts.items():
        if left + part.shape[1] > width:
            left, top, line = 0, top + line + GAP, 0
        index[name] = (left, top, part.shape[1], part.shape[0])
        left, line = left + part.shape[1] + GAP, max(line, part.shape[0])
    image = np.zeros((top + line, width, 4), np.uint8)
    for name, (x, y, wide, high) in index.items():
        image[y : y + high, x : x + wide] = parts[name]
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", optimize=True)
    return file.getvalue(), index


def draw_parts(theme: Theme) -> Iterator[tuple[str, ByteArray]]:
    """Yield the name and the image (H, W, 4) of each part; the surface is one period of the road's pattern."""
    rules = RULES_2018
    across = Axis(round((rules.road_width + 2 * SHOULDER) * SCALE), SCALE, -SHOULDER)
    along = Axis(round(PATTERN_PERIOD * SCALE), SCALE, 0.0)
    surface = paint_surface(rules, theme, across, marks_along(along))
    yield "surface", np.dstack([surface, np.full(surface.shape[:2], 255, np.uint8)])
    kinds = [(f"{TRAFFIC}{pace}", TRAFFIC, pace) for pace in range(len(theme.traffic))]
    for name, kind, pace in [*kinds, (AGENT, AGENT, 0), (EGO, EGO, 0)]:
        sheet = vehicle_sheet()
        draw_vehicle(sheet, theme, kind, pace, TRAIL_COLOURS["yellow"])
        yield name, sheet.rgba8()
    sheet = vehicle_sheet()
    draw_vehicle(sheet, replace(theme, ego=theme.positive), EGO, 0, TRAIL_COLOURS["yellow"])
    yield "ghost", sheet.rgba8()
    tiles = [(each, each, 0) for each in ("free", "clear", "off", "blocked")]
    for name, meaning, level in [*tiles, *((f"occupied{level}", "occupied", level) for level in range(LEVELS))]:
        sheet = Sheet(round(LANE_WIDTH * SCALE), round(CELL_LENGTH * SCALE), SCALE)
        draw_tile(sheet, theme, meaning, level)
        yield name, sheet.rgba8()


def vehicle_sheet() -> Sheet:
    """Return an empty sheet with the middle of a vehicle at the world's origin, and `PAD` [px] around it."""
    size = (round((VEHICLE_WIDTH + 2 * PAD) * SCALE), round((VEHICLE_LENGTH + 2 * PAD) * SCALE))
    return Sheet(*size, SCALE, -PAD - HALF[0], -PAD - HALF[1])
