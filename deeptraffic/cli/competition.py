"""`deeptraffic competition ...`: the organiser's commands; each is written to the audit log."""

import getpass
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from deeptraffic.cli.serve import DATA_HELP, DATABASE_HELP, DATABASE_VARIABLE, DEFAULT_DATA
from deeptraffic.cli.terminal import Json, print_json, print_table, report, results
from deeptraffic.extras import require_extra

if TYPE_CHECKING:
    from deeptraffic.competition.models import Competition
    from deeptraffic.competition.store.database import Database

DATA = typer.Option(DEFAULT_DATA, help=DATA_HELP)
DATABASE_URL = typer.Option(None, envvar=DATABASE_VARIABLE, help=DATABASE_HELP)
COMPETITION = typer.Option(None, "--competition", "-c", help="Name of the competition, if the database holds several.")
DAY = 86_400_000  # [ms]


def open_existing(data: Path, url: str | None) -> "Database":
    """Return the database of an existing competition; ValueError if the folder holds none."""
    require_extra("competition")
    from deeptraffic.competition.server import open_database
    from deeptraffic.competition.store.database import FILE

    if url is None and not (data / FILE).is_file():
        raise ValueError(
            f"{str(data)!r} holds no competition; name its folder with --data, or start `deeptraffic serve`"
        )
    return open_database(data, url)


def open_competition(data: Path, url: str | None, key: str | None) -> "tuple[Database, Competition]":
    """Return a database and a competition in it; ValueError if none or several match."""
    from deeptraffic.competition.store.competitions import all_competitions

    db = open_existing(data, url)
    every = all_competitions(db)
    found = [competition for competition in every if key is None or competition.key == key]
    if len(found) != 1:
        names = ", ".join(competition.key for competition in every) or "none"
        raise ValueError(f"name one competition with --competition; there are: {names}")
    return db, found[0]


def actor() -> str:
    """Return the acting user, for the audit log."""
    name = "unknown user"
    with suppress(OSError, KeyError):
        name = getpass.getuser()
    return f"{name} at the command line"[:80]


# --- settings and people ------------------------------------------------------------------------------------------


def create(
    key: str = typer.Argument(..., help="Name in URLs: lower-case letters, digits and hyphens."),
    config: Path | None = typer.Option(None, help="TOML or JSON file of settings."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    json: Json = False,
) -> None:
    """Create a competition from a file of settings, which may hold the `private_seeds` of the final."""
    require_extra("competition")
    from deeptraffic.competition.config import CompetitionConfig
    from deeptraffic.competition.server import last_address, open_database
    from deeptraffic.competition.store import accounts, competitions
    from deeptraffic.settings import read_settings

    record: dict[str, Any] = {} if config is None else read_settings(config)
    seeds = record.pop("private_seeds", None)
    settings = CompetitionConfig.from_record(record)
    db = open_database(data, database_url)
    made = competitions.create(db, key, settings, actor(), seeds)
    invite = f"{last_address(data)}/join/{accounts.new_invite(db, made.id, actor(), note='first invitation')}"
    if json:
        print_json({"key": made.key, "invite": invite, "config": settings.to_record()})
        return
    results.print(f"Created {made.key}: {settings.title}. Anybody with this link can join:", markup=False)
    results.print(f"  {invite}", highlight=False, soft_wrap=True)


def show(data: Path = DATA, database_url: str | None = DATABASE_URL, json: Json = False) -> None:
    """List the competitions, with phase, members and submissions."""
    from deeptraffic.competition.store import competitions

    db = open_existing(data, database_url)
    now = db.now()
    rows = [
        {
            "key": competition.key,
            "title": competition.config.title,
            "phase": competition.phase(now),
            **dict(zip(("members", "submissions"), competitions.count(db, competition.id), strict=True)),
        }
        for competition in competitions.all_competitions(db)
    ]
    if json:
        print_json({"competitions": rows})
        return
    cells = [tuple(map(str, row.values())) for row in rows]
    print_table("", ("key", "title", "phase", "members", "submissions"), cells, left=3)


def change(
    settings: list[str] = typer.Argument(..., help="key=value, such as daily_limit=5 closes_at=2026-10-31T23:59:59Z."),
    preview: bool = typer.Option(False, "--preview", help="Change nothing; say what another deadline would change."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
    json: Json = False,
) -> None:
    """Change settings, such as dates and limits."""
    from deeptraffic.competition.config import CompetitionConfig
    from deeptraffic.competition.store.competitions import change_config
    from deeptraffic.settings import parse_setting

    db, found = open_competition(data, database_url, competition)
    changes = dict(parse_setting(setting) for setting in settings)
    if preview:
        _preview(db, found.id, CompetitionConfig.from_record(found.config.to_record() | changes).closes, json)
        return
    change_config(db, found.id, changes, actor())
    report(json, {"key": found.key, "changed": changes}, f"{found.key}: changed {', '.join(settings)}")


def _preview(db: "Database", competition_id: int, closes: int | None, json: bool) -> None:
    from deeptraffic.competition.store.board import score_text
    from deeptraffic.competition.store.deadlines import preview

    found = preview(db, competition_id, closes)
    if json:
        records = {name: [vars(one) for one in getattr(found, name)] for name in ("entries", "ranks")}
        print_json({"phase_before": found.phase_before, "phase_after": found.phase_after} | records)
        return
    late = sum(one.late for one in found.entries)
    results.print(f"submissions are {found.phase_before} now, and {found.phase_after} then")
    results.print(f"{late:,} entries become late, {len(found.entries) - late:,} are in time again")
    rows = [
        (
            one.name,
            *(str(rank or "-") for rank in (one.rank_before, one.rank_after)),
            *(score_text(score) for score in (one.score_before, one.score_after)),
        )
        for one in found.ranks
    ]
    if rows:
        print_table("", ("driver", "rank now", "new rank", "score now", "new score"), rows)


def admin_link(data: Path = DATA, database_url: str | None = DATABASE_URL, json: Json = False) -> None:
    """Print a new one-time link for the organiser; earlier ones become invalid."""
    from deeptraffic.competition.server import last_address
    from deeptraffic.competition.store.accounts import organiser_link

    db = open_existing(data, database_url)
    link = f"{last_address(data)}/link/{organiser_link(db, actor())}"
    report(json, {"link": link}, link)


def invite(
    uses: int | None = typer.Option(None, min=1, help="How many people may join by it.", show_default="any number"),
    days: int = typer.Option(90, min=1, max=3650, help="Days until it expires."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
    json: Json = False,
) -> None:
    """Print an invitation link."""
    from deeptraffic.competition.server import last_address
    from deeptraffic.competition.store.accounts import new_invite

    db, found = open_competition(data, database_url, competition)
    link = f"{last_address(data)}/join/{new_invite(db, found.id, actor(), uses, days * DAY)}"
    report(json, {"invite": link}, link)


def accounts(
    people: Path = typer.Argument(..., help="CSV file with a column `name` and optionally `contact`."),
    output: Path = typer.Option(..., "--output", "-o", help="CSV file to write: name, contact, link."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
    json: Json = False,
) -> None:
    """Create accounts from a list of names, each with a one-time link."""
    from deeptraffic.competition.server import last_address
    from deeptraffic.competition.store.accounts import import_people
    from deeptraffic.competition.store.board import csv_text

    db, found = open_competition(data, database_url, competition)
    names, address = people.read_text(encoding="utf-8-sig"), last_address(data)
    with open(output, "x", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        try:
            made = import_people(db, found.id, names, actor())
        except ValueError:
            output.unlink()  # no account was created
            raise
        rows = [(person.name, person.contact, f"{address}/link/{secret}") for person, secret in made]
        file.write(csv_text(("name", "contact", "link"), rows))
    facts = {"path": str(output), "accounts": len(made)}
    report(json, facts, f"{len(made)} accounts; their one-time links are in {output}")


def pause(
    reason: str = typer.Option("", help="Reason, shown to participants."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
    json: Json = False,
) -> None:
    """Pause submissions; queued submissions are still scored."""
    from deeptraffic.competition.store import competitions

    db, found = open_competition(data, database_url, competition)
    competitions.pause(db, found.id, actor(), reason)
    report(json, {"key": found.key, "paused": True}, f"{found.key} is paused")


def resume(
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
    json: Json = False,
) -> None:
    """Accept submissions again."""
    from deeptraffic.competition.store import competitions

    db, found = open_competition(data, database_url, competition)
    competitions.resume(db, found.id, actor())
    report(json, {"key": found.key, "paused": False}, f"{found.key} accepts submissions")


def baseline(
    name: str = typer.Argument(..., help="Name on the board."),
    file: Path = typer.Argument(..., help="Policy file, or file of the original game."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
    json: Json = False,
) -> None:
    """Submit a policy that is on the board without a rank."""
    from deeptraffic.competition.sandbox.validation import validate
    from deeptraffic.competition.store.organise import add_baseline

    db, found = open_competition(data, database_url, competition)
    made = add_baseline(db, found.id, name, validate(file.read_bytes(), file.name), actor())
    report(json, {"name": name, "submission": made.key}, f"{name} waits for its score: {made.key}")


def disqualify(
    submission: str = typer.Argument(..., help="Key of the submission: the end of its page's URL."),
    reason: str = typer.Option(..., help="Reason, shown to the person concerned."),
    undo: bool = typer.Option(False, "--undo", help="Revoke a disqualification."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    json: Json = False,
) -> None:
    """Disqualify a submission: take it off the board."""
    from deeptraffic.competition.store import organise

    db = open_existing(data, database_url)
    (organise.requalify if undo else organise.disqualify)(db, submission, actor(), reason)
    facts = {"submission": submission, "disqualified": not undo}
    report(json, facts, f"{submission} is {'back' if undo else 'disqualified'}")


# --- maintenance --------------------------------------------------------------------------------------------------


def export(
    output: Path = typer.Option(..., "--output", "-o", help="Zip file to write."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
    json: Json = False,
) -> None:
    """Export a competition: boards, submissions, people, run scores, policy files, the audit log."""
    from deeptraffic.competition.store import archive

    db, found = open_competition(data, database_url, competition)
    archive.export(db, found.id, output, actor())
    size = output.stat().st_size
    report(json, {"path": str(output), "bytes": size}, f"{output}: {size:,} bytes")


def backup(
    output: Path | None = typer.Option(
        None, "--output", "-o", help="File to write; it holds the server's secrets.", show_default="none"
    ),
    folder: Path | None = typer.Option(
        None, help="Folder of scheduled backups, for a timer: each is named by its time.", show_default="none"
    ),
    keep: int = typer.Option(14, min=1, max=10_000, help="Number of the newest backups to keep in the folder."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    json: Json = False,
) -> None:
    """Write a backup of the whole database while the server runs."""
    from deeptraffic.competition.backups import backup_into
    from deeptraffic.competition.store import archive

    if (output is None) == (folder is None):
        raise ValueError("name a file with --output, or the folder of scheduled backups with --folder")
    db = open_existing(data, database_url)
    if folder is not None:
        path = backup_into(db, folder, keep, actor())
        report(json, {"file": str(path)}, str(path))
    elif output is not None:
        _print_counts(output, archive.backup(db, output, actor()), json)


def restore(
    file: Path = typer.Argument(..., help="Backup file."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    json: Json = False,
) -> None:
    """Fill an empty folder or database from a backup."""
    require_extra("competition")
    from deeptraffic.competition.server import open_database
    from deeptraffic.competition.store import archive

    if not file.is_file():
        raise ValueError(f"there is no file {str(file)!r}")
    counts = archive.restore(file, open_database(data, database_url), actor())
    _print_counts(data, counts, json)


def _print_counts(place: Path, counts: dict[str, int], json: bool) -> None:
    text = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    report(json, {"path": str(place), "rows": counts}, f"{place}: {text}")
