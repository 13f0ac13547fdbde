"""Organisers' actions on submissions and members: disqualification, baselines, re-evaluation.

Each is written to the audit log in its own transaction. The results of a re-evaluation wait beside the old ones until
the organiser applies or discards them.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session, joinedload

from deeptraffic.competition.models import (
    Evaluation,
    EvaluationResult,
    Member,
    Person,
    Submission,
    new_key,
)
from deeptraffic.competition.sandbox.validation import Upload
from deeptraffic.competition.store import accounts, audit, competitions, evaluations, submissions
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import RequestError

MAX_REASON = 1000  # [characters]
Unit = tuple[str, int]  # that has a rank: ("person" or "team", id)
Standing = dict[int, tuple[float, float]]  # submission id -> (score, mean of the unrounded runs)


# --- disqualification ---------------------------------------------------------------------------------------------


def disqualify(db: Database, key: str, actor: str, reason: str) -> None:
    """Take a submission off the board and out of the queue; RequestError `missing` or `reason`."""
    reason = _reason(reason)
    with db.write("queue") as session:
        submission = _submission(session, key)
        submission.disqualified_at, submission.disqualified_reason = db.now(session), reason
        _cancel(session, db, submission.competition_id, Evaluation.submission_id == submission.id)
        session.execute(update(Member).where(Member.chosen_id == submission.id).values(chosen_id=None))
        competitions.update_best(session, submission.competition_id, submission.person_id)
        details = {"reason": reason, "label": submission.label}
        audit.note(session, db, actor, "disqualify", submission.competition_id, key, **details)


def requalify(db: Database, key: str, actor: str, reason: str = "") -> None:
    """Revoke a submission's disqualification; RequestError `missing`."""
    with db.write("queue") as session:
        submission = _submission(session, key)
        submission.disqualified_at = submission.disqualified_reason = None
        if submission.state in submissions.UNFINISHED:
            _queue_again(session, Evaluation.submission_id == submission.id)
        competitions.update_best(session, submission.competition_id, submission.person_id)
        details = {"reason": reason[:MAX_REASON], "label": submission.label}
        audit.note(session, db, actor, "requalify", submission.competition_id, key, **details)


def _submission(session: Session, key: str) -> Submission:
    submission = session.scalars(select(Submission).where(Submission.key == key)).one_or_none()
    if submission is None:
        raise RequestError("missing", f"there is no submission {key!r:.60}")
    return submission


def disqualify_member(db: Database, competition_id: int, person_id: int, actor: str, reason: str) -> None:
    """Take a person with all submissions off the board, and accept no more of them."""
    reason = _reason(reason)
    with db.write("queue") as session:
        member = _member(session, competition_id, person_id)
        member.disqualified_at, member.disqualified_reason = db.now(session), reason
        _cancel(session, db, competition_id, _evaluations_of(member))
        competitions.touch(session, competition_id)
        name = session.get_one(Person, person_id).name
        audit.note(session, db, actor, "disqualify member", competition_id, name, reason=reason)


def requalify_member(db: Database, competition_id: int, person_id: int, actor: str, reason: str = "") -> None:
    """Revoke a person's disqualification."""
    with db.write("queue") as session:
        member = _member(session, competition_id, person_id)
        member.disqualified_at = member.disqualified_reason = None
        _queue_again(session, _evaluations_of(member))
        competitions.touch(session, competition_id)
        name = session.get_one(Person, person_id).name
        audit.note(session, db, actor, "requalify member", competition_id, name, reason=reason[:MAX_REASON])


def _member(session: Session, competition_id: int, person_id: int) -> Member:
    member = competitions.find_member(session, competition_id, person_id, lock=True)
    if member is None:
        raise RequestError("missing", "this person is not a member of the competition")
    return member


def _evaluations_of(member: Member) -> ColumnElement[bool]:
    return (Evaluation.competition_id == member.competition_id) & (Evaluation.person_id == member.person_id)


def _cancel(session: Session, db: Database, competition_id: int, which: ColumnElement[bool]) -> None:
    """Cancel evaluations that wait or run; their workers lose their leases."""
    unfinished = Evaluation.state.in_(("queued", "running"))
    values = {"state": "cancelled", "fence": Evaluation.fence + 1, "finished_at": db.now(session)}
    cancelled = update(Evaluation).where(which, unfinished).values(values).returning(Evaluation.submission_id)
    ids = list(session.execute(cancelled).scalars())
    for now, before in (("validating", "waiting"), ("running", "validated")):
        session.execute(update(Submission).where(Submission.id.in_(ids), Submission.state == now).values(state=before))
    evaluations.end_final(session, competition_id)


def _queue_again(session: Session, which: ColumnElement[bool]) -> None:
    """Put cancelled evaluations back into the queue."""
    cancelled = (which, Evaluation.kind.in_(evaluations.SHORT), Evaluation.state == "cancelled")
    values = {"state": "queued", "finished_at": None, "lease_until": None, "done": 0}
    session.execute(update(Evaluation).where(*cancelled).values(values))


def _reason(reason: str) -> str:
    if not reason.strip():
        raise RequestError("reason", "give a reason: the person concerned reads it")
    return reason.strip()[:MAX_REASON]


# --- baselines ----------------------------------------------------------------------------------------------------


def add_baseline(db: Database, competition_id: int, name: str, upload: Upload, actor: str) -> Submission:
    """Submit a policy that is on the board without a rank; RequestError as of `accept`, `name`, `name_taken`."""
    with db.write() as session:
        person = accounts.add_person(session, db, name, role="baseline")
        competitions.join(session, db, competition_id, person.id)
        competitions.get(session, competition_id).config.check_upload(upload)
        audit.note(session, db, actor, "baseline", competition_id, name, label=upload.label)
    return submissions.accept(db, competition_id, person.id, upload)


# --- re-evaluation ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """What a re-evaluation would change; after: None if the submission is refused now, see reason.

    rank_before, rank_after: of the person; None where they have no rank
    """

    submission_key: str
    name: str
    label: str
    before: float
    after: float | None
    reason: str | None
    rank_before: int | None
    rank_after: int | None


@dataclass(frozen=True)
class Reevaluation:
    """A batch: how many submissions it has, are done, and failed for the platform's error; its changes."""

    batch: str
    total: int
    done: int
    failed: int
    changes: list[Change]

    @property
    def finished(self) -> bool:
        """Whether nothing waits or runs any more."""
        return self.done + self.failed == self.total


def begin_reevaluation(db: Database, competition_id: int, keys: list[str] | None, actor: str) -> str:
    """Queue scored submissions again, all of them for None; return the batch. RequestError missing, open or final."""
    with db.write("queue") as session:
        competition = competitions.get(session, competition_id, lock=True)
        if competition.final != "none":
            raise RequestError("final", "the final has begun; public scores are fixed")
        if _open(session, competition_id):
            raise RequestError("open", "a re-evaluation is open already; apply or discard it first")
        query = select(Submission).where(Submission.competition_id == competition_id, Submission.state == "scored")
        if keys is not None:
            query = query.where(Submission.key.in_(keys))
        found = session.scalars(query.order_by(Submission.id)).all()
        if not found or (keys is not None and len(found) != len(set(keys))):
            raise RequestError("missing", "name submissions of this competition that have a score")
        batch = new_key()
        for submission in found:
            evaluations.enqueue(session, db, competition, submission, "again", batch)
        which = "all" if keys is None else [submission.key for submission in found][:20]
        audit.note(session, db, actor, "reevaluate", competition_id, batch, submissions=len(found), which=which)
    return batch


def open_reevaluations(db: Database, competition_id: int) -> list[str]:
    """Return the batches that are neither applied nor discarded."""
    with db.read() as session:
        return _open(session, competition_id)


def preview_reevaluation(db: Database, batch: str) -> Reevaluation:
    """Return the progress of a batch, and what applying it would change."""
    with db.read() as session:
        found = _batch(session, batch)
        states = [evaluation.state for evaluation in found]
        return Reevaluation(
            batch=batch,
            total=len(found),
            done=states.count("done") + states.count("refused"),
            failed=states.count("failed") + states.count("cancelled"),
            changes=_changes(session, found),
        )


def apply_reevaluation(db: Database, batch: str, actor: str) -> int:
    """Let the new results count; return how many scores changed. RequestError unfinished, missing or final."""
    with db.write("queue") as session:
        found = _batch(session, batch)
        competition_id = found[0].competition_id
        if any(evaluation.state in ("queued", "running") for evaluation in found):
            raise RequestError("unfinished", "the re-evaluation still runs; wait for its end, or discard it")
        if competitions.get(session, competition_id, lock=True).final != "none":
            raise RequestError("final", "the final has begun; public scores are fixed")
        changed = sum(_apply(session, evaluation) for evaluation in found)
        for person_id in sorted({evaluation.person_id for evaluation in found}):
            competitions.update_best(session, competition_id, person_id)
        _settle(session, db, batch)
        audit.note(session, db, actor, "apply", competition_id, batch, changed=changed)
        return changed


def discard_reevaluation(db: Database, batch: str, actor: str) -> None:
    """Drop a batch: the scores stay as they are."""
    with db.write("queue") as session:
        competition_id = _batch(session, batch)[0].competition_id
        unfinished = (Evaluation.batch == batch, Evaluation.state.in_(("queued", "running")))
        ended = {"state": "cancelled", "fence": Evaluation.fence + 1, "finished_at": db.now(session)}
        session.execute(update(Evaluation).where(*unfinished).values(ended))
        _settle(session, db, batch)
        audit.note(session, db, actor, "discard", competition_id, batch)


def _apply(session: Session, evaluation: Evaluation) -> bool:
    """Apply one evaluation; return whether the score of its submission changed."""
    submission = evaluation.submission
    before = _result(submission)
    if evaluation.state == "refused":
        submission.replaced_id, submission.result_id = submission.result_id, None
        submission.state, submission.code, submission.reason = "refused", evaluation.code, evaluation.reason
        session.execute(update(Member).where(Member.chosen_id == submission.id).values(chosen_id=None))
        return True
    if evaluation.state != "done" or evaluation.result is None:
        return False
    evaluation.result.applied = True
    submission.replaced_id, submission.result_id = submission.result_id, evaluation.result_id
    return evaluation.result.score != before.score


def _result(submission: Submission) -> EvaluationResult:
    assert submission.result is not None
    return submission.result


def _settle(session: Session, db: Database, batch: str) -> None:
    session.execute(update(Evaluation).where(Evaluation.batch == batch).values(settled_at=db.now(session)))


def _open(session: Session, competition_id: int) -> list[str]:
    mine = (Evaluation.competition_id == competition_id, Evaluation.kind == "again", Evaluation.settled_at.is_(None))
    return [batch for batch in session.scalars(select(Evaluation.batch).where(*mine).distinct()) if batch is not None]


def _batch(session: Session, batch: str) -> list[Evaluation]:
    """Return the evaluations of an open batch, with their submissions, old results and new ones."""
    which = (Evaluation.batch == batch, Evaluation.kind == "again", Evaluation.settled_at.is_(None))
    submission = joinedload(Evaluation.submission)
    options = (submission.joinedload(Submission.owner), submission.joinedload(Submission.result))
    query = select(Evaluation).where(*which).order_by(Evaluation.id)
    found = list(session.scalars(query.options(*options, joinedload(Evaluation.result))))
    if not found:
        raise RequestError("missing", "there is no open re-evaluation of this name")
    return found


def _changes(session: Session, found: list[Evaluation]) -> list[Change]:
    units, before = standing(session, found[0].competition_id)
    after = dict(before)
    for evaluation in found:
        if evaluation.result is not None and evaluation.submission_id in after:
            after[evaluation.submission_id] = (evaluation.result.score, evaluation.result.unrounded_mean)
        elif evaluation.state == "refused":
            after.pop(evaluation.submission_id, None)
    ranks_before, ranks_after = ranks(units, before), ranks(units, after)
    return [
        Change(
            submission_key=evaluation.submission.key,
            name=evaluation.submission.owner.name,
            label=evaluation.submission.label,
            before=_result(evaluation.submission).score,
            after=None if evaluation.result is None else evaluation.result.score,
            reason=evaluation.reason,
            rank_before=ranks_before.get(units.get(evaluation.submission_id)),
            rank_after=ranks_after.get(units.get(evaluation.submission_id)),
        )
        for evaluation in found
        if evaluation.state == "refused"
        or (evaluation.result is not None and evaluation.result.score != _result(evaluation.submission).score)
    ]


def standing(session: Session, competition_id: int, late: bool = False) -> tuple[dict[int, Unit], Standing]:
    """Return unit and standing of each submission that is ranked, by submission id; late: with those that are late."""
    shown = (Submission.disqualified_at.is_(None), Member.disqualified_at.is_(None), Person.role != "baseline")
    columns = (Submission.id, Submission.person_id, Member.team_id)
    query = select(*columns, EvaluationResult.score, EvaluationResult.unrounded_mean)
    query = query.join_from(Submission, EvaluationResult, EvaluationResult.id == Submission.result_id)
    query = query.join(Submission.member).join(Submission.owner)
    if not late:
        query = query.where(Submission.late.is_(False))
    units: dict[int, Unit] = {}
    found: Standing = {}
    for row in session.execute(query.where(Submission.competition_id == competition_id, *shown)):
        units[row.id] = ("person", row.person_id) if row.team_id is None else ("team", row.team_id)
        found[row.id] = (row.score, row.unrounded_mean)
    return units, found


def ranks(units: dict[int, Unit], found: Standing) -> dict[Unit | None, int]:
    """Return the rank of each person or team, 1, 2, 2, 4."""
    best: dict[Unit, tuple[float, float]] = {}
    for submission_id, numbers in found.items():
        unit = units[submission_id]
        best[unit] = max(best.get(unit, numbers), numbers)
    ordered = sorted(best.values(), reverse=True)
    first = {numbers: place for place, numbers in reversed(list(enumerate(ordered, 1)))}
    return {unit: first[numbers] for unit, numbers in best.items()}
