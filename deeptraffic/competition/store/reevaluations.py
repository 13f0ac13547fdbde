"""Scoring submissions anew: the new results wait beside the old ones until the organiser applies or discards them."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from deeptraffic.competition.store import audit, jobs
from deeptraffic.competition.store.competitions import get
from deeptraffic.competition.store.database import Database, new_key
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.schema import evaluations, members, people, results, submissions
from deeptraffic.competition.store.standing import update_best

Standing = dict[int, tuple[float, float]]  # submission id -> (score, mean of the unrounded runs)


@dataclass(frozen=True)
class Change:
    """What a re-evaluation would change; after: None if the submission is refused now, see reason.

    rank_before, rank_after: of the person; None where nothing of theirs is ranked
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
    """A batch: how many submissions it scores anew, how many are done, how many failed by our fault, what differs."""

    batch: str
    total: int
    done: int
    failed: int
    changes: list[Change]

    @property
    def finished(self) -> bool:
        """Whether nothing waits or runs any more."""
        return self.done + self.failed == self.total


def begin(db: Database, competition_id: int, keys: list[str] | None, actor: str) -> str:
    """Queue scored submissions anew, all of them for None; return the batch. RequestError missing, open, final."""
    with db.write("queue") as connection:
        competition = get(connection, competition_id, lock=True)
        if competition.final != "none":
            raise RequestError("final", "the final has begun; public scores are fixed")
        if _open(connection, competition_id):
            raise RequestError("open", "a re-evaluation is open already; apply or discard it first")
        scored = (submissions.c.competition_id == competition_id, submissions.c.state == "scored")
        query = select(submissions.c.id, submissions.c.key).where(*scored).order_by(submissions.c.id)
        if keys is not None:
            query = query.where(submissions.c.key.in_(keys))
        found = connection.execute(query).all()
        if not found or (keys is not None and len(found) != len(set(keys))):
            raise RequestError("missing", "name submissions of this competition that have a score")
        batch = new_key()
        for row in found:
            jobs.enqueue(connection, db, competition, row.id, "again", batch)
        which = "all" if keys is None else [row.key for row in found][:20]
        audit.note(connection, db, actor, "reevaluate", competition_id, batch, submissions=len(found), which=which)
    return batch


def open_batches(db: Database, competition_id: int) -> list[str]:
    """Return the batches that are neither applied nor discarded."""
    with db.read() as connection:
        return _open(connection, competition_id)


def preview(db: Database, batch: str) -> Reevaluation:
    """Return how far a batch is, and what applying it would change."""
    with db.read() as connection:
        rows = _rows(connection, batch)
        count = {state: sum(row.state == state for row in rows) for state in {row.state for row in rows}}
        return Reevaluation(
            batch=batch,
            total=len(rows),
            done=count.get("done", 0) + count.get("refused", 0),
            failed=count.get("failed", 0) + count.get("cancelled", 0),
            changes=_changes(connection, rows),
        )


def apply(db: Database, batch: str, actor: str) -> int:
    """Let the new results count; return how many scores changed. RequestError `unfinished` or `missing`."""
    with db.write("queue") as connection:
        rows = _rows(connection, batch)
        if any(row.state in ("queued", "running") for row in rows):
            raise RequestError("unfinished", "the re-evaluation still runs; wait for its end, or discard it")
        if get(connection, rows[0].competition_id, lock=True).final != "none":
            raise RequestError("final", "the final has begun; public scores are fixed")
        changed = sum(_apply_row(connection, row) for row in rows)
        for person_id in sorted({row.person_id for row in rows}):
            update_best(connection, rows[0].competition_id, person_id)
        _settle(connection, db, batch)
        audit.note(connection, db, actor, "apply", rows[0].competition_id, batch, changed=changed)
        return changed


def discard(db: Database, batch: str, actor: str) -> None:
    """Forget a batch: the scores stay as they are."""
    with db.write("queue") as connection:
        rows = _rows(connection, batch)
        unfinished = (evaluations.c.batch == batch, evaluations.c.state.in_(("queued", "running")))
        ended = {"state": "cancelled", "fence": evaluations.c.fence + 1, "finished_at": db.now(connection)}
        connection.execute(update(evaluations).where(*unfinished).values(ended))
        _settle(connection, db, batch)
        audit.note(connection, db, actor, "discard", rows[0].competition_id, batch)


def _apply_row(connection: Connection, row: Any) -> bool:
    """Apply one evaluation; return whether the submission's score is another now."""
    this = update(submissions).where(submissions.c.id == row.submission_id)
    if row.state == "refused":
        refused = {"state": "refused", "code": row.code, "reason": row.reason}
        connection.execute(this.values(replaced_id=row.old_id, result_id=None, **refused))
        connection.execute(update(members).where(members.c.chosen_id == row.submission_id).values(chosen_id=None))
        return True
    if row.state != "done":
        return False
    connection.execute(update(results).where(results.c.id == row.result_id).values(applied=True))
    connection.execute(this.values(replaced_id=row.old_id, result_id=row.result_id))
    return bool(row.after != row.before)


def _settle(connection: Connection, db: Database, batch: str) -> None:
    connection.execute(update(evaluations).where(evaluations.c.batch == batch).values(settled_at=db.now(connection)))


def _open(connection: Connection, competition_id: int) -> list[str]:
    mine = (evaluations.c.competition_id == competition_id, evaluations.c.kind == "again")
    query = select(evaluations.c.batch).where(*mine, evaluations.c.settled_at.is_(None)).distinct()
    return list(connection.execute(query).scalars())


def _rows(connection: Connection, batch: str) -> list[Any]:
    """Rows of an open batch with old and new score."""
    old, new = results.alias("old"), results.alias("new")
    source = evaluations.join(submissions, submissions.c.id == evaluations.c.submission_id)
    source = source.join(people, people.c.id == submissions.c.person_id)
    source = source.join(old, old.c.id == submissions.c.result_id).outerjoin(new, new.c.id == evaluations.c.result_id)
    columns = [
        *(evaluations.c[name] for name in ("competition_id", "person_id", "submission_id", "result_id", "state"))
    ]
    columns += [evaluations.c.code, evaluations.c.reason, submissions.c.key, submissions.c.label, people.c.name]
    numbers = [old.c.id.label("old_id"), old.c.score.label("before"), new.c.score.label("after"), new.c.unrounded_mean]
    which = (evaluations.c.batch == batch, evaluations.c.kind == "again", evaluations.c.settled_at.is_(None))
    query = select(*columns, *numbers).select_from(source).where(*which).order_by(evaluations.c.id)
    rows = list(connection.execute(query).all())
    if not rows:
        raise RequestError("missing", "there is no open re-evaluation of this name")
    return rows


def _changes(connection: Connection, rows: list[Any]) -> list[Change]:
    owners, before = _standing(connection, rows[0].competition_id)
    after = dict(before)
    for row in rows:
        if row.state == "done" and row.submission_id in after:
            after[row.submission_id] = (row.after, row.unrounded_mean)
        elif row.state == "refused":
            after.pop(row.submission_id, None)
    ranks_before, ranks_after = _ranks(owners, before), _ranks(owners, after)
    return [
        Change(
            submission_key=row.key,
            name=row.name,
            label=row.label,
            before=row.before,
            after=row.after,
            reason=row.reason,
            rank_before=ranks_before.get(row.person_id),
            rank_after=ranks_after.get(row.person_id),
        )
        for row in rows
        if row.state == "refused" or (row.state == "done" and row.after != row.before)
    ]


def _standing(connection: Connection, competition_id: int) -> tuple[dict[int, int], Standing]:
    """Owners and numbers of all submissions that a rank may come from."""
    same = (members.c.competition_id == submissions.c.competition_id) & (members.c.person_id == submissions.c.person_id)
    source = submissions.join(results, results.c.id == submissions.c.result_id).join(members, same)
    source = source.join(people, people.c.id == submissions.c.person_id)
    shown = (
        submissions.c.competition_id == competition_id,
        submissions.c.disqualified_at.is_(None),
        members.c.disqualified_at.is_(None),
        people.c.role != "baseline",
    )
    columns = (submissions.c.id, submissions.c.person_id, results.c.score, results.c.unrounded_mean)
    owners, standing = {}, {}
    for row in connection.execute(select(*columns).select_from(source).where(*shown)):
        owners[row.id], standing[row.id] = row.person_id, (row.score, row.unrounded_mean)
    return owners, standing


def _ranks(owners: dict[int, int], standing: Standing) -> dict[int, int]:
    """Rank of each person, 1, 2, 2, 4."""
    best: dict[int, tuple[float, float]] = {}
    for submission_id, numbers in standing.items():
        person = owners[submission_id]
        best[person] = max(best.get(person, numbers), numbers)
    ordered = sorted(best.values(), reverse=True)
    first = {numbers: place for place, numbers in reversed(list(enumerate(ordered, 1)))}
    return {person: first[numbers] for person, numbers in best.items()}
