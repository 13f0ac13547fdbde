"""What a person sees while an agent trains: a bar with decisions, mph and the time left, a line per evaluation.

On a terminal the bar moves; written to a file, only the lines appear. Everything goes to standard error.
"""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class TrainingProgress:
    """A progress bar over decisions.

    Args:
        total: decisions of the whole training
        done: decisions already made, when a run is resumed
        console: where to; None for standard error
    """

    def __init__(self, total: int, done: int = 0, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("decisions, {task.fields[mph]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("training", total=total, completed=done, mph="... mph")

    def __enter__(self) -> "TrainingProgress":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def advance(self, decisions: int, mph: float) -> None:
        """Show the decisions made so far and how fast the exploring driver goes."""
        self.bar.update(self.task, completed=decisions, mph=f"{mph:.1f} mph")

    def report(self, decisions: int, mean_mph: float, median_mph: float, is_best: bool) -> None:
        """Print an evaluation on tuning seeds."""
        best = "  best" if is_best else ""
        self.say(f"{decisions:>11,} decisions: tuning runs {mean_mph:.2f} mph, median {median_mph:.2f}{best}")

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)
