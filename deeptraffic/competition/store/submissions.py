"""Submissions: accepted by one transaction that stores the file, counts the quota and queues the work."""

import json
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, and_, func, insert, select, update

from deeptraffic.competition.config import to_time
from deeptraffic.competition.sandbox.validation import Upload
from deeptraffic.competition.store import competitions, decode, jobs, queue
from deeptraffic.competition.store.database import Database, new_key, to_text
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.members import find_member
from deeptraffic.competition.store.records import Competition, Member, Result, Submission
from deeptraffic.competition.store.schema import contents, evaluations, members, people, results, submissions

DAY = 86_400_000  # [ms]
UNFINISHED = ("waiting", "validating", "validated", "running")


# --- accepting ----------------------------------------------------------------------------------------------------


def accept(db: Database, competition_id: int, person_id: int, upload: Upload) -> Submission:
    """Take a submission: store the file, count it and queue it, all in one transaction.

    Raises RequestError member, blocked, disqualified, not_open, closed, paused, final; rules, other_agents, parameters,
    observation; quota_day, quota_total, waiting; duplicate (its subject is the earlier submission's key).
    """
    with db.write() as connection:
        competition = competitions.get(connection, competition_id)
        member = find_member(connection, competition_id, person_id, lock=True)
        now = db.now(connection)
        baseline = _check_person(connection, competition, member, person_id)
        if not baseline:
            _check_open(competition, now)
            _check_quota(connection, competition, person_id, now)
        competition.config.check_upload(upload)
        _check_new(connection, competition_id, person_id, upload)
        if connection.execute(select(contents.c.sha256).where(contents.c.sha256 == upload.sha256)).first() is None:
            row = {"sha256": upload.sha256, "content": upload.content, "created_at": now}
            connection.execute(jobs.insert_quietly(db, contents).values(row))
        made = _insert(connection, competition, person_id, upload, now)
        jobs.enqueue(connection, db, competition, made, "validation")
        return _one(connection, db, submissions.c.id == made)


def _check_person(connection: Connection, competition: Competition, member: Member | None, person_id: int) -> bool:
    """Refuse who may not submit; return whether it is a baseline, which no date or quota binds."""
    person = connection.execute(select(people).where(people.c.id == person_id)).one()
    if person.blocked_at is not None:
        raise RequestError("blocked", "this account is closed; ask the organiser")
    if member is None:
        raise RequestError("member", "you take no part in this competition; follow its invitation first")
    if member.disqualified_at is not None:
        raise RequestError("disqualified", f"you are disqualified: {member.disqualified_reason}")
    return bool(person.role == "baseline")


def _check_open(competition: Competition, now: int) -> None:
    phase, config = competition.phase(now), competition.config
    if phase == "upcoming" and config.opens is not None:
        raise RequestError("not_open", f"submissions are taken from {to_time(config.opens)}")
    if phase == "closed" and config.closes is not None:
        raise RequestError("closed", f"submissions were taken until {to_time(config.closes)}")
    if phase == "paused":
        raise RequestError("paused", f"the organiser has paused submissions. {competition.pause_reason}".strip())
    if phase != "open":
        raise RequestError("final", "the final has begun; submissions are no longer taken")


def _check_quota(connection: Connection, competition: Competition, person_id: int, now: int) -> None:
    config, used = competition.config, usage(connection, competition.id, person_id, now)
    if used["total"] >= config.total_limit:
        raise RequestError("quota_total", f"you have used all {config.total_limit} submissions of this competition")
    if used["day"] >= config.daily_limit:
        again = to_time(now - now % DAY + DAY)
        raise RequestError(
            "quota_day", f"you have used today's {config.daily_limit} submissions; the next from {again}"
        )
    if used["waiting"] >= config.waiting_limit:
        raise RequestError(
            "waiting", f"{used['waiting']} of your submissions wait for their score; send more after that"
        )


def usage(connection: Connection, competition_id: int, person_id: int, now: int) -> dict[str, int]:
    """Return how many submissions of a person count today (UTC) and in all, and how many are not finished."""
    day = now - now % DAY
    today = and_(submissions.c.accepted_at >= day, submissions.c.accepted_at < day + DAY)
    counted = submissions.c.counted.is_(True)
    query = select(
        func.count().filter(and_(counted, today)).label("day"),
        func.count().filter(counted).label("total"),
        func.count()
        .filter(and_(submissions.c.state.in_(UNFINISHED), submissions.c.disqualified_at.is_(None)))
        .label("waiting"),
    ).where(submissions.c.competition_id == competition_id, submissions.c.person_id == person_id)
    return dict(connection.execute(query).one()._mapping)


def quota(db: Database, competition_id: int, person_id: int) -> dict[str, int]:
    """Return what a person has used: day, total, waiting; the limits are in the competition's settings."""
    with db.read() as connection:
        return usage(connection, competition_id, person_id, db.now(connection))


def _check_new(connection: Connection, competition_id: int, person_id: int, upload: Upload) -> None:
    same = select(submissions.c.key).where(
        submissions.c.competition_id == competition_id,
        submissions.c.person_id == person_id,
        submissions.c.sha256 == upload.sha256,
        submissions.c.state != "failed",
    )
    earlier = connection.execute(same).scalars().first()
    if earlier is not None:
        raise RequestError("duplicate", "you have submitted this very policy before; it was not counted again", earlier)


def _insert(connection: Connection, competition: Competition, person_id: int, upload: Upload, now: int) -> int:
    row = {
        "key": new_key(),
        "competition_id": competition.id,
        "person_id": person_id,
        "sha256": upload.sha256,
        "filename": upload.filename[-200:],
        "label": upload.label[:100],
        "facts": to_text(upload.facts),
        "other_agents": upload.other_agents,
        "parameters": upload.parameters,
        "cells": upload.sensor.size,
        "layers": len(upload.layers),
        "state": "waiting",
        "accepted_at": now,
    }
    return int(connection.execute(insert(submissions).values(row).returning(submissions.c.id)).scalar_one())


# --- looking up ---------------------------------------------------------------------------------------------------


def find_submission(db: Database, key: str) -> Submission | None:
    """Return the submission with this key; who may see it is the caller's to decide."""
    with db.read() as connection:
        found = _records(connection, db, _query().where(submissions.c.key == key))
        return found[0] if found else None


def get_submission(db: Database, submission_id: int) -> Submission:
    """Return the submission with this id."""
    with db.read() as connection:
        return _one(connection, db, submissions.c.id == submission_id)


def history(
    db: Database, competition_id: int, person_id: int | None = None, limit: int = 100, offset: int = 0
) -> tuple[list[Submission], int]:
    """Return submissions, the newest first, and how many there are; of a person, or of everybody for the organiser."""
    which = [submissions.c.competition_id == competition_id]
    if person_id is not None:
        which.append(submissions.c.person_id == person_id)
    with db.read() as connection:
        total = connection.execute(select(func.count()).select_from(submissions).where(*which)).scalar_one()
        page = select(submissions.c.id).where(*which).order_by(submissions.c.id.desc()).limit(limit).offset(offset)
        ids = connection.execute(page).scalars().all()
        query = _query().where(submissions.c.id.in_(ids)).order_by(submissions.c.id.desc())
        return _records(connection, db, query) if ids else [], int(total)


def count_submissions(db: Database, competition_id: int) -> int:
    """Return how many submissions a competition has had."""
    query = select(func.count()).select_from(submissions).where(submissions.c.competition_id == competition_id)
    with db.read() as connection:
        return int(connection.execute(query).scalar_one())


def result_of(db: Database, submission_id: int) -> Result | None:
    """Return the official result of a submission, with its run scores and its drive."""
    with db.read() as connection:
        join = select(results).join(submissions, submissions.c.result_id == results.c.id)
        row = connection.execute(join.where(submissions.c.id == submission_id)).one_or_none()
        return None if row is None else decode.result(row)


def content_of(db: Database, submission_id: int) -> bytes:
    """Return the policy file of a submission, for its owner and the organiser."""
    with db.read() as connection:
        join = select(contents.c.content).join(submissions, submissions.c.sha256 == contents.c.sha256)
        return bytes(connection.execute(join.where(submissions.c.id == submission_id)).scalar_one())


def _one(connection: Connection, db: Database, condition: Any) -> Submission:
    return _records(connection, db, _query().where(condition))[0]


@cache
def _query() -> Select[Any]:
    official, check, old = results.alias("official"), results.alias("validation"), results.alias("old")
    job = evaluations.alias("job")
    latest = select(func.max(evaluations.c.id)).where(
        evaluations.c.submission_id == submissions.c.id, evaluations.c.kind.in_(("validation", "official"))
    )
    columns = [
        *submissions.c,
        check.c.score.label("validation"),
        official.c.score,
        official.c.mean,
        official.c.mean_low,
        official.c.mean_high,
        old.c.score.label("replaced_score"),
        job.c.id.label("job_id"),
        job.c.started_at,
        job.c.done,
        job.c.total,
        job.c.tries,
        members.c.best_id,
        members.c.chosen_id,
    ]
    same = and_(
        members.c.competition_id == submissions.c.competition_id, members.c.person_id == submissions.c.person_id
    )
    source = submissions.join(members, same).outerjoin(check, check.c.id == submissions.c.validation_id)
    source = source.outerjoin(official, official.c.id == submissions.c.result_id)
    source = source.outerjoin(old, old.c.id == submissions.c.replaced_id)
    source = source.outerjoin(job, job.c.id == latest.scalar_subquery())
    return select(*columns).select_from(source)


def _records(connection: Connection, db: Database, query: Select[Any]) -> list[Submission]:
    rows = connection.execute(query).all()
    waits = any(row.state in ("waiting", "validated") for row in rows)
    places = queue.places(connection, db) if waits else {}
    names = [n for n in Submission.__dataclass_fields__ if n not in ("facts", "place", "best", "chosen")]
    return [
        Submission(
            **{name: getattr(row, name) for name in names},
            facts=json.loads(row.facts),
            place=places.get(row.job_id),
            best=row.best_id == row.id,
            chosen=row.chosen_id == row.id,
        )
        for row in rows
    ]


# --- deciding -----------------------------------------------------------------------------------------------------


def choose(db: Database, competition_id: int, person_id: int, key: str | None) -> None:
    """Let a scored submission of one's own count in the final, None: the best one; RequestError `choice` or `final`."""
    with db.write() as connection:
        if competitions.get(connection, competition_id, lock=True).final != "none":
            raise RequestError("final", "the final has begun; the choice is fixed")
        chosen = None
        if key is not None:
            mine = (submissions.c.competition_id == competition_id, submissions.c.person_id == person_id)
            row = connection.execute(select(submissions).where(submissions.c.key == key, *mine)).one_or_none()
            if row is None or row.state != "scored" or row.disqualified_at is not None:
                raise RequestError("choice", "choose a submission of your own that has a score")
            chosen = row.id
        who = (members.c.competition_id == competition_id, members.c.person_id == person_id)
        connection.execute(update(members).where(*who).values(chosen_id=chosen))
