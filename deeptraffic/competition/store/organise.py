"""What an organiser does to submissions and members; each act is written to the audit log in its own transaction."""

from typing import Any

from sqlalchemy import Connection, select, update

from deeptraffic.competition.sandbox.validation import Upload
from deeptraffic.competition.store import accounts, audit, submissions
from deeptraffic.competition.store.competitions import get, touch
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.members import join
from deeptraffic.competition.store.outcomes import end_final
from deeptraffic.competition.store.records import Submission
from deeptraffic.competition.store.schema import evaluations, members, people
from deeptraffic.competition.store.schema import submissions as rows
from deeptraffic.competition.store.standing import update_best

MAX_REASON = 1000  # [characters]


def disqualify(db: Database, key: str, actor: str, reason: str) -> None:
    """Take a submission off the board, and out of the queue; RequestError `missing`, `reason` or `revealed`."""
    _judge(db, key, actor, "disqualify", _reason(reason))


def requalify(db: Database, key: str, actor: str, reason: str = "") -> None:
    """Take a disqualification back."""
    _judge(db, key, actor, "requalify", reason[:MAX_REASON])


def _judge(db: Database, key: str, actor: str, action: str, reason: str) -> None:
    out = action == "disqualify"
    with db.write("queue") as connection:
        row = connection.execute(select(rows).where(rows.c.key == key)).one_or_none()
        if row is None:
            raise RequestError("missing", f"there is no submission {key!r:.60}")
        values = {
            "disqualified_at": db.now(connection) if out else None,
            "disqualified_reason": reason if out else None,
        }
        connection.execute(update(rows).where(rows.c.id == row.id).values(values))
        if out:
            _cancel(connection, db, row.competition_id, evaluations.c.submission_id == row.id)
            _choose_best(connection, rows_id=row.id)
        elif row.state in submissions.UNFINISHED:
            _queue_again(connection, evaluations.c.submission_id == row.id)
        update_best(connection, row.competition_id, row.person_id)
        audit.note(connection, db, actor, action, row.competition_id, key, reason=reason, label=row.label)


def disqualify_member(db: Database, competition_id: int, person_id: int, actor: str, reason: str) -> None:
    """Take a person with all submissions off the board, and let them submit no more."""
    _judge_member(db, competition_id, person_id, actor, "disqualify member", _reason(reason))


def requalify_member(db: Database, competition_id: int, person_id: int, actor: str, reason: str = "") -> None:
    """Take a person's disqualification back."""
    _judge_member(db, competition_id, person_id, actor, "requalify member", reason[:MAX_REASON])


def _judge_member(db: Database, competition_id: int, person_id: int, actor: str, action: str, reason: str) -> None:
    out = action == "disqualify member"
    who = (members.c.competition_id == competition_id, members.c.person_id == person_id)
    theirs = (evaluations.c.competition_id == competition_id) & (evaluations.c.person_id == person_id)
    with db.write("queue") as connection:
        values = {
            "disqualified_at": db.now(connection) if out else None,
            "disqualified_reason": reason if out else None,
        }
        if connection.execute(update(members).where(*who).values(values)).rowcount != 1:
            raise RequestError("missing", "this person takes no part in the competition")
        if out:
            _cancel(connection, db, competition_id, theirs)
        else:
            _queue_again(connection, theirs)
        touch(connection, competition_id)
        name = connection.execute(select(people.c.name).where(people.c.id == person_id)).scalar_one()
        audit.note(connection, db, actor, action, competition_id, name, reason=reason)


def _cancel(connection: Connection, db: Database, competition_id: int, which: Any) -> None:
    """Take evaluations out of the queue, and out of the hands of workers."""
    unfinished = evaluations.c.state.in_(("queued", "running"))
    values = {"state": "cancelled", "fence": evaluations.c.fence + 1, "finished_at": db.now(connection)}
    cancelled = update(evaluations).where(which, unfinished).values(values).returning(evaluations.c.submission_id)
    ids = list(connection.execute(cancelled).scalars())
    for now, before in (("validating", "waiting"), ("running", "validated")):
        connection.execute(update(rows).where(rows.c.id.in_(ids), rows.c.state == now).values(state=before))
    end_final(connection, competition_id)


def _queue_again(connection: Connection, which: Any) -> None:
    """Put cancelled evaluations back into the queue."""
    short = evaluations.c.kind.in_(("validation", "official"))
    values = {"state": "queued", "finished_at": None, "lease_until": None, "done": 0}
    connection.execute(update(evaluations).where(which, short, evaluations.c.state == "cancelled").values(values))


def _choose_best(connection: Connection, rows_id: int) -> None:
    """Let the best submission count in the final in place of this one."""
    connection.execute(update(members).where(members.c.chosen_id == rows_id).values(chosen_id=None))


def _reason(reason: str) -> str:
    if not reason.strip():
        raise RequestError("reason", "say why: the person concerned reads the reason")
    return reason.strip()[:MAX_REASON]


def add_baseline(db: Database, competition_id: int, name: str, upload: Upload, actor: str) -> Submission:
    """Enter a policy that stands on the board without a rank; RequestError as `accept`, `name` or `name_taken`."""
    with db.write() as connection:
        found = accounts.add_person(connection, db, name, role="baseline")
        join(connection, db, competition_id, found.id)
        get(connection, competition_id).config.check_upload(upload)
        audit.note(connection, db, actor, "baseline", competition_id, name, label=upload.label)
    return submissions.accept(db, competition_id, found.id, upload)
