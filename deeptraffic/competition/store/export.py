"""Everything of a competition as one zip archive of CSV, JSON and policy files, for the organiser.

Cells that a spreadsheet would take for a formula are written with an apostrophe before them (OWASP, "CSV injection").
Private seeds and final results are in it only once they are revealed.
"""

import csv
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, Select, select

from deeptraffic.competition.config import to_time
from deeptraffic.competition.store.audit import note
from deeptraffic.competition.store.board import Board, build_board
from deeptraffic.competition.store.competitions import get, seeds_of
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.records import Competition
from deeptraffic.competition.store.schema import audit, contents, members, people, results, submissions

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
BOARD_COLUMNS = (
    *("rank", "name", "score", "score_low", "score_high", "mean", "mean_low", "mean_high", "other_agents"),
    *("parameters", "cells", "layers", "submissions", "label", "accepted_at", "tied", "alike_above", "baseline"),
)
RESULT_NUMBERS = (
    "score",
    "score_low",
    "score_high",
    "mean",
    "mean_low",
    "mean_high",
    "sd",
    "runs",
    "frames",
    "seconds",
)


def safe_cell(value: Any) -> Any:
    """Return a CSV cell's value; a text that a spreadsheet would run as a formula gets an apostrophe."""
    if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA):
        return "'" + value
    return value


def to_csv(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return CSV text, safe in spreadsheets."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([safe_cell(value) for value in row] for row in rows)
    return text.getvalue()


def board_csv(board: Board) -> str:
    """Return a board as CSV text; times are ISO, in UTC."""
    return to_csv(BOARD_COLUMNS, (board_record(row).values() for row in board.rows))


def board_record(row: Any) -> dict[str, Any]:
    """Return a board's row as JSON values, for CSV and JSON alike."""
    record = {name: getattr(row, name) for name in BOARD_COLUMNS}
    return record | {"accepted_at": to_time(row.accepted_at)}


def write(db: Database, competition_id: int, path: Path, actor: str) -> Path:
    """Write the archive, whole or not at all; return its path."""
    with db.write() as connection:
        note(connection, db, actor, "export", competition_id, path.name)
    unfinished = path.with_name(f".unfinished-{path.name}")
    try:
        with db.read() as connection, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            _write_tables(connection, archive, get(connection, competition_id))
            _write_policies(connection, archive, competition_id)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _write_tables(connection: Connection, archive: zipfile.ZipFile, competition: Competition) -> None:
    c = competition
    archive.writestr("board.csv", board_csv(build_board(connection, c.id, False, c.version, False)))
    about: dict[str, Any] = {"key": c.key, "final": c.final, "config": c.config.to_record()}
    if c.final == "revealed":
        archive.writestr("final.csv", board_csv(build_board(connection, c.id, False, c.version, True)))
        about["private_seeds"] = list(seeds_of(connection, c.id)[: c.config.final_runs])
    archive.writestr("competition.json", json.dumps(about, indent=1))
    archive.writestr("people.csv", _rows_csv(connection, _people(c.id)))
    archive.writestr("submissions.csv", _rows_csv(connection, _submissions(c.id)))
    columns = (audit.c.at, audit.c.actor, audit.c.action, audit.c.subject, audit.c.details)
    mine = (audit.c.competition_id == c.id) | audit.c.competition_id.is_(None)
    archive.writestr("audit.csv", _rows_csv(connection, select(*columns).where(mine).order_by(audit.c.id)))
    runs = {row.sha256: np.frombuffer(row.run_scores, "<f8").tolist() for row in connection.execute(_runs(c.id))}
    archive.writestr("run_scores.json", json.dumps(runs))


def _write_policies(connection: Connection, archive: zipfile.ZipFile, competition_id: int) -> None:
    """Add every policy file, each once, by the name of its content."""
    mine = select(submissions.c.sha256).where(submissions.c.competition_id == competition_id).distinct()
    for digest in connection.execute(mine).scalars().all():
        content = connection.execute(select(contents.c.content).where(contents.c.sha256 == digest)).scalar_one()
        archive.writestr(f"policies/{digest}.safetensors", bytes(content))


def _rows_csv(connection: Connection, query: Select[Any]) -> str:
    """Return a query's rows as CSV; columns called `at` or `*_at` are times."""
    found = connection.execute(query)
    names = list(found.keys())
    times = [name == "at" or name.endswith("_at") for name in names]
    rows = ([to_time(v) if t and v is not None else v for v, t in zip(row, times, strict=True)] for row in found)
    return to_csv(names, rows)


def _people(competition_id: int) -> Select[Any]:
    columns = (people.c.key, people.c.name, people.c.role, people.c.contact, people.c.blocked_at)
    theirs = (members.c.alias, members.c.joined_at, members.c.disqualified_at, members.c.disqualified_reason)
    source = members.join(people, people.c.id == members.c.person_id)
    query = select(*columns, *theirs).select_from(source).where(members.c.competition_id == competition_id)
    return query.order_by(people.c.id)


def _submissions(competition_id: int) -> Select[Any]:
    s = submissions.c
    columns = (s.key, s.sha256, s.filename, s.label, s.state, s.counted, s.accepted_at, s.scored_at, s.code, s.reason)
    more = (s.other_agents, s.parameters, s.cells, s.layers, s.disqualified_at, s.disqualified_reason)
    numbers = [results.c[name] for name in RESULT_NUMBERS]
    source = submissions.join(people, people.c.id == s.person_id).outerjoin(results, results.c.id == s.result_id)
    query = select(people.c.name, *columns, *more, *numbers).select_from(source)
    return query.where(s.competition_id == competition_id).order_by(s.id)


def _runs(competition_id: int) -> Select[Any]:
    source = results.join(submissions, submissions.c.result_id == results.c.id)
    columns = (results.c.sha256, results.c.run_scores)
    return select(*columns).select_from(source).where(submissions.c.competition_id == competition_id)
