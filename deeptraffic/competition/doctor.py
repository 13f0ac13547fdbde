"""Diagnosis of a competition on this machine: the sandbox, the disk, the clock, the database, the queue.

>>> for finding in examine(db, Path("competition")):
...     print(finding.name, finding.state, finding.detail)

Each finding comes from a test, not from a setting. Of the sandbox three things are tested: whether each protection
alone prevents what it is for; whether a child that is locked down as for an evaluation succeeds in any escape attempt;
and whether a child that spins or sleeps is killed.
"""

import ctypes
import json
import os
import shutil
import socket
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from sqlalchemy import func, select, text

from deeptraffic.competition.config import to_time
from deeptraffic.competition.models import AuditEntry, Evaluation, Submission
from deeptraffic.competition.sandbox import messages
from deeptraffic.competition.sandbox.errors import InvalidSubmission, PlatformError
from deeptraffic.competition.sandbox.escape_attempts import (
    ATTEMPTS,
    BREACHED,
    MISSING,
    PROTECTION_TESTS,
    AttackTargets,
)
from deeptraffic.competition.sandbox.limits import MEGABYTE, Limits
from deeptraffic.competition.sandbox.lockdown import Protection
from deeptraffic.competition.sandbox.process import ChildProcess
from deeptraffic.competition.store import queue
from deeptraffic.competition.store.archive import check_file
from deeptraffic.competition.store.database import Database, newest_version
from deeptraffic.competition.store.errors import RequestError, Unavailable
from deeptraffic.doctor import BAD, GOOD, WEAK, Finding

LITTLE_DISK, NO_DISK = 2_000_000_000, 200_000_000  # [bytes] free
SLOW_SYNC = 0.1  # [s] for one write that is on the disk
LATE = 300_000  # [ms] that a job may wait while no worker is seen
CLOCK_SLACK = 2_000  # [ms]
SANDBOX_LIMITS = Limits(memory=64 * MEGABYTE, cpu_seconds=30, answer_seconds=60.0, wall_seconds=300.0)
ENDLESS_LIMITS = {
    "spin": replace(SANDBOX_LIMITS, cpu_seconds=1, answer_seconds=30.0),
    "sleep": replace(SANDBOX_LIMITS, cpu_seconds=1, answer_seconds=1.0),
}
IPC_RMID = 0


def examine(db: Database, data: Path) -> Iterator[Finding]:
    """Test everything; yield one finding after another."""
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


# --- the sandbox --------------------------------------------------------------------------------------------------


def sandbox_findings() -> Iterator[Finding]:
    """Yield the findings of `check_sandbox`."""
    try:
        protections = check_sandbox()
    except PlatformError as error:
        yield Finding("sandbox", BAD, f"no policy can be evaluated: {error}")
        return
    for protection in protections:  # a missing protection is weak, for others hold; a successful escape is bad
        missing = BAD if protection.name.startswith("cannot ") else WEAK
        yield Finding(f"sandbox: {protection.name}", GOOD if protection.in_force else missing, protection.detail)


def check_sandbox() -> list[Protection]:
    """Return each protection, and each escape attempt as what a child "cannot" do. Takes some seconds."""
    with attack_targets() as targets, ChildProcess("attempt escapes", SANDBOX_LIMITS) as locked:
        return [*check_protections(locked, targets), *check_attempts(locked, targets), *check_watchdog(targets)]


def check_protections(locked: ChildProcess, targets: AttackTargets) -> list[Protection]:
    """Return which protections a locked-down child reports, those that prevent nothing when tested alone corrected."""
    with ChildProcess("test protections", SANDBOX_LIMITS) as child:
        found = _ask(child, list(PROTECTION_TESTS), targets)
    return [_tested(protection, found.get(protection.name)) for protection in locked.protections]


def _tested(protection: Protection, status: object) -> Protection:
    if not protection.in_force:
        return protection
    if status == MISSING:
        return replace(protection, in_force=False, detail="cannot be applied alone")
    if status == BREACHED:
        return replace(protection, in_force=False, detail="in force, but it did not prevent what it is for")
    return protection


def check_attempts(locked: ChildProcess, targets: AttackTargets) -> list[Protection]:
    """Return whether each escape attempt of a locked-down child is refused."""
    found = _ask(locked, list(ATTEMPTS), targets)
    return [
        Protection(f"cannot {name}", found.get(name) is not None, str(found.get(name) or "IT SUCCEEDED"))
        for name in ATTEMPTS
    ]


def check_watchdog(targets: AttackTargets) -> list[Protection]:
    """Return whether children that spin and that sleep are killed."""
    return [_killed(name, limits, targets) for name, limits in ENDLESS_LIMITS.items()]


def _killed(name: str, limits: Limits, targets: AttackTargets) -> Protection:
    try:
        with ChildProcess("attempt escapes", limits) as child:
            _ask(child, [name], targets)
    except InvalidSubmission as error:
        return Protection(f"cannot {name} forever", error.code == "time", str(error))
    return Protection(f"cannot {name} forever", False, "IT SUCCEEDED")


def _ask(child: ChildProcess, names: list[str], targets: AttackTargets) -> dict[str, object]:
    question = json.dumps({"names": names, "targets": asdict(targets)}).encode()
    answer = json.loads(child.ask(messages.SUBMISSION, question))
    assert isinstance(answer, dict)
    return answer


@contextmanager
def attack_targets() -> Iterator[AttackTargets]:
    """Make targets: a file that every user may read, a server on the loopback interface, shared memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmget.restype = ctypes.c_int
    segment = libc.shmget(0, 4096, 0o1666)
    try:
        with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
            os.chmod(folder, 0o755)
            file = os.path.join(folder, "everybody")
            with open(file, "w", encoding="ascii") as opened:
                opened.write("for everybody")
            os.chmod(file, 0o644)
            yield AttackTargets(file, server.getsockname()[1], os.getpid(), segment, SANDBOX_LIMITS.memory)
    finally:
        if segment >= 0:
            libc.shmctl(segment, IPC_RMID, None)


# --- disk, clock, database, queue ---------------------------------------------------------------------------------


def disk_finding(data: Path) -> Finding:
    """Free space on the disk that holds the data."""
    free = shutil.disk_usage(data).free
    state = BAD if free < NO_DISK else WEAK if free < LITTLE_DISK else GOOD
    return Finding("disk", state, f"{free / 1e9:.1f} GB free where {data} is")


def sync_finding(data: Path) -> Finding:
    """Duration of a write that survives a power cut."""
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
    """Permissions of the data folder."""
    others = data.stat().st_mode & 0o077
    if others:
        return Finding("data folder", WEAK, f"other users of this machine may enter {data}; chmod 700 it")
    return Finding("data folder", GOOD, f"only its owner may enter {data}")


def clock_finding(db: Database) -> Finding:
    """Whether the clock was set back, and agrees with the database's."""
    with db.read() as session:
        now, here = db.now(session), time.time_ns() // 1_000_000
        newest = session.execute(select(func.max(AuditEntry.at))).scalar_one() or 0
        newest = max(newest, session.execute(select(func.max(Submission.accepted_at))).scalar_one() or 0)
    if newest > now + CLOCK_SLACK:
        return Finding("clock", BAD, f"the clock was set back: {to_time(newest)} is recorded, now {to_time(now)}")
    if abs(now - here) > CLOCK_SLACK:
        return Finding(
            "clock", WEAK, f"the database's clock differs from this machine's by {(now - here) / 1000:.1f} s"
        )
    return Finding("clock", GOOD, f"{to_time(now)}, not before any recorded time")


def database_finding(db: Database) -> Finding:
    """Integrity and durability of the database."""
    if not db.is_sqlite:
        with db.read() as session:
            version = session.execute(text("SHOW server_version")).scalar_one()
            keeps = session.execute(text("SHOW synchronous_commit")).scalar_one()
        state = GOOD if keeps != "off" else WEAK
        return Finding("database", state, f"PostgreSQL {version}, synchronous_commit={keeps}")
    with db.read() as session:
        journal = session.execute(text("PRAGMA journal_mode")).scalar_one()
        synchronous = session.execute(text("PRAGMA synchronous")).scalar_one()
    assert db.url.database
    with closing(sqlite3.connect(f"file:{db.url.database}?mode=ro", uri=True)) as plain:
        check_file(plain)
    state = GOOD if (journal, synchronous) == ("wal", 2) else BAD
    kept = "commits survive a power cut" if state == GOOD else "a power cut may lose commits"
    return Finding("database", state, f"SQLite, intact; journal {journal}, synchronous {synchronous}: {kept}")


def tables_finding(db: Database) -> Finding:
    """Version of the tables."""
    here, newest = db.version(), newest_version()
    return Finding("tables", GOOD if here == newest else BAD, f"version {here}, this package has {newest}")


def queue_finding(db: Database) -> Finding:
    """Whether workers process the queue."""
    seen, load = queue.seen_workers(db), queue.counts(db)
    with db.read() as session:
        query = select(func.min(Evaluation.queued_at)).where(Evaluation.state == "queued")
        oldest = session.execute(query).scalar_one()
        waits = 0 if oldest is None else db.now(session) - oldest
    what = ", ".join(f"{count} {name}" for name, count in sorted(load.items())) or "nothing waits"
    state = GOOD if seen or not load else (BAD if waits > LATE else WEAK)
    return Finding("queue", state, f"{len(seen)} workers; {what}")
