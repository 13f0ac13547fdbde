"""`deeptraffic competition export`, `backup`, `restore` and `doctor`: maintenance of a competition."""

from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.table import Table

from deeptraffic.cli.contests import COMPETITION, DATA, DATABASE_URL, JSON, actor, open_competition, open_existing
from deeptraffic.cli.serve import require_extra
from deeptraffic.cli.terminal import FAILED, messages, print_json, results


def export(
    output: Path = typer.Option(..., "--output", "-o", help="The .zip to write."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
) -> None:
    """Write everything of a competition: boards, submissions, people, run scores, policy files, the audit log."""
    from deeptraffic.competition.store import export as exports

    db, found = open_competition(data, database_url, competition)
    exports.write(db, found.id, output, actor())
    results.print(f"{output}: {output.stat().st_size:,} bytes", markup=False, highlight=False)


def backup(
    output: Path = typer.Option(..., "--output", "-o", help="The file to write; keep it as secret as the server."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
) -> None:
    """Write a backup of the whole database while the server runs."""
    from deeptraffic.competition.store import backup as backups

    counts = backups.backup(open_existing(data, database_url), output, actor())
    _print_counts(output, counts)


def restore(
    file: Path = typer.Argument(..., help="A backup."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
) -> None:
    """Fill an empty folder or database from a backup."""
    require_extra()
    from deeptraffic.competition.server import open_database
    from deeptraffic.competition.store import backup as backups

    if not file.is_file():
        raise ValueError(f"there is no file {str(file)!r}")
    counts = backups.restore(file, open_database(data, database_url), actor())
    _print_counts(data, counts)


def _print_counts(place: Path, counts: dict[str, int]) -> None:
    text = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    results.print(f"{place}: {text}", markup=False, highlight=False, soft_wrap=True)


def doctor(data: Path = DATA, database_url: str | None = DATABASE_URL, json: bool = JSON) -> None:
    """Probe what this machine really protects: the sandbox, the disk, the clock, the database. Fails if one is bad."""
    from deeptraffic.competition.doctor import examine

    findings = []
    with messages.status("probing") as status:
        for finding in examine(open_existing(data, database_url), data):
            findings.append(finding)
            status.update(f"probed {finding.name}")
    if json:
        print_json({"findings": [vars(finding) for finding in findings]})
    else:
        _print_findings(findings)
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(FAILED)


def _print_findings(findings: list[Any]) -> None:
    colours = {"good": "green", "weak": "yellow", "bad": "bold red"}
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("what", "state", "finding"):
        table.add_column(heading)
    for finding in findings:
        table.add_row(finding.name, f"[{colours[finding.state]}]{finding.state}[/]", finding.detail)
    results.print(table)
