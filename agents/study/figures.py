"""The figures of the DeepTraffic paper (arXiv:1801.02805, figures 2 to 6) from a study's own table, and one more.

$ deeptraffic figures runs/sweep -o figures           # each as PNG, SVG, and what it shows as CSV

>>> draw_figures(read_tables(["agents/study/study.csv"]), "figures")
"""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from agents.analysis.plots import format_count
from agents.study.importance import draw_importances
from agents.study.panels import draw_panels
from agents.study.table import StudyTable
from agents.study.trial import COUNTS
from agents.study.tsne import draw_map
from deeptraffic.figure import INK, PALETTE, empty_figure, new_figure, save_figure, style_axes
from deeptraffic.run_dir import write_atomically
from deeptraffic.sim.state import F64

Rows = list[dict[str, Any]]
Drawing = Callable[[StudyTable], tuple[Figure, Rows]]
LEAST_TRIALS = 5
FORMATS = (".png", ".svg")
SCORE = "score on tuning runs [mph]"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def draw_progress(table: StudyTable) -> tuple[Figure, Rows]:
    """Figure 2: scores in the order of the trials, with the best so far."""
    figure, axes = new_figure("Score progress (paper: fig. 2)")
    rows: Rows = []
    for (name, study), colour, marker in zip(table.studies().items(), PALETTE, MARKERS, strict=False):
        numbers, scores = study.numbers("number") + 1, study.numbers("score")
        order = np.argsort(numbers)
        numbers, scores = numbers[order], scores[order]
        best = np.maximum.accumulate(scores)
        axes.scatter(numbers, scores, s=14, color=colour, marker=marker, alpha=0.45, linewidths=0)
        axes.step(numbers, best, where="post", color=colour, linewidth=2.2, label=f"{name}: best so far")
        axes.annotate(f"{best[-1]:.2f}", (numbers[-1], best[-1]), (4, 3), textcoords="offset points", color=colour)
        rows += [
            {"study": name, "trial": int(n - 1), "score": s, "best": b}
            for n, s, b in zip(numbers, scores, best, strict=True)
        ]
    axes.set_xlabel("trial")
    axes.set_ylabel(SCORE)
    axes.margins(x=0.08)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(PALETTE))
    return figure, rows


def draw_size(table: StudyTable) -> tuple[Figure, Rows]:
    """Figure 3: scores against the network's parameters, coloured by its layers and by the training's length."""
    studies = table.studies()
    figure = empty_figure((10.0, 3.6 * len(studies)))
    grid = figure.subplots(len(studies), 2, squeeze=False, sharey="row")
    figure.suptitle("Score and size of the network (paper: fig. 3)", fontweight="bold", color=INK)
    for row, (name, study) in enumerate(studies.items()):
        for axes, column in zip(grid[row], ("layers", "decisions"), strict=True):
            _scatter_size(axes, study, column)
        grid[row, 0].set_ylabel(f"{name}\n{SCORE}")
        style_axes(grid[row, 0], "by hidden layers")
        style_axes(grid[row, 1], "by decisions of training")
    for axes in grid[-1]:
        axes.set_xlabel("parameters of the network")
    columns = ("score", "parameters", "layers", "decisions")
    return figure, _columns(table, columns)


def _scatter_size(axes: Axes, study: StudyTable, column: str) -> None:
    values, sizes, scores = study.numbers(column), study.numbers("parameters"), study.numbers("score")
    for level, colour, marker in zip(_levels(values), ("#7fb8da", "#0072B2", "#D55E00", INK), MARKERS, strict=False):
        chosen = level == np.where(values >= 1000, np.round(values, -3), values)
        axes.scatter(
            sizes[chosen], scores[chosen], s=22, color=colour, marker=marker, alpha=0.75, label=format_count(level)
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if axes.collections:
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, fontsize=9, handletextpad=0.1)


def _levels(values: F64) -> F64:
    """The distinct values, those of a thousand and more rounded to thousands."""
    known = values[np.isfinite(values)]
    return np.unique(np.where(known >= 1000, np.round(known, -3), known))


def draw_evaluation(table: StudyTable) -> tuple[Figure, Rows]:
    """Figure 4: how far a score spreads that was taken from 10, 100 or 1,000 runs."""
    figure = empty_figure((10.0, 4.0))
    left, right = figure.subplots(1, 2)
    style_axes(left, "Evaluation (paper: fig. 4)")
    style_axes(right, "Spread of one trial's score")
    most = f"first_{COUNTS[-1]}"
    for count, colour in zip(COUNTS[:-1], (PALETTE[1], PALETTE[0]), strict=True):
        errors = _errors(table, count)
        if errors.size:
            left.hist(errors, np.linspace(-4, 4, 41), color=colour, alpha=0.65, label=f"{count} runs")
    left.set_xlabel(f"score of so many runs - score of {COUNTS[-1]:,} [mph]")
    left.set_ylabel("trials")
    if left.patches:
        left.legend(frameon=False)
    spreads = [table.numbers(f"spread_{count}") for count in COUNTS]
    spreads = [values[np.isfinite(values)] for values in spreads]
    boxes = right.boxplot(spreads, showfliers=False, patch_artist=True, widths=0.5, medianprops={"color": INK})
    for box in boxes["boxes"]:
        box.set_facecolor("#cfe3f0")
    for place, values in enumerate(spreads, start=1):
        if values.size:
            text = f"{np.median(values):.2f}"
            right.annotate(text, (place, np.median(values)), (34, -4), textcoords="offset points", fontsize=9)
    right.set_xticks(range(1, len(COUNTS) + 1), [f"{count:,} runs" for count in COUNTS])
    right.set_ylabel("standard deviation of the median [mph]")
    right.set_ylim(bottom=0)
    names = [f"{kind}_{count}" for kind in ("first", "spread") for count in COUNTS]
    return figure, _columns(table, ("score", most, *names))


def _errors(table: StudyTable, count: int) -> F64:
    errors = table.numbers(f"first_{count}") - table.numbers(f"first_{COUNTS[-1]}")
    return errors[np.isfinite(errors)]


def _columns(table: StudyTable, names: Sequence[str]) -> Rows:
    return [{name: row.get(name, "") for name in ("study", "number", *dict.fromkeys(names))} for row in table.rows]


FIGURES: dict[str, Drawing] = {
    "progress": draw_progress,
    "size": draw_size,
    "evaluation": draw_evaluation,
    "map": draw_map,
    "settings": draw_panels,
    "importance": draw_importances,
}


def draw_figures(table: StudyTable, folder: str | Path) -> list[Path]:
    """Draw all figures into a folder and return the files; ValueError if there are too few trials with a score."""
    complete = table.complete()
    if len(complete) < LEAST_TRIALS:
        raise ValueError(
            f"{len(complete)} trials with a score are too few to draw; let the sweep finish {LEAST_TRIALS} or more"
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, draw in FIGURES.items():
        figure, rows = draw(complete)
        files += [save_figure(figure, folder / f"{name}{ending}") for ending in FORMATS]
        files.append(_write_csv(folder / f"{name}.csv", rows))
    return files


def _write_csv(path: Path, rows: Rows) -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["study"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
    return path
