"""The final: everybody's chosen submission on the private seeds, hidden until the organiser reveals it; one of a team.

none -> begin -> running -> (the last evaluation ends) -> scored -> reveal -> revealed
"""

from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from deeptraffic.competition.models import (
    ORDER,
    Competition,
    Evaluation,
    EvaluationResult,
    Member,
    Person,
    Submission,
    Team,
    new_key,
)
from deeptraffic.competition.store import audit, evaluations
from deeptraffic.competition.store.board import Board, build_board
from deeptraffic.competition.store.competitions import get, seeds_of, set_final
from deeptraffic.competition.store.database import Database, changed_rows
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.submissions import UNFINISHED


@dataclass(frozen=True)
class FinalEntry:
    """A submission that is, or would be, in the final; score: its public official one."""

    person_id: int
    name: str
    baseline: bool
    submission_id: int
    submission_key: str
    label: str
    chosen: bool
    score: float


@dataclass(frozen=True)
class Final:
    """Progress of the final; state as `Competition.final`, unfinished: submissions without a public score yet."""

    state: str
    entries: list[FinalEntry]
    unfinished: int
    queued: int
    done: int
    failed: int


def preview(db: Database, competition_id: int) -> Final:
    """Return which submissions are in the final, and its progress; no private result is in it."""
    with db.read() as session:
        query = select(Evaluation.state, func.count()).where(*_evaluations(competition_id)).group_by(Evaluation.state)
        count = {state: number for state, number in session.execute(query)}
        return Final(
            state=get(session, competition_id).final,
            entries=_entries(session, competition_id),
            unfinished=_unfinished(session, competition_id),
            queued=count.get("queued", 0) + count.get("running", 0),
            done=count.get("done", 0),
            failed=count.get("failed", 0) + count.get("refused", 0),
        )


def begin(db: Database, competition_id: int, actor: str) -> int:
    """Close submissions and queue the final; return the number of entries. RequestError `final` or `unfinished`."""
    with db.write("queue") as session:
        competition = get(session, competition_id, lock=True)
        if competition.final != "none":
            raise RequestError("final", "the final has begun already")
        if waiting := _unfinished(session, competition_id):
            raise RequestError("unfinished", f"{waiting} submissions still wait for their score; pause, then try again")
        entries, batch = _entries(session, competition_id), new_key()
        seeds = seeds_of(session, competition_id)[: competition.config.final_runs]
        for entry in entries:
            submission = session.get_one(Submission, entry.submission_id)
            evaluations.enqueue(session, db, competition, submission, "final", batch, seeds)
        set_final(session, competition_id, "none", "running" if entries else "scored")
        audit.note(session, db, actor, "begin final", competition_id, entries=len(entries), runs=len(seeds))
    return len(entries)


def retry(db: Database, competition_id: int, actor: str) -> int:
    """Queue those evaluations of the final again that failed for the platform's error; return how many."""
    with db.write("queue") as session:
        values = {"state": "queued", "tries": 0, "not_before": None, "finished_at": None, "code": None, "reason": None}
        failed = update(Evaluation).where(*_evaluations(competition_id), Evaluation.state == "failed")
        count = changed_rows(session, failed.values(values))
        if count:
            set_final(session, competition_id, "scored", "running")
            audit.note(session, db, actor, "retry final", competition_id, entries=count)
        return count


def cancel(db: Database, competition_id: int, actor: str) -> None:
    """Undo `begin`, as long as nothing is revealed: results are dropped, submissions are accepted again."""
    with db.write("queue") as session:
        competition = get(session, competition_id, lock=True)
        if competition.final not in ("running", "scored"):
            raise RequestError("final", "there is no hidden final to cancel")
        ended = {"state": "cancelled", "fence": Evaluation.fence + 1, "finished_at": db.now(session)}
        session.execute(update(Evaluation).where(*_evaluations(competition_id)).values(ended))
        session.execute(update(Submission).where(Submission.competition_id == competition_id).values(final_id=None))
        set_final(session, competition_id, competition.final, "none")
        audit.note(session, db, actor, "cancel final", competition_id)


def hidden_board(db: Database, competition_id: int, actor: str) -> Board:
    """Return the final's board before it is revealed; the preview is recorded in the audit log."""
    with db.write() as session:
        competition = get(session, competition_id)
        audit.note(session, db, actor, "preview final", competition_id)
        return build_board(session, competition, final=True, anonymous=False)


def reveal(db: Database, competition_id: int, actor: str) -> Competition:
    """Show the final to everybody; RequestError `unfinished` if it is not scored."""
    with db.write() as session:
        if not set_final(session, competition_id, "scored", "revealed", db.now(session)):
            raise RequestError("unfinished", "the final is not scored yet, or is revealed already")
        audit.note(session, db, actor, "reveal final", competition_id)
        return get(session, competition_id)


def _evaluations(competition_id: int) -> tuple:
    return (Evaluation.competition_id == competition_id, Evaluation.kind == "final")


def _unfinished(session: Session, competition_id: int) -> int:
    waiting = (
        Submission.competition_id == competition_id,
        Submission.state.in_(UNFINISHED),
        Submission.disqualified_at.is_(None),
        Member.disqualified_at.is_(None),
    )
    query = select(func.count()).select_from(Submission).join(Submission.member).where(*waiting)
    return session.execute(query).scalar_one()


def _entries(session: Session, competition_id: int) -> list[FinalEntry]:
    entry = func.coalesce(Member.chosen_id, Member.best_id)
    columns = (Member.person_id, Member.chosen_id, Member.team_id, Person.role, EvaluationResult.score)
    name = func.coalesce(Team.name, Person.name).label("name")
    query = (
        select(*columns, name, Submission.id, Submission.key, Submission.label)
        .join_from(Member, Person, Person.id == Member.person_id)
        .outerjoin(Team, Team.id == Member.team_id)
        .join(Submission, Submission.id == entry)
        .join(EvaluationResult, EvaluationResult.id == Submission.result_id)
        .where(Member.competition_id == competition_id, Member.disqualified_at.is_(None))
        .order_by(*ORDER)
    )
    rows = session.execute(query).all()
    teams: dict[int, int] = {}  # the person whose submission is the team's: who has chosen one, or has the best
    for row in sorted(rows, key=lambda row: row.chosen_id is None):
        if row.team_id is not None:
            teams.setdefault(row.team_id, row.person_id)
    return [
        FinalEntry(
            person_id=row.person_id,
            name=row.name,
            baseline=row.role == "baseline",
            submission_id=row.id,
            submission_key=row.key,
            label=row.label,
            chosen=row.chosen_id == row.id,
            score=row.score,
        )
        for row in rows
        if row.team_id is None or teams[row.team_id] == row.person_id
    ]
