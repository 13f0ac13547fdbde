"""Plots of the report: bars, confusion matrices, predictions, learning curves, clips, maps of features, and roads.

A road is drawn one way everywhere (`draw_road`): seen from above, ahead is up, the ego car orange, other cars coloured
by their speed, probabilities as opacity. Of bars the best one is in colour; the network's name is bold.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.figure import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PALETTE,
    PURPLE,
    empty_figure,
    new_figure,
    save_figure,
    style_axes,
)
from deeptraffic.sim.rules import FULL_SPEED_MPH


def save_plot(figure: Figure, path: str | Path, colours: int | None = None) -> Path:
    """Write a figure of the report and return its path; colours: the most it may have, to keep frames small."""
    return save_figure(figure, path, colours)


def save_confusion(table: NDArray[np.int64], names: Sequence[str], path: str | Path, title: str) -> Path:
    """Plot a confusion matrix (K true classes, K predicted classes), rows normalised to 1."""
    figure, axes = new_figure(title, (1.1 * len(names) + 2.0, 0.8 * len(names) + 1.2))
    _draw_confusion(axes, table, names)
    return save_plot(figure, path)


def save_classes(table: NDArray[np.int64], names: Sequence[str], scores: Mapping[str, float], path: str | Path) -> Path:
    """Plot a confusion matrix as `save_confusion`, and the macro-F1 by method, the network's first."""
    figure = empty_figure((0.95 * len(names) + 6.2, 0.55 * len(names) + 1.4))
    left, right = figure.subplots(1, 2, width_ratios=(0.95 * len(names) + 1.4, 4.2))
    style_axes(left, "True and predicted class")
    _draw_confusion(left, table, names)
    style_axes(right, "Score on held-out runs")
    best, own = max(scores, key=lambda name: scores[name]), next(iter(scores))
    draw_bars(right, scores, best, "macro-F1, higher is better", own=own)
    return save_plot(figure, path)


def _draw_confusion(axes: Axes, table: NDArray[np.int64], names: Sequence[str]) -> None:
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


def draw_bars(
    axes: Axes, values: Mapping[str, float], best: str, label: str, limit: float | None = None, own: str = ""
) -> None:
    """Draw a bar with its value per name, `best` in colour and `own` in bold; `limit` is the end of the axis."""
    places = np.arange(len(values))[::-1]
    colours = [BLUE if name == best else GREY for name in values]
    bars = axes.barh(places, list(values.values()), color=colours, height=0.6)
    axes.bar_label(bars, [f"{value:.3g}" for value in values.values()], padding=3, color=INK)
    axes.set_yticks(places, list(values))
    for tick, name in zip(axes.get_yticklabels(), values, strict=True):
        tick.set_fontweight("bold" if name == own else "normal")
    axes.set_xlim(0, limit or 1.15 * max(values.values()))
    axes.set_xlabel(label)
    axes.grid(visible=False)


def save_speeds(
    predicted: NDArray[np.floating],
    true: NDArray[np.floating],
    errors: Mapping[str, float],
    what: str,
    path: str | Path,
) -> Path:
    """Plot predicted over true speed [mph], (N,) each, and the errors [mph] by method, the network's first."""
    figure = empty_figure((9.0, 3.8))
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.0))
    style_axes(left, "Predicted and true")
    low, high = (float(end) for end in np.quantile(true, (0.005, 0.995)))
    left.hexbin(true, predicted, gridsize=26, extent=(low, high, low, high), cmap="Blues", bins="log", mincnt=1)
    left.plot([low, high], [low, high], color=ORANGE, lw=1.5, label="no error")
    left.set_xlabel(f"true {what} [mph]", fontsize=9)
    left.set_ylabel("predicted [mph]")
    left.legend(frameon=False, loc="upper left")
    style_axes(right, "Error on held-out runs")
    best, own = min(errors, key=lambda name: errors[name]), next(iter(errors))
    draw_bars(right, errors, best, "root mean squared error [mph], lower is better", own=own)
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
        fractions = np.round(probabilities[k].astype(np.float64), 2).tolist()
        draw_bars(axes, dict(zip(names, fractions, strict=True)), names[labels[k]], "probability", limit=1.35)
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

ROAD, SHOULDER = (0.91, 0.91, 0.91), (0.66, 0.74, 0.62)
SPEEDS = "viridis"  # perceptually uniform
SLOWEST_MPH = 20.0  # of the scale of speeds


def road_image(grid: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (H, W, 3) RGB of one grid (4, H, W), occupancy probabilities as opacity; cars of speed NaN are grey."""
    occupied, off = (np.clip(grid[channel], 0, 1)[..., None] for channel in (OCCUPIED, OFF_ROAD))  # (H, W, 1)
    slowest = SLOWEST_MPH / FULL_SPEED_MPH
    speed = np.clip((grid[SPEED] - slowest) / (1 - slowest), 0, 1)
    cars = np.where(np.isnan(speed)[..., None], to_rgb(GREY), colormaps[SPEEDS](np.nan_to_num(speed))[..., :3])
    image = occupied * cars + (1 - occupied) * (off * SHOULDER + (1 - off) * np.array(ROAD))
    return np.where((grid[OWN] > 0.5)[..., None], to_rgb(ORANGE), image)


def draw_road(axes: Axes, grid: NDArray[np.floating]) -> None:
    """Draw one grid (4, H, W) as a road seen from above, ahead up."""
    axes.imshow(road_image(grid), interpolation="nearest", aspect="auto")
    axes.set_xticks(np.arange(0.5, grid.shape[2] - 1), [])
    axes.set_yticks([])
    axes.grid(axis="x", color="white", lw=0.6)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def add_road_legend(figure: Figure, has_speeds: bool = True) -> None:
    """Add the legend of roads below a figure: the ego car, road and shoulder, other cars and their speeds."""
    patches = [Patch(color=colour, label=name) for name, colour in (("ego car", ORANGE), ("road", ROAD))]
    patches.append(Patch(color=SHOULDER, label="off the road"))
    if not has_speeds:
        patches.append(Patch(color=GREY, label="other car"))
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False, fontsize=8)
    if not has_speeds:
        return
    scale = ScalarMappable(Normalize(SLOWEST_MPH, FULL_SPEED_MPH), colormaps[SPEEDS])
    bar = figure.colorbar(scale, ax=figure.axes, location="bottom", fraction=0.03, pad=0.02, shrink=0.6)
    bar.set_label("speed of other cars [mph]", fontsize=8)
    bar.ax.tick_params(labelsize=8)


def save_roads(
    lines: Mapping[str, Sequence[NDArray[np.floating]] | NDArray[np.floating]],
    path: str | Path,
    titles: Sequence[str] = (),
) -> Path:
    """Plot a row of grids (4, H, W) per name; titles: of the columns."""
    columns = max(len(grids) for grids in lines.values())
    figure = empty_figure((0.8 * columns + 1.5, 1.9 * len(lines) + 0.8))
    axes = figure.subplots(len(lines), columns, squeeze=False)
    for row, (name, grids) in zip(axes, lines.items(), strict=True):
        for column, place in enumerate(row):
            if column < len(grids):
                draw_road(place, grids[column])
            else:
                place.set_axis_off()
        row[0].set_ylabel(name, fontsize=9, color=INK)
    for place, title in zip(axes[0], titles, strict=False):
        place.set_title(title, fontsize=8, color=INK)
    add_road_legend(figure, not all(np.isnan(grids[0][SPEED]).any() for grids in lines.values()))
    return save_plot(figure, path)
