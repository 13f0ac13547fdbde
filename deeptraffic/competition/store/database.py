"""The database behind a competition, SQLite in one file or PostgreSQL: transactions that read, and that write.

    >>> db = Database.in_folder(Path("data"))          # makes or updates the tables
    >>> with db.write() as connection:
    ...     connection.execute(...)

SQLite runs in WAL with synchronous=FULL (an answer given survives a power cut), and a writing transaction begins with
BEGIN IMMEDIATE, so that two of them never meet half-way. On PostgreSQL the rows that matter are locked by whoever
writes, and times come from the server's clock, since workers may run on several machines.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from deeptraffic.competition.store.errors import Unavailable

FILE = "competition.sqlite3"
BUSY_SECONDS = 30.0
POOL = 40  # connections: as many as a web server has threads
LOCKS = {"queue": 7_201_801, "schema": 7_201_802}  # numbers of PostgreSQL's advisory locks


class Database:
    """Tables at an address.

    url: sqlite:///FILE or postgresql+psycopg://...
    clock: milliseconds since 1970 UTC; by default this machine's (SQLite) or the server's (PostgreSQL)
    busy_seconds: how long SQLite waits for another writer
    """

    def __init__(
        self, url: str | URL, clock: Callable[[], int] | None = None, busy_seconds: float = BUSY_SECONDS
    ) -> None:
        self.url = _check_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.clock = clock
        self.engine = _sqlite(self.url, busy_seconds) if self.is_sqlite else _postgres(self.url)

    @classmethod
    def in_folder(cls, folder: Path, clock: Callable[[], int] | None = None) -> "Database":
        """Return the SQLite database of a folder, which is made if need be."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / FILE).touch(mode=0o600)  # its log files get the same mode from SQLite
        return cls(URL.create("sqlite", database=str(folder.resolve() / FILE)), clock)

    def migrate(self) -> "Database":
        """Make the tables, or bring those of an earlier version up to date; return itself."""
        from deeptraffic.competition.store.migration import upgrade  # Alembic takes a moment to import

        upgrade(self)
        return self

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a transaction that reads one state of the database."""
        with _faults(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self, lock: str | None = None) -> Iterator[Connection]:
        """Give a transaction that writes; it is undone if an error leaves the block.

        lock: "queue" or "schema", for what PostgreSQL must do one after another; SQLite does all writing so
        """
        writing = self.engine.execution_options(deeptraffic_write=True)
        with _faults(), writing.connect() as connection, connection.begin():
            if lock is not None and not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCKS[lock]})
            yield connection

    def now(self, connection: Connection) -> int:
        """Return the time [ms since 1970 UTC]."""
        if self.clock is not None:
            return self.clock()
        if self.is_sqlite:
            return time.time_ns() // 1_000_000
        return int(connection.execute(text("SELECT floor(extract(epoch from clock_timestamp()) * 1000)")).scalar_one())

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def new_key() -> str:
    """Return a random name of 128 bits, fit for an address and for a command line."""
    return secrets.token_hex(16)


def to_text(value: Any) -> str:
    """Return a value as the compact JSON that the tables keep."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False)


def _check_url(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ValueError("the database URL cannot be read; give sqlite:///FILE or postgresql+psycopg://...") from None
    if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        raise ValueError(f"no database {parsed.drivername!r}; give sqlite:///FILE or postgresql+psycopg://...")
    if parsed.drivername == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ValueError("a competition's database is a file, which its workers share; give sqlite:///FILE")
    return parsed


def _sqlite(url: URL, busy_seconds: float) -> Engine:
    connect = {"timeout": busy_seconds, "check_same_thread": False}
    engine = create_engine(url, connect_args=connect, pool_size=POOL, max_overflow=POOL)

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where this module says
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("deeptraffic_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgres(url: URL) -> Engine:
    try:
        engine = create_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=POOL)
    except ModuleNotFoundError:
        raise ValueError("PostgreSQL needs the extra: pip install 'deeptraffic[postgres]'") from None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("deeptraffic_write", False):
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

    return engine


@contextmanager
def _faults() -> Iterator[None]:
    """Turn what the database cannot help into `Unavailable`."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable("busy", "too much is asked of the database; try again in a moment") from error
    except DBAPIError as error:
        found = str(error.orig).lower()
        if "locked" in found or "deadlock" in found or "could not serialize" in found:
            raise Unavailable("busy", "the database is busy; try again in a moment") from error
        if "full" in found or "no space" in found or "disk i/o error" in found:
            raise Unavailable("full", "the disk that holds the database is full; make room on it") from error
        if error.connection_invalidated or "connection" in found or "unable to open" in found:
            raise Unavailable("down", "the database cannot be reached; see that it runs") from error
        raise
