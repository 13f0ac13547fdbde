"""Competitions and their members: created, changed, paused, joined, looked up."""

import re
import secrets
from typing import Any

from sqlalchemy import and_, case, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.competition.models import (
    ORDER,
    Competition,
    EvaluationResult,
    Member,
    Person,
    PrivateSeeds,
    Submission,
)
from deeptraffic.competition.store import audit
from deeptraffic.competition.store.database import Database, changed_rows
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.evaluation.seeds import private_seeds as draw_seeds

KEY = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
FIXED = ("rules",)  # settings that existing scores depend on


# --- competitions -------------------------------------------------------------------------------------------------


def create(
    db: Database, key: str, config: CompetitionConfig, actor: str, seeds: list[int] | None = None
) -> Competition:
    """Create a competition; RequestError `key` or `key_taken`.

    key: its name in URLs: lower-case letters, digits and hyphens
    seeds: private seeds of the final; by default `final_runs` seeds from the operating system's random source
    """
    if not KEY.fullmatch(key):
        rule = "use up to 40 lower-case letters, digits and hyphens"
        raise RequestError("key", f"{key!r:.60} is not a valid name in URLs; {rule}")
    chosen = draw_seeds(config.final_runs, seeds)
    with db.write() as session:
        made = Competition(key=key, config=config, created_at=db.now(session))
        try:
            with session.begin_nested():
                session.add(made)
        except IntegrityError:
            raise RequestError("key_taken", f"a competition {key!r} exists already; choose another name") from None
        session.add(PrivateSeeds(competition_id=made.id, seeds=list(chosen)))
        audit.note(session, db, actor, "create", made.id, key, config=config.to_record())
    return made


def seeds_of(session: Session, competition_id: int) -> tuple[int, ...]:
    """Return the private seeds: for evaluations of the final only, and for exports once it is revealed."""
    return tuple(session.get_one(PrivateSeeds, competition_id).seeds)


def get(session: Session, competition_id: int, lock: bool = False) -> Competition:
    """Return a competition by its id; lock: against other writers until the transaction ends."""
    return session.get_one(Competition, competition_id, with_for_update=lock or None)


def get_competition(db: Database, competition_id: int) -> Competition:
    """Return a competition by its id."""
    with db.read() as session:
        return get(session, competition_id)


def find_competition(db: Database, key: str) -> Competition | None:
    """Return the competition with this key."""
    with db.read() as session:
        return session.scalars(select(Competition).where(Competition.key == key)).one_or_none()


def all_competitions(db: Database) -> list[Competition]:
    """Return all competitions, the oldest first."""
    with db.read() as session:
        return list(session.scalars(select(Competition).order_by(Competition.id)))


def change_config(db: Database, competition_id: int, changes: dict[str, Any], actor: str) -> Competition:
    """Change settings, such as dates and limits; ValueError for an invalid value, RequestError `fixed` or `final`.

    With another deadline, entries become late or in time, as `deadlines.preview` tells before. The private seeds of the
    final stay the first `final_runs` of those drawn; more are drawn where needed.
    """
    with db.write() as session:
        found = get(session, competition_id, lock=True)
        config = CompetitionConfig.from_record(found.config.to_record() | changes)
        if found.final != "none":
            raise RequestError("final", "the final has begun; the settings of its competition are fixed")
        for name in FIXED:
            if getattr(config, name) != getattr(found.config, name):
                raise RequestError(
                    "fixed", f"{name} cannot change, since scores depend on it; create another competition"
                )
        kept = session.get_one(PrivateSeeds, competition_id)
        if config.final_runs > len(kept.seeds):
            kept.seeds = list(draw_seeds(config.final_runs, None, kept.seeds))
        audit.note(session, db, actor, "change", competition_id, found.key, **changes)
        moved, found.config = config.closes != found.config.closes, config
        if moved:
            mark_late(session, found)
        touch(session, competition_id)
    return found


def pause(db: Database, competition_id: int, actor: str, reason: str = "") -> Competition:
    """Pause submissions; what waits in the queue is still scored."""
    with db.write() as session:
        audit.note(session, db, actor, "pause", competition_id, reason=reason)
        found = get(session, competition_id, lock=True)
        found.paused_at, found.pause_reason = db.now(session), reason
        touch(session, competition_id)
    return found


def resume(db: Database, competition_id: int, actor: str) -> Competition:
    """Accept submissions again."""
    with db.write() as session:
        audit.note(session, db, actor, "resume", competition_id)
        found = get(session, competition_id, lock=True)
        found.paused_at, found.pause_reason = None, ""
        touch(session, competition_id)
    return found


def touch(session: Session, competition_id: int) -> None:
    """Record that the board changed, so that no cached one is shown."""
    changed = update(Competition).where(Competition.id == competition_id)
    session.execute(changed.values(version=Competition.version + 1))


def touch_all(session: Session) -> None:
    """Record that all boards changed."""
    session.execute(update(Competition).values(version=Competition.version + 1))


def set_final(session: Session, competition_id: int, before: str, after: str, at: int | None = None) -> bool:
    """Move the final from one state to another; return False if it was not in the first."""
    here = (Competition.id == competition_id, Competition.final == before)
    values = {"final": after, "final_at": at, "version": Competition.version + 1}
    return changed_rows(session, update(Competition).where(*here).values(values)) == 1


# --- members ------------------------------------------------------------------------------------------------------


def join(session: Session, db: Database, competition_id: int, person_id: int) -> bool:
    """Make a person a member; return False if they were one already."""
    if find_member(session, competition_id, person_id) is not None:
        return False
    alias = f"Driver {secrets.token_hex(3).upper()}"
    session.add(Member(competition_id=competition_id, person_id=person_id, alias=alias, joined_at=db.now(session)))
    session.flush()
    return True


def find_member(session: Session, competition_id: int, person_id: int, lock: bool = False) -> Member | None:
    """Return a membership; lock: against other writers, and other submissions of it, until the transaction ends."""
    return session.get(Member, (competition_id, person_id), with_for_update=lock or None)


def mates(session: Session, competition_id: int, person_id: int) -> list[int]:
    """Return the ids of a person's team in a competition, the person's own alone without a team."""
    mine = select(Member.team_id).where(Member.competition_id == competition_id, Member.person_id == person_id)
    team = select(Member.person_id).where(Member.team_id == mine.scalar_subquery()).order_by(Member.person_id)
    return list(session.scalars(team)) or [person_id]


def membership(db: Database, competition_id: int, person_id: int) -> Member | None:
    """Return a person's membership."""
    with db.read() as session:
        return find_member(session, competition_id, person_id)


def mark_late(session: Session, competition: Competition) -> None:
    """Mark the entries that came after their owner's deadline, and find everybody's best anew."""
    session.flush()
    closes, mine = competition.config.closes, Submission.competition_id == competition.id
    late: Any = False
    if closes is not None:
        own = select(case((Member.closes_at > closes, Member.closes_at), else_=closes))
        own = own.where(Member.competition_id == competition.id, Member.person_id == Submission.person_id)
        baseline = select(Person.id).where(Person.id == Submission.person_id, Person.role == "baseline").exists()
        late = and_(Submission.accepted_at >= own.scalar_subquery(), ~baseline)
    session.execute(update(Submission).where(mine).values(late=late), execution_options={"synchronize_session": False})
    lost = select(Submission.id).where(mine, Submission.late.is_(True))
    chosen = (Member.competition_id == competition.id, Member.chosen_id.in_(lost))
    session.execute(update(Member).where(*chosen).values(chosen_id=None))
    for person_id in session.scalars(select(Member.person_id).where(Member.competition_id == competition.id)).all():
        update_best(session, competition.id, person_id)


def update_best(session: Session, competition_id: int, person_id: int) -> None:
    """Find a member's best submission, not disqualified or late: by score, unrounded mean, then the first accepted."""
    mine = (Member.competition_id == competition_id, Member.person_id == person_id)
    session.execute(select(Member.person_id).where(*mine).with_for_update())
    best = (
        select(Submission.id)
        .join(EvaluationResult, EvaluationResult.id == Submission.result_id)
        .where(
            Submission.competition_id == competition_id,
            Submission.person_id == person_id,
            Submission.state == "scored",
            Submission.disqualified_at.is_(None),
            Submission.late.is_(False),
        )
        .order_by(*ORDER)
        .limit(1)
    )
    found = session.execute(best).scalar_one_or_none()
    session.execute(update(Member).where(*mine).values(best_id=found))
    touch(session, competition_id)


def competitions_of(db: Database, person_id: int) -> list[Competition]:
    """Return the competitions of a person, the last joined first."""
    query = select(Competition).join(Member, Member.competition_id == Competition.id)
    query = query.where(Member.person_id == person_id).order_by(Member.joined_at.desc())
    with db.read() as session:
        return list(session.scalars(query))


def count(db: Database, competition_id: int) -> tuple[int, int]:
    """Return the numbers of members and of submissions."""
    members = select(func.count()).select_from(Member).where(Member.competition_id == competition_id)
    made = select(func.count()).select_from(Submission).where(Submission.competition_id == competition_id)
    with db.read() as session:
        row = session.execute(select(members.scalar_subquery(), made.scalar_subquery())).one()
        return row[0], row[1]
