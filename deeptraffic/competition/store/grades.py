"""Grade sheet of a competition: a row for everybody who takes part or is on the class list, as records and CSV."""

from collections import Counter
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from deeptraffic.competition.config import to_time
from deeptraffic.competition.models import ListedContact, Member, Person, Submission, Team
from deeptraffic.competition.store import audit, competitions
from deeptraffic.competition.store.board import build_board, csv_text, score_text
from deeptraffic.competition.store.database import Database


@dataclass(frozen=True)
class Grade:
    """A row; team, score and rank are those of the team where there are teams.

    score: official, of the final once it is revealed [mph]; None for none
    late: whether the entry with that score came after the common deadline, by an "extension"; "no", or "" for no score
    late_entries: entries after their deadline, which have no rank
    state: "takes part", "disqualified", or "has not joined" of a contact on the class list
    """

    contact: str
    name: str
    team: str
    score: float | None
    rank: int | None
    entries: int
    late: str
    late_entries: int
    deadline: str
    state: str


def read_grades(db: Database, competition_id: int) -> list[Grade]:
    """Return the rows, by rank, then by name; who has not joined comes last."""
    with db.read() as session:
        return _read(session, competition_id)


def grades_csv(db: Database, competition_id: int, actor: str) -> str:
    """Return the sheet as CSV text, and note in the log who has it."""
    with db.write() as session:
        audit.note(session, db, actor, "grades", competition_id)
        rows = _read(session, competition_id)
    names = [field.name for field in fields(Grade)]
    return csv_text(names, ([_cell(name, getattr(row, name)) for name in names] for row in rows))


def _cell(name: str, value: Any) -> Any:
    if value is None:
        return ""
    return score_text(value) if name == "score" else value


def _read(session: Session, competition_id: int) -> list[Grade]:
    competition = competitions.get(session, competition_id)
    board = build_board(session, competition, competition.final == "revealed", anonymous=False)
    rows = {person: row for row in board.rows for person in row.people}
    entries, late = _counts(session, competition_id), _counts(session, competition_id, late=True)
    listed = session.scalars(select(ListedContact).where(ListedContact.competition_id == competition_id)).all()
    contacts = {one.person_id: one.contact for one in listed}
    query = select(Member, Person, Team.name).join(Person, Person.id == Member.person_id)
    query = query.outerjoin(Team, Team.id == Member.team_id)
    query = query.where(Member.competition_id == competition_id, Person.role != "baseline")
    grades = []
    for member, person, team in session.execute(query):
        row = None if member.disqualified_at is not None else rows.get(person.id)
        closes = competition.closes(member.closes_at)
        common = competition.config.closes
        grades.append(
            Grade(
                contact=contacts.get(person.id, person.contact),
                name=person.name,
                team=team or "",
                score=None if row is None else row.score,
                rank=None if row is None else row.rank,
                entries=entries[person.id],
                late="" if row is None else "no" if common is None or row.accepted_at < common else "extension",
                late_entries=late[person.id],
                deadline="" if closes is None else to_time(closes),
                state="takes part" if member.disqualified_at is None else "disqualified",
            )
        )
    grades.sort(key=lambda one: (one.rank is None, one.rank or 0, one.name.casefold()))
    missing = sorted(one.contact for one in listed if one.person_id is None)
    return grades + [Grade(one, "", "", None, None, 0, "", 0, "", "has not joined") for one in missing]


def _counts(session: Session, competition_id: int, late: bool = False) -> Counter[int]:
    """Return how many submissions each person has made, late ones alone or all, by person id."""
    query = select(Submission.person_id).where(Submission.competition_id == competition_id)
    return Counter(session.scalars(query.where(Submission.late.is_(True)) if late else query))
