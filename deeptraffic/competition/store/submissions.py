"""Submissions: accepted by one transaction that stores the file, counts the quota and queues the work; looked up.

A quota is a person's, or that of a team's members together; limits of their own are in `Member`.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, aliased, contains_eager, joinedload

from deeptraffic.competition.config import to_time
from deeptraffic.competition.models import (
    CheckCost,
    Competition,
    Content,
    Evaluation,
    EvaluationResult,
    Member,
    Person,
    Submission,
    Team,
)
from deeptraffic.competition.names import visible
from deeptraffic.competition.sandbox.validation import Upload
from deeptraffic.competition.store import audit, competitions, evaluations
from deeptraffic.competition.store.database import Database, changed_rows
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.forecast import forecast

DAY = 86_400_000  # [ms]
MAX_NOTE = 500  # [characters]
UNFINISHED = ("waiting", "validating", "validated", "running")


# --- accepting ----------------------------------------------------------------------------------------------------


def accept(db: Database, competition_id: int, person_id: int, upload: Upload, age: int = 0) -> Submission:
    """Accept a submission: store the file, count it and queue it, all in one transaction.

    age: how long ago its last byte came [ms], which is the time that counts

    Raises RequestError: member, blocked, disqualified, not_open, closed, paused, final; rules, other_agents,
    parameters, observation; quota_day, quota_total, quota_cpu, waiting; duplicate (subject: the earlier submission's
    key).
    """
    with db.write() as session:
        competition = competitions.get(session, competition_id)
        member = competitions.find_member(session, competition_id, person_id, lock=True)
        now = db.now(session) - age
        people = _people(session, member, person_id)
        if not _check_person(session, member, person_id):
            _check_open(competition, now, member)
            _check_quota(session, competition, people, now)
        competition.config.check_upload(upload)
        _check_new(session, competition_id, people, upload)
        _keep_content(session, db, upload, now)
        made = Submission(
            competition_id=competition_id,
            person_id=person_id,
            sha256=upload.sha256,
            network=upload.network or upload.sha256,
            filename=upload.filename[-200:],
            label=upload.label[:100],
            facts=upload.facts,
            other_agents=upload.other_agents,
            parameters=upload.parameters,
            cells=upload.observation.size,
            layers=len(upload.layers),
            accepted_at=now,
        )
        session.add(made)
        session.flush()
        evaluations.enqueue(session, db, competition, made, "validation")
        _log_same_network(session, db, made)
        session.expire(made)  # so that it is loaded with its relationships
        return _load(session, db, Submission.id == made.id)[0]


def _check_person(session: Session, member: Member | None, person_id: int) -> bool:
    """Reject a person who may not submit; return whether it is a baseline, which no date or quota limits."""
    person = session.get_one(Person, person_id)
    if person.blocked_at is not None:
        raise RequestError("blocked", "this account is closed; ask the organiser")
    if member is None:
        raise RequestError("member", "you are not a member of this competition; follow its invitation first")
    if member.disqualified_at is not None:
        raise RequestError("disqualified", f"you are disqualified: {member.disqualified_reason}")
    return person.role == "baseline"


def _people(session: Session, member: Member | None, person_id: int) -> list[int]:
    """Return the ids of those who share a person's quota: the team, locked against other submissions, or the person."""
    if member is None or member.team_id is None:
        return [person_id]
    session.get_one(Team, member.team_id, with_for_update=True)
    return competitions.mates(session, member.competition_id, person_id)


def _check_open(competition: Competition, now: int, member: Member | None) -> None:
    own = None if member is None else member.closes_at
    phase, config, closes = competition.phase(now, own), competition.config, competition.closes(own)
    if phase == "upcoming" and config.opens is not None:
        raise RequestError("not_open", f"submissions open at {to_time(config.opens)}")
    if phase == "closed" and closes is not None:
        raise RequestError("closed", f"submissions closed at {to_time(closes)}")
    if phase == "paused":
        raise RequestError("paused", f"the organiser has paused submissions. {competition.pause_reason}".strip())
    if phase != "open":
        raise RequestError("final", "the final has begun; submissions are closed")


def check_early(db: Database, competition: Competition, person_id: int) -> None:
    """Reject a person who has used up a quota, before a file is checked; RequestError as of `accept`."""
    with db.read() as session:
        people = competitions.mates(session, competition.id, person_id)
        if session.get_one(Person, person_id).role != "baseline":
            _check_quota(session, competition, people, db.now(session))


def _check_quota(session: Session, competition: Competition, people: list[int], now: int) -> None:
    config, used = competition.config, usage(session, competition.id, people, now)
    limits = limits_of(session, competition, people)
    who = "you have" if len(people) == 1 else "your team has"
    if used["total"] >= limits["total"]:
        raise RequestError("quota_total", f"{who} used all {limits['total']} submissions of this competition")
    if used["day"] >= limits["day"]:
        again = to_time(now - now % DAY + DAY)
        sentence = f"{who} used today's {limits['day']} submissions; the next is possible from {again}"
        raise RequestError("quota_day", sentence)
    if cpu_seconds_of(session, competition.id, people, now) >= config.daily_cpu:
        again = to_time(now - now % DAY + DAY)
        sentence = f"your checks and evaluations have used today's {config.daily_cpu:,} s of processor time"
        raise RequestError("quota_cpu", f"{sentence}; the next submission is possible from {again}")
    if used["waiting"] >= config.waiting_limit:
        sentence = f"{used['waiting']} of your submissions wait for their score; submit more after that"
        raise RequestError("waiting", sentence)


def usage(session: Session, competition_id: int, people: list[int], now: int) -> dict[str, int]:
    """Return how many submissions of people count today (UTC) and in total, and how many are not finished."""
    day = now - now % DAY
    counted = Submission.counted.is_(True)
    today = and_(counted, Submission.accepted_at >= day, Submission.accepted_at < day + DAY)
    waiting = and_(Submission.state.in_(UNFINISHED), Submission.disqualified_at.is_(None))
    query = select(
        func.count().filter(today).label("day"),
        func.count().filter(counted).label("total"),
        func.count().filter(waiting).label("waiting"),
    ).where(Submission.competition_id == competition_id, Submission.person_id.in_(people))
    return dict(session.execute(query).one()._mapping)


def limits_of(session: Session, competition: Competition, people: list[int]) -> dict[str, int]:
    """Return how many submissions people may make a day and in total: a team, the most that a member may."""
    theirs = (Member.competition_id == competition.id, Member.person_id.in_(people))
    rows = session.execute(select(Member.daily_limit, Member.total_limit).where(*theirs)).all()
    config = competition.config
    return {
        "day": _most(config.daily_limit, [row.daily_limit for row in rows]),
        "total": _most(config.total_limit, [row.total_limit for row in rows]),
    }


def _most(common: int, own: list[int | None]) -> int:
    """Return the largest of limits, of which None is the common one."""
    return max((common if limit is None else limit for limit in own), default=common)


def cpu_seconds_of(session: Session, competition_id: int, people: list[int], now: int) -> float:
    """Return the processor time [s] that checks and evaluations of people took today (UTC), refused ones included."""
    today = now - now % DAY
    short = (Evaluation.kind.in_(evaluations.SHORT), Evaluation.started_at >= today)
    evaluated = select(func.coalesce(func.sum(Evaluation.cpu_seconds), 0.0))
    evaluated = evaluated.where(Evaluation.competition_id == competition_id, Evaluation.person_id.in_(people), *short)
    checked = select(func.coalesce(func.sum(CheckCost.cpu_seconds), 0.0))
    checked = checked.where(CheckCost.competition_id == competition_id, CheckCost.person_id.in_(people))
    return sum(float(session.execute(q).scalar_one()) for q in (evaluated, checked.where(CheckCost.day == today)))


def charge(db: Database, competition_id: int, person_id: int, cpu_seconds: float) -> None:
    """Count the processor time [s] of an upload's check among what its sender may use per day."""
    with db.write() as session:
        now = db.now(session)
        dialect: Any = sqlite if db.is_sqlite else postgresql
        row = {"competition_id": competition_id, "person_id": person_id, "day": now - now % DAY}
        insert = dialect.insert(CheckCost).values(cpu_seconds=cpu_seconds, **row)
        more = {"cpu_seconds": CheckCost.cpu_seconds + cpu_seconds}
        session.execute(insert.on_conflict_do_update(index_elements=list(row), set_=more))


def quota(db: Database, competition_id: int, person_id: int) -> dict[str, int]:
    """Return what a person, or their team, has used: day, total, waiting."""
    with db.read() as session:
        people = competitions.mates(session, competition_id, person_id)
        return usage(session, competition_id, people, db.now(session))


def limits(db: Database, competition_id: int, person_id: int) -> dict[str, int]:
    """Return what a person, or their team, may use: day, total."""
    with db.read() as session:
        people = competitions.mates(session, competition_id, person_id)
        return limits_of(session, competitions.get(session, competition_id), people)


def cpu_seconds_today(db: Database, competition_id: int, person_id: int) -> float:
    """Return the processor time [s] that checks and evaluations of a person, or their team, took today (UTC)."""
    with db.read() as session:
        people = competitions.mates(session, competition_id, person_id)
        return cpu_seconds_of(session, competition_id, people, db.now(session))


def _check_new(session: Session, competition_id: int, people: list[int], upload: Upload) -> None:
    same = select(Submission.key).where(
        Submission.competition_id == competition_id,
        Submission.person_id.in_(people),
        Submission.sha256 == upload.sha256,
        Submission.state != "failed",
    )
    earlier = session.execute(same).scalars().first()
    if earlier is not None:
        raise RequestError("duplicate", "you have submitted this very policy before; it was not counted again", earlier)


def _keep_content(session: Session, db: Database, upload: Upload, now: int) -> None:
    """Store a file's content once, even if two people submit it at the same time."""
    if session.execute(select(Content.sha256).where(Content.sha256 == upload.sha256)).first() is None:
        row = {"sha256": upload.sha256, "content": upload.content, "created_at": now}
        dialect = sqlite if db.is_sqlite else postgresql
        session.execute(dialect.insert(Content).values(row).on_conflict_do_nothing())


# --- the same network ---------------------------------------------------------------------------------------------


def _log_same_network(session: Session, db: Database, made: Submission) -> None:
    """Note for the organiser, and for nobody else, that a network was handed in before."""
    same = (Submission.competition_id == made.competition_id, Submission.network == made.network)
    query = select(Submission.key, Submission.person_id, Person.name).join(Submission.owner)
    earlier = session.execute(query.where(*same, Submission.id < made.id).order_by(Submission.id).limit(1)).first()
    if earlier is not None:
        owner = session.get_one(Person, made.person_id).name
        kind = "relabelled" if earlier.person_id == made.person_id else "two people"
        details = {"kind": kind, "by": owner, "earlier": earlier.key, "earlier_by": earlier.name}
        audit.note(session, db, "the server", "same network", made.competition_id, made.key, **details)


def same_networks(db: Database, competition_id: int) -> list[list[Submission]]:
    """Return groups of submissions with the same weights and settings, oldest first: for the organiser only."""
    mine = Submission.competition_id == competition_id
    several = select(Submission.network).where(mine).group_by(Submission.network).having(func.count() > 1)
    with db.read() as session:
        found = _load(session, db, and_(mine, Submission.network.in_(several)))
    groups: dict[str, list[Submission]] = {}
    for submission in reversed(found):
        groups.setdefault(submission.network, []).append(submission)
    return list(groups.values())


# --- looking up ---------------------------------------------------------------------------------------------------


def find_submission(db: Database, key: str) -> Submission | None:
    """Return the submission with this key; the caller decides who may see it."""
    with db.read() as session:
        found = _load(session, db, Submission.key == key)
        return found[0] if found else None


def get_submission(db: Database, submission_id: int) -> Submission:
    """Return the submission with this id."""
    with db.read() as session:
        return _load(session, db, Submission.id == submission_id)[0]


def find_scored(db: Database, key: str) -> Submission | None:
    """Return the scored submission with this key, and the runs and decisions of its official result.

    None if there is none, or if it or its owner is disqualified.
    """
    shown = (Submission.state == "scored", Submission.disqualified_at.is_(None), Member.disqualified_at.is_(None))
    member = joinedload(Submission.member)
    runs = joinedload(Submission.result).undefer(EvaluationResult.run_scores).undefer(EvaluationResult.run_passed)
    query = select(Submission).join(Submission.member).where(Submission.key == key, *shown)
    query = query.options(
        runs.undefer(EvaluationResult.decisions),
        joinedload(Submission.owner),
        joinedload(Submission.competition),
        member.joinedload(Member.team),
    )
    with db.read() as session:
        return session.scalars(query).one_or_none()


def has_replay(db: Database, key: str) -> bool:
    """Return whether the decisions of a submission's official result are kept."""
    query = select(Submission.id).join(Submission.result).where(Submission.key == key)
    with db.read() as session:
        return session.execute(query.where(EvaluationResult.decisions.is_not(None))).first() is not None


def history(
    db: Database, competition_id: int, person_id: int | None = None, limit: int = 100, offset: int = 0
) -> tuple[list[Submission], int]:
    """Return a page of submissions, the newest first, and the number of all; of a person, or of all for None."""
    which = [Submission.competition_id == competition_id]
    if person_id is not None:
        which.append(Submission.person_id == person_id)
    with db.read() as session:
        total = session.execute(select(func.count()).select_from(Submission).where(*which)).scalar_one()
        page = select(Submission.id).where(*which).order_by(Submission.id.desc()).limit(limit).offset(offset)
        ids = session.execute(page).scalars().all()
        return _load(session, db, Submission.id.in_(ids)) if ids else [], total


@dataclass(frozen=True)
class ScorePoint:
    """A score of a person's history; low, high: its 95% interval [mph]."""

    key: str
    label: str
    accepted_at: int
    score: float
    low: float
    high: float


def scores_of(db: Database, competition_id: int, person_id: int) -> list[ScorePoint]:
    """Return a person's scores in a competition, the oldest first, without disqualified submissions."""
    s, r = Submission, EvaluationResult
    query = (
        select(s.key, s.label, s.accepted_at, r.score, r.score_low, r.score_high)
        .join(r, r.id == s.result_id)
        .where(s.competition_id == competition_id, s.person_id == person_id, s.disqualified_at.is_(None))
        .order_by(s.accepted_at, s.id)
    )
    with db.read() as session:
        return [ScorePoint(*row) for row in session.execute(query)]


def losses_of(db: Database, key: str) -> dict[str, Any] | None:
    """Return where a submission's official evaluation lost speed (`losses_record`), None if it is not known."""
    query = select(EvaluationResult.losses).join(Submission, Submission.result_id == EvaluationResult.id)
    with db.read() as session:
        return session.execute(query.where(Submission.key == key)).scalar_one_or_none()


def set_note(db: Database, key: str, person_id: int, note: str) -> None:
    """Change the note of a person's own submission; RequestError `note` if it is too long or not theirs."""
    lines = [visible(line) for line in note.splitlines()]
    note = "\n".join(lines).strip()
    if len(note) > MAX_NOTE:
        raise RequestError("note", f"a note must have at most {MAX_NOTE} characters, got {len(note):,}; shorten it")
    mine = (Submission.key == key, Submission.person_id == person_id)
    with db.write() as session:
        if changed_rows(session, update(Submission).where(*mine).values(note=note)) != 1:
            raise RequestError("note", "a note belongs to one of your own submissions")


def content_of(db: Database, submission_id: int) -> bytes:
    """Return the policy file of a submission, for its owner and the organiser."""
    query = select(Content.content).join(Submission, Submission.sha256 == Content.sha256)
    with db.read() as session:
        return session.execute(query.where(Submission.id == submission_id)).scalar_one()


def _load(session: Session, db: Database, condition: ColumnElement[bool]) -> list[Submission]:
    """Return submissions, the newest first, with everything that their pages show."""
    found = list(session.scalars(_shown().where(condition)))
    if any(submission.state in ("waiting", "validated") for submission in found):
        waiting = forecast(session, db)
        for submission in found:
            if submission.job is not None and submission.job.id in waiting:
                submission.place, submission.wait = waiting[submission.job.id]
    return found


@cache
def _shown() -> Select[Submission]:
    """Return the query for submissions with what their pages show of other tables."""
    job, result = aliased(Evaluation), EvaluationResult
    short = (Evaluation.submission_id == Submission.id, Evaluation.kind.in_(evaluations.SHORT))
    latest = select(func.max(Evaluation.id)).where(*short).correlate(Submission).scalar_subquery()
    options = (
        joinedload(Submission.owner).load_only(Person.name),
        joinedload(Submission.competition),
        joinedload(Submission.member).load_only(Member.best_id, Member.chosen_id),
        joinedload(Submission.validation).load_only(result.score),
        joinedload(Submission.result).load_only(result.score, result.mean, result.mean_low, result.mean_high),
        joinedload(Submission.replaced).load_only(result.score),
        contains_eager(Submission.job.of_type(job)),
    )
    return select(Submission).outerjoin(job, job.id == latest).options(*options).order_by(Submission.id.desc())


# --- choosing for the final ---------------------------------------------------------------------------------------


def choose(db: Database, competition_id: int, person_id: int, key: str | None) -> None:
    """Choose a person's scored submission for the final, None for the best; RequestError `choice` or `final`."""
    with db.write() as session:
        if competitions.get(session, competition_id, lock=True).final != "none":
            raise RequestError("final", "the final has begun; the choice is fixed")
        member = competitions.find_member(session, competition_id, person_id, lock=True)
        chosen = None
        if key is not None and member is not None and member.team_id is not None:  # a team has one choice
            theirs = update(Member).where(Member.team_id == member.team_id, Member.person_id != person_id)
            session.execute(theirs.values(chosen_id=None))
        if key is not None:
            mine = (Submission.competition_id == competition_id, Submission.person_id == person_id)
            scored = (Submission.state == "scored", Submission.disqualified_at.is_(None), Submission.late.is_(False))
            query = select(Submission.id).where(Submission.key == key, *mine, *scored)
            chosen = session.execute(query).scalar_one_or_none()
        if member is None or (key is not None and chosen is None):
            raise RequestError("choice", "choose one of your own scored submissions")
        member.chosen_id = chosen
