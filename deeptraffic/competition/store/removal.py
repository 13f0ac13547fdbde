"""Removal of a person's data: the account, its contact, its entries with their files and results, for good.

What others have stays theirs: a policy file that somebody else handed in too is kept. The audit log keeps what was
done, with "(removed)" in place of the person's name, contact and labels. Backups and exports made before still hold all
of it; SQLite overwrites what it deletes.
"""

import re
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from deeptraffic.competition.models import (
    AccessToken,
    AuditEntry,
    CheckCost,
    Competition,
    Content,
    CoOrganiser,
    Evaluation,
    EvaluationResult,
    Member,
    Person,
    Submission,
)
from deeptraffic.competition.sandbox.validation import NO_LABEL
from deeptraffic.competition.store import audit, class_list, competitions, evaluations, teams
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import RequestError

REMOVED = "(removed)"
FREE_TEXTS = ("subject", "reason", "note")  # of the log, in which a name may stand among other words
SHORTEST = 3  # name that is looked for there [characters]


@dataclass(frozen=True)
class PersonalData:
    """What a removal would delete: competitions with the number of entries in each; files that nobody else has."""

    person: Person
    competitions: list[tuple[Competition, int]]
    entries: int
    files: int


def preview(db: Database, person_id: int) -> PersonalData:
    """Return what `remove` would delete."""
    with db.read() as session:
        person = session.get_one(Person, person_id)
        found = select(Competition).join(Member, Member.competition_id == Competition.id)
        rows = list(session.scalars(found.where(Member.person_id == person_id).order_by(Competition.id)))
        mine = session.scalars(select(Submission.competition_id).where(Submission.person_id == person_id)).all()
        counts = [(competition, mine.count(competition.id)) for competition in rows]
        return PersonalData(person, counts, len(mine), len(_own_files(session, person_id)))


def remove(db: Database, person_id: int, actor: str, competition_id: int | None = None) -> list[str]:
    """Delete a person's data; return parts of the names of replays and videos that are to be deleted too.

    competition_id: of the organiser, in whose log it is noted. RequestError `role` for an organiser of the server.
    """
    with db.write("queue") as session:
        if db.is_sqlite:
            session.execute(text("PRAGMA secure_delete = ON"))
        person = session.get_one(Person, person_id, with_for_update=True)
        if person.role == "organiser":
            raise RequestError("role", "an organiser of the server cannot be removed; the log needs to say who acted")
        if person.name == actor:
            raise RequestError("role", "somebody else must remove your own data")
        files = _own_files(session, person_id)
        members = session.scalars(select(Member).where(Member.person_id == person_id)).all()
        places = [(member.competition_id, member.team_id) for member in members]
        _scrub_log(session, person)
        keys = _delete_entries(session, person_id, files)
        class_list.forget(session, person)
        for table in (Member, CoOrganiser, CheckCost, AccessToken):
            session.execute(delete(table).where(table.person_id == person_id))
        session.execute(delete(Person).where(Person.id == person_id))
        for place, team in places:
            teams.end_if_empty(session, team)
            evaluations.end_final(session, place)
            competitions.touch(session, place)
        audit.note(session, db, actor, "remove data", competition_id, REMOVED, entries=len(keys), files=len(files))
    if db.is_sqlite:  # its log of changes holds nothing of it either
        with closing(db.engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return [*(digest[:32] for digest in files), *keys]


def _own_files(session: Session, person_id: int) -> list[str]:
    """Return the digests of the files that a person alone has handed in."""
    others = select(Submission.sha256).where(Submission.person_id != person_id)
    mine = select(Submission.sha256).where(Submission.person_id == person_id, Submission.sha256.not_in(others))
    return sorted(session.scalars(mine.distinct()))


def _delete_entries(session: Session, person_id: int, files: list[str]) -> list[str]:
    """Delete a person's submissions with their evaluations, and the files with their results; return the keys."""
    mine = Submission.person_id == person_id
    keys = list(session.scalars(select(Submission.key).where(mine)))
    session.execute(delete(Evaluation).where(Evaluation.person_id == person_id))
    session.execute(update(Member).where(Member.person_id == person_id).values(best_id=None, chosen_id=None))
    session.execute(delete(Submission).where(mine))
    session.execute(delete(EvaluationResult).where(EvaluationResult.sha256.in_(files)))
    session.execute(delete(Content).where(Content.sha256.in_(files)))
    return keys


# --- the log ------------------------------------------------------------------------------------------------------


def _scrub_log(session: Session, person: Person) -> None:
    """Replace what tells who the person is: texts that are a name or label, and names within reasons and notes."""
    rows = session.execute(select(Submission.label, Submission.filename).where(Submission.person_id == person.id))
    aliases = session.scalars(select(Member.alias).where(Member.person_id == person.id))
    labels = {text for row in rows for text in row}
    words = {text.casefold() for text in (person.name, person.contact, *aliases, *labels)} - {"", NO_LABEL}
    spelled = [re.escape(text) for text in (person.contact, person.name) if len(text) >= SHORTEST]
    within = re.compile("|".join(rf"(?<!\w){text}(?!\w)" for text in spelled) or "(?!)", re.IGNORECASE)

    def scrub(value: Any, name: str = "") -> Any:
        if isinstance(value, str):
            whole = value.casefold() in words
            return REMOVED if whole else within.sub(REMOVED, value) if name in FREE_TEXTS else value
        if isinstance(value, dict):
            return {key: scrub(one, key) for key, one in value.items()}
        return [scrub(one) for one in value] if isinstance(value, list) else value

    for entry in session.scalars(select(AuditEntry)):
        subject, details = scrub(entry.subject, "subject"), scrub(entry.details)
        if (subject, details) != (entry.subject, entry.details):
            entry.subject, entry.details = subject, details
        if entry.actor == person.name:
            entry.actor = REMOVED
    session.flush()
