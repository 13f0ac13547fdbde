"""Bring a database's tables to this version's, with Alembic and the scripts in `migrations/versions`."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from deeptraffic.competition.store.database import Database


def upgrade(db: Database) -> None:
    """Run the scripts that the database has not seen yet, in one transaction."""
    here = version_of(db)
    if here == newest_version():
        return
    if here is not None and here not in {script.revision for script in _scripts().walk_revisions()}:
        raise ValueError(f"the database has tables of version {here}, newer than this package; update deeptraffic")
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
    head = _scripts().get_current_head()
    assert head is not None
    return head


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(configuration())


def version_of(db: Database) -> str | None:
    """Return the version of a database's tables; None if it has none."""
    with db.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()
