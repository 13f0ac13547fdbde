"""Layers: what is drawn on the road over the vehicles, by functions that anyone can add.

A layer is a callable of (canvas, camera, state): it draws with pygame on `canvas`, whose clip is the road; `camera`
turns px of the road into pixels; `state` is the (1,) record of the env that is painted (`deeptraffic.sim.state.Game`).

    >>> def draw(canvas, camera, state):                           # a ring around the car ahead of all others
    ...     first = state.y[0].argmin()
    ...     pygame.draw.circle(canvas, "orange", camera.pixel(state.x[0, first] + 7.5, state.y[0, first] + 17), 30, 2)
    >>> Painter(RULES_2018, layers=[draw])

A layer gets a name that `deeptraffic watch --layer NAME`, `record --layer NAME`, environments (`layers=["NAME"]`) and
`Painter` take in one of two ways:

- an entry point of a distribution: `[project.entry-points."deeptraffic.layers"]`, then `NAME = "module:attribute"`;
- a file: `--layer mine.py` takes its attribute `layer`.

The attribute is the callable itself, or a class that is made with a `LayerContext`. A layer with a method
`before_decision` or `after_decision` is told of the decisions of an episode that a policy drives (`watch_decisions`).
"""

import importlib
import importlib.util
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from deeptraffic.episodes.episode import Episode
from deeptraffic.render.compositor import Camera
from deeptraffic.render.drawing import ByteArray, FloatArray
from deeptraffic.render.strokes import Strokes, outline, stroke, stroke_all
from deeptraffic.render.theme import DARK, Colour, Theme
from deeptraffic.sim.rules import Rules
from deeptraffic.sim.state import State

if TYPE_CHECKING:
    import pygame

GROUP = "deeptraffic.layers"  # of entry points
BUILT_IN = {
    "attention": "deeptraffic.insight.attention:AttentionLines",
    "futures": "deeptraffic.insight.futures:Futures",
    "values": "deeptraffic.insight.lane_values:LaneValues",
    "imagined": "agents.analysis.imagined_cars:ImaginedCars",
}
ATTRIBUTE = "layer"  # of a file

Point = tuple[float, float]
Points = Sequence[Point] | FloatArray  # (P, 2)


class LayerContext(NamedTuple):
    """What a layer is made for.

    rules: of the road
    policy: drives the ego car, a `deeptraffic.policies.base.Policy`; None if it is not known
    theme: of the images
    """

    rules: Rules
    policy: Any = None
    theme: Theme = DARK


class RoadLayer(Protocol):
    """Draws something on the road."""

    def __call__(self, canvas: "pygame.Surface", camera: Camera, state: State) -> None:
        """Draw on the canvas for the state (1,) of one env."""


def layer_names() -> tuple[str, ...]:
    """Return the names of all layers, built-in ones and those of installed distributions."""
    return (*BUILT_IN, *(found.name for found in entry_points(group=GROUP) if found.name not in BUILT_IN))


def make_layer(layer: str | RoadLayer, context: LayerContext) -> RoadLayer:
    """Return the layer of a name or of a file; a layer is returned as it is. ValueError for one that does not exist."""
    if not isinstance(layer, str):
        return layer
    made = _find(layer)
    if isinstance(made, type):
        made = made(context)
    if not callable(made):
        raise ValueError(f"layer {layer!r} is {made!r:.80}, not a callable of (canvas, camera, state)")
    return made


def _find(name: str) -> Any:
    """Return the attribute that a name stands for."""
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    for found in entry_points(group=GROUP):
        if found.name == name:
            return found.load()
    path = Path(name)
    if path.suffix != ".py" or not path.is_file():
        raise ValueError(f"there is no layer {name!r}; choose one of {', '.join(layer_names())}, or name a file (.py)")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    if not hasattr(made, ATTRIBUTE):
        raise ValueError(f"{path} has no attribute {ATTRIBUTE!r}; give it the layer, a callable or a class")
    return getattr(made, ATTRIBUTE)


def watch_decisions(episode: Episode, layers: Sequence[Any]) -> Episode:
    """Return the episode, whose ego car's decisions the layers are told of from now on.

    before_decision: called with the simulator, whose env 0 waits for the decision
    after_decision: called with the simulator, still waiting, and the action
    """
    episode.listeners += layers
    return episode


# --- drawing ----------------------------------------------------------------------------------------------------------


def draw_line(canvas: "pygame.Surface", colour: Colour, alpha: float, points: Points, width: float) -> None:
    """Draw a smooth line through points [pixels], a dot for one point; alpha: 0..1; width: at least 1 pixel."""
    if np.isfinite(points).all():
        stroke(_pixels(canvas), _clip(canvas), np.array(points, np.float64), max(width, 1.0) / 2, colour, float(alpha))


def draw_lines(canvas: "pygame.Surface", strokes: Strokes) -> None:
    """Draw many smooth lines at once, in their order."""
    if np.isfinite(strokes.points).all():
        stroke_all(_pixels(canvas), _clip(canvas), strokes)


def draw_polygon(canvas: "pygame.Surface", colour: Colour, alpha: float, points: Sequence[Point]) -> None:
    """Fill a polygon with smooth edges."""
    from pygame import gfxdraw

    ink = (*colour, round(255 * min(max(alpha, 0.0), 1.0)))
    whole = [(round(x), round(y)) for x, y in points]
    gfxdraw.filled_polygon(canvas, whole, ink)
    gfxdraw.aapolygon(canvas, whole, ink)


def draw_frame(
    canvas: "pygame.Surface", colour: Colour, alpha: float, box: tuple[float, float, float, float], width: float
) -> None:
    """Draw a rounded frame; box: left, top, width and height [pixels] of its outer edge."""
    left, top, wide, high = (float(value) for value in box)
    if np.isfinite(box).all():
        radius = 0.35 * min(wide, high)
        outline(_pixels(canvas), _clip(canvas), (left, top, wide, high), radius, float(width), colour, float(alpha))


def _pixels(canvas: "pygame.Surface") -> ByteArray:
    """Return the pixels of a canvas, (H, W, 3), in its own memory."""
    import pygame

    return pygame.surfarray.pixels3d(canvas).swapaxes(0, 1)


def _clip(canvas: "pygame.Surface") -> tuple[int, int, int, int]:
    clip = canvas.get_clip()
    return clip.left, clip.top, clip.right, clip.bottom
