"""Migrations: they create the tables of the models in both databases, once, and bring earlier tables up to date."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import URL, text

from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.competition.models import Base
from deeptraffic.competition.sandbox.validation import Upload
from deeptraffic.competition.store import competitions, database, organise
from deeptraffic.competition.store.database import Database, newest_version
from deeptraffic.sim.rules import Sensor


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    if request.param == "sqlite":
        return URL.create("sqlite", database=str(tmp_path / "new.sqlite3"))
    make: Callable[[], URL] = request.getfixturevalue("postgres_url")
    return make()


def test_migrated_tables_equal_those_of_the_models(new_url: URL) -> None:
    db = Database(new_url)
    assert db.version() is None
    db.migrate()
    assert db.version() == newest_version()
    with db.read() as session:
        assert compare_metadata(MigrationContext.configure(session.connection()), Base.metadata) == []
    db.close()


def test_several_processes_may_start_at_once(new_url: URL) -> None:
    def start(_: int) -> str | None:
        db = Database(new_url).migrate()
        found = db.version()
        db.close()
        return found

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(start, range(4))) == {newest_version()}


def test_a_database_of_a_later_version_is_left_alone(new_url: URL) -> None:
    db = Database(new_url).migrate()
    with db.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ValueError, match="update deeptraffic"):
        db.migrate()
    db.close()


LATER = """
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("submissions") as table:
        table.add_column(sa.Column("colour", sa.Text(), nullable=False, server_default="none"))
"""


def test_a_later_version_changes_the_tables_and_keeps_their_rows(
    new_url: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = Database(new_url).migrate()
    upload = Upload(b"x", "x", "x", "policy", "x", 2018, 0, Sensor(3, 50, 10), 0, ("dense",), 1, 1, 1, 0)
    competition = competitions.create(db, "lab", CompetitionConfig(), "test")
    organise.add_baseline(db, competition.id, "Ada", upload, "test")
    packaged = Path(database.__file__).with_name("migrations")
    shutil.copytree(packaged, tmp_path / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "migrations" / "versions" / "version_0002.py").write_text(LATER)
    later = database.migrations()
    later.set_main_option("script_location", str(tmp_path / "migrations"))
    monkeypatch.setattr(database, "migrations", lambda: later)
    assert (db.version(), newest_version()) == ("0001", "0002")
    assert db.migrate().version() == "0002"
    with db.read() as session:
        assert session.execute(text("SELECT label, colour FROM submissions")).all() == [("x", "none")]
    db.close()
