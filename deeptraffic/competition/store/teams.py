"""Teams of a competition: founded by a member, joined by its code; quota, ranking and the final are the team's.

Members change their team themselves until their first submission, the organiser at any time before the final.
"""

import secrets
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from deeptraffic.competition.models import Member, Person, Submission, Team
from deeptraffic.competition.names import clean_name, skeleton
from deeptraffic.competition.store import audit, competitions
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import RequestError

CODE_BYTES = 9  # of a code that people pass on


@dataclass(frozen=True)
class TeamPeople:
    """A team and the names of its members, the first to join first."""

    team: Team
    people: list[Person]


def found_team(db: Database, competition_id: int, person_id: int, name: str) -> Team:
    """Found a team and join it; RequestError name, name_taken or team."""
    name = clean_name(name)
    with db.write() as session:
        member = _own(session, competition_id, person_id)
        if member.team_id is not None:
            raise RequestError("team", "you are in a team already; leave it first")
        team = _make(session, db, competition_id, name)
        member.team_id = team.id
        competitions.touch(session, competition_id)
        return team


def join_team(db: Database, competition_id: int, person_id: int, code: str) -> Team:
    """Join the team with this code; RequestError `team` says why not."""
    with db.write() as session:
        member = _own(session, competition_id, person_id)
        query = select(Team).where(Team.competition_id == competition_id, Team.code == code.strip())
        team = session.scalars(query.with_for_update()).one_or_none()
        if team is None:
            raise RequestError("team", "no team of this competition has this code; ask one of its members for it")
        if member.team_id is not None:
            raise RequestError("team", "you are in a team already; leave it first")
        _check_room(session, team)
        member.team_id = team.id
        competitions.touch(session, competition_id)
        return team


def leave_team(db: Database, competition_id: int, person_id: int) -> None:
    """Leave one's team; an empty team ends. RequestError `team` after one's first submission."""
    with db.write() as session:
        _move(session, _own(session, competition_id, person_id), None)


def assign(db: Database, competition_id: int, person_id: int, name: str, actor: str) -> None:
    """Put a person into the team of this name, made if there is none, or with an empty name into none; organiser."""
    name = clean_name(name) if name.strip() else ""
    with db.write() as session:
        member = _member(session, competition_id, person_id)
        team = None
        if name:
            same = (Team.competition_id == competition_id, Team.skeleton == skeleton(name))
            found = session.scalars(select(Team).where(*same).with_for_update()).one_or_none()
            team = found or _make(session, db, competition_id, name)
            if member.team_id != team.id:
                _check_room(session, team)
        _move(session, member, team)
        person = session.get_one(Person, person_id)
        audit.note(session, db, actor, "team", competition_id, person.name, team=name or "none")


def teams_of(db: Database, competition_id: int) -> list[TeamPeople]:
    """Return the teams of a competition with their members, in the order of their foundation."""
    query = select(Team, Person).join(Member, Member.team_id == Team.id).join(Person, Person.id == Member.person_id)
    query = query.where(Team.competition_id == competition_id).order_by(Team.id, Member.joined_at, Person.id)
    found: dict[int, TeamPeople] = {}
    with db.read() as session:
        for team, person in session.execute(query):
            found.setdefault(team.id, TeamPeople(team, [])).people.append(person)
    return list(found.values())


def team_of(db: Database, competition_id: int, person_id: int) -> TeamPeople | None:
    """Return a person's team; None without one."""
    every = teams_of(db, competition_id)
    return next((one for one in every if person_id in {person.id for person in one.people}), None)


def has_submitted(db: Database, competition_id: int, person_id: int) -> bool:
    """Return whether a person has a submission, after which only the organiser changes the team."""
    with db.read() as session:
        return _has_submitted(session, competition_id, person_id)


def _has_submitted(session: Session, competition_id: int, person_id: int) -> bool:
    mine = (Submission.competition_id == competition_id, Submission.person_id == person_id)
    return session.execute(select(Submission.id).where(*mine).limit(1)).first() is not None


def _member(session: Session, competition_id: int, person_id: int) -> Member:
    """Return a membership that may change its team."""
    member = competitions.find_member(session, competition_id, person_id, lock=True)
    competition = competitions.get(session, competition_id)
    if member is None or session.get_one(Person, person_id).role == "baseline":
        raise RequestError("missing", "this person is not a member of the competition")
    if competition.config.team_size < 2:
        raise RequestError("team", "this competition has no teams")
    if competition.final != "none":
        raise RequestError("final", "the final has begun; the teams are fixed")
    return member


def _own(session: Session, competition_id: int, person_id: int) -> Member:
    """Return a membership whose person may change the team."""
    member = _member(session, competition_id, person_id)
    if _has_submitted(session, competition_id, person_id):
        raise RequestError("team", "you have submitted already; ask the organiser to change your team")
    return member


def _make(session: Session, db: Database, competition_id: int, name: str) -> Team:
    alias, code = f"Team {secrets.token_hex(3).upper()}", secrets.token_urlsafe(CODE_BYTES)
    team = Team(competition_id, name, skeleton(name), alias, code, db.now(session))
    try:
        with session.begin_nested():
            session.add(team)
    except IntegrityError:
        raise RequestError("name_taken", f"the team {name!r}, or one that looks like it, exists already") from None
    return team


def _check_room(session: Session, team: Team) -> None:
    size = competitions.get(session, team.competition_id).config.team_size
    count = select(func.count()).select_from(Member).where(Member.team_id == team.id)
    if session.execute(count).scalar_one() >= size:
        raise RequestError("team", f"this team has {size} people already, the most of this competition")


def _move(session: Session, member: Member, team: Team | None) -> None:
    """Move a member with all submissions; the choice for the final is made anew."""
    before, after = member.team_id, None if team is None else team.id
    if before == after:
        return
    member.team_id, member.chosen_id = after, None
    session.flush()
    end_if_empty(session, before)
    competitions.touch(session, member.competition_id)


def end_if_empty(session: Session, team_id: int | None) -> None:
    """Delete a team that nobody is in."""
    if (
        team_id is not None
        and session.scalars(select(Member.person_id).where(Member.team_id == team_id)).first() is None
    ):
        session.delete(session.get_one(Team, team_id))
        session.flush()
