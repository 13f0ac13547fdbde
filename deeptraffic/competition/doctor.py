"""What really protects a competition on this machine: each finding comes from trying it out, not from a setting.

>>> for finding in examine(db, Path("competition")):
...     print(finding.name, finding.state, finding.sentence)
"""

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select, text

from deeptraffic.competition.config import to_time
from deeptraffic.competition.sandbox.doctor import check_protections
from deeptraffic.competition.sandbox.faults import PlatformFault
from deeptraffic.competition.store import queue, workers
from deeptraffic.competition.store.backup import check_file
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import RequestError, Unavailable
from deeptraffic.competition.store.migration import newest_version, version_of
from deeptraffic.competition.store.schema import audit, evaluations, submissions

GOOD, WEAK, BAD = "good", "weak", "bad"
LITTLE_DISK, NO_DISK = 2_000_000_000, 200_000_000  # [bytes] free
SLOW_SYNC = 0.1  # [s] for one write that is on the disk
LATE = 300_000  # [ms] that a job may wait while no worker is seen
CLOCK_SLACK = 2_000  # [ms]


@dataclass(frozen=True)
class Finding:
    """One protection or part; state: good, weak (works, less than it could) or bad."""

    name: str
    state: str
    sentence: str


def examine(db: Database, data: Path) -> Iterator[Finding]:
    """Try everything out, one finding after another."""
    yield from sandbox_findings()
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("disk", lambda: disk_finding(data)),
        ("disk writes", lambda: sync_finding(data)),
        ("data folder", lambda: folder_finding(data)),
        ("clock", lambda: clock_finding(db)),
        ("database", lambda: database_finding(db)),
        ("tables", lambda: tables_finding(db)),
        ("queue", lambda: queue_finding(db)),
    ]
    for name, check in checks:
        try:
            yield check()
        except (OSError, Unavailable, RequestError) as error:
            yield Finding(name, BAD, str(error))


def sandbox_findings() -> Iterator[Finding]:
    """What came of a child process that tried to break out, one way after another."""
    try:
        layers = check_protections()
    except PlatformFault as fault:
        yield Finding("sandbox", BAD, f"no policy can be evaluated: {fault}")
        return
    for layer in layers:  # without one of its layers others hold; what must not succeed is another matter
        missing = BAD if layer.name.startswith("cannot ") else WEAK
        yield Finding(f"sandbox: {layer.name}", GOOD if layer.works else missing, layer.sentence)


def disk_finding(data: Path) -> Finding:
    """Room on the disk that holds the data."""
    free = shutil.disk_usage(data).free
    state = BAD if free < NO_DISK else WEAK if free < LITTLE_DISK else GOOD
    return Finding("disk", state, f"{free / 1e9:.1f} GB free where {data} is")


def sync_finding(data: Path) -> Finding:
    """How long a write takes that survives a power cut."""
    with tempfile.NamedTemporaryFile(dir=data, prefix=".unfinished-") as file:
        started = time.perf_counter()
        for _ in range(5):
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        seconds = (time.perf_counter() - started) / 5
    state = GOOD if seconds < SLOW_SYNC else WEAK
    return Finding("disk writes", state, f"a write that survives a power cut takes {1000 * seconds:.1f} ms")


def folder_finding(data: Path) -> Finding:
    """Who else on this machine can read the data."""
    others = data.stat().st_mode & 0o077
    if others:
        return Finding("data folder", WEAK, f"other users of this machine may enter {data}; chmod 700 shuts them out")
    return Finding("data folder", GOOD, f"only its owner may enter {data}")


def clock_finding(db: Database) -> Finding:
    """Whether the clock runs on, and agrees with the database's."""
    with db.read() as connection:
        now, here = db.now(connection), time.time_ns() // 1_000_000
        newest = connection.execute(select(func.max(audit.c.at))).scalar_one() or 0
        newest = max(newest, connection.execute(select(func.max(submissions.c.accepted_at))).scalar_one() or 0)
    if newest > now + CLOCK_SLACK:
        return Finding("clock", BAD, f"the clock was set back: {to_time(newest)} is written down, now {to_time(now)}")
    if abs(now - here) > CLOCK_SLACK:
        return Finding(
            "clock", WEAK, f"the database's clock differs from this machine's by {(now - here) / 1000:.1f} s"
        )
    return Finding("clock", GOOD, f"{to_time(now)}, behind nothing that is written down")


def database_finding(db: Database) -> Finding:
    """Whether the database is sound and keeps what it was told."""
    if not db.is_sqlite:
        with db.read() as connection:
            version = connection.execute(text("SHOW server_version")).scalar_one()
            keeps = connection.execute(text("SHOW synchronous_commit")).scalar_one()
        state = GOOD if keeps != "off" else WEAK
        return Finding("database", state, f"PostgreSQL {version}, synchronous_commit={keeps}")
    with db.read() as connection:
        journal = connection.execute(text("PRAGMA journal_mode")).scalar_one()
        synchronous = connection.execute(text("PRAGMA synchronous")).scalar_one()
    assert db.url.database
    with closing(sqlite3.connect(f"file:{db.url.database}?mode=ro", uri=True)) as plain:
        check_file(plain)
    state = GOOD if (journal, synchronous) == ("wal", 2) else BAD
    kept = "every answer given survives a power cut" if state == GOOD else "answers given may be lost"
    return Finding("database", state, f"SQLite, sound; journal {journal}, synchronous {synchronous}: {kept}")


def tables_finding(db: Database) -> Finding:
    """Whether the tables are this version's."""
    here, newest = version_of(db), newest_version()
    return Finding("tables", GOOD if here == newest else BAD, f"version {here}, this package has {newest}")


def queue_finding(db: Database) -> Finding:
    """Whether somebody works off the queue."""
    seen, load = workers.seen(db), queue.load(db)
    with db.read() as connection:
        query = select(func.min(evaluations.c.queued_at)).where(evaluations.c.state == "queued")
        oldest = connection.execute(query).scalar_one()
        waits = 0 if oldest is None else db.now(connection) - oldest
    what = ", ".join(f"{count} {name}" for name, count in sorted(load.items())) or "nothing waits"
    state = GOOD if seen or not load else (BAD if waits > LATE else WEAK)
    return Finding("queue", state, f"{len(seen)} workers; {what}")
