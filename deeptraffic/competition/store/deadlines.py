"""Deadlines: what another one would change, and the deadline and limits of one person.

An entry is late if its last byte came at or after its owner's deadline, the later of the competition's and the own one.
Late entries have no rank and are not in the final. Entries are late only where a deadline has become earlier: others
are not accepted.
"""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from deeptraffic.competition.config import to_time
from deeptraffic.competition.models import Member, Person, Submission, Team
from deeptraffic.competition.store import audit, competitions
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.organise import Standing, Unit, ranks, standing

MOST = 1_000_000  # submissions of a person


@dataclass(frozen=True)
class MovedEntry:
    """An entry that another deadline makes late or in time; chosen: for the final, a choice that would be lost."""

    submission_key: str
    name: str
    label: str
    accepted_at: int
    late: bool
    chosen: bool


@dataclass(frozen=True)
class MovedRank:
    """A person or a team whose rank or score another deadline changes; None for no score."""

    name: str
    rank_before: int | None
    rank_after: int | None
    score_before: float | None
    score_after: float | None


@dataclass(frozen=True)
class Terms:
    """A member's own deadline [ms since 1970 UTC] and limits; None for the competition's."""

    closes: int | None = None
    daily_limit: int | None = None
    total_limit: int | None = None


@dataclass(frozen=True)
class DeadlineChange:
    """What another deadline would change; phases as `Competition.phase` returns them."""

    phase_before: str
    phase_after: str
    entries: list[MovedEntry]
    ranks: list[MovedRank]


def preview(db: Database, competition_id: int, closes: int | None) -> DeadlineChange:
    """Return what a deadline [ms since 1970 UTC], None for none, would change; nothing is changed."""
    with db.read() as session:
        competition, now = competitions.get(session, competition_id), db.now(session)
        columns = (Submission.id, Submission.key, Submission.label, Submission.accepted_at, Submission.late)
        query = select(*columns, Person.name, Member.closes_at, Member.chosen_id).join_from(Submission, Person)
        query = query.join(Submission.member).where(Submission.competition_id == competition_id)
        query = query.where(Person.role != "baseline", Submission.state.not_in(("refused", "failed")))
        late, moved = set(), []
        for row in session.execute(query.order_by(Submission.id)):
            is_late = closes is not None and row.accepted_at >= max(closes, row.closes_at or closes)
            late |= {row.id} if is_late else set()
            if is_late != row.late:
                chosen = is_late and row.chosen_id == row.id
                moved.append(MovedEntry(row.key, row.name, row.label, row.accepted_at, is_late, chosen))
        units, before = standing(session, competition_id)
        every, all_scores = standing(session, competition_id, late=True)
        after = {key: value for key, value in all_scores.items() if key not in late}
        first, then = ranks(units, before), ranks(every, after)
        best_before, best_after = _best(units, before), _best(every, after)
        names = _names(session, competition_id)
        changed = [
            MovedRank(names[unit], first.get(unit), then.get(unit), best_before.get(unit), best_after.get(unit))
            for unit in set(best_before) | set(best_after)
            if (first.get(unit), best_before.get(unit)) != (then.get(unit), best_after.get(unit))
        ]
        changed.sort(key=lambda one: (one.rank_after or MOST, one.rank_before or MOST, one.name))
        would = "closed" if closes is not None and now >= closes else "open"
        before_phase = competition.phase(now)
        same = before_phase not in ("open", "closed")
        return DeadlineChange(before_phase, before_phase if same else would, moved, changed)


def _best(units: dict[int, Unit], found: Standing) -> dict[Unit, float]:
    best: dict[Unit, float] = {}
    for submission_id, (score, _) in found.items():
        best[units[submission_id]] = max(best.get(units[submission_id], score), score)
    return best


def _names(session: Session, competition_id: int) -> dict[Unit, str]:
    people = select(Person.id, Person.name).join(Member, Member.person_id == Person.id)
    names: dict[Unit, str] = {}
    for person_id, name in session.execute(people.where(Member.competition_id == competition_id)):
        names["person", person_id] = name
    for team_id, name in session.execute(select(Team.id, Team.name).where(Team.competition_id == competition_id)):
        names["team", team_id] = name
    return names


# --- one person ---------------------------------------------------------------------------------------------------


def set_person(db: Database, competition_id: int, person_id: int, actor: str, terms: Terms) -> None:
    """Give a member a deadline and limits of the own; RequestError terms, missing or final."""
    for name, limit in (("daily_limit", terms.daily_limit), ("total_limit", terms.total_limit)):
        if limit is not None and not 0 <= limit <= MOST:
            raise RequestError("terms", f"{name} must be an integer in [0, {MOST:,}], got {limit}; or empty")
    with db.write("queue") as session:
        member = competitions.find_member(session, competition_id, person_id, lock=True)
        competition = competitions.get(session, competition_id, lock=True)
        if member is None:
            raise RequestError("missing", "this person is not a member of the competition")
        if competition.final != "none":
            raise RequestError("final", "the final has begun; the deadlines are fixed")
        member.closes_at, member.daily_limit, member.total_limit = terms.closes, terms.daily_limit, terms.total_limit
        competitions.mark_late(session, competition)
        details = {"closes_at": "" if terms.closes is None else to_time(terms.closes)}
        limits = {"daily_limit": terms.daily_limit, "total_limit": terms.total_limit}
        name = session.get_one(Person, person_id).name
        audit.note(session, db, actor, "extension", competition_id, name, **details, **limits)
