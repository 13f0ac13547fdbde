"""The queue: workers lease one job at a time, in fair order, and keep the lease alive while they work.

Fair: of the people who wait, first whoever has the fewest jobs running, then the fewest begun in the last hour, then
who came first; short validations before all else. A lease that ends without a word is a failed try. A worker that comes
back after that finds its fence outdated, and its report is not taken.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Subquery, and_, case, func, or_, select, update

from deeptraffic.competition.store import competitions
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import LeaseLost
from deeptraffic.competition.store.jobs import PRIORITY
from deeptraffic.competition.store.outcomes import LATE, finish, retry_or_fail
from deeptraffic.competition.store.records import Job
from deeptraffic.competition.store.schema import contents, evaluations, results, submissions

LEASE = 30_000  # [ms]
MAX_WAIT = 60_000  # [ms] that a job may be told to wait; a longer one means that the clock was set back
RECENT = 3_600_000  # [ms] that a person's earlier jobs are remembered in the fair order
LANES = {"all": PRIORITY, "validation": ("validation",)}
SILENT = "the worker that had the job fell silent"


def lease(db: Database, worker: str, lane: str = "all", lease_ms: int = LEASE) -> Job | None:
    """Return the next job of a lane, leased; None if nothing waits. Jobs whose result is kept end on the way."""
    with db.write("queue") as connection:
        now = db.now(connection)
        _end_silent(connection, db, now)
        ended = True
        while ended:  # the end of a validation queues an official evaluation, whose result may be kept too
            ended = False
            for row in _waiting(connection, db, now, lane):
                kept = _kept(connection, row)
                if kept is None:
                    return _take(connection, row, worker, now, lease_ms)
                finish(connection, db, row, kept)
                ended = True
    return None


def is_waiting(db: Database, lane: str) -> bool:
    """Return whether `lease` may find something: a look that keeps no writer from working."""
    with db.read() as connection:
        now = db.now(connection)
        queued = and_(evaluations.c.state == "queued", evaluations.c.kind.in_(LANES[lane]))
        query = select(evaluations.c.id).where(or_(queued, _silent(now))).limit(1)
        return connection.execute(query).first() is not None


def beat(db: Database, job: Job, done: int, total: int, lease_ms: int = LEASE) -> None:
    """Keep a lease alive and note how many runs are done; LeaseLost if the job is another worker's now."""
    with db.write() as connection:
        held = (evaluations.c.id == job.id, evaluations.c.fence == job.fence, evaluations.c.state == "running")
        values = {"done": done, "total": total, "lease_until": db.now(connection) + lease_ms}
        if connection.execute(update(evaluations).where(*held).values(values)).rowcount != 1:
            raise LeaseLost(LATE)


def places(connection: Connection, db: Database) -> dict[int, int]:
    """Return the place in the queue, from 1, of every evaluation that waits."""
    ordered = _fair_order(db.now(connection), PRIORITY)
    return {found: place for place, found in enumerate(connection.execute(ordered).scalars(), 1)}


def load(db: Database) -> dict[str, int]:
    """Return how many evaluations are queued and running, by kind: {"official queued": 3, ...}."""
    what = (evaluations.c.kind, evaluations.c.state)
    query = select(*what, func.count()).where(evaluations.c.state.in_(("queued", "running"))).group_by(*what)
    with db.read() as connection:
        return {f"{kind} {state}": count for kind, state, count in connection.execute(query)}


def _end_silent(connection: Connection, db: Database, now: int) -> None:
    """Take back what was leased to workers that are gone."""
    silent = select(evaluations).where(_silent(now)).with_for_update(skip_locked=True)
    for row in connection.execute(silent).all():
        retry_or_fail(connection, db, row, SILENT, wait=0)


def _silent(now: int) -> ColumnElement[bool]:
    """Whether a lease has ended; one from the far future means that the clock was set back."""
    over = or_(evaluations.c.lease_until <= now, evaluations.c.lease_until > now + 2 * LEASE)
    return and_(evaluations.c.state == "running", over)


def _fair_order(now: int, kinds: tuple[str, ...]) -> Any:
    """A query for the ids of what waits, in the order in which workers take it."""
    running = _count_by_person("running", evaluations.c.state == "running")
    recent = _count_by_person("recent", evaluations.c.started_at > now - RECENT)
    mine = func.row_number().over(partition_by=(evaluations.c.person_id, evaluations.c.kind), order_by=evaluations.c.id)
    waiting = (
        select(evaluations.c.id, evaluations.c.person_id, evaluations.c.kind, mine.label("turn"))
        .where(evaluations.c.state == "queued", evaluations.c.kind.in_(kinds))
        .subquery("waiting")
    )
    order = case({kind: number for number, kind in enumerate(PRIORITY)}, value=waiting.c.kind)
    return (
        select(waiting.c.id)
        .outerjoin(running, running.c.person_id == waiting.c.person_id)
        .outerjoin(recent, recent.c.person_id == waiting.c.person_id)
        .order_by(
            order,
            func.coalesce(running.c.count, 0) + waiting.c.turn,
            func.coalesce(recent.c.count, 0) + waiting.c.turn,
            waiting.c.id,
        )
    )


def _count_by_person(name: str, condition: Any) -> Subquery:
    count = func.count().label("count")
    return select(evaluations.c.person_id, count).where(condition).group_by(evaluations.c.person_id).subquery(name)


def _waiting(connection: Connection, db: Database, now: int, lane: str) -> Any:
    """Give the rows that may start now, one after another, each locked against other workers."""
    for found in connection.execute(_fair_order(now, LANES[lane])).scalars().all():
        twin = evaluations.alias("twin")
        same = and_(
            twin.c.sha256 == evaluations.c.sha256,
            twin.c.protocol == evaluations.c.protocol,
            twin.c.revision == evaluations.c.revision,
            twin.c.state == "running",
        )
        ready = or_(
            evaluations.c.not_before.is_(None),
            evaluations.c.not_before <= now,
            evaluations.c.not_before > now + MAX_WAIT,
        )
        still = (evaluations.c.id == found, evaluations.c.state == "queued", ready)
        query = select(evaluations).where(*still, ~select(twin.c.id).where(same).exists())
        row = connection.execute(query.with_for_update(skip_locked=True)).one_or_none()
        if row is not None:
            yield row


def _kept(connection: Connection, row: Any) -> int | None:
    """Return the id of the result that this very evaluation would give."""
    same = (results.c.sha256 == row.sha256, results.c.protocol == row.protocol, results.c.revision == row.revision)
    found = connection.execute(select(results.c.id).where(*same)).scalar_one_or_none()
    return None if found is None else int(found)


def _take(connection: Connection, row: Any, worker: str, now: int, lease_ms: int) -> Job:
    values = {
        "state": "running",
        "tries": row.tries + 1,
        "fence": row.fence + 1,
        "worker": worker,
        "lease_until": now + lease_ms,
        "started_at": now,
        "done": 0,
    }
    connection.execute(update(evaluations).where(evaluations.c.id == row.id).values(values))
    if row.kind in ("validation", "official"):
        state = "validating" if row.kind == "validation" else "running"
        connection.execute(update(submissions).where(submissions.c.id == row.submission_id).values(state=state))
    config = competitions.get(connection, row.competition_id).config
    query = select(contents.c.content, submissions.c.other_agents).join(
        submissions, submissions.c.sha256 == contents.c.sha256
    )
    content, other_agents = connection.execute(query.where(submissions.c.id == row.submission_id)).one()
    return Job(
        id=row.id,
        fence=row.fence + 1,
        kind=row.kind,
        protocol=row.protocol,
        rules=config.rules,
        other_agents=other_agents,
        runs=config.validation_runs,
        seeds=competitions.seeds_of(connection, row.competition_id)[: config.final_runs]
        if row.kind == "final"
        else None,
        content=bytes(content),
        sha256=row.sha256,
        tries=row.tries + 1,
    )
