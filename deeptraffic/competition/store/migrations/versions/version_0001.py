"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the step: those tables first that others refer to."""
    for make in (
        make_competitions,
        make_contents,
        make_people,
        make_workers,
        make_audit,
        make_private_seeds,
        make_results,
        make_tokens,
        make_submissions,
        make_evaluations,
        make_members,
    ):
        make()


def make_competitions() -> None:
    """Make the table `competitions`."""
    op.create_table(
        "competitions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("paused_at", sa.BigInteger(), nullable=True),
        sa.Column("pause_reason", sa.Text(), nullable=False),
        sa.Column("final", sa.String(length=10), nullable=False),
        sa.Column("final_at", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("final IN ('none', 'running', 'scored', 'revealed')", name=op.f("ck_competitions_final")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_competitions")),
        sa.UniqueConstraint("key", name=op.f("uq_competitions_key")),
    )


def make_contents() -> None:
    """Make the table `contents`."""
    op.create_table(
        "contents",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_contents")),
    )


def make_people() -> None:
    """Make the table `people`."""
    op.create_table(
        "people",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("skeleton", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=12), nullable=False),
        sa.Column("contact", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("blocked_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("role IN ('participant', 'organiser', 'baseline')", name=op.f("ck_people_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint("key", name=op.f("uq_people_key")),
        sa.UniqueConstraint("skeleton", name=op.f("uq_people_skeleton")),
    )


def make_workers() -> None:
    """Make the table `workers`."""
    op.create_table(
        "workers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("lane", sa.String(length=20), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
        sa.UniqueConstraint("name", name=op.f("uq_workers_name")),
    )


def make_audit() -> None:
    """Make the table `audit`."""
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("competition_id", sa.Integer(), nullable=True),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["competition_id"], ["competitions.id"], name=op.f("fk_audit_competition_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index("ix_audit_competition", ["competition_id"], unique=False)


def make_private_seeds() -> None:
    """Make the table `private_seeds`."""
    op.create_table(
        "private_seeds",
        sa.Column("competition_id", sa.Integer(), nullable=False),
        sa.Column("seeds", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["competition_id"], ["competitions.id"], name=op.f("fk_private_seeds_competition_id")),
        sa.PrimaryKeyConstraint("competition_id", name=op.f("pk_private_seeds")),
    )


def make_results() -> None:
    """Make the table `results`."""
    op.create_table(
        "results",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("protocol", sa.String(length=120), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("applied", sa.Boolean(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("score_low", sa.Float(), nullable=False),
        sa.Column("score_high", sa.Float(), nullable=False),
        sa.Column("mean", sa.Float(), nullable=False),
        sa.Column("mean_low", sa.Float(), nullable=False),
        sa.Column("mean_high", sa.Float(), nullable=False),
        sa.Column("unrounded_mean", sa.Float(), nullable=False),
        sa.Column("sd", sa.Float(), nullable=False),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("run_scores", sa.LargeBinary(), nullable=False),
        sa.Column("run_passed", sa.LargeBinary(), nullable=False),
        sa.Column("drive", sa.LargeBinary(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["sha256"], ["contents.sha256"], name=op.f("fk_results_sha256")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_results")),
        sa.UniqueConstraint("sha256", "protocol", "revision", name=op.f("uq_results_sha256")),
    )


def make_tokens() -> None:
    """Make the table `tokens`."""
    op.create_table(
        "tokens",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scope", sa.String(length=10), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=True),
        sa.Column("competition_id", sa.Integer(), nullable=True),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("uses_left", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("scope IN ('session', 'submit', 'link', 'invite')", name=op.f("ck_tokens_scope")),
        sa.ForeignKeyConstraint(["competition_id"], ["competitions.id"], name=op.f("fk_tokens_competition_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_tokens_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_tokens_digest")),
        sa.UniqueConstraint("key", name=op.f("uq_tokens_key")),
    )
    with op.batch_alter_table("tokens", schema=None) as batch_op:
        batch_op.create_index("ix_tokens_person", ["person_id"], unique=False)


def make_submissions() -> None:
    """Make the table `submissions`."""
    op.create_table(
        "submissions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("competition_id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("filename", sa.String(length=200), nullable=False),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("other_agents", sa.Integer(), nullable=False),
        sa.Column("parameters", sa.Integer(), nullable=False),
        sa.Column("cells", sa.Integer(), nullable=False),
        sa.Column("layers", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("scored_at", sa.BigInteger(), nullable=True),
        sa.Column("code", sa.String(length=40), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("validation_id", sa.Integer(), nullable=True),
        sa.Column("result_id", sa.Integer(), nullable=True),
        sa.Column("replaced_id", sa.Integer(), nullable=True),
        sa.Column("final_id", sa.Integer(), nullable=True),
        sa.Column("disqualified_at", sa.BigInteger(), nullable=True),
        sa.Column("disqualified_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'validating', 'validated', 'running', 'scored', 'refused', 'failed')",
            name=op.f("ck_submissions_state"),
        ),
        sa.ForeignKeyConstraint(["competition_id"], ["competitions.id"], name=op.f("fk_submissions_competition_id")),
        sa.ForeignKeyConstraint(["final_id"], ["results.id"], name=op.f("fk_submissions_final_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_submissions_person_id")),
        sa.ForeignKeyConstraint(["replaced_id"], ["results.id"], name=op.f("fk_submissions_replaced_id")),
        sa.ForeignKeyConstraint(["result_id"], ["results.id"], name=op.f("fk_submissions_result_id")),
        sa.ForeignKeyConstraint(["sha256"], ["contents.sha256"], name=op.f("fk_submissions_sha256")),
        sa.ForeignKeyConstraint(["validation_id"], ["results.id"], name=op.f("fk_submissions_validation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submissions")),
        sa.UniqueConstraint("key", name=op.f("uq_submissions_key")),
    )
    with op.batch_alter_table("submissions", schema=None) as batch_op:
        batch_op.create_index("ix_submissions_person", ["competition_id", "person_id"], unique=False)
        batch_op.create_index("ix_submissions_sha256", ["sha256"], unique=False)


def make_evaluations() -> None:
    """Make the table `evaluations`."""
    op.create_table(
        "evaluations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("submission_id", sa.Integer(), nullable=False),
        sa.Column("competition_id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("protocol", sa.String(length=120), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("batch", sa.String(length=32), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(length=100), nullable=True),
        sa.Column("queued_at", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("result_id", sa.Integer(), nullable=True),
        sa.Column("code", sa.String(length=40), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('validation', 'official', 'final', 'again')", name=op.f("ck_evaluations_kind")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'done', 'refused', 'failed', 'cancelled')",
            name=op.f("ck_evaluations_state"),
        ),
        sa.ForeignKeyConstraint(["competition_id"], ["competitions.id"], name=op.f("fk_evaluations_competition_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_evaluations_person_id")),
        sa.ForeignKeyConstraint(["result_id"], ["results.id"], name=op.f("fk_evaluations_result_id")),
        sa.ForeignKeyConstraint(["submission_id"], ["submissions.id"], name=op.f("fk_evaluations_submission_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluations")),
    )
    with op.batch_alter_table("evaluations", schema=None) as batch_op:
        batch_op.create_index("ix_evaluations_batch", ["batch"], unique=False)
        batch_op.create_index("ix_evaluations_started", ["started_at"], unique=False)
        batch_op.create_index("ix_evaluations_state", ["state", "kind"], unique=False)
        batch_op.create_index("ix_evaluations_submission", ["submission_id"], unique=False)


def make_members() -> None:
    """Make the table `members`."""
    op.create_table(
        "members",
        sa.Column("competition_id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("alias", sa.String(length=40), nullable=False),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.Column("disqualified_at", sa.BigInteger(), nullable=True),
        sa.Column("disqualified_reason", sa.Text(), nullable=True),
        sa.Column("best_id", sa.Integer(), nullable=True),
        sa.Column("chosen_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["best_id"], ["submissions.id"], name=op.f("fk_members_best_id")),
        sa.ForeignKeyConstraint(["chosen_id"], ["submissions.id"], name=op.f("fk_members_chosen_id")),
        sa.ForeignKeyConstraint(["competition_id"], ["competitions.id"], name=op.f("fk_members_competition_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_members_person_id")),
        sa.PrimaryKeyConstraint("competition_id", "person_id", name=op.f("pk_members")),
    )
