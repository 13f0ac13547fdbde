"""The final: everybody's chosen submission on the private seeds, hidden until the organiser reveals it.

none -> begin -> running -> (the last evaluation ends) -> scored -> reveal -> revealed
"""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select, update

from deeptraffic.competition.store import audit, jobs
from deeptraffic.competition.store.board import Board, build_board
from deeptraffic.competition.store.competitions import get, seeds_of, set_final
from deeptraffic.competition.store.database import Database, new_key
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.records import Competition
from deeptraffic.competition.store.schema import evaluations, members, people, results, submissions
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
    """How the final stands; state as `Competition.final`, unfinished: submissions without a public score yet."""

    state: str
    entries: list[FinalEntry]
    unfinished: int
    queued: int
    done: int
    failed: int


def preview(db: Database, competition_id: int) -> Final:
    """Return which submissions count in the final, and how far it is; no private result is in it."""
    with db.read() as connection:
        competition = get(connection, competition_id)
        mine = (evaluations.c.competition_id == competition_id, evaluations.c.kind == "final")
        query = select(evaluations.c.state, func.count()).where(*mine).group_by(evaluations.c.state)
        count = {state: number for state, number in connection.execute(query)}
        return Final(
            state=competition.final,
            entries=_entries(connection, competition_id),
            unfinished=_unfinished(connection, competition_id),
            queued=count.get("queued", 0) + count.get("running", 0),
            done=count.get("done", 0),
            failed=count.get("failed", 0) + count.get("refused", 0),
        )


def begin(db: Database, competition_id: int, actor: str) -> int:
    """Take no more submissions and queue the final; return of how many. RequestError `final` or `unfinished`."""
    with db.write("queue") as connection:
        competition = get(connection, competition_id, lock=True)
        if competition.final != "none":
            raise RequestError("final", "the final has begun already")
        if waiting := _unfinished(connection, competition_id):
            raise RequestError("unfinished", f"{waiting} submissions still wait for their score; pause, then try again")
        entries, batch = _entries(connection, competition_id), new_key()
        seeds = seeds_of(connection, competition_id)[: competition.config.final_runs]
        for entry in entries:
            jobs.enqueue(connection, db, competition, entry.submission_id, "final", batch, seeds)
        set_final(connection, competition_id, "none", "running" if entries else "scored")
        audit.note(connection, db, actor, "begin final", competition_id, entries=len(entries), runs=len(seeds))
    return len(entries)


def retry(db: Database, competition_id: int, actor: str) -> int:
    """Queue those evaluations of the final again that failed by our fault; return how many."""
    with db.write("queue") as connection:
        failed = (evaluations.c.competition_id == competition_id, evaluations.c.kind == "final")
        values = {"state": "queued", "tries": 0, "not_before": None, "finished_at": None, "code": None, "reason": None}
        again = update(evaluations).where(*failed, evaluations.c.state == "failed").values(values)
        count = connection.execute(again).rowcount
        if count:
            set_final(connection, competition_id, "scored", "running")
            audit.note(connection, db, actor, "retry final", competition_id, entries=count)
        return int(count)


def cancel(db: Database, competition_id: int, actor: str) -> None:
    """Undo `begin`, as long as nothing is revealed: results are forgotten, submissions are taken again."""
    with db.write("queue") as connection:
        competition = get(connection, competition_id, lock=True)
        if competition.final not in ("running", "scored"):
            raise RequestError("final", "there is no hidden final to cancel")
        mine = (evaluations.c.competition_id == competition_id, evaluations.c.kind == "final")
        ended = {"state": "cancelled", "fence": evaluations.c.fence + 1, "finished_at": db.now(connection)}
        connection.execute(update(evaluations).where(*mine).values(ended))
        connection.execute(
            update(submissions).where(submissions.c.competition_id == competition_id).values(final_id=None)
        )
        set_final(connection, competition_id, competition.final, "none")
        audit.note(connection, db, actor, "cancel final", competition_id)


def hidden_board(db: Database, competition_id: int, actor: str) -> Board:
    """Return the final's board before it is revealed; that somebody looked is written down."""
    with db.write() as connection:
        competition = get(connection, competition_id)
        audit.note(connection, db, actor, "look at final", competition_id)
        return build_board(connection, competition_id, False, competition.version, True)


def reveal(db: Database, competition_id: int, actor: str) -> Competition:
    """Show the final to everybody; RequestError `unfinished` if it is not scored."""
    with db.write() as connection:
        if not set_final(connection, competition_id, "scored", "revealed", db.now(connection)):
            raise RequestError("unfinished", "the final is not scored yet, or is revealed already")
        audit.note(connection, db, actor, "reveal final", competition_id)
        return get(connection, competition_id)


def _unfinished(connection: Connection, competition_id: int) -> int:
    waiting = (
        submissions.c.competition_id == competition_id,
        submissions.c.state.in_(UNFINISHED),
        submissions.c.disqualified_at.is_(None),
        members.c.disqualified_at.is_(None),
    )
    same = (members.c.competition_id == submissions.c.competition_id) & (members.c.person_id == submissions.c.person_id)
    query = select(func.count()).select_from(submissions.join(members, same)).where(*waiting)
    return int(connection.execute(query).scalar_one())


def _entries(connection: Connection, competition_id: int) -> list[FinalEntry]:
    entry = func.coalesce(members.c.chosen_id, members.c.best_id)
    source = members.join(people, people.c.id == members.c.person_id).join(submissions, submissions.c.id == entry)
    source = source.join(results, results.c.id == submissions.c.result_id)
    shown = (members.c.competition_id == competition_id, members.c.disqualified_at.is_(None))
    columns = (members.c.person_id, people.c.name, people.c.role, members.c.chosen_id, results.c.score)
    query = select(*columns, submissions.c.id, submissions.c.key, submissions.c.label)
    order = (results.c.score.desc(), results.c.unrounded_mean.desc(), submissions.c.id)
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
        for row in connection.execute(query.select_from(source).where(*shown).order_by(*order))
    ]
