"""`deeptraffic competition class-list`, `teams`, `extend`, `same-networks`, `co-organisers`, `grades` and `forget`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from deeptraffic.cli.competition import COMPETITION, DATA, DATABASE_URL, actor, open_competition, open_existing
from deeptraffic.cli.terminal import Json, print_json, print_table, report

if TYPE_CHECKING:
    from deeptraffic.competition.models import Person
    from deeptraffic.competition.store.database import Database

PERSON = typer.Argument(..., help="Display name of the person, or the key at the end of the URL of the person's page.")
NONE = "none"


def person_named(db: "Database", text: str) -> "Person":
    """Return the account with this key or name; ValueError if there is none."""
    from deeptraffic.competition.store import accounts

    found = accounts.find_person(db, text) or accounts.find_named(db, text)
    if found is None:
        raise ValueError(f"there is no account {text!r:.60}; the page People of the organiser lists them")
    return found


def class_list(
    contacts: Path | None = typer.Argument(None, help="File of contacts: one a line, or CSV with a column `contact`."),
    clear: bool = typer.Option(False, "--clear", help="Remove the list, so that an invitation is enough to join."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
    json: Json = False,
) -> None:
    """Replace the list of who may join, or print it."""
    from deeptraffic.competition.store import class_list as lists

    db, found = open_competition(data, database_url, competition)
    if contacts is not None and clear:
        raise ValueError("give a file of contacts or --clear, not both")
    if contacts is not None or clear:
        lists.replace(db, found.id, "" if contacts is None else contacts.read_text(encoding="utf-8-sig"), actor())
    rows = [(one.contact, "no" if one.person_id is None else "yes") for one in lists.contacts_of(db, found.id)]
    if json:
        print_json({"contacts": [{"contact": contact, "joined": joined == "yes"} for contact, joined in rows]})
        return
    print_table("", ("contact", "joined"), rows, left=2)


def teams(
    put: str | None = typer.Option(None, help="Person to put into a team, by name or key.", show_default=NONE),
    into: str = typer.Option("", help="Name of the team, a new one if there is none.", show_default="no team"),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
    json: Json = False,
) -> None:
    """List the teams of a competition, or put a person into one."""
    from deeptraffic.competition.store import teams as store

    db, found = open_competition(data, database_url, competition)
    if put is not None:
        store.assign(db, found.id, person_named(db, put).id, into, actor())
    every = [(one.team.name, [person.name for person in one.people]) for one in store.teams_of(db, found.id)]
    if json:
        print_json({"teams": [{"name": name, "members": people} for name, people in every]})
        return
    print_table("", ("team", "members"), [(name, ", ".join(people)) for name, people in every], left=2)


def extend(
    person: str = PERSON,
    closes_at: str = typer.Option("", help="Own deadline, UTC, such as 2026-11-02T12:00:00Z.", show_default=NONE),
    daily_limit: int | None = typer.Option(None, min=0, help="Own number of submissions per day.", show_default=NONE),
    total_limit: int | None = typer.Option(None, min=0, help="Own number of submissions in total.", show_default=NONE),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
    json: Json = False,
) -> None:
    """Give one person a deadline and limits; those that are left out are the competition's again."""
    from deeptraffic.competition.config import to_milliseconds
    from deeptraffic.competition.store.deadlines import Terms, set_person

    db, found = open_competition(data, database_url, competition)
    account = person_named(db, person)
    terms = Terms(to_milliseconds("closes_at", closes_at), daily_limit, total_limit)
    set_person(db, found.id, account.id, actor(), terms)
    own = {"closes_at": closes_at or None, "daily_limit": daily_limit, "total_limit": total_limit}
    words = ", ".join(f"{name}={value}" for name, value in own.items() if value is not None)
    report(json, {"name": account.name} | own, f"{account.name}: {words or 'as everybody'}")


def same_networks(
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
    json: Json = False,
) -> None:
    """List submissions with equal weights and settings, of several people or under several labels."""
    from deeptraffic.competition.store.submissions import same_networks as groups_of

    db, found = open_competition(data, database_url, competition)
    groups = groups_of(db, found.id)
    records = [[{"key": one.key, "name": one.owner.name, "label": one.label} for one in group] for group in groups]
    if json:
        print_json({"groups": records})
        return
    rows = [(str(k), *one.values()) for k, group in enumerate(records, 1) for one in group]
    print_table("", ("network", "submission", "name", "label"), rows, left=4)


def co_organisers(
    add: str | None = typer.Option(None, help="Account that becomes one, by name or key.", show_default=NONE),
    new: str | None = typer.Option(None, help="Name of a new account that becomes one.", show_default=NONE),
    remove: str | None = typer.Option(None, help="Co-organiser to remove, by name or key.", show_default=NONE),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
    json: Json = False,
) -> None:
    """List the co-organisers of a competition; add or remove one."""
    from deeptraffic.competition.server import last_address
    from deeptraffic.competition.store import co_organisers as store

    db, found = open_competition(data, database_url, competition)
    if add is not None:
        store.add(db, found.id, person_named(db, add).id, actor())
    links = {} if new is None else {"link": f"{last_address(data)}/link/{store.add_new(db, found.id, new, actor())}"}
    if remove is not None:
        store.remove(db, found.id, person_named(db, remove).id, actor())
    names = [person.name for person in store.of_competition(db, found.id)]
    report(json, {"co_organisers": names} | links, *names, *links.values())


def grades(
    output: Path = typer.Option(..., "--output", "-o", help="CSV file to write; it holds names and contacts."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
    json: Json = False,
) -> None:
    """Write the grade sheet: contact, name, team, score, rank, entries and lateness of everybody."""
    from deeptraffic.competition.store.grades import grades_csv, read_grades

    db, found = open_competition(data, database_url, competition)
    with open(output, "x", encoding="utf-8-sig", newline="", opener=_private) as file:
        file.write(grades_csv(db, found.id, actor()))
    rows = len(read_grades(db, found.id))
    report(json, {"file": str(output), "rows": rows}, f"{output}: {rows:,} rows")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def forget(
    person: str = PERSON,
    yes: bool = typer.Option(False, "--yes", help="Remove the data; without it, only say what would be removed."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    json: Json = False,
) -> None:
    """Remove all data of a person: account, contact, entries, files and replays, for good."""
    from deeptraffic.competition.store import removal
    from deeptraffic.competition.web.replays import delete_cached

    db = open_existing(data, database_url)
    found = removal.preview(db, person_named(db, person).id)
    facts = {"removed": yes, "entries": found.entries, "files": found.files}
    what = f"the account, {found.entries:,} submissions, {found.files:,} files that nobody else has"
    if yes:
        delete_cached(data, removal.remove(db, found.person.id, actor()))
    report(json, facts, f"removed {what}" if yes else f"would remove {what}; repeat it with --yes")
