"""Progress bar of a training: decisions, mph and the time left, and a line per evaluation.

On a terminal the bar moves; written to a file, only the lines appear. Everything goes to standard error.
"""

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class CountedProgress:
    """Progress bar over things that are counted, with a note beside the count.

    Args:
        name: in front of the bar
        unit: what is counted
        note: beside the count at first
        total, done: how many there are, and how many of them already, when work is resumed
        console: where to; None for standard error
        settings: of rich's bar
    """

    def __init__(
        self, name: str, unit: str, note: str, total: int, done: int, console: Console | None, **settings: Any
    ) -> None:
        self.console = console or Console(stderr=True)
        self.bar = Progress(
            TextColumn(name),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(f"{unit}, {{task.fields[note]}}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
            **settings,
        )
        self.task = self.bar.add_task(name, total=total, completed=done, note=note)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


class TrainingProgress(CountedProgress):
    """Progress bar over decisions.

    Args:
        total: decisions of the whole training
        done: decisions already made, when a run is resumed
        console: where to; None for standard error
    """

    def __init__(self, total: int, done: int = 0, console: Console | None = None) -> None:
        super().__init__("training", "decisions", "... mph", total, done, console)

    def advance(self, decisions: int, mph: float | None) -> None:
        """Show the decisions made so far and the speed of the exploring policy, None where none drives."""
        self.bar.update(self.task, completed=decisions, note="offline" if mph is None else f"{mph:.1f} mph")

    def report(self, decisions: int, mean_mph: float, median_mph: float, is_best: bool) -> None:
        """Print an evaluation on tuning seeds."""
        best = "  best" if is_best else ""
        self.print(f"{decisions:>11,} decisions: tuning runs {mean_mph:.2f} mph, median {median_mph:.2f}{best}")
