"""Evaluations of submissions: their protocols, and what follows from the reports of workers.

A result belongs to a file's content and a protocol's name: the same policy under the same protocol gets the result that
exists. The name holds everything that a score depends on; VERSION grows when the same name would score differently.

Each report is one transaction and needs the fence of the job's lease:
    complete -> the result is kept, and the submission moves on: validation, then its official score, then the board
    refuse   -> an error of the submission, which its owner reads
    retry    -> an error of the platform: another try, and after the third a failure that the quota does not count
    release  -> the job is returned untouched
"""

import hashlib
import json
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.competition.models import Competition, Evaluation, EvaluationResult, Submission
from deeptraffic.competition.sandbox.errors import InvalidSubmission
from deeptraffic.competition.sandbox.limits import MAX_CPU_SECONDS
from deeptraffic.competition.store import competitions
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import LeaseLost
from deeptraffic.evaluation.protocol import OFFICIAL, OPEN_FRAMES
from deeptraffic.evaluation.score import Score

VERSION = 1
CPU_SLACK = 2  # of an official evaluation to its budget: other workers may be slower than the one that validated
MAX_TRIES = 3
BACKOFF = 5_000  # [ms] before another try, times the tries so far
SHORT = ("validation", "official")  # kinds that move their submission on
LATE = "the lease of this job has ended; another worker has it, or it was cancelled"
FAILURE = "platform failure: three tries ended without a result, unrelated to the file; the quota does not count it"


@dataclass(frozen=True)
class Job:
    """A leased evaluation; every report about it shows its fence.

    runs: of a validation; seeds: private ones, of a final only
    cpu_budget: processor time [s] that the official evaluation of the submission may take
    """

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
    cpu_budget: float = float(MAX_CPU_SECONDS)

    @property
    def cpu_limit(self) -> int:
        """Processor time [s] at which the policy is killed."""
        return MAX_CPU_SECONDS if self.kind == "final" else min(MAX_CPU_SECONDS, ceil(CPU_SLACK * self.cpu_budget))


class Evaluated(NamedTuple):
    """Outcome of an evaluation.

    decisions, losses: of an official evaluation; cpu_seconds: processor time of the policy
    """

    score: Score
    decisions: bytes | None = None
    cpu_seconds: float = 0.0
    losses: dict[str, Any] | None = None


# --- processor time -----------------------------------------------------------------------------------------------


def cpu_budget(config: CompetitionConfig) -> float:
    """Return the processor time [s] that an official evaluation may take, so that its final keeps to the limit too."""
    return min(config.cpu_budget, MAX_CPU_SECONDS * official_frames(config.rules) / (config.final_runs * OPEN_FRAMES))


def official_frames(rules: int) -> int:
    """Return the number of frames of the official evaluation."""
    return OFFICIAL[rules].runs * OFFICIAL[rules].frames


def check_cost(rules: int, runs: int, cpu_seconds: float, budget: float, played: float = 1.0) -> None:
    """Raise InvalidSubmission `time` if a validation predicts an official evaluation above its budget.

    runs: of the validation; cpu_seconds: that it has taken, with a fraction `played` of its frames
    """
    ratio = official_frames(rules) / (runs * OPEN_FRAMES)
    if cpu_seconds * ratio > budget:
        raise InvalidSubmission(
            "time",
            f"its official evaluation would take about {cpu_seconds / played * ratio:,.0f} s of processor time; at "
            f"most {budget:,.0f} s are allowed: make its layers smaller, and no weight smaller than 1e-300",
        )


# --- protocols and the queue's rows -------------------------------------------------------------------------------


def official_protocol(rules: int, other_agents: int) -> str:
    """Return the name of the public official evaluation."""
    return f"official/{VERSION}/{rules}/{other_agents}"


def validation_protocol(rules: int, other_agents: int, runs: int) -> str:
    """Return the name of the short validation, which checks that a policy runs."""
    return f"validation/{VERSION}/{rules}/{other_agents}/{runs}"


def final_protocol(rules: int, other_agents: int, seeds: tuple[int, ...]) -> str:
    """Return the name of the evaluation on private seeds."""
    digest = hashlib.sha256(json.dumps(seeds, separators=(",", ":")).encode()).hexdigest()[:32]
    return f"final/{VERSION}/{rules}/{other_agents}/{len(seeds)}/{digest}"


def protocol_of(competition: Competition, kind: str, other_agents: int, seeds: tuple[int, ...] = ()) -> str:
    """Return the name of the protocol of a kind of evaluation in a competition."""
    config = competition.config
    if kind == "validation":
        return validation_protocol(config.rules, other_agents, config.validation_runs)
    if kind == "final":
        return final_protocol(config.rules, other_agents, seeds)
    return official_protocol(config.rules, other_agents)


def enqueue(
    session: Session,
    db: Database,
    competition: Competition,
    submission: Submission,
    kind: str,
    batch: str | None = None,
    seeds: tuple[int, ...] = (),
) -> None:
    """Queue an evaluation of a submission; an `again` gets a revision of its own, others may use an existing result."""
    protocol = protocol_of(competition, kind, submission.other_agents, seeds)
    newest = newest_revision(session, submission.sha256, protocol, applied=kind != "again")
    session.add(
        Evaluation(
            submission_id=submission.id,
            competition_id=competition.id,
            person_id=submission.person_id,
            sha256=submission.sha256,
            kind=kind,
            protocol=protocol,
            revision=newest + (kind == "again"),
            batch=batch,
            queued_at=db.now(session),
        )
    )
    session.flush()


def newest_revision(session: Session, sha256: str, protocol: str, applied: bool) -> int:
    """Return the newest revision of a content's results under a protocol, 0 if there is none.

    applied: ignore results of re-evaluations that are not applied
    """
    query = select(func.coalesce(func.max(EvaluationResult.revision), 0))
    query = query.where(EvaluationResult.sha256 == sha256, EvaluationResult.protocol == protocol)
    return session.execute(query.where(EvaluationResult.applied.is_(True)) if applied else query).scalar_one()


def existing_result(session: Session, evaluation: Evaluation) -> EvaluationResult | None:
    """Return the result that this evaluation would produce, if it exists."""
    query = select(EvaluationResult).where(
        EvaluationResult.sha256 == evaluation.sha256,
        EvaluationResult.protocol == evaluation.protocol,
        EvaluationResult.revision == evaluation.revision,
    )
    return session.scalars(query).one_or_none()


# --- reports of workers -------------------------------------------------------------------------------------------


def complete(
    db: Database,
    job: Job,
    score: Score,
    decisions: bytes | None = None,
    cpu_seconds: float = 0.0,
    losses: dict[str, Any] | None = None,
) -> None:
    """Keep a job's result (see `Evaluated`); LeaseLost if the job is no longer the caller's."""
    columns = _columns(score)  # the intervals take a while, and others wait for a writing transaction
    with db.write("queue") as session:
        evaluation = _held(session, job)
        evaluation.cpu_seconds = cpu_seconds
        result = existing_result(session, evaluation)
        if result is None:
            result = EvaluationResult(
                sha256=evaluation.sha256,
                protocol=evaluation.protocol,
                revision=evaluation.revision,
                applied=evaluation.kind != "again",
                decisions=decisions,
                losses=losses,
                cpu_seconds=cpu_seconds,
                created_at=db.now(session),
                **columns,
            )
            session.add(result)
            session.flush()
        finish(session, db, evaluation, result)


def refuse(db: Database, job: Job, code: str, reason: str, cpu_seconds: float = 0.0) -> None:
    """Report an error of the submission; LeaseLost as above."""
    with db.write("queue") as session:
        evaluation = _held(session, job)
        evaluation.cpu_seconds = cpu_seconds
        _refuse(session, db, evaluation, code, reason)


def _refuse(session: Session, db: Database, evaluation: Evaluation, code: str, reason: str) -> None:
    now = db.now(session)
    _end(evaluation, "refused", now, code, reason)
    if evaluation.kind in SHORT:
        _end_submission(session, evaluation, "refused", now, code, reason)
    end_final(session, evaluation.competition_id)


def retry(db: Database, job: Job, reason: str) -> None:
    """Report an error of the platform: the job is tried again, three times in all; LeaseLost as above."""
    with db.write("queue") as session:
        retry_or_fail(session, db, _held(session, job), reason)


def release(db: Database, job: Job) -> None:
    """Return a job untouched, as a worker does that is asked to stop; it costs no try. LeaseLost as above."""
    with db.write("queue") as session:
        evaluation = _held(session, job)
        evaluation.tries -= 1
        _requeue(session, evaluation, None)


def retry_or_fail(session: Session, db: Database, evaluation: Evaluation, reason: str, wait: int = BACKOFF) -> None:
    """Queue a failed evaluation again, or end it after the third try; the quota does not count it then.

    wait: [ms] before the next try, times the tries so far
    """
    now = db.now(session)
    if evaluation.tries < MAX_TRIES:
        evaluation.reason = reason
        _requeue(session, evaluation, now + wait * evaluation.tries)
        return
    _end(evaluation, "failed", now, "platform", reason)
    if evaluation.kind in SHORT:
        _end_submission(session, evaluation, "failed", now, "platform", FAILURE).counted = False
    end_final(session, evaluation.competition_id)


def finish(session: Session, db: Database, evaluation: Evaluation, result: EvaluationResult) -> None:
    """End an evaluation with its result, and move its submission on, or refuse what would take too long."""
    now, submission = db.now(session), session.get_one(Submission, evaluation.submission_id)
    competition = competitions.get(session, evaluation.competition_id)
    evaluation.result_id, evaluation.done, evaluation.total = result.id, result.runs, result.runs
    if evaluation.kind == "validation":
        submission.validation_id = result.id
        try:  # also of a result that another competition, with another budget, has left
            check_cost(competition.config.rules, result.runs, result.cpu_seconds, cpu_budget(competition.config))
        except InvalidSubmission as error:
            return _refuse(session, db, evaluation, error.code, str(error))
    _end(evaluation, "done", now)
    if evaluation.kind == "validation":
        submission.state = "validated"
        enqueue(session, db, competition, submission, "official")
    elif evaluation.kind == "official":
        submission.state, submission.scored_at, submission.result_id = "scored", now, result.id
        competitions.update_best(session, evaluation.competition_id, evaluation.person_id)
    elif evaluation.kind == "final":
        submission.final_id = result.id
    end_final(session, evaluation.competition_id)


def _held(session: Session, job: Job) -> Evaluation:
    """Return the job's row, locked; LeaseLost if its fence has moved on."""
    held = (Evaluation.id == job.id, Evaluation.fence == job.fence, Evaluation.state == "running")
    evaluation = session.scalars(select(Evaluation).where(*held).with_for_update()).one_or_none()
    if evaluation is None:
        raise LeaseLost(LATE)
    return evaluation


def _columns(score: Score) -> dict[str, Any]:
    """Return the columns of a result that come from its score."""
    (score_low, score_high), (mean_low, mean_high) = score.median_interval, score.mean_interval
    return {
        "score": score.score,
        "score_low": score_low,
        "score_high": score_high,
        "mean": score.mean_mph,
        "mean_low": mean_low,
        "mean_high": mean_high,
        "unrounded_mean": score.unrounded_mean_mph,
        "sd": score.sd_mph,
        "runs": score.runs,
        "frames": score.frames,
        "run_scores": score.run_scores,
        "run_passed": score.run_passed,
        "seconds": score.seconds,
    }


def _end(evaluation: Evaluation, state: str, now: int, code: str | None = None, reason: str | None = None) -> None:
    evaluation.state, evaluation.finished_at = state, now
    if code is not None:
        evaluation.code, evaluation.reason = code, reason


def _end_submission(
    session: Session, evaluation: Evaluation, state: str, now: int, code: str, reason: str
) -> Submission:
    submission = session.get_one(Submission, evaluation.submission_id)
    submission.state, submission.scored_at, submission.code, submission.reason = state, now, code, reason
    return submission


def _requeue(session: Session, evaluation: Evaluation, not_before: int | None) -> None:
    evaluation.state, evaluation.not_before = "queued", not_before
    evaluation.lease_until, evaluation.started_at, evaluation.done = None, None, 0
    if evaluation.kind in SHORT:
        submission = session.get_one(Submission, evaluation.submission_id)
        submission.state = "waiting" if evaluation.kind == "validation" else "validated"


def end_final(session: Session, competition_id: int) -> None:
    """Call the final scored, still hidden, once none of its evaluations waits or runs."""
    mine = (Evaluation.competition_id == competition_id, Evaluation.kind == "final")
    unfinished = select(func.count()).where(*mine, Evaluation.state.in_(("queued", "running")))
    if session.execute(unfinished).scalar_one() == 0:
        competitions.set_final(session, competition_id, "running", "scored")
