"""The audit log: every act that changes a competition other than a participant's own submissions."""

from typing import Any

from sqlalchemy import Connection, insert, select

from deeptraffic.competition.store.database import Database, to_text
from deeptraffic.competition.store.decode import audit_entry
from deeptraffic.competition.store.records import AuditEntry
from deeptraffic.competition.store.schema import audit

MAX_SUBJECT = 200


def note(
    connection: Connection,
    db: Database,
    actor: str,
    action: str,
    competition_id: int | None = None,
    subject: str = "",
    **details: Any,
) -> None:
    """Add an act in the transaction that does it."""
    row = {
        "at": db.now(connection),
        "actor": actor,
        "action": action,
        "competition_id": competition_id,
        "subject": subject[:MAX_SUBJECT],
        "details": to_text(details),
    }
    connection.execute(insert(audit).values(row))


def entries(
    db: Database, competition_id: int | None = None, limit: int = 100, before: int | None = None
) -> list[AuditEntry]:
    """Return the newest acts first; of one competition and the server, or of all.

    before: an entry's id, to read on from there
    """
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if competition_id is not None:
        query = query.where((audit.c.competition_id == competition_id) | audit.c.competition_id.is_(None))
    if before is not None:
        query = query.where(audit.c.id < before)
    with db.read() as connection:
        return [audit_entry(row) for row in connection.execute(query)]
