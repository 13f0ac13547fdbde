"""Export of a competition, and backups of the whole database.

An export is a zip archive of CSV, JSON and policy files, for the organiser; private seeds and final results are in it
only once they are revealed. A backup is all tables as one SQLite file, whichever database they come from or go to, from
one state of the running competition; it holds secrets (private seeds, contacts, hashes of tokens), so only its owner
can read the file.
"""

import json
import os
import sqlite3
import tempfile
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Select, Table, TextClause, false, func, insert, select, text
from sqlalchemy.orm import Session

from deeptraffic.competition.config import to_time
from deeptraffic.competition.models import (
    AuditEntry,
    Base,
    Competition,
    Content,
    EvaluationResult,
    Member,
    Person,
    SeenWorker,
    Submission,
)
from deeptraffic.competition.store import audit
from deeptraffic.competition.store.board import board_csv, build_board, csv_text
from deeptraffic.competition.store.competitions import get, seeds_of
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import RequestError

CHUNK = {Content.__tablename__: 8, EvaluationResult.__tablename__: 100}  # rows in memory at a time; others MANY
MANY = 1000
LEFT_OUT = {SeenWorker.__tablename__}


# --- export -------------------------------------------------------------------------------------------------------


def export(db: Database, competition_id: int, path: Path, actor: str, server: bool = True) -> Path:
    """Write the archive, whole or not at all; return its path. server: with the audit log of the whole server."""
    with db.write() as session:
        audit.note(session, db, actor, "export", competition_id, path.name)
    unfinished = path.with_name(f".unfinished-{path.name}")
    try:
        with db.read() as session, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            _write_tables(session, archive, get(session, competition_id), server)
            _write_policies(session, archive, competition_id)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _write_tables(session: Session, archive: zipfile.ZipFile, competition: Competition, server: bool) -> None:
    c = competition
    archive.writestr("board.csv", board_csv(build_board(session, c, final=False, anonymous=False), label=True))
    about: dict[str, Any] = {"key": c.key, "final": c.final, "config": c.config.to_record()}
    if c.final == "revealed":
        archive.writestr("final.csv", board_csv(build_board(session, c, final=True, anonymous=False), label=True))
        about["private_seeds"] = list(seeds_of(session, c.id)[: c.config.final_runs])
    archive.writestr("competition.json", json.dumps(about, indent=1))
    archive.writestr("people.csv", _rows_csv(session, _people(c.id)))
    archive.writestr("submissions.csv", _rows_csv(session, _submissions(c.id)))
    columns = (AuditEntry.at, AuditEntry.actor, AuditEntry.action, AuditEntry.subject, AuditEntry.details)
    mine = (AuditEntry.competition_id == c.id) | (AuditEntry.competition_id.is_(None) if server else false())
    archive.writestr("audit.csv", _rows_csv(session, select(*columns).where(mine).order_by(AuditEntry.id)))
    runs = {digest: run_scores.tolist() for digest, run_scores in session.execute(_runs(c.id))}
    archive.writestr("run_scores.json", json.dumps(runs))


def _write_policies(session: Session, archive: zipfile.ZipFile, competition_id: int) -> None:
    """Add every policy file once, by the name of its content."""
    mine = select(Submission.sha256).where(Submission.competition_id == competition_id).distinct()
    for digest in session.execute(mine).scalars().all():
        content = session.execute(select(Content.content).where(Content.sha256 == digest)).scalar_one()
        archive.writestr(f"policies/{digest}.safetensors", content)


def _rows_csv(session: Session, query: Select[*tuple[Any, ...]]) -> str:
    """Return a query's rows as CSV; columns called `at` or `*_at` are times, and dicts are written as JSON."""
    found = session.execute(query)
    names = list(found.keys())

    def cell(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return json.dumps(value, sort_keys=True)
        return to_time(value) if value is not None and (name == "at" or name.endswith("_at")) else value

    return csv_text(names, ([cell(*pair) for pair in zip(names, row, strict=True)] for row in found))


def _people(competition_id: int) -> Select[*tuple[Any, ...]]:
    columns = (Person.key, Person.name, Person.role, Person.contact, Person.blocked_at)
    theirs = (Member.alias, Member.joined_at, Member.disqualified_at, Member.disqualified_reason)
    query = select(*columns, *theirs).join_from(Member, Person, Person.id == Member.person_id)
    return query.where(Member.competition_id == competition_id).order_by(Person.id)


def _submissions(competition_id: int) -> Select[*tuple[Any, ...]]:
    s, r = Submission, EvaluationResult
    columns = (s.key, s.sha256, s.filename, s.label, s.state, s.counted, s.accepted_at, s.scored_at, s.code, s.reason)
    more = (s.other_agents, s.parameters, s.cells, s.layers, s.disqualified_at, s.disqualified_reason)
    numbers = (r.score, r.score_low, r.score_high, r.mean, r.mean_low, r.mean_high, r.sd, r.runs, r.frames, r.seconds)
    query = select(Person.name, *columns, *more, *numbers).join_from(s, Person, Person.id == s.person_id)
    return query.outerjoin(r, r.id == s.result_id).where(s.competition_id == competition_id).order_by(s.id)


def _runs(competition_id: int) -> Select[*tuple[Any, ...]]:
    query = select(EvaluationResult.sha256, EvaluationResult.run_scores)
    query = query.join(Submission, Submission.result_id == EvaluationResult.id)
    return query.where(Submission.competition_id == competition_id)


# --- backup -------------------------------------------------------------------------------------------------------


def backup(db: Database, path: Path, actor: str) -> dict[str, int]:
    """Write a backup, whole or not at all; return the number of rows of each table."""
    if path.exists():
        raise RequestError("exists", f"{path} exists; name a new file")
    with db.write() as session:
        audit.note(session, db, actor, "backup", subject=path.name)
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
    """Merge the write-ahead log into the file, check the file, and flush it to the disk."""
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
        raise RequestError("damaged", f"the file is not a backup, or is damaged ({error}); use another file") from None
    if found != "ok" or broken is not None:
        raise RequestError("damaged", f"the backup is damaged ({found:.100}); use another one")


def restore(path: Path, db: Database, actor: str) -> dict[str, int]:
    """Fill an empty database from a backup; return the number of rows of each table.

    Raises RequestError `not_empty` for a database that holds anything, `damaged` or `missing` for the file.
    """
    if not path.is_file():
        raise RequestError("missing", f"there is no file {path}")
    with tempfile.TemporaryDirectory(prefix="deeptraffic-") as folder:
        copy = Path(folder) / "backup.sqlite3"  # which may need migrations
        copy.write_bytes(path.read_bytes())
        with closing(sqlite3.connect(copy)) as connection:
            check_file(connection)
        source = Database(URL.create("sqlite", database=str(copy)))
        if source.version() is None:
            raise RequestError("damaged", f"{path} holds no competition; use another file")
        source.migrate()
        db.migrate()
        with source.read() as from_there, db.write("schema") as sink:
            _check_empty(sink)
            counts = _copy(from_there, sink)
            _advance_sequences(db, sink)
            audit.note(sink, db, actor, "restore", subject=path.name)
        source.close()
    return counts


def _check_empty(session: Session) -> None:
    for table in (Person, Competition):
        if session.execute(select(func.count()).select_from(table)).scalar_one():
            remedy = "restore into an empty folder or database"
            raise RequestError("not_empty", f"the database holds a competition; {remedy}")


def _copy(source: Session, sink: Session) -> dict[str, int]:
    """Copy all rows of all tables, referenced tables first."""
    counts = {}
    for table in Base.metadata.sorted_tables:
        if table.name in LEFT_OUT:
            continue
        counts[table.name] = 0
        chunk = {"yield_per": CHUNK.get(table.name, MANY)}
        for rows in source.execute(select(table), execution_options=chunk).mappings().partitions():
            sink.execute(insert(table), [dict(row) for row in rows])
            counts[table.name] += len(rows)
    return counts


def _advance_sequences(db: Database, session: Session) -> None:
    """Set PostgreSQL's sequences after the copied ids; SQLite needs none."""
    if db.is_sqlite:
        return
    for table in Base.metadata.sorted_tables:
        if "id" in table.c:
            session.execute(_sequence(table))


def _sequence(table: Table) -> TextClause:
    name = table.name
    return text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), coalesce(max(id), 0) + 1, false) FROM {name}")
