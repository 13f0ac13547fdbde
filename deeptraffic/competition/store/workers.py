"""Which workers are alive, for the organiser's page and for `deeptraffic competition doctor`."""

from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update

from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.schema import workers

SILENT = 60_000  # [ms] after which a worker counts as gone
FORGET = 86_400_000  # [ms]


@dataclass(frozen=True)
class SeenWorker:
    """A worker that reported lately; jobs: how many it has finished."""

    name: str
    lane: str
    started_at: int
    seen_at: int
    jobs: int


def report(db: Database, name: str, lane: str, jobs: int) -> None:
    """Say that a worker is alive."""
    with db.write() as connection:
        now = db.now(connection)
        values = {"seen_at": now, "jobs": jobs}
        if connection.execute(update(workers).where(workers.c.name == name).values(values)).rowcount == 0:
            connection.execute(insert(workers).values(values | {"name": name, "lane": lane, "started_at": now}))
            connection.execute(delete(workers).where(workers.c.seen_at < now - FORGET))


def leave(db: Database, name: str) -> None:
    """Say that a worker has stopped."""
    with db.write() as connection:
        connection.execute(delete(workers).where(workers.c.name == name))


def seen(db: Database) -> list[SeenWorker]:
    """Return the workers that reported within the last minute."""
    with db.read() as connection:
        query = select(workers).where(workers.c.seen_at > db.now(connection) - SILENT).order_by(workers.c.name)
        names = SeenWorker.__dataclass_fields__
        return [SeenWorker(**{name: getattr(row, name) for name in names}) for row in connection.execute(query)]
