"""What a person sees of a training: a bar while it runs, and the error plot that it leaves."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from deeptraffic.figure import BLUE, ORANGE, new_figure, save_figure

Curve = dict[str, float]  # the numbers of one epoch, train_* and validation_*


@contextmanager
def epoch_bar(console: Console | None, epochs: int, title: str) -> Iterator[Callable[[int, Curve], None]]:
    """Show a bar on standard error, if that is a terminal; give (epochs made, last curve) -> None, which moves it."""
    console = console or Console(stderr=True)
    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs, {task.fields[loss]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=epochs, loss="...")

        def advance(epoch: int, line: Curve) -> None:
            losses = f"training {line['train_loss']:.4f}, validation {line['validation_loss']:.4f}"
            bar.update(task, completed=epoch, loss=losses)

        yield advance


def save_curves(curves: Sequence[Curve], path: str | Path, title: str, best_epoch: int) -> Path:
    """Draw the error plot: loss over epochs on training and on validation data, the kept epoch marked."""
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
