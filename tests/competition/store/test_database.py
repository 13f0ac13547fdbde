"""The database: what it promises, and what it says when it cannot."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, event, func, select, text

from deeptraffic.competition.models import Person
from deeptraffic.competition.store import accounts, audit, queue, submissions
from deeptraffic.competition.store.database import FILE, Database
from deeptraffic.competition.store.errors import Unavailable
from deeptraffic.competition.store.evaluations import Evaluated
from deeptraffic.competition.worker import Pace, Worker


def limit_pages(db: Database, pages: list[int]) -> None:
    """Let SQLite find its disk full beyond the last number of pages in the list, 0 for no limit."""

    @event.listens_for(db.engine, "checkout")
    def set_limit(connection: Any, *_: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages[-1] or 1_000_000_000}").close()


def test_sqlite_keeps_every_answer_and_every_reference(lab: Any) -> None:
    with lab.db.read() as session:
        found = [session.execute(text(f"PRAGMA {name}")).scalar_one() for name in ("journal_mode", "synchronous")]
        assert (*found, session.execute(text("PRAGMA foreign_keys")).scalar_one()) == ("wal", 2, 1)


def test_an_error_undoes_all_that_its_transaction_wrote(any_lab: Any) -> None:
    with pytest.raises(KeyError), any_lab.db.write() as session:
        accounts.add_person(session, any_lab.db, "Ana")
        raise KeyError
    with any_lab.db.read() as session:
        assert session.execute(select(func.count()).select_from(Person)).scalar_one() == 0


def test_a_reading_transaction_sees_one_state(any_lab: Any) -> None:
    with any_lab.db.read() as session:
        count = select(func.count()).select_from(Person)
        assert session.execute(count).scalar_one() == 0
        any_lab.member("Ana")
        assert session.execute(count).scalar_one() == 0


def test_many_writers_wait_for_each_other(any_lab: Any) -> None:
    def note(number: int) -> None:
        with any_lab.db.write() as session:
            audit.note(session, any_lab.db, "test", f"act {number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(note, range(40)))
    assert len({entry.action for entry in audit.entries(any_lab.db, limit=1000)} - {"create"}) == 40


def test_a_writing_transaction_keeps_other_writers_out_from_its_beginning(lab: Any) -> None:
    other = sqlite3.connect(str(lab.db.url.database), timeout=0, isolation_level=None)
    with closing(other), lab.db.write(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")


def test_a_locked_database_is_busy_not_broken(lab: Any) -> None:
    ana = lab.member("Ana")
    db = Database(lab.db.url, busy_seconds=0.1)
    with closing(sqlite3.connect(str(lab.db.url.database), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable) as found:
            submissions.accept(db, lab.competition.id, ana.id, lab.upload("a"))
        assert found.value.code == "busy"
        assert submissions.history(db, lab.competition.id) == ([], 0)  # reading goes on
        other.execute("ROLLBACK")
    submissions.accept(db, lab.competition.id, ana.id, lab.upload("a"))
    assert submissions.history(db, lab.competition.id)[1] == 1
    db.close()


def test_a_full_disk_takes_nothing_by_halves(lab: Any) -> None:
    ana = lab.member("Ana")
    pages = [1]  # it is full from now on
    limit_pages(lab.db, pages)
    content = "x" * 500_000
    with pytest.raises(Unavailable) as found:
        lab.submit(ana, content)
    assert found.value.code == "full"
    assert submissions.quota(lab.db, lab.competition.id, ana.id) == {"day": 0, "total": 0, "waiting": 0}
    assert queue.counts(lab.db) == {}
    pages.append(0)
    assert lab.submit(ana, content).place == 1


def test_a_result_waits_for_room_on_the_disk(lab: Any) -> None:
    pages = [0]
    limit_pages(lab.db, pages)
    made = lab.submit(lab.member("Ana"), "a")
    tried: list[int] = []

    def evaluate(job: Any, progress: Any) -> Any:
        pages.append(1)
        return Evaluated(lab.score(job), bytes(500_000))

    class Patient(Worker):
        """Makes room while it waits."""

        @property
        def stopping(self) -> bool:
            tried.append(1)
            pages.append(0)
            return False

    Patient(lab.db, "all", evaluate, pace=Pace(beat=60.0)).step()
    assert tried and submissions.get_submission(lab.db, made.id).state == "validated"


def test_a_server_that_is_gone_is_down(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as found, Database(f"postgresql+psycopg://nobody@/x?host={tmp_path}").read():
        pass
    assert found.value.code == "down"


@pytest.mark.parametrize(
    "url", ["mysql://x/y", "postgresql://x/y", "sqlite://", "sqlite:///:memory:", "not an address", ""]
)
def test_other_addresses_are_refused_with_a_remedy(url: str) -> None:
    with pytest.raises(ValueError, match="give sqlite:///FILE"):
        Database(url)


def test_a_folder_is_its_owners_alone(tmp_path: Path) -> None:
    db = Database.in_folder(tmp_path / "new").migrate()
    paths = [tmp_path / "new", *(tmp_path / "new").iterdir()]
    assert tmp_path / "new" / FILE in paths
    assert [path.name for path in paths if path.stat().st_mode & 0o077] == []
    db.close()


def test_times_come_from_the_databases_own_clock(tmp_path: Path, postgres_url: Callable[[], URL]) -> None:
    here = Database.in_folder(tmp_path)
    there = Database(postgres_url())
    with here.read() as mine, there.read() as its:
        assert abs(here.now(mine) - there.now(its)) < 60_000
    here.close()
    there.close()
