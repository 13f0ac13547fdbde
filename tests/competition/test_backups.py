"""Scheduled backups: when they are due, how many are kept, and that one of them is the competition."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from deeptraffic.competition import backups
from deeptraffic.competition.store import archive, audit, board
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import Unavailable


def test_the_newest_are_kept_and_a_restored_one_is_the_competition(lab: Any, tmp_path: Path) -> None:
    lab.scored(lab.member("Ana"), "a", 70.0)
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / "mine.backup").write_text("somebody's own file")
    names = [f"competition-2026010{day}T000000Z.backup" for day in range(1, 5)]
    for name in names:
        (folder / name).write_text("old")
    path = backups.backup_into(lab.db, folder, 3, "Eve")
    assert [one.name for one in backups.scheduled(folder)] == [*names[2:], path.name]
    assert (folder / "mine.backup").exists() and path.stat().st_mode & 0o077 == 0
    restored = Database.in_folder(tmp_path / "restored")
    archive.restore(path, restored, "Eve")
    assert board.read_board(restored, 1) == board.read_board(lab.db, 1)
    restored.close()


def test_one_is_due_at_once_then_after_so_many_hours_over_restarts_too(lab: Any, tmp_path: Path) -> None:
    def schedule() -> backups.Schedule:
        return backups.Schedule(lab.db, tmp_path / "backups", hours=2, keep=2)

    path = schedule().step()
    assert path is not None and schedule().step() is None
    os.utime(path, (time.time() - 7100,) * 2)
    assert schedule().step() is None
    for moment in (time.time() - 7300, time.time() + 9000):  # the second: the clock was set back
        os.utime(path, (moment, moment))
        assert schedule().is_due()
    assert audit.entries(lab.db)[0].action == "backup"


def test_a_failure_is_tried_again_later_and_stops_nothing(lab: Any, tmp_path: Path, monkeypatch: Any) -> None:
    schedule = backups.Schedule(lab.db, tmp_path / "backups", hours=1, keep=2)
    calls: list[int] = []

    def fail(*_: Any) -> None:
        calls.append(1)
        raise Unavailable("full", "the disk of the database is full")

    monkeypatch.setattr(archive, "backup", fail)
    assert [schedule.step(), schedule.step(), len(calls)] == [None, None, 1]


@pytest.mark.parametrize(("hours", "expected"), [(1.0, 1), (0.0, 0)])
def test_the_thread_writes_the_first_one(lab: Any, tmp_path: Path, hours: float, expected: int) -> None:
    folder = tmp_path / "backups"
    with backups.Schedule(lab.db, folder, hours, keep=2):
        end = time.monotonic() + 20
        while len(backups.scheduled(folder)) < expected and time.monotonic() < end:
            time.sleep(0.02)
    assert len(backups.scheduled(folder)) == expected
