"""Which competition a command means: a folder or a database, and a name if there are several. The one place for it."""

import getpass
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from deeptraffic.cli.serve import DATA_HELP, DATABASE_HELP, DATABASE_VARIABLE, DEFAULT_DATA, require_extra

if TYPE_CHECKING:
    from deeptraffic.competition.store.database import Database
    from deeptraffic.competition.store.records import Competition

DATA = typer.Option(DEFAULT_DATA, help=DATA_HELP)
DATABASE_URL = typer.Option(None, envvar=DATABASE_VARIABLE, help=DATABASE_HELP)
COMPETITION = typer.Option(None, "--competition", "-c", help="Its name, if the database holds several.")
JSON = typer.Option(False, "--json", help="Print one JSON object.")


def open_existing(data: Path, url: str | None) -> "Database":
    """Return the database of a competition that is there; ValueError if the folder holds none."""
    require_extra()
    from deeptraffic.competition.server import open_database
    from deeptraffic.competition.store.database import FILE

    if url is None and not (data / FILE).is_file():
        raise ValueError(
            f"{str(data)!r} holds no competition; name its folder with --data, or start `deeptraffic serve`"
        )
    return open_database(data, url)


def open_competition(data: Path, url: str | None, key: str | None) -> "tuple[Database, Competition]":
    """Return a database and the competition meant; ValueError if none or several could be."""
    from deeptraffic.competition.store.competitions import all_competitions

    db = open_existing(data, url)
    every = all_competitions(db)
    found = [competition for competition in every if key is None or competition.key == key]
    if len(found) != 1:
        names = ", ".join(competition.key for competition in every) or "none"
        raise ValueError(f"name one competition with --competition; there are: {names}")
    return db, found[0]


def actor() -> str:
    """Return who acts, for the audit log."""
    name = "somebody"
    with suppress(OSError, KeyError):
        name = getpass.getuser()
    return f"{name} at the command line"[:80]
