"""Who takes part in a competition."""

import secrets

from sqlalchemy import Connection, func, insert, select

from deeptraffic.competition.store import decode
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.records import Member
from deeptraffic.competition.store.schema import members


def join(connection: Connection, db: Database, competition_id: int, person_id: int) -> bool:
    """Make a person a member; return whether they were none before."""
    row = {
        "competition_id": competition_id,
        "person_id": person_id,
        "alias": f"Driver {secrets.token_hex(3).upper()}",
        "joined_at": db.now(connection),
    }
    if find_member(connection, competition_id, person_id) is not None:
        return False
    connection.execute(insert(members).values(row))
    return True


def membership(db: Database, competition_id: int, person_id: int) -> Member | None:
    """Return a person's membership."""
    with db.read() as connection:
        return find_member(connection, competition_id, person_id)


def find_member(connection: Connection, competition_id: int, person_id: int, lock: bool = False) -> Member | None:
    """Return a membership; lock: nobody else changes it, or submits for it, until the transaction ends."""
    query = select(members).where(members.c.competition_id == competition_id, members.c.person_id == person_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else decode.member(row)


def competitions_of(db: Database, person_id: int) -> list[int]:
    """Return the ids of the competitions that a person takes part in, the last joined first."""
    query = select(members.c.competition_id).where(members.c.person_id == person_id)
    with db.read() as connection:
        return list(connection.execute(query.order_by(members.c.joined_at.desc())).scalars())


def count_members(db: Database, competition_id: int) -> int:
    """Return how many people take part."""
    query = select(func.count()).select_from(members).where(members.c.competition_id == competition_id)
    with db.read() as connection:
        return int(connection.execute(query).scalar_one())
