"""Competitions: made from their settings, changed, paused, looked up."""

import json
import re
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.competition.store import audit, decode
from deeptraffic.competition.store.database import Database, to_text
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.records import Competition
from deeptraffic.competition.store.schema import competitions, private_seeds
from deeptraffic.evaluation.seeds import private_seeds as draw_seeds

KEY = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
FIXED = ("rules",)  # settings that scores already given depend on


def create(
    db: Database, key: str, config: CompetitionConfig, actor: str, seeds: list[int] | None = None
) -> Competition:
    """Make a competition; RequestError `key` or `key_taken`.

    key: its name in addresses: small letters, digits and hyphens
    seeds: private, of the final; by default `final_runs` seeds that the operating system draws
    """
    if not KEY.fullmatch(key):
        raise RequestError(
            "key", f"{key!r:.60} is no name for an address; use up to 40 small letters, digits and hyphens"
        )
    chosen = draw_seeds(config.final_runs, seeds)
    with db.write() as connection:
        row = {"key": key, "config": to_text(config.to_record()), "created_at": db.now(connection)}
        try:
            with connection.begin_nested():
                query = insert(competitions).values(row).returning(competitions)
                made = decode.competition(connection.execute(query).one())
        except IntegrityError:
            raise RequestError("key_taken", f"there is a competition {key!r} already; choose another name") from None
        connection.execute(insert(private_seeds).values(competition_id=made.id, seeds=to_text(chosen)))
        audit.note(connection, db, actor, "create", made.id, key, config=config.to_record())
    return made


def seeds_of(connection: Connection, competition_id: int) -> tuple[int, ...]:
    """Return the private seeds: for whoever evaluates the final, and for nobody else."""
    query = select(private_seeds.c.seeds).where(private_seeds.c.competition_id == competition_id)
    return tuple(json.loads(connection.execute(query).scalar_one()))


def get(connection: Connection, competition_id: int, lock: bool = False) -> Competition:
    """Return a competition by its id, in a transaction of the caller's."""
    query = select(competitions).where(competitions.c.id == competition_id)
    return decode.competition(connection.execute(query.with_for_update() if lock else query).one())


def get_competition(db: Database, competition_id: int) -> Competition:
    """Return a competition by its id."""
    with db.read() as connection:
        return get(connection, competition_id)


def find_competition(db: Database, key: str) -> Competition | None:
    """Return the competition with this key."""
    with db.read() as connection:
        row = connection.execute(select(competitions).where(competitions.c.key == key)).one_or_none()
        return None if row is None else decode.competition(row)


def all_competitions(db: Database) -> list[Competition]:
    """Return all competitions, the first made first."""
    with db.read() as connection:
        rows = connection.execute(select(competitions).order_by(competitions.c.id))
        return [decode.competition(row) for row in rows]


def change_config(db: Database, competition_id: int, changes: dict[str, Any], actor: str) -> Competition:
    """Change settings, such as dates and limits; ValueError for an invalid value, RequestError `fixed` for rules.

    The final's private seeds stay the first `final_runs` of those drawn; more of them are drawn if need be.
    """
    with db.write() as connection:
        before = get(connection, competition_id, lock=True)
        config = CompetitionConfig.from_record(before.config.to_record() | changes)
        if before.final != "none":
            raise RequestError("final", "the final has begun; its competition's settings are fixed")
        for name in FIXED:
            if getattr(config, name) != getattr(before.config, name):
                raise RequestError("fixed", f"{name} cannot change, scores depend on it; create another competition")
        seeds = list(seeds_of(connection, competition_id))
        if config.final_runs > len(seeds):
            seeds = draw_seeds(config.final_runs, None, seeds)
            query = update(private_seeds).where(private_seeds.c.competition_id == competition_id)
            connection.execute(query.values(seeds=to_text(seeds)))
        audit.note(connection, db, actor, "change", competition_id, before.key, **changes)
        return _set(connection, competition_id, config=to_text(config.to_record()))


def pause(db: Database, competition_id: int, actor: str, reason: str = "") -> Competition:
    """Take no submissions for now; what waits is still scored."""
    with db.write() as connection:
        audit.note(connection, db, actor, "pause", competition_id, reason=reason)
        return _set(connection, competition_id, paused_at=db.now(connection), pause_reason=reason)


def resume(db: Database, competition_id: int, actor: str) -> Competition:
    """Take submissions again."""
    with db.write() as connection:
        audit.note(connection, db, actor, "resume", competition_id)
        return _set(connection, competition_id, paused_at=None, pause_reason="")


def _set(connection: Connection, competition_id: int, **values: Any) -> Competition:
    query = update(competitions).where(competitions.c.id == competition_id)
    changed = query.values(version=competitions.c.version + 1, **values).returning(competitions)
    return decode.competition(connection.execute(changed).one())


def touch(connection: Connection, competition_id: int) -> None:
    """Say that the board changed, so that nobody shows an old one."""
    _set(connection, competition_id)


def touch_all(connection: Connection) -> None:
    """Say that all boards changed."""
    connection.execute(update(competitions).values(version=competitions.c.version + 1))


def set_final(connection: Connection, competition_id: int, before: str, after: str, at: int | None = None) -> bool:
    """Move the final on if it is where one thinks; return whether it was."""
    here = (competitions.c.id == competition_id, competitions.c.final == before)
    values = {"final": after, "final_at": at, "version": competitions.c.version + 1}
    return bool(connection.execute(update(competitions).where(*here).values(values)).rowcount == 1)
