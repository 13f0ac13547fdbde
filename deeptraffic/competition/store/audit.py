"""Audit log: every action that changes a competition, other than participants' own submissions."""

from typing import Any

from sqlalchemy import false, select
from sqlalchemy.orm import Session

from deeptraffic.competition.models import AuditEntry
from deeptraffic.competition.store.database import Database

MAX_SUBJECT = 200  # [characters]


# parameters: the columns of an entry, and any details by name
def note(
    session: Session,
    db: Database,
    actor: str,
    action: str,
    competition_id: int | None = None,
    subject: str = "",
    **details: Any,
) -> None:
    """Add an entry in the transaction of the action itself."""
    session.add(
        AuditEntry(
            at=db.now(session),
            actor=actor,
            action=action,
            competition_id=competition_id,
            subject=subject[:MAX_SUBJECT],
            details=details,
        )
    )


def entries(
    db: Database, competition_id: int | None = None, limit: int = 100, before: int | None = None, server: bool = True
) -> list[AuditEntry]:
    """Return the newest entries first: of one competition and, unless server is False, of the server; or of all.

    before: id of an entry to continue from
    """
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
    if competition_id is not None:
        general = AuditEntry.competition_id.is_(None) if server else false()
        query = query.where((AuditEntry.competition_id == competition_id) | general)
    if before is not None:
        query = query.where(AuditEntry.id < before)
    with db.read() as session:
        return list(session.scalars(query))
