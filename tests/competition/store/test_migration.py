"""Migrations: they give the tables of schema.py in both databases, once, whoever comes first."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import URL, text

from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.migration import newest_version, version_of
from deeptraffic.competition.store.schema import metadata


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    if request.param == "sqlite":
        return URL.create("sqlite", database=str(tmp_path / "new.sqlite3"))
    make: Callable[[], URL] = request.getfixturevalue("postgres_url")
    return make()


def test_they_give_the_tables_of_the_schema(new_url: URL) -> None:
    db = Database(new_url)
    assert version_of(db) is None
    db.migrate()
    assert version_of(db) == newest_version()
    with db.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    db.close()


def test_several_processes_may_start_at_once(new_url: URL) -> None:
    def start(_: int) -> str | None:
        db = Database(new_url).migrate()
        found = version_of(db)
        db.close()
        return found

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(start, range(4))) == {newest_version()}


def test_a_database_of_a_later_version_is_left_alone(new_url: URL) -> None:
    db = Database(new_url).migrate()
    with db.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ValueError, match="update deeptraffic"):
        db.migrate()
    db.close()
