"""What a person sees while a sweep runs: a bar over trials with the best score so far, a line per new best."""

from rich.console import Console

from agents.progress import CountedProgress

PACE = 600.0  # [s] over which the time left is estimated, for trials differ in length


class SweepProgress(CountedProgress):
    """A progress bar over trials, on standard error; written to a file, only the lines appear.

    Args:
        total: trials of the whole sweep
        done: trials already finished, when a sweep is resumed
        console: where to; None for standard error
    """

    def __init__(self, total: int, done: int = 0, console: Console | None = None) -> None:
        super().__init__("sweep", "trials", "no score yet", total, done, console, speed_estimate_period=PACE)
        self.done = done

    def show_best(self, number: int, score: float) -> None:
        """Show which trial is the best so far."""
        self.bar.update(self.task, note=f"best {score:.2f} mph in trial {number}")

    def finished(self, number: int, score: float | None, failure: str, is_best: bool) -> None:
        """Count a trial; print a line if it is the best so far or failed."""
        self.done += 1
        self.bar.update(self.task, completed=self.done)
        if failure:
            self.say(f"trial {number} failed: {failure}")
        if is_best and score is not None:
            self.show_best(number, score)
            self.say(f"{self.done:>6,} trials: best {score:.2f} mph on tuning seeds, trial {number}")
