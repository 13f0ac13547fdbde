"""Backup and restore: all tables as one SQLite file, whichever database they come from or go to.

A backup is taken from one state of the running competition. It holds what the organiser must keep to himself (private
seeds, contacts, hashes of tokens), so only its owner can read the file.
"""

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL, Connection, Table, TextClause, func, insert, select, text

from deeptraffic.competition.store import audit
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.migration import version_of
from deeptraffic.competition.store.schema import competitions, contents, metadata, people, results, workers

CHUNK = {contents.name: 8, results.name: 100}  # rows in memory at a time; of other tables MANY
MANY = 1000
LEFT_OUT = {workers.name}


def backup(db: Database, path: Path, actor: str) -> dict[str, int]:
    """Write a backup, whole or not at all; return how many rows it holds of each table."""
    if path.exists():
        raise RequestError("exists", f"{path} exists; name a new file")
    with db.write() as connection:
        audit.note(connection, db, actor, "backup", subject=path.name)
    handle, name = tempfile.mkstemp(prefix=".unfinished-", suffix=".sqlite3", dir=path.parent)
    os.close(handle)
    try:
        target = Database(URL.create("sqlite", database=name)).migrate()
        with db.read() as source, target.write() as sink:
            counts = _copy(source, sink)
        target.close()
        _seal(Path(name))
        os.replace(name, path)
    finally:
        for left in (name, f"{name}-wal", f"{name}-shm"):
            Path(left).unlink(missing_ok=True)
    return counts


def _seal(path: Path) -> None:
    """Bring everything into the one file, check it, and see that it is on the disk."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE").fetchone()
        check_file(connection)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def check_file(connection: sqlite3.Connection) -> None:
    """Raise RequestError `damaged` for a file that SQLite finds damaged."""
    try:
        found = connection.execute("PRAGMA integrity_check").fetchone()[0]
        broken = connection.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.DatabaseError as error:
        raise RequestError("damaged", f"this is no backup, or a damaged one ({error}); take another file") from None
    if found != "ok" or broken is not None:
        raise RequestError("damaged", f"the backup is damaged ({found:.100}); take another one")


def restore(path: Path, db: Database, actor: str) -> dict[str, int]:
    """Fill an empty database from a backup; return how many rows it has of each table.

    Raises RequestError `not_empty` for a database that holds anything, `damaged` or `missing` for the file.
    """
    if not path.is_file():
        raise RequestError("missing", f"there is no file {path}")
    with tempfile.TemporaryDirectory(prefix="deeptraffic-") as folder:
        copy = Path(folder) / "backup.sqlite3"  # which may have to be brought up to date
        copy.write_bytes(path.read_bytes())
        with closing(sqlite3.connect(copy)) as connection:
            check_file(connection)
        source = Database(URL.create("sqlite", database=str(copy)))
        if version_of(source) is None:
            raise RequestError("damaged", f"{path} holds no competition; take another file")
        source.migrate()
        db.migrate()
        with source.read() as from_there, db.write("schema") as sink:
            _check_empty(sink)
            counts = _copy(from_there, sink)
            _move_counters(db, sink)
            audit.note(sink, db, actor, "restore", subject=path.name)
        source.close()
    return counts


def _check_empty(connection: Connection) -> None:
    for table in (people, competitions):
        if connection.execute(select(func.count()).select_from(table)).scalar_one():
            raise RequestError(
                "not_empty", "the database holds a competition; restore into an empty folder or database"
            )


def _copy(source: Connection, sink: Connection) -> dict[str, int]:
    """Copy all rows of all tables, those first that others refer to."""
    counts = {}
    for table in metadata.sorted_tables:
        if table.name in LEFT_OUT:
            continue
        counts[table.name] = 0
        found = source.execution_options(yield_per=CHUNK.get(table.name, MANY)).execute(select(table))
        for rows in found.mappings().partitions():
            sink.execute(insert(table), [dict(row) for row in rows])
            counts[table.name] += len(rows)
    return counts


def _move_counters(db: Database, connection: Connection) -> None:
    """Let PostgreSQL's counters go on behind the copied numbers; SQLite's do by themselves."""
    if db.is_sqlite:
        return
    for table in metadata.sorted_tables:
        if "id" in table.c:
            connection.execute(_counter(table))


def _counter(table: Table) -> TextClause:
    name = table.name
    return text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), coalesce(max(id), 0) + 1, false) FROM {name}")
