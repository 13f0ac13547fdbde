"""`deeptraffic competition ...`: the organiser's commands; each writes who did what to the audit log."""

import os
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.table import Table

from deeptraffic.cli.contests import COMPETITION, DATA, DATABASE_URL, JSON, actor, open_competition, open_existing
from deeptraffic.cli.serve import require_extra
from deeptraffic.cli.terminal import print_json, results

DAY = 86_400_000  # [ms]


def create(
    key: str = typer.Argument(..., help="Its name in addresses: small letters, digits and hyphens."),
    config: Path | None = typer.Option(None, help="A TOML or JSON file of settings."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    json: bool = JSON,
) -> None:
    """Make a competition from a file of settings; `private_seeds` in it are the final's, else they are drawn."""
    require_extra()
    from deeptraffic.competition.config import CompetitionConfig
    from deeptraffic.competition.server import last_address, open_database
    from deeptraffic.competition.store import accounts, competitions
    from deeptraffic.settings import read_settings

    record: dict[str, Any] = {} if config is None else read_settings(config)
    seeds = record.pop("private_seeds", None)
    settings = CompetitionConfig.from_record(record)
    db = open_database(data, database_url)
    made = competitions.create(db, key, settings, actor(), seeds)
    invite = f"{last_address(data)}/join/{accounts.new_invite(db, made.id, actor(), note='made with it')}"
    if json:
        print_json({"key": made.key, "invite": invite, "config": settings.to_record()})
        return
    results.print(f"Made {made.key}: {settings.title}. Whoever has this link can join:", markup=False)
    results.print(f"  {invite}", highlight=False, soft_wrap=True)


def show(data: Path = DATA, database_url: str | None = DATABASE_URL, json: bool = JSON) -> None:
    """List the competitions: phase, people, submissions."""
    from deeptraffic.competition.store import competitions, members, submissions

    db = open_existing(data, database_url)
    with db.read() as connection:
        now = db.now(connection)
    rows = [
        {
            "key": competition.key,
            "title": competition.config.title,
            "phase": competition.phase(now),
            "members": members.count_members(db, competition.id),
            "submissions": submissions.count_submissions(db, competition.id),
        }
        for competition in competitions.all_competitions(db)
    ]
    if json:
        print_json({"competitions": rows})
        return
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("key", "title", "phase", "members", "submissions"):
        table.add_column(heading)
    for row in rows:
        table.add_row(*map(str, row.values()))
    results.print(table)


def change(
    settings: list[str] = typer.Argument(..., help="key=value, such as daily_limit=5 closes_at=2026-10-31T23:59:59Z."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
) -> None:
    """Change settings, such as dates and limits."""
    from deeptraffic.competition.store.competitions import change_config
    from deeptraffic.settings import parse_setting

    db, found = open_competition(data, database_url, competition)
    change_config(db, found.id, dict(parse_setting(setting) for setting in settings), actor())
    results.print(f"{found.key}: changed {', '.join(settings)}", markup=False, highlight=False)


def admin_link(data: Path = DATA, database_url: str | None = DATABASE_URL, json: bool = JSON) -> None:
    """Print a new one-time link for the organiser; the one before stops working."""
    from deeptraffic.competition.server import last_address
    from deeptraffic.competition.store.accounts import organiser_link

    db = open_existing(data, database_url)
    link = f"{last_address(data)}/link/{organiser_link(db, actor())}"
    if json:
        print_json({"link": link})
    else:
        results.print(link, highlight=False, soft_wrap=True)


def invite(
    uses: int | None = typer.Option(None, min=1, help="How many people may join by it.", show_default="any number"),
    days: int = typer.Option(90, min=1, max=3650, help="Until it ends."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
    json: bool = JSON,
) -> None:
    """Print a link with which people join."""
    from deeptraffic.competition.server import last_address
    from deeptraffic.competition.store.accounts import new_invite

    db, found = open_competition(data, database_url, competition)
    link = f"{last_address(data)}/join/{new_invite(db, found.id, actor(), uses, days * DAY)}"
    if json:
        print_json({"invite": link})
    else:
        results.print(link, highlight=False, soft_wrap=True)


def accounts(
    people: Path = typer.Argument(..., help="CSV with a column `name`, and `contact` if you like."),
    output: Path = typer.Option(..., "--output", "-o", help="CSV to write: name, contact, link."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
) -> None:
    """Make accounts from a list of names, each with a one-time link."""
    from deeptraffic.competition.server import last_address
    from deeptraffic.competition.store.accounts import import_people
    from deeptraffic.competition.store.export import to_csv

    db, found = open_competition(data, database_url, competition)
    names, address = people.read_text(encoding="utf-8-sig"), last_address(data)
    with open(output, "x", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        try:
            made = import_people(db, found.id, names, actor())
        except ValueError:
            output.unlink()  # nobody was taken in
            raise
        rows = [(person.name, person.contact, f"{address}/link/{secret}") for person, secret in made]
        file.write(to_csv(("name", "contact", "link"), rows))
    results.print(f"{len(made)} accounts; their one-time links are in {output}", markup=False, highlight=False)


def pause(
    reason: str = typer.Option("", help="Shown to participants."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
) -> None:
    """Take no submissions for now; what waits is still scored."""
    from deeptraffic.competition.store import competitions

    db, found = open_competition(data, database_url, competition)
    competitions.pause(db, found.id, actor(), reason)
    results.print(f"{found.key} is paused")


def resume(data: Path = DATA, database_url: str | None = DATABASE_URL, competition: str | None = COMPETITION) -> None:
    """Take submissions again."""
    from deeptraffic.competition.store import competitions

    db, found = open_competition(data, database_url, competition)
    competitions.resume(db, found.id, actor())
    results.print(f"{found.key} takes submissions")


def baseline(
    name: str = typer.Argument(..., help="What the board calls it."),
    file: Path = typer.Argument(..., help="A policy file, or a file of the original game."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
) -> None:
    """Enter a policy that stands on the board without a rank."""
    from deeptraffic.competition.sandbox.validation import validate
    from deeptraffic.competition.store.organise import add_baseline

    db, found = open_competition(data, database_url, competition)
    made = add_baseline(db, found.id, name, validate(file.read_bytes(), file.name), actor())
    results.print(f"{name} waits for its score: {made.key}", markup=False, highlight=False)


def disqualify(
    submission: str = typer.Argument(..., help="The submission's key, as its page's address has it."),
    reason: str = typer.Option(..., help="The person concerned reads it."),
    undo: bool = typer.Option(False, help="Take a disqualification back."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
) -> None:
    """Take a submission off the board."""
    from deeptraffic.competition.store import organise

    db = open_existing(data, database_url)
    (organise.requalify if undo else organise.disqualify)(db, submission, actor(), reason)
    results.print(f"{submission} is {'back' if undo else 'disqualified'}", markup=False, highlight=False)
