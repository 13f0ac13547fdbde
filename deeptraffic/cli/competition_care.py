"""`deeptraffic competition export`, `backup`, `restore`, `doctor` and `bench`: looking after a competition."""

from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

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


def bench(
    people: int = typer.Option(2000, min=1, max=100_000, help="Participants in the database."),
    submissions: int = typer.Option(10_000, min=1, max=1_000_000, help="Scored submissions in the database."),
    readers: int = typer.Option(50, min=1, max=500, help="Who read pages at the same time."),
    seconds: float = typer.Option(10.0, min=1.0, max=600.0, help="Of each measurement."),
    database_url: str | None = typer.Option(None, help="An empty PostgreSQL database.", show_default="a SQLite file"),
    json: bool = JSON,
) -> None:
    """Measure a server of its own: page latency with many readers, submissions per minute with two workers."""
    require_extra()
    from deeptraffic.competition.load import Load

    figures = {}
    with messages.status("filling a database") as status:
        for name, value in Load(people, submissions, readers, seconds, database_url).run():
            figures[name] = value
            status.update(f"{name}: {value:,.1f}")
    if json:
        print_json(figures)
        return
    table = Table(box=box.SIMPLE, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in figures.items():
        table.add_row(Text(name), f"{value:,.1f}")
    results.print(table)
