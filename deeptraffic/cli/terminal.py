"""Terminal output: tables and JSON on standard output, progress and errors on standard error."""

import functools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

P = ParamSpec("P")
R = TypeVar("R")

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
results = Console()
messages = Console(stderr=True)


def reported(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command: its errors become one sentence on standard error and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (ValueError, RuntimeError, OSError, ImportError, KeyboardInterrupt) as error:
            if os.environ.get("DEEPTRAFFIC_TRACEBACK") == "1":
                raise
            code = exit_code(error)
            messages.print("" if code == INTERRUPTED else "[bold red]error:[/] ", end="")
            messages.print(sentence(error), markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(code) from error

    return run


def exit_code(error: BaseException) -> int:
    """Return the exit code for an error."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return BAD_INPUT if isinstance(error, ValueError | FileNotFoundError | IsADirectoryError) else FAILED


def sentence(error: BaseException) -> str:
    """Return an error's message, or its kind if it has none."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "interrupted"
    return str(error) or type(error).__name__


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object to standard output."""
    typer.echo(json.dumps(value, allow_nan=False))


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error, if that is a terminal; yield its update function (done, total)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
