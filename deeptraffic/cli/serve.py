"""`deeptraffic serve` and `deeptraffic worker`: a competition on this machine, and more hands for it on others."""

import os
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

import typer

from deeptraffic.cli.terminal import messages, results

DATA_HELP = "The folder that holds the competition."
DATABASE_HELP = "postgresql+psycopg://USER@HOST/NAME in place of the folder's SQLite file."
DATABASE_VARIABLE = "DEEPTRAFFIC_DATABASE_URL"
DEFAULT_DATA = Path("competition")


EXTRA = ("sqlalchemy", "alembic", "fastapi", "jinja2", "uvicorn", "multipart")  # modules that the extra brings


def require_extra() -> None:
    """Raise ImportError that names the remedy if the packages of a server are not installed."""
    if missing := [name for name in EXTRA if find_spec(name) is None]:
        raise ImportError(f"{', '.join(missing)} is missing; a server needs pip install 'deeptraffic[competition]'")


class Lane(StrEnum):
    """What a worker does."""

    all = "all"
    validation = "validation"


def serve(
    data: Path = typer.Option(DEFAULT_DATA, help=DATA_HELP),
    host: str = typer.Option("127.0.0.1", help="The address to listen at; 0.0.0.0 for all of this machine's."),
    port: int = typer.Option(8000, min=0, max=65535, help="0 takes any free port."),
    public_url: str | None = typer.Option(None, help="What people type, such as https://traffic.example.org."),
    trust_proxy: list[str] = typer.Option([], help="A proxy, address or network, whose X-Forwarded-* are believed."),
    database_url: str | None = typer.Option(None, envvar=DATABASE_VARIABLE, help=DATABASE_HELP),
    workers: int | None = typer.Option(
        None, min=0, max=256, help="Evaluations side by side.", show_default="one per core"
    ),
) -> None:
    """Run a competition: pages, JSON API and evaluation workers, until Ctrl-C."""
    require_extra()
    from deeptraffic.competition.server import ServerSettings, open_server

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    settings = ServerSettings(
        data, host, port, public_url, tuple(trust_proxy), database_url, cores if workers is None else workers
    )
    with open_server(settings) as server:
        if server.made is not None:
            results.print("A new competition. This link makes you its organiser; it works once, within two days:")
            results.print(f"  {server.url}/link/{server.made.link}", highlight=False, soft_wrap=True)
            results.print("Whoever has this one can join:")
            results.print(f"  {server.url}/join/{server.made.invite}", highlight=False, soft_wrap=True)
        results.print(f"Serving {server.url} from {data}; Ctrl-C ends it.", highlight=False, soft_wrap=True)
        server.run()
    messages.print("The server has stopped; unfinished evaluations go on with the next start.")


def worker(
    database_url: str = typer.Option(..., envvar=DATABASE_VARIABLE, help="The competition's database."),
    lane: Lane = typer.Option(Lane.all, help="validation: only the short runs that answer within seconds."),
) -> None:
    """Evaluate what a competition's queue holds, from this or another machine, until Ctrl-C."""
    require_extra()
    from deeptraffic.competition.store.database import Database
    from deeptraffic.competition.worker import work

    Database(database_url).migrate().close()
    work(database_url, lane)
