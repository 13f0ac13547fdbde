"""`deeptraffic doctor`: diagnosis of this machine, and of a competition on it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from deeptraffic.cli.serve import DATABASE_HELP, DATABASE_VARIABLE
from deeptraffic.cli.terminal import FAILED, Json, messages, print_json, print_table

if TYPE_CHECKING:
    from deeptraffic.doctor import Finding

COLOURS = {"good": "green", "weak": "yellow", "bad": "bold red"}


def doctor(
    data: Path | None = typer.Option(None, help="Folder of a competition: test the sandbox, the disk, the database."),
    database_url: str | None = typer.Option(None, envvar=DATABASE_VARIABLE, help=DATABASE_HELP),
    json: Json = False,
) -> None:
    """Test this machine, and what a competition needs if its folder is named; exit code 1 if anything is bad."""
    findings = []
    with messages.status("testing") as status:
        for finding in _findings(data, database_url):
            findings.append(finding)
            status.update(f"tested {finding.name}")
    if json:
        print_json({"findings": [vars(finding) for finding in findings]})
    else:
        rows = [(each.name, Text(each.state, COLOURS[each.state]), each.detail) for each in findings]
        print_table("", ("what", "state", "finding"), rows, left=3)
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(FAILED)


def _findings(data: Path | None, database_url: str | None) -> "Iterator[Finding]":
    from deeptraffic.doctor import examine_machine

    yield from examine_machine()
    if data is None and database_url is None:
        return
    from deeptraffic.cli.competition import open_existing
    from deeptraffic.cli.serve import DEFAULT_DATA
    from deeptraffic.extras import require_extra

    require_extra("competition")
    from deeptraffic.competition.doctor import examine
    from deeptraffic.competition.sandbox.errors import require_linux

    require_linux()
    folder = DEFAULT_DATA if data is None else data
    yield from examine(open_existing(folder, database_url), folder)
