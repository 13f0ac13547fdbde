"""Plots of the report: scores, confusion matrices, predictions, learning curves, clips, maps of features, and roads.

A road is drawn as windows and videos draw it (`deeptraffic/render`), seen from above, ahead up: surface and vehicles by
the painter, cells by the tiles of its overlays, coloured by the speed of their vehicle. A scene is drawn with its
vehicles; a grid, which holds no vehicles but cells and their probabilities, with the cells alone, probabilities as
opacity, and the ego car.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.episodes.history import Histories
from deeptraffic.figure import (
    BLUE,
    INK,
    ORANGE,
    PALETTE,
    PURPLE,
    draw_bars,
    empty_figure,
    new_figure,
    save_figure,
    style_axes,
)
from deeptraffic.render.compositor import Camera, Rectangle
from deeptraffic.render.drawing import Sheet
from deeptraffic.render.overlays import LEVELS, SLOW_MPH, draw_tile, map_cells
from deeptraffic.render.road import Axis, RoadView, marks_along, paint_surface
from deeptraffic.render.sprites import EGO, draw_vehicle
from deeptraffic.render.theme import LIGHT, SHOULDER, TOP_SPEED_MPH, Colour
from deeptraffic.sim.rules import CELL_LENGTH, FULL_SPEED_MPH, LANE_WIDTH, RULES_2018, Rules


def save_plot(figure: Figure, path: str | Path, colours: int | None = None) -> Path:
    """Write a figure of the report and return its path; colours: the most it may have, to keep frames small."""
    return save_figure(figure, path, colours)


def save_confusion(table: NDArray[np.int64], names: Sequence[str], path: str | Path, title: str) -> Path:
    """Plot a confusion matrix (K true classes, K predicted classes), rows normalised to 1."""
    figure, axes = new_figure(title, (1.1 * len(names) + 2.0, 0.8 * len(names) + 1.2))
    fraction = table / np.maximum(table.sum(1, keepdims=True), 1)
    axes.imshow(fraction, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.grid(visible=False)
    for line in range(len(names)):
        for column in range(len(names)):
            colour = "white" if fraction[line, column] > 0.5 else INK
            text = f"{100 * fraction[line, column]:.1f}%"
            axes.text(column, line, text, ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(names)), names, fontsize=9)
    counts = zip(names, table.sum(1), strict=True)
    axes.set_yticks(range(len(names)), [f"{name}\n(n = {count:,})" for name, count in counts], fontsize=9)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return save_plot(figure, path)


class MetricScore(NamedTuple):
    """Values of a metric by method, the own one first, with their 95% intervals if they have some."""

    label: str
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    higher_is_better: bool


def save_scores(scores: Mapping[str, MetricScore], path: str | Path) -> Path:
    """Plot scores by experiment, the own method in bold, the best one in colour."""
    counts = [len(score.values) for score in scores.values()]
    rows = [max(counts[k : k + 2]) for k in range(0, len(counts), 2)]
    figure = empty_figure((5.2 * min(2, len(scores)), sum(0.34 * bars + 1.05 for bars in rows)))
    places = figure.subplots(len(rows), min(2, len(scores)), squeeze=False, height_ratios=[bars + 2 for bars in rows])
    for axes in places.ravel()[len(scores) :]:
        axes.set_axis_off()
    for axes, (name, score) in zip(places.ravel(), scores.items(), strict=False):
        style_axes(axes, name)
        best, own = max if score.higher_is_better else min, next(iter(score.values))
        draw_bars(axes, score.values, fill(score.label, 46), best=best, own=own, intervals=score.intervals)
    return save_plot(figure, path, colours=32)


def save_speeds(predicted: NDArray[np.floating], true: NDArray[np.floating], what: str, path: str | Path) -> Path:
    """Plot predicted over true speed [mph], (N,) each."""
    figure, axes = new_figure("Predicted and true", (5.4, 3.8))
    low, high = (float(end) for end in np.quantile(true, (0.005, 0.995)))
    extent = (low, high, low, high)
    shown = axes.hexbin(true, predicted, gridsize=26, extent=extent, cmap="Blues", bins="log", mincnt=1)
    figure.colorbar(shown, ax=axes, label="values")
    axes.plot([low, high], [low, high], color=ORANGE, lw=1.5, label="no error")
    axes.set_xlabel(f"true {what} [mph]", fontsize=9)
    axes.set_ylabel("predicted [mph]")
    axes.legend(frameon=False, loc="upper left")
    return save_plot(figure, path)


def save_clips(
    clips: NDArray[np.uint8],
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer[Any]],
    names: Sequence[str],
    path: str | Path,
) -> Path:
    """Plot clips (K, T, H, W), two per row, each beside its class probabilities (K, C)."""
    count, images = clips.shape[:2]
    figure = empty_figure((9.0, 2.5 * -(-count // 2)))
    figure.set_layout_engine("constrained", h_pad=0.14)
    figure.suptitle("Clips and the network's class probabilities", fontsize=11, fontweight="bold")
    grid = figure.add_gridspec(-(-count // 2), 2 * (images + 2), width_ratios=2 * [*[1.0] * images, 0.9, 1.5])
    for k in range(count):
        first = k % 2 * (images + 2)
        for t in range(images):
            axes = figure.add_subplot(grid[k // 2, first + t])
            axes.imshow(clips[k, t], cmap="gray", vmin=0, vmax=255, aspect=1.6)
            axes.set_axis_off()
            if t == 0:
                title = axes.text(0.0, 1.03, f"true: {names[labels[k]]}", transform=axes.transAxes, color=INK)
                title.set_in_layout(False)  # it is wider than the image below it
        axes = figure.add_subplot(grid[k // 2, first + images + 1])
        style_axes(axes)
        fractions = dict(zip(names, np.round(probabilities[k].astype(np.float64), 2).tolist(), strict=True))
        draw_bars(axes, fractions, "probability", own=names[labels[k]], limit=1.35)
        axes.tick_params(labelsize=8)
        axes.set_xticks([0, 1])
    return save_plot(figure, path, colours=64)


class Detected(NamedTuple):
    """A scene: its name, image (H, W, 3), true and detected occupied cells (R, L)."""

    name: str
    image: NDArray[np.uint8]
    true: NDArray[np.bool_]
    found: NDArray[np.bool_]


def save_detections(scenes: Sequence[Detected], path: str | Path) -> Path:
    """Plot for each scene its image, its true cells, and the detected ones, right and wrong."""
    figure = empty_figure((3.1 * len(scenes), 5.0))
    widths = [1.0, 1.0, 1.0, 0.3] * len(scenes)
    grid = figure.add_gridspec(1, len(widths) - 1, width_ratios=widths[:-1])
    for k, scene in enumerate(scenes):
        true, found, mistakes = scene.true, scene.found, np.ones((*scene.true.shape, 3))
        for cells, colour in ((true & found, BLUE), (true & ~found, ORANGE), (found & ~true, PURPLE)):
            mistakes[cells] = to_rgb(colour)
        plain = np.where(true[..., None], to_rgb(INK), 1.0)
        images = {scene.name: scene.image, "true cells": plain, "detected": mistakes}
        for place, (title, content) in enumerate(images.items()):
            axes = figure.add_subplot(grid[4 * k + place])
            axes.imshow(content, aspect="auto", interpolation="nearest")
            axes.set_title(title, fontsize=9, color=INK)
            axes.set_xticks([], [])
            axes.set_yticks([], [])
    meanings = ((BLUE, "detected"), (ORANGE, "missed"), (PURPLE, "false"))
    handles = [Patch(color=colour, label=label) for colour, label in meanings]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return save_plot(figure, path)


Curve = dict[str, float]  # the metrics of one epoch, train_* and validation_*


def save_curves(curves: Sequence[Curve], path: str | Path, title: str, best_epoch: int) -> Path:
    """Plot training and validation loss over epochs, the kept epoch marked."""
    figure, axes = new_figure(title)
    epochs = np.arange(1, len(curves) + 1)
    axes.plot(epochs, [line["train_loss"] for line in curves], color=BLUE, marker="o", ms=3, label="training data")
    validation = [line["validation_loss"] for line in curves]
    axes.plot(epochs, validation, color=ORANGE, ls="--", marker="s", ms=3, label="validation data")
    axes.plot([best_epoch], [validation[best_epoch - 1]], "o", ms=11, mfc="none", color=ORANGE, label="kept")
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.legend(frameon=False)
    return save_plot(figure, path)


Labels = tuple[str, NDArray[np.int64], Sequence[str]]  # title, (N,) classes, their names


def save_map(features: NDArray[np.float32], labels: Sequence[Labels], path: str | Path) -> Path:
    """Plot features (N, D), projected by t-SNE (van der Maaten and Hinton 2008, JMLR 9), once per labelling."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(features) - 1) / 3)
    places = TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(features)
    figure = empty_figure((4.4 * len(labels), 4.2))
    for axes, (title, classes, names) in zip(figure.subplots(1, len(labels), squeeze=False)[0], labels, strict=True):
        style_axes(axes, title)
        axes.grid(visible=False)
        axes.set_xticks([])
        axes.set_yticks([])
        for k, name in enumerate(names):
            here = places[classes == k]
            axes.scatter(here[:, 0], here[:, 1], s=5, color=PALETTE[k % len(PALETTE)], label=name, linewidths=0)
        axes.legend(frameon=False, fontsize=8, markerscale=2.5, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 0.0))
    return save_plot(figure, path)


# --- roads --------------------------------------------------------------------------------------------------------

CELL = (round(CELL_LENGTH), round(LANE_WIDTH))  # [pixels], at one pixel for one px of road
AHEAD, BEHIND = 300, 100  # [px] of the road in a scene's image
ROW_HEIGHT = 2.3  # [inches] of a row of roads
LEGEND_COLUMN = 1.05  # [inches] of an entry
NEAR = 32  # [px] farther from its centre nothing of a vehicle is seen, its shadow included
UNKNOWN = LEVELS  # place in `_tiles` of cells whose speed is not known


@cache
def _tiles() -> NDArray[np.float64]:
    """Return cells' images (LEVELS + 1, 10, 20, 4), 0..1, by the level of their speed; the last one for no speed."""
    grey = replace(LIGHT, occupied_slow=LIGHT.traffic[3])
    sheets = [Sheet(CELL[1], CELL[0], 1.0) for _ in range(LEVELS + 1)]
    for level, sheet in enumerate(sheets):
        draw_tile(sheet, *((grey, "occupied", 0) if level == UNKNOWN else (LIGHT, "occupied", level)))
    return np.array([sheet.rgba8() for sheet in sheets]) / 255


def road_image(grid: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return one grid (4, H, W) as (10 H, 20 W, 3) pixels; cells of speed NaN are grey."""
    occupied, off, own = np.clip(grid[[OCCUPIED, OFF_ROAD, OWN]], 0, 1)
    beside = off.mean(0) > 0.5  # (W,)
    first, lanes = int(np.argmin(beside)), max(1, int((~beside).sum()))
    across, along = Axis(20 * grid.shape[2], 1.0, -LANE_WIDTH * first), Axis(10 * grid.shape[1], 1.0, 0.0)
    image = paint_surface(RULES_2018._replace(lanes=lanes), LIGHT, across, marks_along(along)) / 255
    unsure = np.abs(off - beside)  # (H, W) probability that a cell is on the other side of the road's edge
    other = np.where(beside[:, None], LIGHT.asphalt, LIGHT.verge) / np.float64(255)  # (W, 3)
    fraction = (FULL_SPEED_MPH * grid[SPEED] - SLOW_MPH) / (TOP_SPEED_MPH - SLOW_MPH)
    level = np.where(np.isnan(fraction), UNKNOWN, np.rint(np.clip(np.nan_to_num(fraction), 0, 1) * (LEVELS - 1)))
    tiles = _tiles()[level.astype(np.int64)].swapaxes(1, 2)  # (H, 10, W, 20, 4)
    cells = image.reshape(*tiles.shape[:4], 3)  # a view
    cells += (other[:, None] - cells) * unsure[:, None, :, None, None]
    alpha = tiles[..., 3:] * (occupied * (own < 0.5))[:, None, :, None, None]
    cells += (tiles[..., :3] - cells) * alpha
    if (own > 0.5).any():
        rows, columns = np.nonzero(own > 0.5)
        x, y = 20 * (columns.mean() + 0.5), 10 * (rows.mean() + 0.5)
        left, top = max(0, int(x) - NEAR), max(0, int(y) - NEAR)
        around = image[top : int(y) + NEAR, left : int(x) + NEAR]  # a view
        sheet = Sheet(around.shape[1], around.shape[0], 1.0, left - x, top - y)
        draw_vehicle(sheet, LIGHT, EGO, 0, LIGHT.ego)
        sprite = sheet.rgba8() / 255
        around += (sprite[..., :3] - around) * sprite[..., 3:]
    return np.rint(255 * image).astype(np.uint8)


def scene_images(rules: Rules, states: NDArray[Any]) -> list[NDArray[np.uint8]]:
    """Return images (400, W, 3) of states (N,) at a decision, from 300 px ahead of the ego car to 100 px behind.

    The cells of a vehicle around it show its speed.
    """
    place = Rectangle(0, 0, round(rules.road_width + 2 * SHOULDER), AHEAD + BEHIND)
    view, history = RoadView(rules, LIGHT, LIGHT.ego, place, 1.0), Histories(rules.vehicles)
    images = [np.empty((place.height, place.width, 3), np.uint8) for _ in states]
    for k, (image, scene) in enumerate(zip(images, states, strict=True)):
        camera = Camera(-SHOULDER, rules.ego_y - AHEAD, place, 1.0)
        view.paint(
            image, scene, camera, history.observe(states.view(np.recarray), k), 0.0, 0, "map", map_cells(rules, scene)
        )
    return images


def hex_code(colour: Colour) -> str:
    """Return a colour of the painter as matplotlib takes it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def draw_road(axes: Axes, road: NDArray[Any]) -> None:
    """Draw a road from above, ahead up: a grid (4, H, W), or an image of `scene_images`."""
    axes.imshow(road if road.dtype == np.uint8 else road_image(road), aspect="equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def add_legend_below(figure: Figure, patches: Sequence[Patch]) -> None:
    """Add a legend below a figure, in as many columns as its width has room for."""
    columns = min(len(patches), max(1, int(figure.get_figwidth() / LEGEND_COLUMN)))
    figure.legend(handles=patches, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)


def add_road_legend(figure: Figure, has_speeds: bool = True) -> None:
    """Add the legend of roads below a figure: the ego car, road and verge, other vehicles and their speeds."""
    shown = {"ego car": LIGHT.ego, "road": LIGHT.asphalt, "off the road": LIGHT.verge}
    if not has_speeds:
        shown["other vehicle"] = LIGHT.traffic[3]
    patches = [Patch(color=hex_code(colour), label=name) for name, colour in shown.items()]
    add_legend_below(figure, patches)
    if not has_speeds:
        return
    ends = LIGHT.occupied_slow, LIGHT.occupied_fast
    colours = LinearSegmentedColormap.from_list("speeds", [hex_code(colour) for colour in ends])
    scale = ScalarMappable(Normalize(SLOW_MPH, TOP_SPEED_MPH), colours)
    bar = figure.colorbar(scale, ax=figure.axes, location="bottom", fraction=0.03, pad=0.02, shrink=0.6, extend="min")
    bar.set_label("speed of vehicles [mph]", fontsize=8)
    bar.ax.tick_params(labelsize=8)


def save_roads(
    lines: Mapping[str, Sequence[NDArray[Any]] | NDArray[Any]], path: str | Path, titles: Sequence[str] = ()
) -> Path:
    """Plot a row of roads per name, as `draw_road` takes them; titles: of the columns."""
    columns = max(len(roads) for roads in lines.values())
    first = next(iter(lines.values()))[0]
    wide, tall = (20 * first.shape[2], 10 * first.shape[1]) if first.dtype != np.uint8 else first.shape[1::-1]
    figure = empty_figure(
        (1.06 * columns * ROW_HEIGHT * wide / tall + 0.4, (ROW_HEIGHT + 0.3) * len(lines) + 0.8 + 0.2 * bool(titles))
    )
    axes = figure.subplots(len(lines), columns, squeeze=False)
    for row, (name, roads) in zip(axes, lines.items(), strict=True):
        for column, place in enumerate(row):
            if column < len(roads):
                draw_road(place, roads[column])
            else:
                place.set_axis_off()
        row[0].set_ylabel(name, fontsize=9, color=INK)
    for place, title in zip(axes[0], titles, strict=False):
        place.set_title(title, fontsize=8, color=INK)
    grids = [roads[0] for roads in lines.values() if roads[0].dtype != np.uint8]
    add_road_legend(figure, not all(np.isnan(grid[SPEED]).any() for grid in grids) or not grids)
    return save_plot(figure, path, colours=256)
