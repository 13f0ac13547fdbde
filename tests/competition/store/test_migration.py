"""Migrations: they create the tables of the models in both databases, once, and bring earlier tables up to date."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import URL, text

from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.competition.models import Base
from deeptraffic.competition.sandbox.validation import Upload
from deeptraffic.competition.store import competitions, database, organise
from deeptraffic.competition.store.board import build_board
from deeptraffic.competition.store.database import Database, newest_version
from deeptraffic.sim.rules import Sensor


@pytest.fixture(params=["sqlite", "postgresql"])
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
        db = Database(new_url, busy_seconds=600.0).migrate()  # however slow the machine is just now
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


ROWS = (  # of version 0001
    "INSERT INTO competitions (id, key, config, created_at, pause_reason, final, version) VALUES (1, 'lab', '{}', 1, "
    "'', 'none', 0)",
    "INSERT INTO people (id, key, name, skeleton, created_at, role, contact, trail) VALUES (1, 'k', 'Ada', 'ada', 1, "
    "'participant', '', 'yellow')",
    "INSERT INTO contents (sha256, content, created_at) VALUES ('abc', '', 1)",
    "INSERT INTO results (id, sha256, protocol, revision, applied, score, score_low, score_high, mean, mean_low, "
    "mean_high, unrounded_mean, sd, runs, frames, seconds, cpu_seconds, created_at, run_scores, run_passed) VALUES (1, "
    "'abc', 'official', 0, true, 14100, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, '', '')",
    "INSERT INTO submissions (id, key, competition_id, person_id, sha256, filename, label, facts, other_agents, "
    "parameters, cells, layers, accepted_at, state, counted, result_id) VALUES (1, 'k', 1, 1, 'abc', 'f', 'mine', "
    "'{}', 0, 1, 1, 1, 1, 'scored', true, 1)",
    "INSERT INTO members (competition_id, person_id, alias, joined_at, best_id) VALUES (1, 1, 'Driver 1', 1, 1)",
)
LATER = """
import sqlalchemy as sa
from alembic import op

revision = "9998"
down_revision = "NEWEST"


def upgrade() -> None:
    with op.batch_alter_table("submissions") as table:
        table.add_column(sa.Column("extra", sa.Text(), nullable=False, server_default="none"))
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
    (tmp_path / "migrations" / "versions" / "version_9998.py").write_text(LATER.replace("NEWEST", newest_version()))
    later = database.migrations()
    later.set_main_option("script_location", str(tmp_path / "migrations"))
    monkeypatch.setattr(database, "migrations", lambda: later)
    assert newest_version() == "9998" != db.version()
    assert db.migrate().version() == "9998"
    with db.read() as session:
        assert session.execute(text("SELECT label, extra FROM submissions")).all() == [("x", "none")]
    db.close()


def test_the_first_tables_become_the_present_ones_with_all_their_rows(new_url: URL) -> None:
    db = Database(new_url)
    with db.write("schema") as session:
        config = database.migrations()
        config.attributes["connection"] = session.connection()
        command.upgrade(config, "0001")
        for statement in ROWS:
            session.execute(text(statement))
    assert db.version() == "0001"
    assert db.migrate().version() == newest_version()
    with db.read() as session:
        assert compare_metadata(MigrationContext.configure(session.connection()), Base.metadata) == []
        assert session.execute(text("SELECT label, note, network, late FROM submissions")).all() == [
            ("mine", "", "abc", False)
        ]
        [row] = build_board(session, competitions.get(session, 1), final=False, anonymous=False).rows
        assert (row.name, row.score, row.rank) == ("Ada", 70.5, 1)
    db.close()
