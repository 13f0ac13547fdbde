"""Terminal output: tables and JSON on standard output, progress and errors on standard error."""

import functools
import json
import os
import re
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

import typer
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

P = ParamSpec("P")
R = TypeVar("R")

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
NARROW = 60  # [columns] below which a table that does not fit is printed as a list
GAP = 2  # [columns] between two columns of a table
WORDS = re.compile(r"[^\s/_-]*[\s/_-]+|[^\s/_-]+")  # words and parts of names, after which a line may end
VALUES = re.compile(r".+?\s+(?=[\[(])|.+")  # a value, and the interval in brackets behind it
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
results = Console()
messages = Console(stderr=True)


def reported(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command: its errors become one sentence on standard error and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except BrokenPipeError as error:  # of `| head`: its reader has what it wanted
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere
            raise typer.Exit(FAILED) from error
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


def report(json: bool, facts: dict[str, Any], *lines: str) -> None:
    """Print facts as one JSON object, or else lines for people, as they are."""
    if json:
        print_json(facts)
        return
    for line in lines:
        results.print(line, markup=False, highlight=False, soft_wrap=True)


# --- tables ---------------------------------------------------------------------------------------------------------


def print_table(
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    left: int = 1,
    bold: Container[int] = (),
) -> None:
    """Print a table that fits the terminal, as far as its numbers do.

    Headings and words wrap between words, and within names after a hyphen, slash or underscore; numbers are never cut,
    but an interval in brackets may stand below its value. In a narrow terminal, rows that do not fit become lists.

    title: a line above, "" for none; headings: of the columns, all "" for none
    rows: cells, printed as they are: markup means nothing; left: number of columns of words, aligned to the left
    bold: indices of rows printed in bold
    """
    if title:
        results.print(Text(title, "italic"))
    breaks = [WORDS if number < left else VALUES for number in range(len(headings))]
    columns = [[str(row[number]) for row in rows] for number in range(len(headings))]
    widths = column_widths(headings, columns, breaks, results.width)
    needed = sum(widths) + GAP * (len(widths) - 1)
    if needed > results.width < NARROW and any(headings):
        _print_list(headings, rows, left, bold)
        return
    table = Table(box=box.SIMPLE_HEAD, show_header=any(headings), show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for number, (heading, width) in enumerate(zip(headings, widths, strict=True)):
        justify: Literal["left", "right"] = "left" if number < left else "right"
        table.add_column(wrap(heading, width, WORDS), justify=justify, width=width, no_wrap=True)
    for index, row in enumerate(rows):
        cells = [
            Text(wrap(str(cell), width, at), getattr(cell, "style", ""))
            for cell, width, at in zip(row, widths, breaks, strict=True)
        ]
        table.add_row(*cells, style="bold" if index in bold else None)
    Console(width=max(needed + GAP, results.width)).print(table)


def _print_list(headings: Sequence[str], rows: Sequence[Sequence[str | Text]], left: int, bold: Container[int]) -> None:
    """Print each row as lines of its headings and cells; a value that does not fit stands below its heading."""
    for index, row in enumerate(rows):
        for number, (heading, cell) in enumerate(zip(headings, row, strict=True)):
            value = Text(str(cell), getattr(cell, "style", "bold" if index in bold else ""))
            below = number >= left and cell_len(f"{heading}: {cell}") > results.width
            results.print(Text(f"{heading}:{chr(10) if below else ' '}", "dim").append_text(value))
        if index + 1 < len(rows):
            results.print()


def column_widths(
    headings: Sequence[str], columns: Sequence[Sequence[str]], breaks: Sequence[re.Pattern[str]], available: int
) -> list[int]:
    """Return the widths of columns: of their longest cells; where these need more than `available`, the widest less.

    breaks: pattern of the pieces of each column's cells that stay whole
    """
    texts = [
        [(heading, WORDS), *((cell, at) for cell in cells)]
        for heading, cells, at in zip(headings, columns, breaks, strict=True)
    ]
    full = [max(cell_len(text) for text, _ in column) for column in texts]
    least = [max(longest_piece(*text) for text in column) for column in texts]
    narrow = _tightened(texts, _shrunk(full, least, available))
    wide = [most if at is WORDS else width for most, width, at in zip(full, narrow, breaks, strict=True)]
    return _tightened(texts, _shrunk(wide, least, available))  # words take what numbers that wrapped left over


def _shrunk(widths: Sequence[int], least: Sequence[int], available: int) -> list[int]:
    """Return widths that fit, as far as the least ones allow it; the widest columns give first."""
    found = list(widths)
    while sum(found) + GAP * (len(found) - 1) > available:
        spare = [k for k in range(len(found)) if found[k] > least[k]]
        if not spare:
            break
        found[max(spare, key=lambda k: found[k])] -= 1
    return found


def _tightened(texts: Sequence[Sequence[tuple[str, re.Pattern[str]]]], widths: Sequence[int]) -> list[int]:
    """Return the widths that the longest lines of columns wrapped to `widths` take."""
    return [
        max(cell_len(line) for text, at in column for line in wrap(text, width, at).split("\n"))
        for column, width in zip(texts, widths, strict=True)
    ]


def longest_piece(text: str, breaks: re.Pattern[str]) -> int:
    """Return the width of the longest part of a text that stays whole."""
    return max((cell_len(piece.rstrip()) for piece in breaks.findall(text)), default=0)


def wrap(text: str, width: int, breaks: re.Pattern[str]) -> str:
    """Return a text in lines of at most `width` columns, as far as its pieces allow it."""
    lines = [""]
    for piece in breaks.findall(text):
        if lines[-1] and cell_len((lines[-1] + piece).rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


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
