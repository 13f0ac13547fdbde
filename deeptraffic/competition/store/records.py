"""What the store gives to pages, workers and commands: plain records, without secrets."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.sim.state import F64, I64


@dataclass(frozen=True)
class Person:
    """Somebody with an account; id is for the store's own calls, key for addresses; role: participant, organiser,
    baseline.
    """

    id: int
    key: str
    name: str
    role: str
    contact: str = field(repr=False)
    created_at: int
    blocked_at: int | None

    @property
    def is_organiser(self) -> bool:
        """Whether the organiser's pages are open to them."""
        return self.role == "organiser"


@dataclass(frozen=True)
class Token:
    """What is known of a token besides itself: its scope (session, submit, link, invite), and whose it is."""

    key: str
    scope: str
    person_id: int | None
    competition_id: int | None
    note: str
    created_at: int
    expires_at: int
    used_at: int | None
    revoked_at: int | None
    uses_left: int | None


@dataclass(frozen=True)
class Competition:
    """A competition; key is its name in addresses, final is none, running, scored (hidden) or revealed."""

    id: int
    key: str
    config: CompetitionConfig
    created_at: int
    paused_at: int | None
    pause_reason: str
    final: str
    final_at: int | None
    version: int

    def phase(self, now: int) -> str:
        """Return upcoming, open, paused, closed, final (being scored, hidden) or revealed."""
        if self.final != "none":
            return "revealed" if self.final == "revealed" else "final"
        if self.config.closes is not None and now >= self.config.closes:
            return "closed"
        if self.paused_at is not None:
            return "paused"
        return "upcoming" if self.config.opens is not None and now < self.config.opens else "open"


@dataclass(frozen=True)
class Member:
    """A person in a competition; alias stands in for the name on an anonymous board."""

    competition_id: int
    person_id: int
    alias: str
    joined_at: int
    best_id: int | None
    chosen_id: int | None
    disqualified_at: int | None
    disqualified_reason: str | None


@dataclass(frozen=True)
class Result:
    """Numbers of one evaluation [mph]; score_low..high and mean_low..high are 95% intervals."""

    id: int
    protocol: str
    revision: int
    score: float
    score_low: float
    score_high: float
    mean: float
    mean_low: float
    mean_high: float
    unrounded_mean: float
    sd: float
    runs: int
    frames: int
    run_scores: F64 = field(repr=False)
    run_passed: I64 = field(repr=False)
    drive: bytes | None = field(repr=False)
    seconds: float
    created_at: int

    @property
    def passed_per_run(self) -> float:
        """Vehicles passed, mean of all runs."""
        return float(np.mean(self.run_passed))


@dataclass(frozen=True)
class Submission:
    """A submission as its owner and the organiser may see it, its final result left out.

    state: waiting (for validation), validating, validated (waits for its score), running, scored, refused (its own
        fault, see code and reason) or failed (ours; counted is False then)
    place: in the queue, 1 is next; None where it does not wait
    done, total: runs of the evaluation that runs now; tries: how often that was begun
    validation, score, mean...: None until they are known; replaced_score: before the last re-evaluation
    best: whether the board shows it; chosen: whether it counts in the final
    """

    id: int
    key: str
    competition_id: int
    person_id: int
    sha256: str
    filename: str
    label: str
    facts: dict[str, Any]
    other_agents: int
    parameters: int
    cells: int
    layers: int
    state: str
    counted: bool
    accepted_at: int
    started_at: int | None
    scored_at: int | None
    code: str | None
    reason: str | None
    place: int | None
    done: int
    total: int
    tries: int
    validation: float | None
    score: float | None
    mean: float | None
    mean_low: float | None
    mean_high: float | None
    replaced_score: float | None
    result_id: int | None
    disqualified_at: int | None
    disqualified_reason: str | None
    best: bool
    chosen: bool


@dataclass(frozen=True)
class Job:
    """A leased evaluation; fence must be shown with every report about it."""

    id: int
    fence: int
    kind: str
    protocol: str
    rules: int
    other_agents: int
    runs: int
    seeds: tuple[int, ...] | None = field(repr=False)
    content: bytes = field(repr=False)
    sha256: str
    tries: int


@dataclass(frozen=True)
class BoardRow:
    """A line of the leaderboard: of everybody their best submission.

    rank: 1, 2, 2, 4; None for baselines
    name: the alias where the board is anonymous
    tied: whether another row has the same rank
    alike_above: whether the difference to the ranked row above is within chance (95%)
    """

    rank: int | None
    person_id: int
    person_key: str
    name: str
    alias: str
    baseline: bool
    submission_key: str
    label: str
    score: float
    score_low: float
    score_high: float
    mean: float
    mean_low: float
    mean_high: float
    other_agents: int
    parameters: int
    cells: int
    layers: int
    submissions: int
    accepted_at: int
    tied: bool
    alike_above: bool


@dataclass(frozen=True)
class Point:
    """A scored submission for the figures; best: of its owner's so far."""

    submission_key: str
    person_key: str
    name: str
    baseline: bool
    accepted_at: int
    score: float
    best: float
    cells: int
    layers: int
    parameters: int
    other_agents: int


@dataclass(frozen=True)
class AuditEntry:
    """An organiser's act, or one of the system."""

    id: int
    at: int
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
