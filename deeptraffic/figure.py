"""The look of every figure that is drawn with matplotlib: one size, one palette, no display.

Colours are from Okabe and Ito's palette, which colour-blind readers tell apart; lines differ in style and every curve
carries its name, so that a grey print reads as well. Every figure is made and written here, at 160 dots per inch or as
SVG; `draw_bars` puts the best bar in colour and shows intervals.

    >>> figure, axes = new_figure("Speed over decisions")
    >>> axes.plot(decisions, mph, color=BLUE)
    >>> save_figure(figure, "curve.png")
"""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from deeptraffic.run_dir import write_atomically

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6b6b6b"
PURPLE, SKY, YELLOW = "#CC79A7", "#56B4E9", "#E69F00"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW, GREY)  # in the order in which curves take them
LINE_STYLES, MARKERS = ("-", "--", "-.", ":"), ("o", "s", "^", "D", "v", "P", "X")
INK = "#222222"
SIZE = (8.0, 4.5)  # [inches]
DPI = 160  # of every raster figure


def new_figure(title: str, size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes; size: width and height [inches]."""
    figure = empty_figure(size)
    axes = figure.add_subplot()
    style_axes(axes, title)
    return figure, axes


def empty_figure(size: tuple[float, float] = SIZE) -> Figure:
    """Return a figure without axes, for several of them."""
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Axes, title: str = "") -> None:
    """Give axes the house's title, grid and colours."""
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK)


def curve_style(k: int) -> dict[str, Any]:
    """Return colour, line style and marker of a figure's curve k, as keywords of matplotlib's lines."""
    names = {"color": PALETTE, "linestyle": LINE_STYLES, "marker": MARKERS}
    return {name: values[k % len(values)] for name, values in names.items()}


# parameters: what a bar shows, all but the first three by name
def draw_bars(
    axes: Axes,
    values: Mapping[str, float],
    label: str,
    *,
    best: Callable[..., float] = max,
    own: str = "",
    intervals: Mapping[str, tuple[float, float] | None] | None = None,
    limit: float | None = None,
) -> None:
    """Draw a bar with its value and interval for each name, the best one in colour.

    label: of the axis of values; best: max, or min for errors and losses
    own: name that is bold; limit: end of the axis
    """
    places, winner = np.arange(len(values))[::-1], best(values.values())
    colours = [BLUE if value == winner else GREY for value in values.values()]
    axes.barh(places, list(values.values()), color=colours, height=0.6)
    ends = {name: (intervals or {}).get(name) or (value, value) for name, value in values.items()}
    far = limit or 1.2 * max(0.0, *(high for _, high in ends.values())) or 1.0
    for place, (name, value) in zip(places, values.items(), strict=True):
        low, high = ends[name]
        if high > low:
            axes.errorbar(value, place, xerr=[[value - low], [high - value]], color=INK, capsize=3, linewidth=1.2)
        axes.text(max(high, 0.0) + 0.015 * far, place, f"{value:.3g}", va="center", color=INK)
    axes.set_yticks(places, list(values))
    for tick, name in zip(axes.get_yticklabels(), values, strict=True):
        tick.set_fontweight("bold" if name == own else "normal")
    axes.set_xlim(min(0.0, *(low for low, _ in ends.values())), far)
    axes.set_xlabel(label)
    axes.grid(visible=False)


def format_count(value: float) -> str:
    """Return a count in short form: 250k, 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def label_counts(axis: Axis) -> None:
    """Label an axis with counts in short form."""
    axis.set_major_formatter(lambda value, _: format_count(value))


def save_figure(figure: Figure, path: str | Path, colours: int | None = None) -> Path:
    """Write a figure, whole or not at all, in the format of the path's ending; return the path.

    colours: most that a PNG may have, to keep one of photographs or noise small; None for all
    """
    path = Path(path)
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:] or "png", facecolor="white", dpi=DPI)
    if colours is not None:
        picture = Image.open(content).convert("RGB").quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=1)
        content = io.BytesIO()
        picture.save(content, "PNG", optimize=True)
    write_atomically(path, content.getvalue())
    return path
