"""`deeptraffic serve` and `deeptraffic worker`: a competition server on this machine, and workers on others."""

import os
from enum import StrEnum
from pathlib import Path

import typer

from deeptraffic.cli.terminal import messages, results
from deeptraffic.extras import require_extra

DATA_HELP = "Folder of the competition."
DATABASE_HELP = "PostgreSQL database, postgresql+psycopg://USER@HOST/NAME, in place of the folder's SQLite file."
DATABASE_VARIABLE = "DEEPTRAFFIC_DATABASE_URL"
DEFAULT_DATA = Path("competition")
STRICT_HELP = "Do not run where a protection of the sandbox is missing."
EVERY_ADDRESS = ("0.0.0.0", "::")


class Lane(StrEnum):
    """Jobs that a worker takes."""

    all = "all"
    validation = "validation"


def serve(
    data: Path = typer.Option(DEFAULT_DATA, help=DATA_HELP),
    host: str = typer.Option("127.0.0.1", help="Address to listen at; 0.0.0.0 for every address of this machine."),
    port: int = typer.Option(8000, min=0, max=65535, help="Port to listen at; 0 for any free one."),
    public_url: str | None = typer.Option(None, help="URL that participants use, such as https://traffic.example.org."),
    trust_proxy: list[str] = typer.Option([], help="Proxy (address or network) whose X-Forwarded-* are trusted."),
    database_url: str | None = typer.Option(None, envvar=DATABASE_VARIABLE, help=DATABASE_HELP),
    strict_sandbox: bool = typer.Option(False, "--strict-sandbox", help=STRICT_HELP),
    backup_hours: float = typer.Option(
        0.0, min=0.0, max=8760.0, help="Hours between backups into the folder backups of the data; 0 for none."
    ),
    backups: int = typer.Option(14, min=1, max=10_000, help="Number of the newest scheduled backups to keep."),
    workers: int | None = typer.Option(
        None, min=0, max=256, help="Number of parallel evaluations.", show_default="one per core"
    ),
) -> None:
    """Serve a competition: pages, the lab, JSON API and evaluation workers, until Ctrl-C."""
    require_extra("competition")
    from deeptraffic.competition.sandbox.errors import require_linux

    require_linux()
    from deeptraffic.competition.sandbox.strictness import require_protections
    from deeptraffic.competition.server import ServerSettings, open_server

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    settings = ServerSettings(
        data,
        host,
        port,
        public_url,
        tuple(trust_proxy),
        database_url,
        cores if workers is None else workers,
        _lab_files(),
        backup_hours,
        backups,
    )
    if host in EVERY_ADDRESS and public_url is None:
        messages.print(
            f"--host {host} without --public-url: other machines reach the server, which does not know its own address "
            "then and accepts every Host header; links name this machine. Give --public-url URL."
        )
    if strict_sandbox:
        require_protections()
    with open_server(settings) as server:
        if server.first_start is not None:
            results.print(
                "New competition. This link makes you its organiser; it works once, within two days:", soft_wrap=True
            )
            results.print(f"  {server.url}/link/{server.first_start.link}", highlight=False, soft_wrap=True)
            results.print("This link lets anyone join:")
            results.print(f"  {server.url}/join/{server.first_start.invite}", highlight=False, soft_wrap=True)
        results.print(f"Serving {server.url} from {data}; Ctrl-C ends it.", highlight=False, soft_wrap=True)
        server.run()
    messages.print("The server has stopped; unfinished evaluations resume at the next start.")


def _lab_files() -> dict[str, bytes] | None:
    """Return the files of the lab's page; None where what trains, whose settings the page offers, is not installed."""
    try:
        from deeptraffic.lab.site import site_files

        return site_files()
    except ModuleNotFoundError as error:
        messages.print(f"The site has no lab, where participants train in their browsers: {error}", markup=False)
        return None


def worker(
    database_url: str = typer.Option(..., envvar=DATABASE_VARIABLE, help="Database of the competition."),
    lane: Lane = typer.Option(Lane.all, help="Jobs to take; validation: only runs that take seconds."),
    strict_sandbox: bool = typer.Option(False, "--strict-sandbox", help=STRICT_HELP),
) -> None:
    """Evaluate queued submissions of a competition, on this or another machine, until Ctrl-C."""
    require_extra("competition")
    from deeptraffic.competition.sandbox.errors import require_linux

    require_linux()
    from deeptraffic.competition.sandbox.strictness import log_missing, require_protections
    from deeptraffic.competition.store.database import Database
    from deeptraffic.competition.worker import work

    require_protections() if strict_sandbox else log_missing()
    Database(database_url).migrate().close()
    work(database_url, lane)
