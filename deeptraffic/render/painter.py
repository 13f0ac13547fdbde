"""Painter: renders a scene as an (H, W, 3) image, for windows, files and `rgb_array`.

    >>> painter = Painter(RULES_2018, sensor=Sensor(3, 50, 10))
    >>> image = painter.paint(simulator.state, env_index=0, overlay="input")  # (700, 400, 3) uint8

Needs no display. Painting reads State and never changes it; the history for trail and speed read-out is kept in
`histories`, per env.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from deeptraffic.episodes.decision import ACTION_NAMES, Insight
from deeptraffic.episodes.history import Histories, History
from deeptraffic.render.board import DrawingBoard, canvas_of
from deeptraffic.render.compositor import Rectangle
from deeptraffic.render.drawing import ByteArray, ImageMemory
from deeptraffic.render.layers import LayerContext, RoadLayer, make_layer
from deeptraffic.render.overlays import (
    TOP_MARK,
    Cells,
    check_overlay,
    describe_cell,
    input_cells,
    map_cells,
    safety_cells,
)
from deeptraffic.render.panel import Caption, Panel, Readout
from deeptraffic.render.road import RoadView
from deeptraffic.render.sprites import VehicleImage
from deeptraffic.render.theme import DASH_PERIOD, SHOULDER, theme_by_name, trail_colour_by_name, visible
from deeptraffic.sim.rules import CELL_LENGTH, LANE_WIDTH, VEHICLE_LENGTH, VEHICLE_WIDTH, Action, Rules, Sensor
from deeptraffic.sim.state import State

PANEL_WIDTH = 220  # [px] beside the road at scale 1
LEAST_UNIT = 0.55  # [pixels per px] of a panel, whose smaller letters would not be read
MIN_SIDE, MAX_SIDE = 32, 4096  # [pixels]
MAX_FLOW = 0.4 * DASH_PERIOD  # [px]
SEEN_FLOW = 400.0  # [px] a longer way was wound
CLICK_MARGIN = 6.0  # [px] around a vehicle


class Layout(NamedTuple):
    """Rectangles of an image [pixels]; `scale` is pixels per px of road, `unit` pixels per px of the panel."""

    road: Rectangle
    panel: Rectangle
    scale: float
    unit: float


def default_size(rules: Rules, panel: bool = True) -> tuple[int, int]:
    """Return the (width, height) [pixels] of an image: one pixel is one px of road, 400 x 700 in the contests.

    A road that is too long for that is scaled down. Without a panel, the image has the road's width.
    """
    width = PANEL_WIDTH * panel + rules.road_width + 4 * SHOULDER
    return int(width + width % 2), min(int(rules.road_length), MAX_SIDE)


def lay_out(rules: Rules, size: tuple[int, int], panel: bool = True, zoom: float = 1.0) -> Layout:
    """Fit road and panel into an image of `size` (width, height) [pixels]; a narrow or small one has no panel."""
    width, height = size
    scale = min(height / rules.road_length, width / (rules.road_width + 2 * SHOULDER)) * zoom
    road_width = round((rules.road_width + 4 * SHOULDER) * scale)
    panel_width = min(width - road_width, round(PANEL_WIDTH * height / 700 * 1.3))
    if not panel or height / 700 < LEAST_UNIT or panel_width < 60 * height / 700:
        return Layout(Rectangle(0, 0, width, height), Rectangle(0, 0, 0, height), scale, height / 700)
    unit = min(height / 700, panel_width / PANEL_WIDTH)
    road = Rectangle(panel_width, 0, width - panel_width, height)
    return Layout(road, Rectangle(0, 0, panel_width, height), scale, unit)


class Painter:
    """Paints the scenes of envs under one set of rules.

    Args:
        rules: sizes of the road, and which vehicles are driven
        size: (width, height) [pixels]; None takes `default_size(rules)`
        theme: "dark" or "light"
        trail: one of the 13 named trail colours
        overlay: none, input, safety or map; the default of `paint`
        sensor: cells of the input overlay
        label: name of the policy, at the bottom of the panel
        image: replaces the drawn ego vehicle
        panel: whether read-outs stand beside the road where there is room, else a short one on it
        film: whether images follow each other in a film: then the lane marks move by at most `MAX_FLOW` between two,
            where they would seem to stand or to run backwards
        layers: drawn over the vehicles, in this order; names or callables, see `deeptraffic.render.layers`
        zoom: 1 shows the road's whole length; 2 half of it
    """

    # parameters: options of the image, each with a default and given by name
    def __init__(
        self,
        rules: Rules,
        size: tuple[int, int] | None = None,
        *,
        theme: str = "dark",
        trail: str = "yellow",
        overlay: str = "none",
        sensor: Sensor | None = None,
        label: str = "",
        image: VehicleImage | None = None,
        panel: bool = True,
        film: bool = False,
        layers: Sequence[str | RoadLayer] = (),
        zoom: float = 1.0,
    ) -> None:
        self.rules, self.size = rules, _checked_size(size or default_size(rules))
        self.theme = theme_by_name(theme)
        self.trail_colour, accent = (
            visible(trail_colour_by_name(trail), background) for background in (self.theme.asphalt, self.theme.panel)
        )
        context = LayerContext(rules, None, self.theme)
        self.layers = [make_layer(layer, context) for layer in layers]
        self.overlay, self.sensor, self.label = check_overlay(overlay), sensor or Sensor(), label
        self.layout = lay_out(rules, self.size, panel, zoom)
        shape = self.size[1], self.size[0], 3
        self._memory, self._image = ImageMemory(shape), np.empty(shape, np.uint8)
        self._canvas = canvas_of(self._image)
        self._road = RoadView(rules, self.theme, self.trail_colour, self.layout.road, self.layout.scale, image)
        beside, top = self.layout.panel, TOP_MARK / rules.empty
        self._panel: Panel | Caption = Caption(self._canvas, self.theme, self.layout.road, self.layout.scale, top)
        if beside.width:
            board = DrawingBoard(self._image, self.theme, self.layout.unit, width=beside.width)
            self._panel = Panel(board, accent, _title(rules), top)
        self.histories = Histories(rules.vehicles)
        self._film, self._flow = film, (0.0, 0.0)  # distance of the road in the last image, and as its marks showed it

    def paint(
        self,
        state: State,
        env_index: int = 0,
        *,
        overlay: str | None = None,
        follow: int = 0,
        note: str = "",
        decision: Insight | None = None,
    ) -> ByteArray:
        """Return a new image of one scene, (H, W, 3) uint8.

        overlay: none, input, safety or map; None for the painter's
        follow: index of the vehicle for camera, read-outs, trail and overlay; another one than the ego car shows its
            lane in place of what only the ego car has, vehicles passed and decisions
        note: a line above the label
        decision: the ego car's last one, for the panel
        """
        if not 0 <= follow < self.rules.vehicles:
            raise ValueError(f"follow must be in [0, {self.rules.vehicles - 1}], got {follow}")
        history, scene = self.histories.observe(state, env_index, follow), state.view(np.ndarray)[env_index]
        camera, overlay = self._road.camera(scene, follow), check_overlay(overlay or self.overlay)
        marks = self._marks(history.ground)
        cells = self._overlay_cells(scene, overlay, follow)
        image, beside = self._memory.empty(), self.layout.panel.width
        apart = beside > 0 and not self.layers  # nothing else is drawn on the road: paint it where it stays
        self._road.paint(image if apart else self._image, scene, camera, history, marks, follow, overlay, cells)
        if self.layers:
            self._canvas.set_clip(self.layout.road)
            for layer in self.layers:
                layer(self._canvas, camera, state[env_index : env_index + 1].view(np.recarray))
            self._canvas.set_clip(None)
        speed = int(history.mean_speed_mph // 1)
        label, lane = (self.label, 0) if follow == 0 else (f"vehicle {follow}", int(scene["lane"][follow]) + 1)
        shown = ("", False)
        if decision is not None and follow == 0:
            shown = ACTION_NAMES[Action(decision.action)], decision.refused
        readout = Readout(speed, int(scene["passed"]), overlay, int(scene["frame"]), label, note, *shown, lane)
        self._panel.draw(readout)
        if apart:
            image[:, :beside] = self._image[:, :beside]
        else:
            np.copyto(image, self._image)
        return image

    def vehicle_at(self, scene: np.void, point: tuple[float, float], follow: int = 0) -> int | None:
        """Return the vehicle at a point (x, y) [pixels] of the image, or next to it; None if there is none.

        follow: as the image was painted
        """
        road, scale, camera = self.layout.road, self.layout.scale, self._road.camera(scene, follow)
        x, y = ((at - edge) / scale for at, edge in zip(point, (road.left, road.top), strict=True))
        across = np.abs(scene["x"] + VEHICLE_WIDTH / 2 - camera.left - x) - VEHICLE_WIDTH / 2
        along = np.abs(scene["y"] + VEHICLE_LENGTH / 2 - camera.top - y) - VEHICLE_LENGTH / 2
        away = np.maximum(across, along)
        nearest = int(np.argmin(away))
        return nearest if away[nearest] <= CLICK_MARGIN and point[0] >= road.left else None

    def cell_at(self, scene: np.void, point: tuple[float, float], overlay: str, follow: int = 0) -> str:
        """Return a text about the overlay's cell at a point (x, y) [pixels] of the image; "" if there is none."""
        cells = self._overlay_cells(scene, overlay, follow)
        if cells is None or point[0] < self.layout.road.left:
            return ""
        road, scale, camera = self.layout.road, self.layout.scale, self._road.camera(scene, follow)
        x, y = ((at - edge) / scale for at, edge in zip(point, (road.left, road.top), strict=True))
        column, line = math.floor((x + camera.left) / LANE_WIDTH), math.floor((y + camera.top) / CELL_LENGTH)
        found = np.flatnonzero((cells.column == column) & (cells.line == line))
        return "" if len(found) == 0 else describe_cell(float(cells.value[found[0]]), overlay, self.rules.empty)

    def observe(self, state: State, env_index: int = 0) -> History:
        """Record an env's current frame for trail and read-out without painting it; return its history."""
        return self.histories.observe(state, env_index)

    def take_over(self, other: "Painter") -> None:
        """Take over the histories of another painter of the same envs, as when a window is resized."""
        self.histories = other.histories

    def forget(self, env_index: int | None = None) -> None:
        """Clear the history of one env, or of all; call it when an env starts a new episode."""
        self.histories.forget(None if env_index is None else [env_index])

    def enter(self, ground: float) -> None:
        """Restart the history of env 0 at another frame, by which its road has moved `ground` [px]."""
        self.histories.enter(ground)
        self._flow = ground, ground

    def _marks(self, ground: float) -> float:
        """Return the distance of the road [px] at which its marks are shown."""
        if self._film:
            before, shown = self._flow
            moved = ground - before
            self._flow = ground, shown + min(moved, MAX_FLOW) if 0 <= moved < SEEN_FLOW else ground
            return self._flow[1]
        return ground

    def _overlay_cells(self, scene: np.void, overlay: str, follow: int) -> Cells | None:
        if overlay == "input":
            return input_cells(self.rules, scene, self.sensor, follow)
        if overlay == "safety":
            return safety_cells(self.rules, scene, follow)
        return map_cells(self.rules, scene) if overlay == "map" else None


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    width, height = size
    for name, side in (("width", width), ("height", height)):
        if not MIN_SIDE <= side <= MAX_SIDE:
            raise ValueError(f"{name} must be in [{MIN_SIDE}, {MAX_SIDE}] pixels, got {side}")
    return int(width), int(height)


def _title(rules: Rules) -> str:
    others = f" \u00b7 {rules.other_agents} others" if rules.other_agents else ""
    return f"DeepTraffic {rules.year}{others}"
