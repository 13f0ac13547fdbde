"""Tables as text: Markdown, sections of Markdown pages that a command writes, and CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deeptraffic.run_dir import write_atomically


def markdown_table(lines: Sequence[Sequence[str]], left: int | None = None) -> str:
    """Return lines of cells, the head first, as a Markdown table.

    left: number of columns aligned to the left, the others to the right; None for all
    """
    head, *body = lines
    left = len(head) if left is None else left
    marks = ["---"] * left + ["---:"] * (len(head) - left)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, marks, *body))


def replace_section(page: Path, begin: str, end: str, section: str) -> None:
    """Replace what stands between the lines `begin` and `end` of a page; ValueError if the page lacks them."""
    before, has_begin, rest = page.read_text(encoding="utf-8").partition(f"{begin}\n")
    _, has_end, after = rest.partition(end)
    if not (has_begin and has_end):
        raise ValueError(f"{page.name} lacks the lines {begin} and {end}; add them where the table belongs")
    write_atomically(page, f"{before}{begin}\n{section}{end}{after}".encode())


def csv_content(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    """Return rows as CSV with a header line; a column that a row lacks is empty there."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
