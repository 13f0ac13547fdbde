"""Supervisor: as many workers as asked for, those that end are restarted, and none is left behind."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import make_url

from deeptraffic.competition import supervisor
from deeptraffic.competition.supervisor import Supervisor

URL = make_url("sqlite:///none.sqlite3")


@pytest.fixture
def sleepers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let workers be processes that note their lane and parent, and sleep."""
    program = tmp_path / "sleep.py"
    program.write_text(
        "import os, pathlib, time\n"
        "lane, parent = os.environ['DEEPTRAFFIC_LANE'], os.environ['DEEPTRAFFIC_PARENT']\n"
        f"pathlib.Path({str(tmp_path)!r}, f'{{lane}}-{{os.getpid()}}').write_text(parent)\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setattr(supervisor, "COMMAND", (sys.executable, "-S", str(program)))
    return tmp_path


def started(folder: Path, count: int) -> list[Path]:
    while len(found := sorted(folder.glob("*-*"))) < count:
        time.sleep(0.01)
    return found


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_two_workers_and_one_for_validations_that_end_with_it(sleepers: Path) -> None:
    with Supervisor(URL, 2) as watched:
        found = started(sleepers, 3)
        pids = watched.pids()
    assert [path.name.partition("-")[0] for path in found] == ["all", "all", "validation"]
    assert {path.read_text() for path in found} == {str(os.getpid())}
    assert len(pids) == 3 and not any(alive(pid) for pid in pids)
    assert [slot.process and slot.process.returncode for slot in watched.slots] == [-signal.SIGTERM] * 3


def test_a_worker_that_is_killed_is_followed_by_another(sleepers: Path) -> None:
    died: list[int] = []
    with Supervisor(URL, 1, died.append) as watched:
        started(sleepers, 2)
        before = watched.pids()
        os.kill(before[0], signal.SIGKILL)
        started(sleepers, 3)
        after = watched.pids()
    assert died == [before[0]]
    assert len(after) == 2 and before[0] not in after and before[1] in after


def test_without_workers_nothing_is_started(sleepers: Path) -> None:
    with Supervisor(URL, 0) as watched:
        assert watched.pids() == []


def test_an_impossible_number_is_refused() -> None:
    with pytest.raises(ValueError, match=r"integer in \[0, 256\], got 257"):
        Supervisor(URL, 257)
