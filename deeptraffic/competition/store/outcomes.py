"""What workers report about a job, and what follows from it; each report is one transaction and needs the job's fence.

done -> the result is kept, and the submission moves on: validation, then its official score, then its owner's place
refused -> the submission's own fault, which it is told
given back -> our fault: another try, and after the third "platform failure", which the quota does not count
"""

from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from deeptraffic.competition.store import competitions
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import LeaseLost
from deeptraffic.competition.store.jobs import enqueue
from deeptraffic.competition.store.records import Job
from deeptraffic.competition.store.schema import evaluations, results, submissions
from deeptraffic.competition.store.standing import update_best
from deeptraffic.evaluation.score import Score

MAX_TRIES = 3
BACKOFF = 5_000  # [ms] before another try, times the tries so far
LATE = "this job is another worker's now"
FAILURE = "platform failure: three tries ended without a result, through no fault of yours; your quota has it back"


def complete(db: Database, job: Job, score: Score, drive: bytes | None = None) -> None:
    """Keep a job's result; LeaseLost if the job is no longer the caller's."""
    numbers = _numbers(score)  # the intervals take a while, and others wait for a writing transaction
    with db.write("queue") as connection:
        row = _own(connection, job)
        finish(connection, db, row, _keep(connection, db, row, numbers | {"drive": drive}))


def refuse(db: Database, job: Job, code: str, reason: str) -> None:
    """Say what the submission did wrong; LeaseLost if the job is no longer the caller's."""
    with db.write("queue") as connection:
        row = _own(connection, job)
        now = db.now(connection)
        _close(connection, row.id, state="refused", finished_at=now, code=code, reason=reason)
        if row.kind in ("validation", "official"):
            _set(connection, row.submission_id, state="refused", scored_at=now, code=code, reason=reason)
        end_final(connection, row.competition_id)


def give_back(db: Database, job: Job, reason: str) -> None:
    """Report a fault of the platform: the job is tried again, three times in all; LeaseLost as above."""
    with db.write("queue") as connection:
        retry_or_fail(connection, db, _own(connection, job), reason)


def hand_back(db: Database, job: Job) -> None:
    """Return a job untouched, as a worker does that is asked to stop; it costs no try. LeaseLost as above."""
    with db.write("queue") as connection:
        row = _own(connection, job)
        _requeue(connection, row, tries=row.tries - 1, not_before=None)


def retry_or_fail(connection: Connection, db: Database, row: Any, reason: str, wait: int = BACKOFF) -> None:
    """Queue a failed evaluation again, or give it up after the third try and give the quota back.

    wait: [ms] times the tries so far before the next
    """
    now = db.now(connection)
    if row.tries < MAX_TRIES:
        _requeue(connection, row, not_before=now + wait * row.tries, reason=reason)
        return
    _close(connection, row.id, state="failed", finished_at=now, code="platform", reason=reason)
    if row.kind in ("validation", "official"):
        failed = {"state": "failed", "scored_at": now, "code": "platform", "reason": FAILURE, "counted": False}
        _set(connection, row.submission_id, **failed)
    end_final(connection, row.competition_id)


def finish(connection: Connection, db: Database, row: Any, result_id: int) -> None:
    """Close an evaluation with its result, and let its submission move on."""
    now = db.now(connection)
    runs = connection.execute(select(results.c.runs).where(results.c.id == result_id)).scalar_one()
    _close(connection, row.id, state="done", finished_at=now, result_id=result_id, done=runs, total=runs)
    if row.kind == "validation":
        _set(connection, row.submission_id, state="validated", validation_id=result_id)
        enqueue(connection, db, competitions.get(connection, row.competition_id), row.submission_id, "official")
    elif row.kind == "official":
        _set(connection, row.submission_id, state="scored", scored_at=now, result_id=result_id)
        update_best(connection, row.competition_id, row.person_id)
    elif row.kind == "final":
        _set(connection, row.submission_id, final_id=result_id)
    end_final(connection, row.competition_id)


def _own(connection: Connection, job: Job) -> Any:
    """Return the job's row, locked; LeaseLost if its fence has moved on."""
    held = (evaluations.c.id == job.id, evaluations.c.fence == job.fence, evaluations.c.state == "running")
    row = connection.execute(select(evaluations).where(*held).with_for_update()).one_or_none()
    if row is None:
        raise LeaseLost(LATE)
    return row


def _numbers(score: Score) -> dict[str, Any]:
    (score_low, score_high), (mean_low, mean_high) = score.median_interval, score.mean_interval
    return {
        "score": score.score,
        "score_low": score_low,
        "score_high": score_high,
        "mean": score.mean_mph,
        "mean_low": mean_low,
        "mean_high": mean_high,
        "unrounded_mean": score.unrounded_mean_mph,
        "sd": score.sd_mph,
        "runs": score.runs,
        "frames": score.frames,
        "run_scores": score.run_scores.astype("<f8").tobytes(),
        "run_passed": score.run_passed.astype("<i8").tobytes(),
        "seconds": score.seconds,
    }


def _keep(connection: Connection, db: Database, row: Any, numbers: dict[str, Any]) -> int:
    """Return the id of a new result, or of the one that is there already."""
    same = (results.c.sha256 == row.sha256, results.c.protocol == row.protocol, results.c.revision == row.revision)
    kept = connection.execute(select(results.c.id).where(*same)).scalar_one_or_none()
    if kept is not None:
        return int(kept)
    values = numbers | {
        "sha256": row.sha256,
        "protocol": row.protocol,
        "revision": row.revision,
        "applied": row.kind != "again",
        "created_at": db.now(connection),
    }
    return int(connection.execute(insert(results).values(values).returning(results.c.id)).scalar_one())


def _requeue(connection: Connection, row: Any, **values: Any) -> None:
    _close(connection, row.id, state="queued", lease_until=None, started_at=None, done=0, **values)
    if row.kind in ("validation", "official"):
        _set(connection, row.submission_id, state="waiting" if row.kind == "validation" else "validated")


def _close(connection: Connection, evaluation_id: int, **values: Any) -> None:
    connection.execute(update(evaluations).where(evaluations.c.id == evaluation_id).values(**values))


def _set(connection: Connection, submission_id: int, **values: Any) -> None:
    connection.execute(update(submissions).where(submissions.c.id == submission_id).values(**values))


def end_final(connection: Connection, competition_id: int) -> None:
    """Call the final scored, still hidden, once nothing of it waits or runs."""
    mine = (evaluations.c.competition_id == competition_id, evaluations.c.kind == "final")
    open_ones = select(func.count()).where(*mine, evaluations.c.state.in_(("queued", "running")))
    if connection.execute(open_ones).scalar_one() == 0:
        competitions.set_final(connection, competition_id, "running", "scored")
