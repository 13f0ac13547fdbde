"""Queue of evaluations: workers lease one job at a time, in fair order, and renew the lease while they work.

Fair: nobody's second job starts while another person waits for a first one. Short validations go before official
evaluations, and both before what the organiser queued; then come the people with the fewest jobs running, with the
fewest started in the last hour, and the first to come. A lease that expires is a failed try. A worker that reports
after that has an outdated fence, and its report is rejected.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, and_, case, delete, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from deeptraffic.competition.models import Content, Evaluation, SeenWorker, Submission
from deeptraffic.competition.store import competitions
from deeptraffic.competition.store.database import Database, changed_rows
from deeptraffic.competition.store.errors import LeaseLost, Unavailable
from deeptraffic.competition.store.evaluations import (
    LATE,
    SHORT,
    Job,
    cpu_budget,
    existing_result,
    finish,
    retry_or_fail,
)

LEASE = 30_000  # [ms]
MAX_WAIT = 60_000  # [ms] that a job may have to wait; a longer one means that the clock was set back
RECENT = 3_600_000  # [ms] that earlier jobs of a person count in the fair order
PRIORITY = ("validation", "official", "again", "final")  # of kinds, in the order in which workers take them
LANES = {"all": PRIORITY, "validation": ("validation",)}
LEASE_EXPIRED = "the worker that had the job stopped renewing its lease"
WORKER_GONE = 60_000  # [ms] without a report after which a worker counts as gone
FORGET_WORKER = 86_400_000  # [ms]


# --- leases -------------------------------------------------------------------------------------------------------


def lease(db: Database, worker: str, lane: str = "all", lease_ms: int = LEASE) -> Job | None:
    """Return the next job of a lane, leased; None if nothing waits. Jobs whose result exists end on the way."""
    with db.write("queue") as session:
        now = db.now(session)
        expired = select(Evaluation).where(_expired(now)).with_for_update(skip_locked=True)
        for evaluation in session.scalars(expired).all():
            retry_or_fail(session, db, evaluation, LEASE_EXPIRED, wait=0)
        ended = True
        while ended:  # the end of a validation queues an official evaluation, whose result may exist too
            ended = False
            for evaluation in _waiting(session, now, lane):
                result = existing_result(session, evaluation)
                if result is None:
                    return _take(session, evaluation, worker, now, lease_ms)
                finish(session, db, evaluation, result)
                ended = True
    return None


def is_waiting(db: Database, lane: str) -> bool:
    """Return whether `lease` may find something: a read that blocks no writer."""
    with db.read() as session:
        queued = and_(Evaluation.state == "queued", Evaluation.kind.in_(LANES[lane]))
        query = select(Evaluation.id).where(or_(queued, _expired(db.now(session)))).limit(1)
        return session.execute(query).first() is not None


def renew(db: Database, job: Job, done: int, total: int, lease_ms: int = LEASE) -> None:
    """Renew a lease and record how many runs are done; LeaseLost if the job is no longer the caller's."""
    with db.write() as session:
        held = (Evaluation.id == job.id, Evaluation.fence == job.fence, Evaluation.state == "running")
        values = {"done": done, "total": total, "lease_until": db.now(session) + lease_ms}
        if changed_rows(session, update(Evaluation).where(*held).values(values)) != 1:
            raise LeaseLost(LATE)


def counts(db: Database) -> dict[str, int]:
    """Return how many evaluations are queued and running, by kind: {"official queued": 3, ...}."""
    query = select(Evaluation.kind, Evaluation.state, func.count())
    query = query.where(Evaluation.state.in_(("queued", "running"))).group_by(Evaluation.kind, Evaluation.state)
    with db.read() as session:
        return {f"{kind} {state}": count for kind, state, count in session.execute(query)}


def _expired(now: int) -> ColumnElement[bool]:
    """Return the condition of an expired lease; one from the far future means that the clock was set back."""
    over = or_(Evaluation.lease_until <= now, Evaluation.lease_until > now + 2 * LEASE)
    return and_(Evaluation.state == "running", over)


def fair_order(now: int, kinds: tuple[str, ...]) -> Select[Any]:
    """Return a query for the ids of what waits, in the order in which workers take it."""
    running = _count_by_person("running", Evaluation.state == "running")
    recent = _count_by_person("recent", Evaluation.started_at > now - RECENT)
    kind = case({kind: number for number, kind in enumerate(PRIORITY)}, value=Evaluation.kind)
    organisers = case((Evaluation.kind.in_(SHORT), 0), else_=1)
    turn = func.row_number().over(partition_by=(Evaluation.person_id, Evaluation.kind), order_by=Evaluation.id)
    nth = func.row_number().over(partition_by=(Evaluation.person_id, organisers), order_by=(kind, Evaluation.id))
    columns = (kind.label("kind"), organisers.label("organisers"), turn.label("turn"), nth.label("nth"))
    waiting = (
        select(Evaluation.id, Evaluation.person_id, *columns)
        .where(Evaluation.state == "queued", Evaluation.kind.in_(kinds))
        .subquery("waiting")
    )
    count = func.coalesce(running.c.count, 0)
    return (
        select(waiting.c.id)
        .outerjoin(running, running.c.person_id == waiting.c.person_id)
        .outerjoin(recent, recent.c.person_id == waiting.c.person_id)
        .order_by(
            waiting.c.organisers,
            case((count + waiting.c.nth > 1, 1), else_=0),
            waiting.c.kind,
            count + waiting.c.turn,
            func.coalesce(recent.c.count, 0) + waiting.c.turn,
            waiting.c.id,
        )
    )


def _count_by_person(name: str, condition: ColumnElement[bool]) -> Subquery:
    count = func.count().label("count")
    return select(Evaluation.person_id, count).where(condition).group_by(Evaluation.person_id).subquery(name)


def _waiting(session: Session, now: int, lane: str) -> Iterator[Evaluation]:
    """Yield the evaluations that may start now, each locked against other workers."""
    twin = aliased(Evaluation)
    same = (
        twin.sha256 == Evaluation.sha256,
        twin.protocol == Evaluation.protocol,
        twin.revision == Evaluation.revision,
        twin.state == "running",
    )
    ready = or_(Evaluation.not_before.is_(None), Evaluation.not_before <= now, Evaluation.not_before > now + MAX_WAIT)
    for found in session.execute(fair_order(now, LANES[lane])).scalars().all():
        still = (Evaluation.id == found, Evaluation.state == "queued", ready, ~select(twin.id).where(*same).exists())
        query = select(Evaluation).where(*still).with_for_update(skip_locked=True, of=Evaluation)
        evaluation = session.scalars(query).one_or_none()
        if evaluation is not None:
            yield evaluation


def _take(session: Session, evaluation: Evaluation, worker: str, now: int, lease_ms: int) -> Job:
    evaluation.state, evaluation.worker = "running", worker
    evaluation.tries += 1
    evaluation.fence += 1
    evaluation.lease_until, evaluation.started_at, evaluation.done = now + lease_ms, now, 0
    submission = session.get_one(Submission, evaluation.submission_id)
    if evaluation.kind in SHORT:
        submission.state = "validating" if evaluation.kind == "validation" else "running"
    config, seeds = competitions.get(session, evaluation.competition_id).config, None
    if evaluation.kind == "final":
        seeds = competitions.seeds_of(session, evaluation.competition_id)[: config.final_runs]
    return Job(
        id=evaluation.id,
        fence=evaluation.fence,
        kind=evaluation.kind,
        protocol=evaluation.protocol,
        rules=config.rules,
        other_agents=submission.other_agents,
        runs=config.validation_runs,
        seeds=seeds,
        content=session.get_one(Content, evaluation.sha256).content,
        sha256=evaluation.sha256,
        tries=evaluation.tries,
        cpu_budget=cpu_budget(config),
    )


# --- workers ------------------------------------------------------------------------------------------------------


def report_worker(db: Database, name: str, lane: str, jobs: int) -> None:
    """Record that a worker is alive, and how many jobs it has finished."""
    with db.write() as session:
        now = db.now(session)
        values = {"seen_at": now, "jobs": jobs}
        if changed_rows(session, update(SeenWorker).where(SeenWorker.name == name).values(values)) == 0:
            session.add(SeenWorker(name=name, lane=lane, started_at=now, seen_at=now, jobs=jobs))
            session.execute(delete(SeenWorker).where(SeenWorker.seen_at < now - FORGET_WORKER))


def remove_worker(db: Database, name: str) -> None:
    """Record that a worker has stopped."""
    with db.write() as session:
        session.execute(delete(SeenWorker).where(SeenWorker.name == name))


def end_leases(db: Database, process: str) -> None:
    """End the leases of a worker's process that has died, named as by `process_name`: another takes its job at once."""
    with suppress(Unavailable), db.write() as session:
        name, now = f"{process} ", db.now(session)
        held = (Evaluation.state == "running", Evaluation.worker.startswith(name, autoescape=True))
        session.execute(update(Evaluation).where(*held).values(lease_until=now))
        session.execute(delete(SeenWorker).where(SeenWorker.name.startswith(name, autoescape=True)))


def seen_workers(db: Database) -> list[SeenWorker]:
    """Return the workers that reported within the last minute."""
    with db.read() as session:
        recently = SeenWorker.seen_at > db.now(session) - WORKER_GONE
        return list(session.scalars(select(SeenWorker).where(recently).order_by(SeenWorker.name)))
