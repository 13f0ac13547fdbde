"""Figures of where miles per hour are lost: by cause, over a run's frames, by time stuck, and the worst scenes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from agents.analysis.loss_causes import BIN, CAUSES, SLOW
from agents.analysis.losses import MPH, STARTING, STUCK, WORST, Losses
from deeptraffic.figure import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    YELLOW,
    empty_figure,
    save_figure,
    style_axes,
)

COLOURS = dict(zip(CAUSES, ("#bbbbbb", BLUE, SKY, GREY, YELLOW, ORANGE, "#F3B391", GREEN, PURPLE), strict=True))
DARK = (BLUE, GREY, ORANGE, GREEN)  # on which numbers are white
LEAST_SHOWN = 0.005  # [mph] that a cause must cost somewhere to be in a figure's key
LEAST_WRITTEN = 0.25  # [mph] that a part of a bar must have to carry its number
COLOURS_KEPT = 96  # of a PNG: none of these figures needs more
SCENE = (200, 700)  # [pixels] painted; a strip around the ego car is kept
SCENE_ROWS = slice(370, 625)


def shown_causes(found: Sequence[Losses]) -> list[int]:
    """Return the causes that cost any of these policies anything."""
    return [k for k in range(len(CAUSES)) if max(losses.lost_mph[k] for losses in found) >= LEAST_SHOWN]


def save_causes(found: Sequence[Losses], path: Path) -> Path:
    """Draw what each policy loses as a bar of its causes; return the path."""
    figure = empty_figure((9.0, 1.7 + 0.55 * len(found)))
    axes = figure.add_subplot()
    style_axes(axes, "Where miles per hour are lost")
    left = np.zeros(len(found))
    for k in shown_causes(found):
        widths = np.array([losses.lost_mph[k] for losses in found])
        axes.barh(range(len(found)), widths, 0.62, left, color=COLOURS[CAUSES[k]], label=CAUSES[k])
        for row in np.flatnonzero(widths >= LEAST_WRITTEN).tolist():
            middle = float(left[row] + widths[row] / 2)
            ink = "white" if COLOURS[CAUSES[k]] in DARK else INK
            axes.text(middle, row, f"{widths[row]:.1f}", ha="center", va="center", fontsize=8, color=ink)
        left += widths
    for row, losses in enumerate(found):
        axes.text(left[row] + 0.1, row, f"mean {losses.mean_mph:.1f}", va="center", fontsize=9, color=INK)
    axes.set_yticks(range(len(found)), [losses.name for losses in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlim(0, left.max() * 1.14)
    axes.set_xlabel(f"mph lost of 80, {found[0].run_mph.size:,} {found[0].seed_set} runs")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8.5)
    return save_figure(figure, path, colours=COLOURS_KEPT)


def save_over_frames(found: Sequence[Losses], path: Path) -> Path:
    """Draw what each cause costs over a run's frames, a panel per policy; return the path."""
    figure, panels = _panels(found, "mph lost")
    causes = shown_causes(found)
    highest = max(float(losses.lost.mean(0).sum(1).max()) for losses in found)
    for axes, losses in zip(panels, found, strict=True):
        over = losses.lost.mean(0).T  # (causes, bins)
        frames = (np.arange(over.shape[1]) + 0.5) * BIN
        names, colours = [CAUSES[k] for k in causes], [COLOURS[CAUSES[k]] for k in causes]
        axes.stackplot(frames, over[causes], labels=names, colors=colours)
        axes.axvline(STARTING, color=INK, linewidth=0.8, linestyle=":")
        axes.set_ylim(0, highest * 1.05)
        axes.set_xlabel("frame of the run")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=1 + len(found), frameon=False, fontsize=8)
    return save_figure(figure, path, colours=COLOURS_KEPT)


def save_time_stuck(found: Sequence[Losses], path: Path) -> Path:
    """Draw each run's mean speed over its longest time below 60 mph, with the means of the bins; return the path."""
    figure, panels = _panels(found, "mean speed of a run [mph]")
    low = min(float(losses.run_mph.min()) for losses in found)
    for axes, losses in zip(panels, found, strict=True):
        axes.scatter(losses.slow, losses.run_mph, s=6, color=BLUE, alpha=0.35, linewidths=0)
        for row in losses.by_time_stuck():
            if row["mean_mph"] is not None:
                begin, end = row["frames"]
                axes.plot([begin, min(end, losses.slow.max())], [row["mean_mph"]] * 2, color=ORANGE, linewidth=2.4)
                label = f"{100 * row['share']:.0f}%"
                axes.text(begin + 4, row["mean_mph"] + 0.4, label, fontsize=8, color=INK)
        axes.set_xscale("symlog", linthresh=STUCK[1])
        axes.set_xticks(STUCK[:-1], [str(edge) for edge in STUCK[:-1]])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(0, max(2 * STUCK[-2], float(losses.slow.max()) * 1.1))
        axes.set_ylim(low - 1, 81)
        axes.set_xlabel(f"longest time below {SLOW * MPH:.0f} mph [frames]")
    figure.supxlabel("orange: mean and share of the runs between two marks of the axis", fontsize=8.5)
    return save_figure(figure, path, colours=COLOURS_KEPT)


def save_scenes(found: Sequence[Losses], path: Path) -> Path:
    """Draw the worst runs' longest time boxed in, a row per policy, red where the safety system says no."""
    figure = empty_figure((8.6, 2.15 * len(found)))
    grid = figure.add_gridspec(len(found), WORST)
    for row, losses in enumerate(found):
        for column, run in enumerate(losses.worst()):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(paint_scene(losses, int(run)))
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(f"{losses.run_mph[run]:.1f} mph, {losses.boxed[run]} frames", fontsize=6.5, color=INK)
            if column == 0:
                axes.set_ylabel(losses.name, fontsize=7.5, color=INK)
    return save_figure(figure, path, dpi=110, colours=64)


def paint_scene(losses: Losses, run: int) -> NDArray[np.uint8]:
    """Return a picture of the scene in which a run's ego car was boxed in the longest."""
    from deeptraffic.render.painter import Painter

    painter = Painter(losses.rules, SCENE, theme="light", overlay="safety", panel=False)
    return painter.paint(losses.scenes[run : run + 1].view(np.recarray), 0)[SCENE_ROWS]


def _panels(found: Sequence[Losses], ylabel: str) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each policy, side by side."""
    figure = empty_figure((2.4 + 2.4 * len(found), 3.6))
    panels: list[Axes] = []
    for k, losses in enumerate(found):
        axes = figure.add_subplot(1, len(found), k + 1, sharey=panels[0] if panels else None)
        style_axes(axes)
        axes.set_title(losses.name, loc="left", fontsize=9, fontweight="bold", color=INK)
        panels.append(axes)
    panels[0].set_ylabel(ylabel)
    return figure, panels
