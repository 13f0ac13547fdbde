"""The first tables, created from the models.

A release freezes them here: from then on, a change of the models comes with a further version.
"""

from alembic import op

from deeptraffic.competition.models import Base

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create all tables."""
    Base.metadata.create_all(op.get_bind())
