"""Accounts and their tokens: people, display names, sessions, tokens to submit with, one-time links, invitations.

A token is 256 random bits that only its holder has: the store keeps its SHA-256, its scope, its expiry, and whether it
was used or revoked. An invalid token gets the same answer whatever is wrong with it.
"""

import hashlib
import secrets

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from deeptraffic.competition.models import AccessToken, Member, Person
from deeptraffic.competition.names import clean_name, skeleton
from deeptraffic.competition.store import audit, class_list, competitions
from deeptraffic.competition.store.database import Database, changed_rows
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.render.theme import trail_colour_by_name

DAY = 86_400_000  # [ms]
LIFETIMES = {"session": 14 * DAY, "submit": 180 * DAY, "link": 2 * DAY, "invite": 90 * DAY}
MAX_CONTACT, MAX_NOTE, MAX_PEOPLE = 200, 200, 20_000
ORGANISER = "Organiser"
TAKEN = "the name {!r}, or one that looks like it, is taken; choose another"
INVALID = "this link or token is invalid or has expired; ask the organiser for a new one"


# --- tokens -------------------------------------------------------------------------------------------------------


def digest(secret: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


# parameters: the columns of a token
def issue(
    session: Session,
    db: Database,
    scope: str,
    person_id: int | None = None,
    competition_id: int | None = None,
    lifetime: int | None = None,
    uses: int | None = None,
    note: str = "",
) -> str:
    """Create a token and return it; it cannot be read again. lifetime [ms]: by default the scope's."""
    secret, now = secrets.token_urlsafe(32), db.now(session)
    row = AccessToken(
        digest=digest(secret),
        scope=scope,
        person_id=person_id,
        competition_id=competition_id,
        note=note[:MAX_NOTE],
        uses_left=uses,
        created_at=now,
        expires_at=now + (LIFETIMES[scope] if lifetime is None else lifetime),
    )
    session.add(row)
    return secret


def _find(session: Session, db: Database, secret: str, scope: str) -> AccessToken:
    """Return a token that is valid now; RequestError `token` otherwise."""
    token = session.scalars(select(AccessToken).where(AccessToken.digest == digest(secret))).one_or_none()
    valid = token is not None and token.scope == scope and token.revoked_at is None and token.uses_left != 0
    if token is None or not valid or token.expires_at <= db.now(session):
        raise RequestError("token", INVALID)
    return token


def _use(session: Session, db: Database, token: AccessToken) -> None:
    """Count a use of a token; of concurrent uses of the last one, only one succeeds."""
    left = None if token.uses_left is None else token.uses_left - 1
    same = AccessToken.uses_left.is_(None) if token.uses_left is None else AccessToken.uses_left == token.uses_left
    used = update(AccessToken).where(AccessToken.id == token.id, same)
    if changed_rows(session, used.values(uses_left=left, used_at=db.now(session))) != 1:
        raise RequestError("token", INVALID)


def look_at(db: Database, secret: str, scope: str) -> AccessToken:
    """Return an invitation or link without using it; RequestError `token` if it is invalid."""
    with db.read() as session:
        return _find(session, db, secret, scope)


def person_of(db: Database, secret: str, scope: str) -> tuple[Person, AccessToken]:
    """Return the owner of a session or submit token; RequestError `token` or `blocked`."""
    with db.read() as session:
        token = _find(session, db, secret, scope)
        return _active(session, token.person_id), token


def _active(session: Session, person_id: int | None) -> Person:
    person = session.get_one(Person, person_id)
    if person.blocked_at is not None:
        raise RequestError("blocked", "this account is closed; ask the organiser")
    return person


def open_session(db: Database, person_id: int, lifetime: int | None = None) -> str:
    """Return the token of a new browser session, for a cookie."""
    with db.write() as session:
        return issue(session, db, "session", person_id, lifetime=lifetime)


def new_submit_token(db: Database, person_id: int, note: str = "", lifetime: int | None = None) -> str:
    """Return a new token for `deeptraffic submit`."""
    with db.write() as session:
        return issue(session, db, "submit", person_id, lifetime=lifetime, note=note)


def new_invite(
    db: Database, competition_id: int, actor: str, uses: int | None = None, lifetime: int | None = None, note: str = ""
) -> str:
    """Return a new invitation to a competition, for `uses` people or for any number."""
    with db.write() as session:
        audit.note(session, db, actor, "invite", competition_id, note, uses=uses)
        return issue(session, db, "invite", None, competition_id, lifetime, uses, note)


def new_link(db: Database, person_id: int, actor: str, competition_id: int | None = None) -> str:
    """Return the token of a one-time link for a person; earlier links become invalid.

    competition_id: of the organiser who asks, in whose log it is noted
    """
    with db.write() as session:
        revoke_all(session, db, person_id, "link")
        audit.note(session, db, actor, "link", competition_id, session.get_one(Person, person_id).name)
        return issue(session, db, "link", person_id, uses=1)


def organiser_link(db: Database, actor: str) -> str:
    """Return the token of a one-time link for the organiser, created if there is none; earlier links become invalid."""
    with db.write() as session:
        first = select(Person).where(Person.role == "organiser").order_by(Person.id).limit(1)
        person = session.scalars(first).one_or_none() or add_person(session, db, ORGANISER, "organiser")
        revoke_all(session, db, person.id, "link")
        audit.note(session, db, actor, "organiser link", subject=person.name)
        return issue(session, db, "link", person.id, uses=1)


def follow_link(db: Database, secret: str) -> tuple[Person, str]:
    """Use a one-time link: return its person and the token of a new session."""
    with db.write() as session:
        token = _find(session, db, secret, "link")
        _use(session, db, token)
        person = _active(session, token.person_id)
        return person, issue(session, db, "session", person.id)


def tokens_of(db: Database, person_id: int, scope: str) -> list[AccessToken]:
    """Return a person's valid tokens of a scope, the newest first."""
    return _valid(db, AccessToken.person_id == person_id, AccessToken.scope == scope)


def invites_of(db: Database, competition_id: int) -> list[AccessToken]:
    """Return a competition's valid invitations, the newest first."""
    return _valid(db, AccessToken.competition_id == competition_id, AccessToken.scope == "invite")


def _valid(db: Database, *which: ColumnElement[bool]) -> list[AccessToken]:
    with db.read() as session:
        query = select(AccessToken).where(
            *which,
            AccessToken.revoked_at.is_(None),
            AccessToken.expires_at > db.now(session),
            AccessToken.uses_left.is_distinct_from(0),
        )
        return list(session.scalars(query.order_by(AccessToken.id.desc())))


def revoke(db: Database, key: str, person_id: int | None = None, competition_id: int | None = None) -> None:
    """Revoke a token, of that person or competition only; an unknown one is no error."""
    with db.write() as session:
        query = update(AccessToken).where(AccessToken.key == key, AccessToken.revoked_at.is_(None))
        if person_id is not None:
            query = query.where(AccessToken.person_id == person_id)
        if competition_id is not None:
            query = query.where(AccessToken.competition_id == competition_id)
        session.execute(query.values(revoked_at=db.now(session)))


def close_session(db: Database, secret: str) -> None:
    """End a browser session; an unknown one is no error."""
    with db.write() as session:
        ended = update(AccessToken).where(AccessToken.digest == digest(secret), AccessToken.scope == "session")
        session.execute(ended.values(revoked_at=db.now(session)))


def revoke_all(session: Session, db: Database, person_id: int, *scopes: str) -> None:
    """Revoke all tokens of a person in these scopes."""
    valid = (AccessToken.person_id == person_id, AccessToken.scope.in_(scopes), AccessToken.revoked_at.is_(None))
    session.execute(update(AccessToken).where(*valid).values(revoked_at=db.now(session)))


# --- people -------------------------------------------------------------------------------------------------------


def add_person(session: Session, db: Database, name: str, role: str = "participant", contact: str = "") -> Person:
    """Create an account; RequestError `name` or `name_taken`."""
    name = clean_name(name)
    made = Person(
        name=name, skeleton=skeleton(name), role=role, contact=contact[:MAX_CONTACT], created_at=db.now(session)
    )
    try:
        with session.begin_nested():
            session.add(made)
    except IntegrityError:
        raise RequestError("name_taken", TAKEN.format(name)) from None
    return made


def join_by_invite(db: Database, secret: str, name: str, contact: str = "") -> tuple[Person, str]:
    """Use an invitation: create an account in its competition; return it with the token of a new session.

    contact: the person's on the class list, if the competition has one; RequestError `class_list` otherwise
    """
    with db.write() as session:
        token = _find(session, db, secret, "invite")
        _use(session, db, token)
        assert token.competition_id is not None
        return _new_member(session, db, token.competition_id, name, contact)


def join_open(db: Database, competition_id: int, name: str, contact: str = "") -> tuple[Person, str]:
    """Create an account in a competition that is open to everybody; RequestError `invite_needed` where it is not.

    contact: as of `join_by_invite`
    """
    with db.write() as session:
        if competitions.get(session, competition_id).config.joining != "open":
            raise RequestError("invite_needed", "joining this competition takes an invitation; ask the organiser")
        return _new_member(session, db, competition_id, name, contact)


def join_as(db: Database, secret: str, person_id: int, contact: str = "") -> int:
    """Use an invitation with an existing account; return the competition's id. contact: as of `join_by_invite`."""
    with db.write() as session:
        token = _find(session, db, secret, "invite")
        assert token.competition_id is not None
        if competitions.join(session, db, token.competition_id, person_id):
            class_list.claim(session, token.competition_id, session.get_one(Person, person_id), contact)
            _use(session, db, token)
        return token.competition_id


def _new_member(session: Session, db: Database, competition_id: int, name: str, contact: str) -> tuple[Person, str]:
    person = add_person(session, db, name)
    competitions.join(session, db, competition_id, person.id)
    class_list.claim(session, competition_id, person, contact)
    return person, issue(session, db, "session", person.id)


def rename(db: Database, person_id: int, name: str) -> Person:
    """Change a person's display name; RequestError `name` or `name_taken`."""
    name = clean_name(name)
    with db.write() as session:
        person = session.get_one(Person, person_id)
        try:
            with session.begin_nested():
                person.name, person.skeleton = name, skeleton(name)
        except IntegrityError:
            raise RequestError("name_taken", TAKEN.format(name)) from None
        competitions.touch_all(session)
        return person


def change_trail(db: Database, person_id: int, trail: str) -> Person:
    """Change the colour of the trail behind a person's car; RequestError `trail` if there is no such colour."""
    try:
        trail_colour_by_name(trail)
    except ValueError as error:
        raise RequestError("trail", f"{error}.") from None
    with db.write() as session:
        person = session.get_one(Person, person_id)
        person.trail = trail
        competitions.touch_all(session)
        return person


def find_person(db: Database, key: str) -> Person | None:
    """Return the person with this key."""
    with db.read() as session:
        return session.scalars(select(Person).where(Person.key == key)).one_or_none()


def find_named(db: Database, name: str) -> Person | None:
    """Return the person of this name, or of one that looks like it."""
    with db.read() as session:
        return session.scalars(select(Person).where(Person.skeleton == skeleton(name))).one_or_none()


def get_person(db: Database, person_id: int) -> Person:
    """Return the person with this id."""
    with db.read() as session:
        return session.get_one(Person, person_id)


def search_people(
    db: Database, text: str = "", limit: int = 100, offset: int = 0, competition_id: int | None = None
) -> tuple[list[Person], int]:
    """Return people whose name or contact contains a text, for the organiser, and the number of all of them.

    competition_id: members of it alone
    """
    pattern = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").lower() + "%"
    match = or_(*(func.lower(column).like(pattern, escape="\\") for column in (Person.name, Person.contact)))
    if competition_id is not None:
        match = match & Person.id.in_(select(Member.person_id).where(Member.competition_id == competition_id))
    with db.read() as session:
        total = session.execute(select(func.count()).select_from(Person).where(match)).scalar_one()
        query = select(Person).where(match).order_by(Person.id).limit(limit).offset(offset)
        return list(session.scalars(query)), total


def block(db: Database, person_id: int, actor: str, reason: str, competition_id: int | None = None) -> None:
    """Close an account: its sessions and tokens end at once; its submissions stay. competition_id: as of `new_link`."""
    with db.write() as session:
        person = session.get_one(Person, person_id)
        person.blocked_at = db.now(session)
        revoke_all(session, db, person_id, "session", "submit", "link")
        audit.note(session, db, actor, "block", competition_id, person.name, reason=reason)


def unblock(db: Database, person_id: int, actor: str, reason: str = "", competition_id: int | None = None) -> None:
    """Reopen a closed account. competition_id: as of `new_link`."""
    with db.write() as session:
        person = session.get_one(Person, person_id)
        person.blocked_at = None
        audit.note(session, db, actor, "unblock", competition_id, person.name, reason=reason)


def import_people(db: Database, competition_id: int, text: str, actor: str) -> list[tuple[Person, str]]:
    """Create accounts from CSV text with a column `name` and optionally `contact`; return each with a one-time token.

    All or none: RequestError `accounts` names the first invalid line.
    """
    head, *cells = class_list.read_csv(text) or [[]]
    rows = [dict(zip(head, row, strict=False)) for row in cells if row]
    if not rows or "name" not in head or len(rows) > MAX_PEOPLE:
        few = f"1 to {MAX_PEOPLE:,} people"
        raise RequestError("accounts", f"the CSV text must have a column `name` in its first line, and {few}")
    made = []
    with db.write() as session:
        for line, row in enumerate(rows, 2):
            try:
                person = add_person(session, db, row.get("name", ""), contact=row.get("contact") or "")
            except RequestError as error:
                raise RequestError("accounts", f"line {line}: {error.message}") from None
            competitions.join(session, db, competition_id, person.id)
            class_list.link(session, competition_id, person)
            made.append((person, issue(session, db, "link", person.id, lifetime=LIFETIMES["invite"], uses=1)))
        audit.note(session, db, actor, "accounts", competition_id, people=len(made))
    return made
