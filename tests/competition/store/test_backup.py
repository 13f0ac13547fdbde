"""Backup and restore: the same board, tokens and queue, from either database into either, or a plain refusal."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from deeptraffic.competition.store import accounts, archive, board, competitions, finals, submissions
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import RequestError


def filled(lab: Any) -> str:
    """People, scores, a job that waits, and a session whose token is returned."""
    ana = lab.member("Ana")
    lab.scored(ana, "a", 70.0)
    lab.scored(lab.member("Bo"), "b", 60.0)
    lab.submit(ana, "waiting")
    return accounts.open_session(lab.db, ana.id)


def same(lab: Any, db: Database, session: str) -> None:
    """Assert that a database holds what the lab does, and goes on from there."""
    for final in (False, True):
        assert board.read_board(db, 1, final) == board.read_board(lab.db, 1, final)
    assert submissions.history(db, 1) == submissions.history(lab.db, 1)
    assert accounts.person_of(db, session, "session") == accounts.person_of(lab.db, session, "session")
    with db.read() as there, lab.db.read() as here:
        assert competitions.seeds_of(there, 1) == competitions.seeds_of(here, 1)
    assert submissions.accept(db, 1, 1, lab.upload("after the restore")).place == 2


def test_a_restored_competition_is_the_same_and_goes_on(any_lab: Any, tmp_path: Path) -> None:
    session = filled(any_lab)
    counts = archive.backup(any_lab.db, tmp_path / "backup.sqlite3", "Eve")
    assert (counts["people"], counts["submissions"], counts["results"]) == (2, 3, 4)
    db = Database.in_folder(tmp_path / "restored", clock=lambda: any_lab.times[-1])
    assert archive.restore(tmp_path / "backup.sqlite3", db, "Eve") == counts
    same(any_lab, db, session)
    db.close()


def test_a_backup_moves_a_competition_to_postgresql(lab: Any, tmp_path: Path, postgres_url: Callable[[], URL]) -> None:
    session = filled(lab)
    archive.backup(lab.db, tmp_path / "backup.sqlite3", "Eve")
    db = Database(postgres_url(), clock=lambda: lab.times[-1])
    archive.restore(tmp_path / "backup.sqlite3", db, "Eve")
    same(lab, db, session)
    db.close()


def test_a_revealed_final_comes_back_revealed(lab: Any, tmp_path: Path) -> None:
    lab.scored(lab.member("Ana"), "a", 70.0)
    finals.begin(lab.db, 1, "Eve")
    lab.work()
    finals.reveal(lab.db, 1, "Eve")
    archive.backup(lab.db, tmp_path / "backup.sqlite3", "Eve")
    db = Database.in_folder(tmp_path / "restored", clock=lambda: lab.times[-1])
    archive.restore(tmp_path / "backup.sqlite3", db, "Eve")
    assert board.read_board(db, 1, final=True) == board.read_board(lab.db, 1, final=True)
    assert board.read_board(db, 1, final=True).rows[0].score == 30.0
    db.close()


def test_only_its_owner_reads_a_backup_and_it_is_one_file(lab: Any, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    archive.backup(lab.db, folder / "b.sqlite3", "Eve")
    assert [path.name for path in folder.iterdir()] == ["b.sqlite3"]
    assert (folder / "b.sqlite3").stat().st_mode & 0o077 == 0
    with pytest.raises(RequestError) as found:
        archive.backup(lab.db, folder / "b.sqlite3", "Eve")
    assert found.value.code == "exists"


def test_what_is_no_whole_backup_is_refused(lab: Any, tmp_path: Path) -> None:
    filled(lab)
    archive.backup(lab.db, tmp_path / "good", "Eve")
    content = (tmp_path / "good").read_bytes()
    (tmp_path / "text").write_text("no database")
    (tmp_path / "cut").write_bytes(content[: len(content) // 2])
    (tmp_path / "torn").write_bytes(content[:40_000] + bytes(4096) + content[44_096:])
    sqlite3.connect(tmp_path / "other").execute("CREATE TABLE other (x)").close()
    for name, code in (
        ("text", "damaged"),
        ("cut", "damaged"),
        ("torn", "damaged"),
        ("other", "damaged"),
        ("no", "missing"),
    ):
        db = Database.in_folder(tmp_path / f"into {name}")
        with pytest.raises(RequestError) as found:
            archive.restore(tmp_path / name, db, "Eve")
        assert found.value.code == code, name
        db.close()


def test_nothing_is_restored_over_a_competition(lab: Any, tmp_path: Path) -> None:
    session = filled(lab)
    archive.backup(lab.db, tmp_path / "backup.sqlite3", "Eve")
    before = board.read_board(lab.db, 1)
    with pytest.raises(RequestError) as found:
        archive.restore(tmp_path / "backup.sqlite3", lab.db, "Eve")
    assert found.value.code == "not_empty"
    assert board.read_board(lab.db, 1) == before and accounts.person_of(lab.db, session, "session")
