"""What Alembic runs to find the database: the connection that `migration.upgrade` hands over."""

from alembic import context

from deeptraffic.competition.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,  # the caller's transaction holds all
    render_as_batch=True,
)
context.run_migrations()
