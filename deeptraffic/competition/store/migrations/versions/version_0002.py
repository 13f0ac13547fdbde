"""Teams, class lists, co-organisers, deadlines and limits of a person, costs of checks; facts of submissions."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables and columns; the network of an earlier submission is known by its whole file alone."""
    op.create_table(
        "teams",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("competition_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("skeleton", sa.String(200), nullable=False),
        sa.Column("alias", sa.String(40), nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["competition_id"], ["competitions.id"], name="fk_teams_competition_id"),
        sa.PrimaryKeyConstraint("id", name="pk_teams"),
        sa.UniqueConstraint("key", name="uq_teams_key"),
        sa.UniqueConstraint("code", name="uq_teams_code"),
        sa.UniqueConstraint("competition_id", "skeleton", name="uq_teams_competition_id"),
    )
    op.create_table(
        "organisers",
        *_member("organisers"),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("competition_id", "person_id", name="pk_organisers"),
    )
    op.create_table(
        "class_list",
        sa.Column("competition_id", sa.Integer(), nullable=False),
        sa.Column("folded", sa.String(200), nullable=False),
        sa.Column("contact", sa.String(200), nullable=False),
        sa.Column("person_id", sa.Integer()),
        sa.ForeignKeyConstraint(["competition_id"], ["competitions.id"], name="fk_class_list_competition_id"),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name="fk_class_list_person_id"),
        sa.PrimaryKeyConstraint("competition_id", "folded", name="pk_class_list"),
    )
    op.create_table(
        "checks",
        *_member("checks"),
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("cpu_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("competition_id", "person_id", "day", name="pk_checks"),
    )
    # As text, since SQLite adds a constraint only together with its column.
    op.execute("ALTER TABLE members ADD COLUMN team_id INTEGER CONSTRAINT fk_members_team_id REFERENCES teams (id)")
    op.create_index("ix_members_team", "members", ["team_id"])
    op.add_column("members", sa.Column("closes_at", sa.BigInteger()))
    op.add_column("members", sa.Column("daily_limit", sa.Integer()))
    op.add_column("members", sa.Column("total_limit", sa.Integer()))
    op.add_column("results", sa.Column("losses", sa.JSON()))
    op.add_column("submissions", sa.Column("note", sa.String(500), nullable=False, server_default=""))
    op.add_column("submissions", sa.Column("late", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("submissions", sa.Column("network", sa.String(64), nullable=False, server_default=""))
    op.execute("UPDATE submissions SET network = sha256")
    op.create_index("ix_submissions_network", "submissions", ["competition_id", "network"])


def _member(table: str) -> list[sa.Column[int] | sa.ForeignKeyConstraint]:
    """Return the columns that name a person in a competition."""
    return [
        sa.Column("competition_id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["competition_id"], ["competitions.id"], name=f"fk_{table}_competition_id"),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=f"fk_{table}_person_id"),
    ]
