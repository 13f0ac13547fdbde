"""Plots of the report: confusion matrices, predictions, learning curves, clips, feature maps and grids.

All are small files (about 30 kB), for a page with many of them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
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

REPORT_DPI = 80


def save_confusion(table: NDArray[np.int64], names: Sequence[str], path: str | Path, title: str) -> Path:
    """Plot a confusion matrix (K true classes, K predicted classes), rows normalised to 1."""
    figure, axes = new_figure(title, (1.1 * len(names) + 2.0, 0.8 * len(names) + 1.2))
    fraction = table / np.maximum(table.sum(1, keepdims=True), 1)
    axes.imshow(fraction, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.grid(visible=False)
    for line in range(len(names)):
        for column in range(len(names)):
            colour = "white" if fraction[line, column] > 0.5 else INK
            axes.text(column, line, f"{100 * fraction[line, column]:.1f}%", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(names)), names)
    counts = zip(names, table.sum(1), strict=True)
    axes.set_yticks(range(len(names)), [f"{name}\n(n = {count:,})" for name, count in counts])
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return save_figure(figure, path, REPORT_DPI)


def draw_bars(axes: Axes, values: Mapping[str, float], best: str, label: str, limit: float | None = None) -> None:
    """Draw a bar with its value per name, `best` in colour; `limit` is the end of the axis."""
    places = np.arange(len(values))[::-1]
    colours = [BLUE if name == best else GREY for name in values]
    bars = axes.barh(places, list(values.values()), color=colours, height=0.6)
    axes.bar_label(bars, [f"{value:.3g}" for value in values.values()], padding=3, color=INK)
    axes.set_yticks(places, list(values))
    axes.set_xlim(0, limit or 1.15 * max(values.values()))
    axes.set_xlabel(label)
    axes.grid(visible=False)


def save_speeds(
    predicted: NDArray[np.floating], true: NDArray[np.floating], errors: Mapping[str, float], path: str | Path
) -> Path:
    """Plot predicted over true speed [mph], (N,) each, and the errors [mph] by method, the network's first."""
    figure = empty_figure((9.0, 3.8))
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.0))
    style_axes(left, "Predicted and true")
    left.hexbin(true, predicted, gridsize=26, extent=(30, 80, 30, 80), cmap="Blues", bins="log", mincnt=1)
    left.plot([30, 80], [30, 80], color=ORANGE, lw=1.5, label="no error")
    left.set_xlabel("true mean speed of the next five decisions [mph]")
    left.set_ylabel("predicted [mph]")
    left.legend(frameon=False, loc="upper left")
    style_axes(right, "Error on held-out runs")
    draw_bars(right, errors, next(iter(errors)), "root mean squared error [mph], lower is better")
    return save_figure(figure, path, REPORT_DPI)


def save_morph(
    frames: NDArray[np.uint8],
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer[Any]],
    names: Sequence[str],
    path: str | Path,
    shown: int = 11,
) -> Path:
    """Plot frames of a video (F, 3, H, W) above the class probabilities (F, K) and the true class (F,)."""
    figure = empty_figure((9.5, 5.2))
    grid = figure.add_gridspec(2, shown, height_ratios=(1.0, 1.15))
    figure.suptitle("Scenes outside the data set, and class probabilities", fontsize=12, fontweight="bold")
    picked = np.linspace(0, len(frames) - 1, shown).round().astype(int)
    for place, k in enumerate(picked):
        axes = figure.add_subplot(grid[0, place])
        axes.imshow(frames[k].transpose(1, 2, 0), aspect=1.6)
        axes.set_xticks([], [])
        axes.set_yticks([], [])
        axes.set_xlabel(f"{k}\n{names[labels[k]]}", fontsize=8)
    axes = figure.add_subplot(grid[1, :])
    style_axes(axes)
    axes.stackplot(np.arange(len(frames)), probabilities.T, labels=names, colors=PALETTE, alpha=0.9)
    axes.vlines(np.flatnonzero(np.diff(labels)) + 0.5, 0, 1, color=INK, ls="--", lw=1.2, label="true class changes")
    axes.set_xlim(0, len(frames) - 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("frame (the true class is below the frames above)")
    axes.set_ylabel("probability of each class")
    axes.legend(frameon=False, ncols=len(names) + 1, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8)
    return save_figure(figure, path, REPORT_DPI)


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
    return save_figure(figure, path, 64)


def save_detection(
    image: NDArray[np.uint8],
    true: NDArray[np.bool_],
    seen: NDArray[np.bool_],
    speeds: Mapping[str, float],
    path: str | Path,
) -> Path:
    """Plot a frame (3, H, W), its true cells (R, L), detections right and wrong, and scores [mph] by perception."""
    figure = empty_figure((9.0, 4.6))
    grid = figure.add_gridspec(1, 5, width_ratios=(1.0, 1.0, 1.0, 0.1, 2.2))
    mistakes = np.ones((*true.shape, 3))
    for cells, colour in ((true & seen, BLUE), (true & ~seen, ORANGE), (seen & ~true, PURPLE)):
        mistakes[cells] = to_rgb(colour)
    plain = np.where(true[..., None], to_rgb(INK), 1.0)
    images = {"frame": image.transpose(1, 2, 0), "true cells": plain, "detected cells": mistakes}
    for place, (title, content) in enumerate(images.items()):
        axes = figure.add_subplot(grid[place])
        axes.imshow(content, aspect="auto", interpolation="nearest")
        axes.set_title(title, fontsize=10, color=INK)
        axes.set_xticks([], [])
        axes.set_yticks([], [])
    axes.set_xlabel("blue correct, orange missed,\npurple false", fontsize=8)
    axes = figure.add_subplot(grid[4])
    style_axes(axes, "Score by perception")
    draw_bars(axes, speeds, next(iter(speeds)), "median [mph]")
    return save_figure(figure, path, REPORT_DPI)


def save_invariance(
    grid: NDArray[np.floating],
    moved: NDArray[np.floating],
    shifts: Sequence[int],
    changes: Mapping[str, Sequence[float]],
    path: str | Path,
) -> Path:
    """Plot the occupied cells of a grid (4, H, W) and of a moved one, and each network's change over the shifts."""
    figure = empty_figure((9.0, 4.2))
    parts = figure.add_gridspec(1, 4, width_ratios=(1.0, 1.0, 0.1, 4.0))
    for place, (title, content) in enumerate({"a scene": grid, "all moved": moved}.items()):
        axes = figure.add_subplot(parts[place])
        axes.imshow(content[0], cmap="Blues", vmin=0, vmax=1.3, aspect="auto", interpolation="nearest")
        axes.set_title(title, fontsize=10, color=INK)
        axes.set_xticks([], [])
        axes.set_yticks([], [])
    axes = figure.add_subplot(parts[3])
    style_axes(axes, "Change of features with moved traffic")
    for (name, values), colour, dash in zip(changes.items(), PALETTE, ("-", "--", ":"), strict=False):
        axes.plot(shifts, values, dash, color=colour, marker="o", ms=4, label=name)
    axes.axhline(1.0, color=GREY, lw=1.0)
    axes.text(shifts[-1], 1.02, "another scene", ha="right", color=GREY, fontsize=9)
    axes.set_ylim(0, None)
    axes.set_xlabel("traffic moved by [cells of 10 px]")
    axes.set_ylabel("change of features")
    axes.legend(frameon=False)
    return save_figure(figure, path, REPORT_DPI)


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
    return save_figure(figure, path)


Labels = tuple[str, NDArray[np.int64], Sequence[str]]  # title, (N,) classes, their names


def project(features: NDArray[np.float32], method: str = "tsne") -> NDArray[np.float32]:
    """Project features (N, D) to (N, 2): by t-SNE (van der Maaten and Hinton 2008, JMLR 9) or PCA."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if method not in ("tsne", "pca"):
        raise ValueError(f"there is no projection {method!r}; choose tsne or pca")
    if method == "tsne" and len(features) > 10:
        perplexity = min(30.0, (len(features) - 1) / 3)
        return np.asarray(TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(features))
    return np.asarray(PCA(2, random_state=0).fit_transform(features), np.float32)


def save_map(places: NDArray[np.float32], labels: Sequence[Labels], path: str | Path) -> Path:
    """Plot projected features (N, 2) once per labelling: (title, (N,) classes, their names)."""
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
    return save_figure(figure, path, REPORT_DPI)


ROAD, BESIDE, OWN_CAR = (0.91, 0.91, 0.91), (0.66, 0.74, 0.62), (0.0, 0.0, 0.0)
SPEEDS = "plasma"  # perceptually uniform
Column = tuple[str, NDArray[np.float32] | Sequence[NDArray[np.float32]]]  # heading, grids from top to bottom


def grid_image(grid: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (W, H, 3) RGB of one grid, occupancy probabilities as opacity."""
    occupied, off = np.clip(grid[OCCUPIED], 0, 1)[..., None], np.clip(grid[OFF_ROAD], 0, 1)[..., None]  # (H, W, 1)
    cars = colormaps[SPEEDS](np.clip(grid[SPEED], 0, 1))[..., :3]
    image = occupied * cars + (1 - occupied) * (off * BESIDE + (1 - off) * np.array(ROAD))
    image = np.where((grid[OWN] > 0.5)[..., None], OWN_CAR, image)
    return image[::-1].transpose(1, 0, 2).astype(np.float32)  # row 0, the farthest ahead, to the right


def save_grids(
    columns: Sequence[Column],
    path: str | Path,
    title: str,
    names: Sequence[str] = (),
) -> Path:
    """Plot columns of grids, (heading, grids) each; names: of the rows."""
    rows = max(len(grids) for _, grids in columns)
    figure = empty_figure((3.6 * len(columns) + 1.0, 0.55 * rows + 1.3))
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    axes = figure.subplots(rows, len(columns), squeeze=False)
    for column, (heading, grids) in enumerate(columns):
        for row in range(rows):
            _show(axes[row, column], grids[row] if row < len(grids) else None)
            if column == 0 and row < len(names):
                axes[row, 0].set_ylabel(names[row], rotation=0, ha="right", va="center", fontsize=9)
        axes[0, column].set_title(heading, fontsize=10, color=INK)
    scale = ScalarMappable(Normalize(0, FULL_SPEED_MPH), colormaps[SPEEDS])
    bar = figure.colorbar(scale, ax=axes[:, -1].tolist(), fraction=0.05, pad=0.02)
    bar.set_label("speed [mph]", fontsize=9)
    return save_figure(figure, path, REPORT_DPI)


def _show(axes: Axes, grid: NDArray[np.float32] | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if grid is not None:
        axes.imshow(grid_image(grid), interpolation="nearest", aspect="auto")
