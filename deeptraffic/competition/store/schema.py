"""The tables. Times are whole milliseconds since 1970 UTC (`*_at`), keys are random and fit for an address.

A submission is accepted by one transaction that writes its row (which counts in the quota) and its first row in
`evaluations`, the queue. A job's `fence` grows with every lease, and only who holds the present one may report.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

KEY, DIGEST = String(32), String(64)
metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _id() -> Column:
    return Column("id", Integer, primary_key=True)


def _key() -> Column:
    return Column("key", KEY, nullable=False, unique=True)


def _at(name: str, nullable: bool = True) -> Column:
    return Column(name, BigInteger, nullable=nullable)


def _of(name: str, target: str, nullable: bool = False) -> Column:
    return Column(name, Integer, ForeignKey(f"{target}.id"), nullable=nullable)


people = Table(
    "people",
    metadata,
    _id(),
    _key(),
    Column("name", String(80), nullable=False),
    Column("skeleton", String(200), nullable=False, unique=True),  # equal for names that look alike
    Column("role", String(12), nullable=False),
    Column("contact", String(200), nullable=False, default=""),
    _at("created_at", nullable=False),
    _at("blocked_at"),
    CheckConstraint("role IN ('participant', 'organiser', 'baseline')", name="role"),
)

competitions = Table(
    "competitions",
    metadata,
    _id(),
    Column("key", String(40), nullable=False, unique=True),
    Column("config", Text, nullable=False),  # JSON of CompetitionConfig
    _at("created_at", nullable=False),
    _at("paused_at"),
    Column("pause_reason", Text, nullable=False, default=""),
    Column("final", String(10), nullable=False, default="none"),
    _at("final_at"),  # revealed
    Column("version", Integer, nullable=False, default=0),  # grows with every change of the board
    CheckConstraint("final IN ('none', 'running', 'scored', 'revealed')", name="final"),
)

private_seeds = Table(
    "private_seeds",
    metadata,
    Column("competition_id", Integer, ForeignKey("competitions.id"), primary_key=True),
    Column("seeds", Text, nullable=False),  # JSON list
)

tokens = Table(
    "tokens",
    metadata,
    _id(),
    _key(),
    Column("digest", DIGEST, nullable=False, unique=True),  # SHA-256; the token itself is never kept
    Column("scope", String(10), nullable=False),
    _of("person_id", "people", nullable=True),
    _of("competition_id", "competitions", nullable=True),
    Column("note", String(200), nullable=False, default=""),
    Column("uses_left", Integer),  # None: any number
    _at("created_at", nullable=False),
    _at("expires_at", nullable=False),
    _at("used_at"),
    _at("revoked_at"),
    Index("ix_tokens_person", "person_id"),
    CheckConstraint("scope IN ('session', 'submit', 'link', 'invite')", name="scope"),
)

contents = Table(
    "contents",
    metadata,
    Column("sha256", DIGEST, primary_key=True),
    Column("content", LargeBinary, nullable=False),
    _at("created_at", nullable=False),
)

results = Table(
    "results",
    metadata,
    _id(),
    Column("sha256", DIGEST, ForeignKey("contents.sha256"), nullable=False),
    Column("protocol", String(120), nullable=False),
    Column("revision", Integer, nullable=False, default=0),  # grows with re-evaluations
    Column("applied", Boolean, nullable=False, default=True),  # a re-evaluation waits for the organiser
    Column("score", Float, nullable=False),
    Column("score_low", Float, nullable=False),
    Column("score_high", Float, nullable=False),
    Column("mean", Float, nullable=False),
    Column("mean_low", Float, nullable=False),
    Column("mean_high", Float, nullable=False),
    Column("unrounded_mean", Float, nullable=False),
    Column("sd", Float, nullable=False),
    Column("runs", Integer, nullable=False),
    Column("frames", Integer, nullable=False),
    Column("run_scores", LargeBinary, nullable=False),  # float64, little-endian
    Column("run_passed", LargeBinary, nullable=False),  # int64, little-endian
    Column("drive", LargeBinary),  # the decisions of a public official evaluation
    Column("seconds", Float, nullable=False),
    _at("created_at", nullable=False),
    UniqueConstraint("sha256", "protocol", "revision"),
)

submissions = Table(
    "submissions",
    metadata,
    _id(),
    _key(),
    _of("competition_id", "competitions"),
    _of("person_id", "people"),
    Column("sha256", DIGEST, ForeignKey("contents.sha256"), nullable=False),
    Column("filename", String(200), nullable=False),
    Column("label", String(100), nullable=False),
    Column("facts", Text, nullable=False),  # JSON of what validation found
    Column("other_agents", Integer, nullable=False),
    Column("parameters", Integer, nullable=False),
    Column("cells", Integer, nullable=False),
    Column("layers", Integer, nullable=False),
    Column("state", String(10), nullable=False),
    Column("counted", Boolean, nullable=False, default=True),  # in the quota
    _at("accepted_at", nullable=False),
    _at("scored_at"),
    Column("code", String(40)),
    Column("reason", Text),
    _of("validation_id", "results", nullable=True),
    _of("result_id", "results", nullable=True),
    _of("replaced_id", "results", nullable=True),  # the result before the last re-evaluation
    _of("final_id", "results", nullable=True),
    _at("disqualified_at"),
    Column("disqualified_reason", Text),
    Index("ix_submissions_person", "competition_id", "person_id"),
    Index("ix_submissions_sha256", "sha256"),
    CheckConstraint(
        "state IN ('waiting', 'validating', 'validated', 'running', 'scored', 'refused', 'failed')", name="state"
    ),
)

members = Table(
    "members",
    metadata,
    Column("competition_id", Integer, ForeignKey("competitions.id"), primary_key=True),
    Column("person_id", Integer, ForeignKey("people.id"), primary_key=True),
    Column("alias", String(40), nullable=False),  # in place of the name while the board is anonymous
    _at("joined_at", nullable=False),
    _at("disqualified_at"),
    Column("disqualified_reason", Text),
    _of("best_id", "submissions", nullable=True),
    _of("chosen_id", "submissions", nullable=True),  # for the final; None: the best one
)

evaluations = Table(
    "evaluations",
    metadata,
    _id(),
    _of("submission_id", "submissions"),
    _of("competition_id", "competitions"),
    _of("person_id", "people"),
    Column("sha256", DIGEST, nullable=False),
    Column("kind", String(10), nullable=False),
    Column("protocol", String(120), nullable=False),
    Column("revision", Integer, nullable=False, default=0),
    Column("batch", KEY),  # of a final or a re-evaluation
    Column("state", String(10), nullable=False),
    Column("tries", Integer, nullable=False, default=0),
    Column("fence", Integer, nullable=False, default=0),
    Column("worker", String(100)),
    _at("queued_at", nullable=False),
    _at("not_before"),
    _at("lease_until"),
    _at("started_at"),
    _at("finished_at"),
    _at("settled_at"),  # of a re-evaluation: applied or discarded
    Column("done", Integer, nullable=False, default=0),
    Column("total", Integer, nullable=False, default=0),
    _of("result_id", "results", nullable=True),
    Column("code", String(40)),
    Column("reason", Text),
    Index("ix_evaluations_state", "state", "kind"),
    Index("ix_evaluations_submission", "submission_id"),
    Index("ix_evaluations_started", "started_at"),
    Index("ix_evaluations_batch", "batch"),
    CheckConstraint("kind IN ('validation', 'official', 'final', 'again')", name="kind"),
    CheckConstraint("state IN ('queued', 'running', 'done', 'refused', 'failed', 'cancelled')", name="state"),
)

audit = Table(
    "audit",
    metadata,
    _id(),
    _at("at", nullable=False),
    Column("actor", String(80), nullable=False),
    Column("action", String(40), nullable=False),
    _of("competition_id", "competitions", nullable=True),
    Column("subject", String(200), nullable=False, default=""),
    Column("details", Text, nullable=False, default="{}"),  # JSON
    Index("ix_audit_competition", "competition_id"),
)

workers = Table(
    "workers",
    metadata,
    _id(),
    Column("name", String(100), nullable=False, unique=True),  # host, process and start
    Column("lane", String(20), nullable=False),
    _at("started_at", nullable=False),
    _at("seen_at", nullable=False),
    Column("jobs", Integer, nullable=False, default=0),
)
