"""Report of speed losses: Markdown table, JSON, and figures by cause, over a run's frames, by time stuck, of scenes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from agents.analysis.losses import START, STUCK, WORST, Losses
from agents.analysis.tables import markdown_table, replace_section
from agents.champions.pages import CHAMPIONS_PAGE
from deeptraffic.evaluation.loss_causes import BIN, CAUSES, SLOW
from deeptraffic.evaluation.protocol import OPEN_FRAMES
from deeptraffic.evaluation.statistics import bootstrap_interval
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
from deeptraffic.run_dir import write_json
from deeptraffic.sim.rules import FULL_SPEED_MPH, MPH_PER_PX

BEGIN, END = "<!-- table of losses -->", "<!-- end of losses -->"
COLOURS = dict(zip(CAUSES, ("#bbbbbb", BLUE, SKY, GREY, YELLOW, ORANGE, "#F3B391", GREEN, PURPLE), strict=True))
DARK = (BLUE, GREY, ORANGE, GREEN)  # values on these are white
LEAST_SHOWN = 0.005  # [mph] a cause of less is left out of the legends
LEAST_WRITTEN = 0.25  # [mph] a shorter part of a bar is not labelled
COLOURS_KEPT = 96  # of a PNG; these figures need no more
SCENE = (200, 700)  # [pixels] painted; a strip around the ego car is kept
SCENE_ROWS = slice(370, 625)


# --- table and files ------------------------------------------------------------------------------------------------


def write_losses(policies: Sequence[Losses], folder: Path) -> list[Path]:
    """Write losses.json and the figures of several policies into a folder; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "losses.json", {"policies": [losses.to_json() for losses in policies]})
    return [
        folder / "losses.json",
        save_causes(policies, folder / "causes.png"),
        save_over_frames(policies, folder / "frames.png"),
        save_time_stuck(policies, folder / "stuck.png"),
        save_scenes(policies, folder / "scenes.png"),
    ]


def write_page(policies: Sequence[Losses], page: Path = CHAMPIONS_PAGE) -> list[Path]:
    """Write the table into the page of champions of this source checkout, two figures beside it; return the paths."""
    replace_section(page, BEGIN, END, losses_table(policies))
    figures = page.parent / "figures"
    figures.mkdir(exist_ok=True)
    return [page, save_causes(policies, figures / "causes.png"), save_scenes(policies, figures / "scenes.png")]


def losses_table(policies: Sequence[Losses]) -> str:
    """Return a Markdown table of what each cause costs each policy [mph]."""
    lines = [["mph lost", *(losses.name for losses in policies)]]
    lines += [[name, *(f"{losses.lost_mph[k]:.2f}" for losses in policies)] for k, name in enumerate(CAUSES)]
    lines += [
        ["**all causes**", *(f"**{losses.lost_mph.sum():.2f}**" for losses in policies)],
        [f"of it in the first {START} frames", *(f"{_lost_at_start(losses):.2f}" for losses in policies)],
        ["mean speed", *(f"{losses.mean_mph:.2f}" for losses in policies)],
        [f"runs below 60 mph for {STUCK[-2]} frames on end", *(f"{_is_stuck(one).mean():.0%}" for one in policies)],
        ["their mean speed", *(f"{_stuck_mph(losses):.2f}" for losses in policies)],
    ]
    return markdown_table(lines, left=1)


def _lost_at_start(losses: Losses) -> float:
    return float(losses.lost_between(0, START).sum()) * START / OPEN_FRAMES


def _is_stuck(losses: Losses) -> NDArray[np.bool_]:
    return losses.slow >= STUCK[-2]


def _stuck_mph(losses: Losses) -> float:
    stuck = _is_stuck(losses)
    return float(losses.run_mph[stuck].mean()) if stuck.any() else float("nan")


# --- figures --------------------------------------------------------------------------------------------------------


def shown_causes(policies: Sequence[Losses]) -> list[int]:
    """Return the causes that cost any of these policies anything."""
    return [k for k in range(len(CAUSES)) if max(losses.lost_mph[k] for losses in policies) >= LEAST_SHOWN]


def save_causes(policies: Sequence[Losses], path: Path) -> Path:
    """Draw a bar of causes for each policy; return the path."""
    figure = empty_figure((9.0, 1.7 + 0.55 * len(policies)))
    axes = figure.add_subplot()
    style_axes(axes, "Where miles per hour are lost")
    left = np.zeros(len(policies))
    for k in shown_causes(policies):
        widths = np.array([losses.lost_mph[k] for losses in policies])
        axes.barh(range(len(policies)), widths, 0.62, left, color=COLOURS[CAUSES[k]], label=CAUSES[k])
        for row in np.flatnonzero(widths >= LEAST_WRITTEN).tolist():
            middle = float(left[row] + widths[row] / 2)
            ink = "white" if COLOURS[CAUSES[k]] in DARK else INK
            axes.text(middle, row, f"{widths[row]:.1f}", ha="center", va="center", fontsize=8, color=ink)
        left += widths
    for row, losses in enumerate(policies):
        low, high = bootstrap_interval(FULL_SPEED_MPH - losses.run_mph, np.mean)
        axes.errorbar(left[row], row, xerr=[[left[row] - low], [high - left[row]]], color=INK, capsize=3, linewidth=1.2)
        words = f"mean {losses.mean_mph:.1f} [{FULL_SPEED_MPH - high:.1f}, {FULL_SPEED_MPH - low:.1f}]"
        axes.text(high + 0.1, row, words, va="center", fontsize=9, color=INK)
    axes.set_yticks(range(len(policies)), [losses.name for losses in policies])
    axes.set_ylim(len(policies) - 0.5, -0.5)
    axes.set_xlim(0, left.max() * 1.32)
    runs = f"{policies[0].run_mph.size:,} {policies[0].seed_set} runs"
    axes.set_xlabel(f"mph lost of 80, {runs}; ends and brackets: 95% bootstrap intervals")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8.5)
    return save_figure(figure, path, colours=COLOURS_KEPT)


def save_over_frames(policies: Sequence[Losses], path: Path) -> Path:
    """Draw the loss by cause over the frames of a run, a panel per policy; return the path."""
    figure, panels = _panels(policies, "mph lost")
    causes = shown_causes(policies)
    highest = max(float(losses.lost.mean(0).sum(1).max()) for losses in policies)
    for axes, losses in zip(panels, policies, strict=True):
        over = losses.lost.mean(0).T  # (causes, bins)
        frames = (np.arange(over.shape[1]) + 0.5) * BIN
        names, colours = [CAUSES[k] for k in causes], [COLOURS[CAUSES[k]] for k in causes]
        axes.stackplot(frames, over[causes], labels=names, colors=colours)
        axes.axvline(START, color=INK, linewidth=0.8, linestyle=":")
        axes.set_ylim(0, highest * 1.05)
        axes.set_xlabel("frame of the run")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=1 + len(policies), frameon=False, fontsize=8)
    return save_figure(figure, path, colours=COLOURS_KEPT)


def save_time_stuck(policies: Sequence[Losses], path: Path) -> Path:
    """Draw each run's mean speed over its longest time below 60 mph, with the means of bins; return the path."""
    figure, panels = _panels(policies, "mean speed of a run [mph]")
    low = min(float(losses.run_mph.min()) for losses in policies)
    for axes, losses in zip(panels, policies, strict=True):
        axes.scatter(losses.slow, losses.run_mph, s=6, color=BLUE, alpha=0.35, linewidths=0)
        for row in losses.by_time_stuck():
            if row["mean_mph"] is not None:
                begin, end = row["frames"]
                right = min(end, losses.slow.max())
                axes.plot([begin, right], [row["mean_mph"]] * 2, color=ORANGE, linewidth=2.4)
                chosen = losses.run_mph[(losses.slow >= begin) & (losses.slow <= end)]
                low_mean, high_mean = bootstrap_interval(chosen, np.mean)
                axes.fill_between([begin, right], low_mean, high_mean, color=ORANGE, alpha=0.25, linewidth=0)
                label = f"{100 * row['fraction']:.0f}%"
                axes.text(begin + 4, row["mean_mph"] + 0.4, label, fontsize=8, color=INK)
        axes.set_xscale("symlog", linthresh=STUCK[1])
        axes.set_xticks(STUCK[:-1], [str(edge) for edge in STUCK[:-1]])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(0, max(2 * STUCK[-2], float(losses.slow.max()) * 1.1))
        axes.set_ylim(low - 1, 81)
        axes.set_xlabel(f"longest time below {SLOW * MPH_PER_PX:.0f} mph [frames]")
    words = "orange: mean (95% bootstrap interval) and fraction of the runs between two marks of the axis"
    figure.supxlabel(words, fontsize=8.5)
    return save_figure(figure, path, colours=COLOURS_KEPT)


def save_scenes(policies: Sequence[Losses], path: Path) -> Path:
    """Draw a scene of each of the worst runs, red where the safety system forbids; return the path."""
    figure = empty_figure((8.6, 2.15 * len(policies)))
    grid = figure.add_gridspec(len(policies), WORST)
    for row, losses in enumerate(policies):
        for column, run in enumerate(losses.worst()):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(paint_scene(losses, int(run)))
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(f"{losses.run_mph[run]:.1f} mph, {losses.boxed[run]} frames", fontsize=6.5, color=INK)
            if column == 0:
                axes.set_ylabel(losses.name, fontsize=7.5, color=INK)
    return save_figure(figure, path, colours=64)


def paint_scene(losses: Losses, run: int) -> NDArray[np.uint8]:
    """Return an image of the scene in which a run's ego agent was boxed in the longest."""
    from deeptraffic.render.painter import Painter

    painter = Painter(losses.rules, SCENE, theme="light", overlay="safety", panel=False)
    return painter.paint(losses.scenes[run : run + 1].view(np.recarray), 0)[SCENE_ROWS]


def _panels(policies: Sequence[Losses], ylabel: str) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each policy, side by side."""
    figure = empty_figure((2.4 + 2.4 * len(policies), 3.6))
    panels: list[Axes] = []
    for k, losses in enumerate(policies):
        axes = figure.add_subplot(1, len(policies), k + 1, sharey=panels[0] if panels else None)
        style_axes(axes)
        axes.set_title(losses.name, loc="left", fontsize=9, fontweight="bold", color=INK)
        panels.append(axes)
    panels[0].set_ylabel(ylabel)
    return figure, panels
