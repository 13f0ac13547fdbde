"""Bring a database's tables to this version's, with Alembic and the scripts in `migrations/versions`."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from deeptraffic.competition.store.database import Database


def upgrade(db: Database) -> None:
    """Run the scripts that the database has not seen yet, in one transaction."""
    if version_of(db) == newest_version():
        return
    with db.write("schema") as connection:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def configuration() -> Config:
    """Return Alembic's settings for the packaged scripts."""
    config = Config()
    config.set_main_option("script_location", "deeptraffic.competition.store:migrations")
    return config


def newest_version() -> str:
    """Return the version of this package's tables."""
    head = ScriptDirectory.from_config(configuration()).get_current_head()
    assert head is not None
    return head


def version_of(db: Database) -> str | None:
    """Return the version of a database's tables; None if it has none."""
    with db.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()
