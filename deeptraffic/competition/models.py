"""Tables of a competition as mapped dataclasses: a row is the record that pages, workers and commands read.

Times (`*_at`) are milliseconds since 1970 UTC; keys are random and safe in URLs. Relationships are read-only, and
loaded by the queries that say so. Binary columns of a result are loaded on demand.

A submission is accepted by one transaction that writes its row, which counts towards the quota, and its first row in
`evaluations`, the queue. The `fence` of an evaluation grows with every lease, and only the holder of the current one
may report.
"""

import json
import secrets
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column, relationship

from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.sim.state import F64, I64

Time = Annotated[int, mapped_column(BigInteger)]  # [ms since 1970 UTC]
Key = Annotated[str, mapped_column(String(32))]
Digest = Annotated[str, mapped_column(String(64))]  # SHA-256 in hexadecimal
MILLIONTHS = 1_000_000


def new_key() -> str:
    """Return a random key of 128 bits, safe in URLs and on a command line."""
    return secrets.token_hex(16)


@lru_cache(maxsize=256)
def _config_of(text: str) -> CompetitionConfig:  # kept, since every row that is joined to a competition reads its text
    return CompetitionConfig.from_record(json.loads(text))


class ConfigText(TypeDecorator[CompetitionConfig]):
    """A competition's settings, kept as JSON text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: CompetitionConfig | None, dialect: Dialect) -> str:
        """Return the text that is kept."""
        assert value is not None
        return json.dumps(value.to_record(), sort_keys=True)

    def process_result_value(self, value: Any, dialect: Dialect) -> CompetitionConfig:
        """Return the settings."""
        return _config_of(value)


class Steps(TypeDecorator[float]):
    """A number kept as a whole number of steps, so that equal values are equal to the last bit.

    per_unit: steps in 1: 200 for medians of hundredths, which are half-hundredths
    """

    impl = BigInteger
    cache_ok = True

    def __init__(self, per_unit: int) -> None:
        super().__init__()
        self.per_unit = per_unit

    def process_bind_param(self, value: float | None, dialect: Dialect) -> int | None:
        """Return the steps that are kept."""
        return None if value is None else round(value * self.per_unit)

    def process_result_value(self, value: int | None, dialect: Dialect) -> float | None:
        """Return the number, the nearest float to its decimals."""
        return None if value is None else value / self.per_unit


class PackedArray(TypeDecorator[NDArray[Any]]):
    """A one-dimensional array, kept as its bytes, such as those of little-endian float64 (<f8)."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, dtype: str) -> None:
        super().__init__()
        self.dtype = dtype

    def process_bind_param(self, value: NDArray[Any] | None, dialect: Dialect) -> bytes:
        """Return the bytes that are kept."""
        return np.asarray(value).astype(self.dtype).tobytes()

    def process_result_value(self, value: Any, dialect: Dialect) -> NDArray[Any]:
        """Return the array."""
        return np.frombuffer(value, self.dtype)


DEFAULT_TRAIL = "yellow"


class Base(MappedAsDataclass, DeclarativeBase):
    """Base of all tables; constraints are named after their table, so that migrations can refer to them."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map = {
        str: Text,
        bytes: LargeBinary,
        dict[str, Any]: JSON,
        list[int]: JSON,
        CompetitionConfig: ConfigText,
    }


class Person(Base):
    """An account.

    role: participant, organiser or baseline; skeleton: equal for names that look alike
    trail: colour of the trail behind its car, one of `deeptraffic.render.theme.TRAIL_COLOURS`
    """

    __tablename__ = "people"
    __table_args__ = (CheckConstraint("role IN ('participant', 'organiser', 'baseline')", name="role"),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    key: Mapped[Key] = mapped_column(unique=True, default_factory=new_key, init=False)
    name: Mapped[str] = mapped_column(String(80))
    skeleton: Mapped[str] = mapped_column(String(200), unique=True, repr=False)
    created_at: Mapped[Time]
    role: Mapped[str] = mapped_column(String(12), default="participant")
    contact: Mapped[str] = mapped_column(String(200), default="", repr=False)
    blocked_at: Mapped[Time | None] = mapped_column(default=None)
    trail: Mapped[str] = mapped_column(String(12), default=DEFAULT_TRAIL)

    @property
    def is_organiser(self) -> bool:
        """Whether the organiser's pages are open to this person."""
        return self.role == "organiser"


class Competition(Base):
    """A competition; key is its name in URLs, final is none, running, scored (hidden) or revealed.

    final_at: when the final was revealed; version: grows with every change of the leaderboard
    """

    __tablename__ = "competitions"
    __table_args__ = (CheckConstraint("final IN ('none', 'running', 'scored', 'revealed')", name="final"),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    key: Mapped[str] = mapped_column(String(40), unique=True)
    config: Mapped[CompetitionConfig]
    created_at: Mapped[Time]
    paused_at: Mapped[Time | None] = mapped_column(default=None)
    pause_reason: Mapped[str] = mapped_column(default="")
    final: Mapped[str] = mapped_column(String(10), default="none")
    final_at: Mapped[Time | None] = mapped_column(default=None)
    version: Mapped[int] = mapped_column(default=0)

    def closes(self, own: int | None = None) -> int | None:
        """Return when submissions are no longer taken, of a person with an own deadline too; None: never."""
        closes = self.config.closes
        return closes if closes is None or own is None else max(closes, own)

    def phase(self, now: int, own: int | None = None) -> str:
        """Return upcoming, open, paused, closed, final (being scored, hidden) or revealed.

        own: deadline of a person, as in `Member.closes_at`
        """
        if self.final != "none":
            return "revealed" if self.final == "revealed" else "final"
        closes = self.closes(own)
        if closes is not None and now >= closes:
            return "closed"
        if self.paused_at is not None:
            return "paused"
        return "upcoming" if self.config.opens is not None and now < self.config.opens else "open"


class PrivateSeeds(Base):
    """The seeds of a competition's final, apart from the record that pages read."""

    __tablename__ = "private_seeds"

    competition_id: Mapped[int] = mapped_column(ForeignKey("competitions.id"), primary_key=True)
    seeds: Mapped[list[int]] = mapped_column(repr=False)


class AccessToken(Base):
    """A token: scope is session, submit, link or invite; digest is its SHA-256, the token itself is never kept.

    uses_left: None for any number
    """

    __tablename__ = "tokens"
    __table_args__ = (
        Index("ix_tokens_person", "person_id"),
        CheckConstraint("scope IN ('session', 'submit', 'link', 'invite')", name="scope"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    key: Mapped[Key] = mapped_column(unique=True, default_factory=new_key, init=False)
    digest: Mapped[Digest] = mapped_column(unique=True, repr=False)
    scope: Mapped[str] = mapped_column(String(10))
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    competition_id: Mapped[int | None] = mapped_column(ForeignKey("competitions.id"))
    note: Mapped[str] = mapped_column(String(200))
    uses_left: Mapped[int | None]
    created_at: Mapped[Time]
    expires_at: Mapped[Time]
    used_at: Mapped[Time | None] = mapped_column(default=None)
    revoked_at: Mapped[Time | None] = mapped_column(default=None)


class Content(Base):
    """A policy file, kept once however often it is submitted."""

    __tablename__ = "contents"

    sha256: Mapped[Digest] = mapped_column(primary_key=True)
    content: Mapped[bytes] = mapped_column(repr=False)
    created_at: Mapped[Time]


class EvaluationResult(Base):
    """Result of a file's content under a protocol [mph]; score_low..high and mean_low..high are 95% intervals.

    Scores are whole half-hundredths and everything beside them whole millionths: equal ones are equal to the last bit.

    revision: grows with re-evaluations; applied: False while a re-evaluation waits for the organiser
    seconds: that the evaluation took; cpu_seconds: processor time of the policy
    unrounded_mean: of the runs' unrounded speeds; decisions, losses: of a public official evaluation, its decisions and
        where they lost speed (`deeptraffic.competition.evaluation.losses_record`)
    """

    __tablename__ = "results"
    __table_args__ = (UniqueConstraint("sha256", "protocol", "revision"),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    sha256: Mapped[Digest] = mapped_column(ForeignKey("contents.sha256"))
    protocol: Mapped[str] = mapped_column(String(120))
    revision: Mapped[int]
    applied: Mapped[bool]
    score: Mapped[float] = mapped_column(Steps(200))
    score_low: Mapped[float] = mapped_column(Steps(MILLIONTHS))
    score_high: Mapped[float] = mapped_column(Steps(MILLIONTHS))
    mean: Mapped[float] = mapped_column(Steps(MILLIONTHS))
    mean_low: Mapped[float] = mapped_column(Steps(MILLIONTHS))
    mean_high: Mapped[float] = mapped_column(Steps(MILLIONTHS))
    unrounded_mean: Mapped[float] = mapped_column(Steps(MILLIONTHS))
    sd: Mapped[float] = mapped_column(Steps(MILLIONTHS))
    runs: Mapped[int]
    frames: Mapped[int]
    seconds: Mapped[float]
    cpu_seconds: Mapped[float]
    created_at: Mapped[Time]
    run_scores: Mapped[F64] = mapped_column(PackedArray("<f8"), deferred=True, repr=False, compare=False)
    run_passed: Mapped[I64] = mapped_column(PackedArray("<i8"), deferred=True, repr=False, compare=False)
    decisions: Mapped[bytes | None] = mapped_column(deferred=True, repr=False, compare=False)
    losses: Mapped[dict[str, Any] | None] = mapped_column(default=None, repr=False, compare=False)

    @property
    def passed_per_run(self) -> float:
        """Vehicles passed, mean of all runs."""
        return float(np.mean(self.run_passed))


class Submission(Base):
    """A submission. state: waiting (for validation), validating, validated (waits for its score), running, scored,
    refused (its own error, see code and reason) or failed (the platform's; counted is False then).

    network: SHA-256 of its weights and settings, without label and author
    facts: everything that validation found; cells: of its sensor; layers, parameters: of its network
    counted: whether it counts in the quota; note: its owner's own words about it
    late: whether it came after its owner's deadline, so that it has no rank
    result, replaced: the official result, and the one before the last re-evaluation
    job: its latest validation or official evaluation
    place, wait: in the queue, from 1, and the expected time until it has its score [ms]; None where it does not wait
    """

    __tablename__ = "submissions"
    __table_args__ = (
        Index("ix_submissions_person", "competition_id", "person_id"),
        Index("ix_submissions_sha256", "sha256"),
        Index("ix_submissions_network", "competition_id", "network"),
        CheckConstraint(
            "state IN ('waiting', 'validating', 'validated', 'running', 'scored', 'refused', 'failed')", name="state"
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    key: Mapped[Key] = mapped_column(unique=True, default_factory=new_key, init=False)
    competition_id: Mapped[int] = mapped_column(ForeignKey("competitions.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    sha256: Mapped[Digest] = mapped_column(ForeignKey("contents.sha256"))
    network: Mapped[Digest]
    filename: Mapped[str] = mapped_column(String(200))
    label: Mapped[str] = mapped_column(String(100))
    facts: Mapped[dict[str, Any]] = mapped_column(repr=False)
    other_agents: Mapped[int]
    parameters: Mapped[int]
    cells: Mapped[int]
    layers: Mapped[int]
    accepted_at: Mapped[Time]
    state: Mapped[str] = mapped_column(String(10), default="waiting")
    counted: Mapped[bool] = mapped_column(default=True)
    note: Mapped[str] = mapped_column(String(500), default="", repr=False)
    late: Mapped[bool] = mapped_column(default=False)
    scored_at: Mapped[Time | None] = mapped_column(default=None)
    code: Mapped[str | None] = mapped_column(String(40), default=None)
    reason: Mapped[str | None] = mapped_column(default=None)
    validation_id: Mapped[int | None] = mapped_column(ForeignKey("results.id"), default=None)
    result_id: Mapped[int | None] = mapped_column(ForeignKey("results.id"), default=None)
    replaced_id: Mapped[int | None] = mapped_column(ForeignKey("results.id"), default=None)
    final_id: Mapped[int | None] = mapped_column(ForeignKey("results.id"), default=None)
    disqualified_at: Mapped[Time | None] = mapped_column(default=None)
    disqualified_reason: Mapped[str | None] = mapped_column(default=None)

    owner: Mapped[Person] = relationship(viewonly=True, lazy="raise", init=False, repr=False, compare=False)
    competition: Mapped[Competition] = relationship(viewonly=True, lazy="raise", init=False, repr=False, compare=False)
    member: Mapped["Member"] = relationship(
        primaryjoin="and_(foreign(Submission.competition_id) == Member.competition_id, "
        "foreign(Submission.person_id) == Member.person_id)",
        viewonly=True,
        lazy="raise",
        init=False,
        repr=False,
        compare=False,
    )
    validation: Mapped[EvaluationResult | None] = relationship(
        foreign_keys=[validation_id], viewonly=True, lazy="raise", init=False, repr=False, compare=False
    )
    result: Mapped[EvaluationResult | None] = relationship(
        foreign_keys=[result_id], viewonly=True, lazy="raise", init=False, repr=False, compare=False
    )
    replaced: Mapped[EvaluationResult | None] = relationship(
        foreign_keys=[replaced_id], viewonly=True, lazy="raise", init=False, repr=False, compare=False
    )
    job: Mapped["Evaluation | None"] = relationship(
        uselist=False, viewonly=True, lazy="raise", init=False, repr=False, compare=False
    )
    place: int | None = None  # no columns: set when a submission is looked up
    wait: int | None = None

    @property
    def score(self) -> float | None:
        """The official score [mph]."""
        return None if self.result is None else self.result.score

    @property
    def best(self) -> bool:
        """Whether the leaderboard shows this submission for its owner."""
        return self.member.best_id == self.id

    @property
    def chosen(self) -> bool:
        """Whether its owner chose this submission for the final."""
        return self.member.chosen_id == self.id


ORDER = (  # of entries: by score, the mean of the unrounded runs, and the time of the last byte
    EvaluationResult.score.desc(),
    EvaluationResult.unrounded_mean.desc(),
    Submission.accepted_at,
    Submission.id,
)


class Team(Base):
    """A team of a competition: its members share a quota and a place on the board.

    skeleton: equal for names that look alike; alias: in place of the name on an anonymous board
    code: with which other members of the competition join it
    """

    __tablename__ = "teams"
    __table_args__ = (UniqueConstraint("competition_id", "skeleton"),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    key: Mapped[Key] = mapped_column(unique=True, default_factory=new_key, init=False)
    competition_id: Mapped[int] = mapped_column(ForeignKey("competitions.id"))
    name: Mapped[str] = mapped_column(String(80))
    skeleton: Mapped[str] = mapped_column(String(200), repr=False)
    alias: Mapped[str] = mapped_column(String(40))
    code: Mapped[str] = mapped_column(String(32), unique=True, repr=False)
    created_at: Mapped[Time]


class Member(Base):
    """A person in a competition; alias stands in for the name on an anonymous board.

    best_id: the submission on the board; chosen_id: for the final, None for the best one
    closes_at: the person's own deadline, which counts if it is later than the competition's
    daily_limit, total_limit: the person's own, None for the competition's
    """

    __tablename__ = "members"
    __table_args__ = (Index("ix_members_team", "team_id"),)

    competition_id: Mapped[int] = mapped_column(ForeignKey("competitions.id"), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
    alias: Mapped[str] = mapped_column(String(40))
    joined_at: Mapped[Time]
    disqualified_at: Mapped[Time | None] = mapped_column(default=None)
    disqualified_reason: Mapped[str | None] = mapped_column(default=None)
    best_id: Mapped[int | None] = mapped_column(ForeignKey("submissions.id"), default=None)
    chosen_id: Mapped[int | None] = mapped_column(ForeignKey("submissions.id"), default=None)
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id"), default=None)
    closes_at: Mapped[Time | None] = mapped_column(default=None)
    daily_limit: Mapped[int | None] = mapped_column(default=None)
    total_limit: Mapped[int | None] = mapped_column(default=None)

    team: Mapped[Team | None] = relationship(viewonly=True, lazy="raise", init=False, repr=False, compare=False)


class CoOrganiser(Base):
    """An account for which the organiser's pages of one competition are open."""

    __tablename__ = "organisers"

    competition_id: Mapped[int] = mapped_column(ForeignKey("competitions.id"), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
    added_at: Mapped[Time]


class ListedContact(Base):
    """A contact of a competition's class list; folded: equal for contacts that differ in case or spaces alone.

    person_id: who has joined by it
    """

    __tablename__ = "class_list"

    competition_id: Mapped[int] = mapped_column(ForeignKey("competitions.id"), primary_key=True)
    folded: Mapped[str] = mapped_column(String(200), primary_key=True)
    contact: Mapped[str] = mapped_column(String(200))
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"), default=None)


class CheckCost(Base):
    """Processor time that the checks of a person's uploads took on a day (its first millisecond, UTC)."""

    __tablename__ = "checks"

    competition_id: Mapped[int] = mapped_column(ForeignKey("competitions.id"), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
    day: Mapped[Time] = mapped_column(primary_key=True)
    cpu_seconds: Mapped[float]


class Evaluation(Base):
    """An evaluation in the queue: kind is validation, official, final or again (a re-evaluation).

    batch: of a final or a re-evaluation; done, total: runs; tries: how often it was started
    cpu_seconds: processor time of the policy, whether it was scored or refused
    settled_at: when a re-evaluation was applied or discarded
    """

    __tablename__ = "evaluations"
    __table_args__ = (
        Index("ix_evaluations_state", "state", "kind"),
        Index("ix_evaluations_submission", "submission_id"),
        Index("ix_evaluations_started", "started_at"),
        Index("ix_evaluations_batch", "batch"),
        CheckConstraint("kind IN ('validation', 'official', 'final', 'again')", name="kind"),
        CheckConstraint("state IN ('queued', 'running', 'done', 'refused', 'failed', 'cancelled')", name="state"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    submission_id: Mapped[int] = mapped_column(ForeignKey("submissions.id"))
    competition_id: Mapped[int] = mapped_column(ForeignKey("competitions.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    sha256: Mapped[Digest]
    kind: Mapped[str] = mapped_column(String(10))
    protocol: Mapped[str] = mapped_column(String(120))
    revision: Mapped[int]
    batch: Mapped[Key | None]
    queued_at: Mapped[Time]
    state: Mapped[str] = mapped_column(String(10), default="queued")
    tries: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(String(100), default=None)
    not_before: Mapped[Time | None] = mapped_column(default=None)
    lease_until: Mapped[Time | None] = mapped_column(default=None)
    started_at: Mapped[Time | None] = mapped_column(default=None)
    finished_at: Mapped[Time | None] = mapped_column(default=None)
    settled_at: Mapped[Time | None] = mapped_column(default=None)
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    cpu_seconds: Mapped[float] = mapped_column(default=0.0)
    result_id: Mapped[int | None] = mapped_column(ForeignKey("results.id"), default=None)
    code: Mapped[str | None] = mapped_column(String(40), default=None)
    reason: Mapped[str | None] = mapped_column(default=None)

    submission: Mapped[Submission] = relationship(viewonly=True, lazy="raise", init=False, repr=False, compare=False)
    result: Mapped[EvaluationResult | None] = relationship(
        viewonly=True, lazy="raise", init=False, repr=False, compare=False
    )


class AuditEntry(Base):
    """An action of an organiser, or of the system."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_competition", "competition_id"),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    at: Mapped[Time]
    actor: Mapped[str] = mapped_column(String(80))
    action: Mapped[str] = mapped_column(String(40))
    competition_id: Mapped[int | None] = mapped_column(ForeignKey("competitions.id"))
    subject: Mapped[str] = mapped_column(String(200))
    details: Mapped[dict[str, Any]]


class SeenWorker(Base):
    """A worker that has reported; name: of its host, process and start; jobs: how many it has finished."""

    __tablename__ = "workers"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    lane: Mapped[str] = mapped_column(String(20))
    started_at: Mapped[Time]
    seen_at: Mapped[Time]
    jobs: Mapped[int]
