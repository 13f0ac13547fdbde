"""Co-organisers: accounts for which the organiser's pages of single competitions are open, and what they may do there.

An organiser of the server, `Person.is_organiser`, may do everything, and alone adds and removes co-organisers.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from deeptraffic.competition.models import CoOrganiser, Member, Person
from deeptraffic.competition.store import accounts, audit
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import RequestError


def add(db: Database, competition_id: int, person_id: int, actor: str) -> None:
    """Open the organiser's pages of a competition to a person; RequestError `co_organiser`."""
    with db.write() as session:
        person = session.get_one(Person, person_id)
        if person.role != "participant":
            raise RequestError("co_organiser", f"{person.name!r} is no account of a person, or an organiser already")
        if session.get(CoOrganiser, (competition_id, person_id)) is not None:
            raise RequestError("co_organiser", f"{person.name!r} is a co-organiser already")
        session.add(CoOrganiser(competition_id, person_id, db.now(session)))
        audit.note(session, db, actor, "add co-organiser", competition_id, person.name)


def add_new(db: Database, competition_id: int, name: str, actor: str) -> str:
    """Create an account for a co-organiser, no member of the competition; return the token of its one-time link."""
    with db.write() as session:
        person = accounts.add_person(session, db, name)
        secret = accounts.issue(session, db, "link", person.id, uses=1)
        session.add(CoOrganiser(competition_id, person.id, db.now(session)))
        audit.note(session, db, actor, "add co-organiser", competition_id, person.name, account="new")
        return secret


def remove(db: Database, competition_id: int, person_id: int, actor: str) -> None:
    """Close the organiser's pages of a competition to a co-organiser; RequestError `co_organiser` for another."""
    with db.write() as session:
        found = session.get(CoOrganiser, (competition_id, person_id))
        if found is None:
            raise RequestError("co_organiser", "this person is no co-organiser of the competition")
        session.delete(found)
        audit.note(session, db, actor, "remove co-organiser", competition_id, session.get_one(Person, person_id).name)


def of_competition(db: Database, competition_id: int) -> list[Person]:
    """Return the co-organisers of a competition, the first added first."""
    query = select(Person).join(CoOrganiser, CoOrganiser.person_id == Person.id)
    query = query.where(CoOrganiser.competition_id == competition_id).order_by(CoOrganiser.added_at, Person.id)
    with db.read() as session:
        return list(session.scalars(query))


def competitions_of(db: Database, person_id: int) -> frozenset[int]:
    """Return the ids of the competitions of which a person is a co-organiser."""
    with db.read() as session:
        return _competitions_of(session, person_id)


def _competitions_of(session: Session, person_id: int) -> frozenset[int]:
    query = select(CoOrganiser.competition_id).where(CoOrganiser.person_id == person_id)
    return frozenset(session.scalars(query))


def may_manage(db: Database, organiser: Person, person: Person) -> bool:
    """Return whether an organiser may sign a person in, close the account or remove its data.

    Co-organisers may for those who take part in their competitions alone, and organise nothing: a link that signs a
    person in opens everything that the account can.
    """
    if organiser.is_organiser:
        return True
    with db.read() as session:
        own = _competitions_of(session, organiser.id)
        theirs = set(session.scalars(select(Member.competition_id).where(Member.person_id == person.id)))
        organises = person.role != "participant" or _competitions_of(session, person.id)
        return bool(theirs) and theirs <= own and not organises
