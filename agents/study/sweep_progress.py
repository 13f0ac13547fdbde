"""What a person sees while a sweep runs: a bar over trials with the best score so far, a line per new best."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class SweepProgress:
    """A progress bar over trials, on standard error; written to a file, only the lines appear.

    Args:
        total: trials of the whole sweep
        done: trials already finished, when a sweep is resumed
        console: where to; None for standard error
    """

    def __init__(self, total: int, done: int = 0, console: Console | None = None) -> None:
        self.console, self.done = console or Console(stderr=True), done
        self.bar = Progress(
            TextColumn("sweep"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("trials, {task.fields[best]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            speed_estimate_period=600.0,  # trials differ in length
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("sweep", total=total, completed=done, best="no score yet")

    def __enter__(self) -> "SweepProgress":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def show_best(self, number: int, score: float) -> None:
        """Show which trial is the best so far."""
        self.bar.update(self.task, best=f"best {score:.2f} mph in trial {number}")

    def finished(self, number: int, score: float | None, failure: str, is_best: bool) -> None:
        """Count a trial; print a line if it is the best so far or failed."""
        self.done += 1
        self.bar.update(self.task, completed=self.done)
        if failure:
            self.say(f"trial {number} failed: {failure}")
        if is_best and score is not None:
            self.show_best(number, score)
            self.say(f"{self.done:>6,} trials: best {score:.2f} mph on tuning seeds, trial {number}")

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)
