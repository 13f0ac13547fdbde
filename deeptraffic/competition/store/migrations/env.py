"""Alembic's environment: runs migrations on the connection that `Database.migrate` passes."""

from alembic import context

from deeptraffic.competition.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=False,  # the caller's transaction holds everything
    render_as_batch=True,
)
context.run_migrations()
