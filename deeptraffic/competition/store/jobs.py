"""Evaluations as rows of the queue: what each is for, and the name of its protocol, under which results are kept.

A result belongs to a file's content and a protocol's name: whoever submits the same policy under the same protocol gets
the result that is there. The name holds all that a score depends on; VERSION grows when the same name would score
differently.
"""

import hashlib
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from deeptraffic.competition.store.database import Database, to_text
from deeptraffic.competition.store.records import Competition
from deeptraffic.competition.store.schema import evaluations, results, submissions

VERSION = 1
PRIORITY = ("validation", "official", "again", "final")  # of kinds, in the order in which workers take them


def official_protocol(rules: int, other_agents: int) -> str:
    """Return the name of the public official evaluation."""
    return f"official/{VERSION}/{rules}/{other_agents}"


def validation_protocol(rules: int, other_agents: int, runs: int) -> str:
    """Return the name of the short evaluation that says whether a policy drives at all."""
    return f"validation/{VERSION}/{rules}/{other_agents}/{runs}"


def final_protocol(rules: int, other_agents: int, seeds: tuple[int, ...]) -> str:
    """Return the name of the evaluation on private seeds."""
    digest = hashlib.sha256(to_text(list(seeds)).encode()).hexdigest()[:32]
    return f"final/{VERSION}/{rules}/{other_agents}/{len(seeds)}/{digest}"


def protocol_of(competition: Competition, kind: str, other_agents: int, seeds: tuple[int, ...] = ()) -> str:
    """Return the name of the protocol that a kind of evaluation has in a competition."""
    config = competition.config
    if kind == "validation":
        return validation_protocol(config.rules, other_agents, config.validation_runs)
    if kind == "final":
        return final_protocol(config.rules, other_agents, seeds)
    return official_protocol(config.rules, other_agents)


def enqueue(
    connection: Connection,
    db: Database,
    competition: Competition,
    submission_id: int,
    kind: str,
    batch: str | None = None,
    seeds: tuple[int, ...] = (),
) -> None:
    """Queue an evaluation of a submission; an `again` gets a revision of its own, all others may use a kept result."""
    row = connection.execute(select(submissions).where(submissions.c.id == submission_id)).one()
    protocol = protocol_of(competition, kind, row.other_agents, seeds)
    revision = newest_revision(connection, row.sha256, protocol, applied=kind != "again") + (kind == "again")
    values = {
        "submission_id": submission_id,
        "competition_id": competition.id,
        "person_id": row.person_id,
        "sha256": row.sha256,
        "kind": kind,
        "protocol": protocol,
        "revision": revision,
        "batch": batch,
        "state": "queued",
        "queued_at": db.now(connection),
    }
    connection.execute(insert(evaluations).values(values))


def newest_revision(connection: Connection, sha256: str, protocol: str, applied: bool) -> int:
    """Return the newest revision of a content's results under a protocol, 0 if there is none.

    applied: leave out what a re-evaluation found that was not, or not yet, applied
    """
    query = select(func.coalesce(func.max(results.c.revision), 0))
    query = query.where(results.c.sha256 == sha256, results.c.protocol == protocol)
    return int(connection.execute(query.where(results.c.applied.is_(True)) if applied else query).scalar_one())


def insert_quietly(db: Database, table: Table) -> Any:
    """Return an insert that does nothing where the row is there already."""
    dialect = sqlite if db.is_sqlite else postgresql
    return dialect.insert(table).on_conflict_do_nothing()
