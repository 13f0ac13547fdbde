"""Database of a competition, SQLite in one file or PostgreSQL: sessions that read or write, and migrations.

    >>> db = Database.in_folder(Path("data")).migrate()          # creates or updates the tables
    >>> with db.write() as session:
    ...     session.add(...)

SQLite runs in WAL mode with synchronous=FULL (a committed answer survives a power cut), and a writing transaction
begins with BEGIN IMMEDIATE, so that two of them never overlap. On PostgreSQL a writer locks the rows that matter, and
times come from the server's clock, since workers may run on several machines.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, CursorResult, Engine, Update, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from deeptraffic.competition.store.errors import Unavailable
from deeptraffic.extras import require_extra

if TYPE_CHECKING:
    from alembic.config import Config

FILE = "competition.sqlite3"
BUSY_SECONDS = 30.0
POOL = 40  # connections: as many as a web server has threads
LOCKS = {"queue": 7_201_801, "schema": 7_201_802}  # keys of PostgreSQL's advisory locks


class Database:
    """A competition's tables at a URL.

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
        self._writing = self.engine.execution_options(deeptraffic_write=True)

    @classmethod
    def in_folder(cls, folder: Path, clock: Callable[[], int] | None = None) -> "Database":
        """Return the SQLite database of a folder; both are created if they do not exist."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / FILE).touch(mode=0o600)  # its log files get the same mode from SQLite
        return cls(URL.create("sqlite", database=str(folder.resolve() / FILE)), clock)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session that reads one state of the database."""
        with _database_errors(), Session(self.engine, autoflush=False, expire_on_commit=False) as session:
            session.connection()  # begins the transaction
            yield session

    @contextmanager
    def write(self, lock: str | None = None) -> Iterator[Session]:
        """Yield a session whose transaction is committed at the end, or rolled back if an exception leaves the block.

        lock: "queue" or "schema", to serialise what PostgreSQL must not do concurrently; SQLite serialises all writers
        """
        with _database_errors(), Session(self._writing, expire_on_commit=False) as session, session.begin():
            session.connection()  # begins the transaction, and on SQLite waits for other writers
            if lock is not None and not self.is_sqlite:
                session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCKS[lock]})
            yield session

    def now(self, session: Session | None = None) -> int:
        """Return the time [ms since 1970 UTC]; session: in which PostgreSQL is asked, None for one of its own."""
        if self.clock is not None:
            return self.clock()
        if self.is_sqlite:
            return time.time_ns() // 1_000_000
        if session is None:
            with self.read() as own:
                return self.now(own)
        return int(session.execute(text("SELECT floor(extract(epoch from clock_timestamp()) * 1000)")).scalar_one())

    def migrate(self) -> "Database":
        """Create the tables, or run the migrations that this database has not seen, in one transaction; return self.

        Raises ValueError for tables of a later version of the package.
        """
        from alembic import command  # takes a moment to import
        from alembic.script import ScriptDirectory

        config, version = migrations(), self.version()
        scripts = ScriptDirectory.from_config(config)
        if version == scripts.get_current_head():
            return self
        if version is not None and version not in {script.revision for script in scripts.walk_revisions()}:
            raise ValueError(
                f"the database has tables of version {version}, newer than this package; update deeptraffic"
            )
        with self.write("schema") as session:
            config.attributes["connection"] = session.connection()
            command.upgrade(config, "head")
        return self

    def version(self) -> str | None:
        """Return the version of the tables; None if there are none."""
        from alembic.runtime.migration import MigrationContext

        with self.read() as session:
            return MigrationContext.configure(session.connection()).get_current_revision()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def changed_rows(session: Session, statement: Update) -> int:
    """Run an UPDATE; return how many rows it changed."""
    result = session.execute(statement)
    assert isinstance(result, CursorResult)
    return result.rowcount


def migrations() -> "Config":
    """Return Alembic's configuration for the packaged migrations."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "deeptraffic.competition.store:migrations")
    return config


def newest_version() -> str:
    """Return the version of this package's tables."""
    from alembic.script import ScriptDirectory

    head = ScriptDirectory.from_config(migrations()).get_current_head()
    assert head is not None
    return head


def _check_url(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ValueError("the database URL cannot be parsed; give sqlite:///FILE or postgresql+psycopg://...") from None
    if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        raise ValueError(
            f"the database driver {parsed.drivername!r} is not supported; give sqlite:///FILE or postgresql+psycopg://..."
        )
    if parsed.drivername == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ValueError("an in-memory database cannot be shared with workers; give sqlite:///FILE")
    return parsed


def _sqlite(url: URL, busy_seconds: float) -> Engine:
    connect = {"timeout": busy_seconds, "check_same_thread": False}
    engine = create_engine(url, connect_args=connect, pool_size=POOL, max_overflow=POOL)

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where the listener below says
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("deeptraffic_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgres(url: URL) -> Engine:
    require_extra("postgres")
    engine = create_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=POOL)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("deeptraffic_write", False):
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

    return engine


@contextmanager
def _database_errors() -> Iterator[None]:
    """Raise `Unavailable` for errors that a later try may not meet."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable("busy", "the database is overloaded; try again in a moment") from error
    except DBAPIError as error:
        found = str(error.orig).lower()
        if "locked" in found or "deadlock" in found or "could not serialize" in found:
            raise Unavailable("busy", "the database is busy; try again in a moment") from error
        if "full" in found or "no space" in found or "disk i/o error" in found:
            raise Unavailable("full", "the disk of the database is full; free some space") from error
        if error.connection_invalidated or "connection" in found or "unable to open" in found:
            raise Unavailable("down", "the database cannot be reached; check that it runs") from error
        raise
