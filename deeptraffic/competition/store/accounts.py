"""People and their tokens: sessions, tokens to submit with, one-time links, invitations.

A token is 256 random bits that only its holder has: the store keeps the SHA-256, the scope, when it ends, and whether
it was used or revoked. Whoever presents one is told nothing but whether it opens the door.
"""

import csv
import hashlib
import io
import secrets
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from deeptraffic.competition.store import audit, decode
from deeptraffic.competition.store.database import Database, new_key
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.members import join
from deeptraffic.competition.store.names import clean_name, skeleton
from deeptraffic.competition.store.records import Person, Token
from deeptraffic.competition.store.schema import people, tokens

DAY = 86_400_000  # [ms]
LIFETIMES = {"session": 14 * DAY, "submit": 180 * DAY, "link": 2 * DAY, "invite": 90 * DAY}
MAX_CONTACT, MAX_NOTE, MAX_PEOPLE = 200, 200, 20_000
ORGANISER = "Organiser"
TAKEN = "somebody has the name {!r}, or one that looks like it; choose another"
NO_ENTRY = "this link or token is not valid, or no longer; ask the organiser for a new one"


# --- tokens -------------------------------------------------------------------------------------------------------


def digest(secret: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def issue(
    connection: Connection,
    db: Database,
    scope: str,
    person_id: int | None = None,
    competition_id: int | None = None,
    lifetime: int | None = None,
    uses: int | None = None,
    note: str = "",
) -> str:
    """Make a token and return it; nobody can ask for it again. lifetime [ms]: by default the scope's."""
    secret, now = secrets.token_urlsafe(32), db.now(connection)
    row = {
        "key": new_key(),
        "digest": digest(secret),
        "scope": scope,
        "person_id": person_id,
        "competition_id": competition_id,
        "note": note[:MAX_NOTE],
        "uses_left": uses,
        "created_at": now,
        "expires_at": now + (LIFETIMES[scope] if lifetime is None else lifetime),
    }
    connection.execute(insert(tokens).values(row))
    return secret


def _find(connection: Connection, db: Database, secret: str, scope: str) -> Any:
    """Return the row of a token that opens the door now; RequestError `token` if it does not."""
    row = connection.execute(select(tokens).where(tokens.c.digest == digest(secret))).one_or_none()
    valid = row is not None and row.scope == scope and row.revoked_at is None and row.uses_left != 0
    if row is None or not valid or row.expires_at <= db.now(connection):
        raise RequestError("token", NO_ENTRY)
    return row


def _use(connection: Connection, db: Database, row: Any) -> None:
    """Count a use of a token, once only however many come at the same time."""
    left = None if row.uses_left is None else row.uses_left - 1
    same = tokens.c.uses_left.is_(None) if row.uses_left is None else tokens.c.uses_left == row.uses_left
    changed = connection.execute(
        update(tokens).where(tokens.c.id == row.id, same).values(uses_left=left, used_at=db.now(connection))
    )
    if changed.rowcount != 1:
        raise RequestError("token", NO_ENTRY)


def look_at(db: Database, secret: str, scope: str) -> Token:
    """Return what an invitation or link is for, without using it; RequestError `token` if it is not valid."""
    with db.read() as connection:
        return decode.token(_find(connection, db, secret, scope))


def person_of(db: Database, secret: str, scope: str) -> tuple[Person, Token]:
    """Return who presents a session or submit token; RequestError `token` or `blocked`."""
    with db.read() as connection:
        row = _find(connection, db, secret, scope)
        return _active(connection, row.person_id), decode.token(row)


def _active(connection: Connection, person_id: int) -> Person:
    found = decode.person(connection.execute(select(people).where(people.c.id == person_id)).one())
    if found.blocked_at is not None:
        raise RequestError("blocked", "this account is closed; ask the organiser")
    return found


def open_session(db: Database, person_id: int, lifetime: int | None = None) -> str:
    """Return a new session's token for a cookie."""
    with db.write() as connection:
        return issue(connection, db, "session", person_id, lifetime=lifetime)


def new_submit_token(db: Database, person_id: int, note: str = "", lifetime: int | None = None) -> str:
    """Return a new token for `deeptraffic submit`."""
    with db.write() as connection:
        return issue(connection, db, "submit", person_id, lifetime=lifetime, note=note)


def new_invite(
    db: Database, competition_id: int, actor: str, uses: int | None = None, lifetime: int | None = None, note: str = ""
) -> str:
    """Return a new invitation to a competition, for `uses` people or for any number."""
    with db.write() as connection:
        audit.note(connection, db, actor, "invite", competition_id, note, uses=uses)
        return issue(connection, db, "invite", None, competition_id, lifetime, uses, note)


def new_link(db: Database, person_id: int, actor: str, lifetime: int | None = None) -> str:
    """Return a one-time link's token for a person; links given before stop working."""
    with db.write() as connection:
        revoke_all(connection, db, person_id, "link")
        name = connection.execute(select(people.c.name).where(people.c.id == person_id)).scalar_one()
        audit.note(connection, db, actor, "link", subject=name)
        return issue(connection, db, "link", person_id, lifetime=lifetime, uses=1)


def organiser_link(db: Database, actor: str) -> str:
    """Return a one-time link's token for the organiser, who is made if there is none yet; links given before end."""
    with db.write() as connection:
        first = select(people).where(people.c.role == "organiser").order_by(people.c.id).limit(1)
        row = connection.execute(first).one_or_none()
        who = add_person(connection, db, ORGANISER, "organiser") if row is None else decode.person(row)
        revoke_all(connection, db, who.id, "link")
        audit.note(connection, db, actor, "organiser link", subject=who.name)
        return issue(connection, db, "link", who.id, uses=1)


def follow_link(db: Database, secret: str) -> tuple[Person, str]:
    """Use a one-time link: return its person and a new session's token."""
    with db.write() as connection:
        row = _find(connection, db, secret, "link")
        _use(connection, db, row)
        found = _active(connection, row.person_id)
        return found, issue(connection, db, "session", found.id)


def tokens_of(db: Database, person_id: int, scope: str) -> list[Token]:
    """Return a person's tokens of a scope that are valid now, newest first."""
    with db.read() as connection:
        valid = (tokens.c.person_id == person_id, tokens.c.scope == scope, tokens.c.revoked_at.is_(None))
        query = select(tokens).where(*valid, tokens.c.expires_at > db.now(connection)).order_by(tokens.c.id.desc())
        return [decode.token(row) for row in connection.execute(query) if row.uses_left != 0]


def invites_of(db: Database, competition_id: int) -> list[Token]:
    """Return a competition's invitations that are valid now, newest first."""
    with db.read() as connection:
        valid = (tokens.c.competition_id == competition_id, tokens.c.scope == "invite", tokens.c.revoked_at.is_(None))
        query = select(tokens).where(*valid, tokens.c.expires_at > db.now(connection)).order_by(tokens.c.id.desc())
        return [decode.token(row) for row in connection.execute(query) if row.uses_left != 0]


def revoke(db: Database, key: str, person_id: int | None = None, competition_id: int | None = None) -> None:
    """Make a token worthless; of that person or competition only. One that is not there is no error."""
    with db.write() as connection:
        query = update(tokens).where(tokens.c.key == key, tokens.c.revoked_at.is_(None))
        if person_id is not None:
            query = query.where(tokens.c.person_id == person_id)
        if competition_id is not None:
            query = query.where(tokens.c.competition_id == competition_id)
        connection.execute(query.values(revoked_at=db.now(connection)))


def close_session(db: Database, secret: str) -> None:
    """End a session; one that is not there is no error."""
    with db.write() as connection:
        ended = update(tokens).where(tokens.c.digest == digest(secret), tokens.c.scope == "session")
        connection.execute(ended.values(revoked_at=db.now(connection)))


def revoke_all(connection: Connection, db: Database, person_id: int, *scopes: str) -> None:
    """Make all of a person's tokens of these scopes worthless."""
    mine = (tokens.c.person_id == person_id, tokens.c.scope.in_(scopes), tokens.c.revoked_at.is_(None))
    connection.execute(update(tokens).where(*mine).values(revoked_at=db.now(connection)))


# --- people -------------------------------------------------------------------------------------------------------


def add_person(connection: Connection, db: Database, name: str, role: str = "participant", contact: str = "") -> Person:
    """Make an account; RequestError `name` or `name_taken`."""
    name = clean_name(name)
    row = {"key": new_key(), "name": name, "skeleton": skeleton(name), "role": role, "contact": contact[:MAX_CONTACT]}
    try:
        with connection.begin_nested():
            query = insert(people).values(row | {"created_at": db.now(connection)}).returning(people)
            return decode.person(connection.execute(query).one())
    except IntegrityError:
        raise RequestError("name_taken", TAKEN.format(name)) from None


def join_by_invite(db: Database, secret: str, name: str) -> tuple[Person, str]:
    """Use an invitation: make an account in its competition; return it with a new session's token."""
    with db.write() as connection:
        row = _find(connection, db, secret, "invite")
        _use(connection, db, row)
        return _new_member(connection, db, row.competition_id, name)


def join_open(db: Database, competition_id: int, name: str) -> tuple[Person, str]:
    """Make an account in a competition that is open to everybody; RequestError `invite_needed` where it is not."""
    from deeptraffic.competition.store.competitions import get

    with db.write() as connection:
        if get(connection, competition_id).config.joining != "open":
            raise RequestError("invite_needed", "this competition takes people by invitation; ask the organiser for it")
        return _new_member(connection, db, competition_id, name)


def join_as(db: Database, secret: str, person_id: int) -> int:
    """Use an invitation with the account that one has; return the competition's id."""
    with db.write() as connection:
        row = _find(connection, db, secret, "invite")
        if join(connection, db, row.competition_id, person_id):
            _use(connection, db, row)
        return int(row.competition_id)


def _new_member(connection: Connection, db: Database, competition_id: int, name: str) -> tuple[Person, str]:
    found = add_person(connection, db, name)
    join(connection, db, competition_id, found.id)
    return found, issue(connection, db, "session", found.id)


def rename(db: Database, person_id: int, name: str) -> Person:
    """Give a person another display name; RequestError `name` or `name_taken`."""
    from deeptraffic.competition.store.competitions import touch_all

    name = clean_name(name)
    with db.write() as connection:
        try:
            with connection.begin_nested():
                values = {"name": name, "skeleton": skeleton(name)}
                query = update(people).where(people.c.id == person_id).values(values).returning(people)
                found = decode.person(connection.execute(query).one())
        except IntegrityError:
            raise RequestError("name_taken", TAKEN.format(name)) from None
        touch_all(connection)
        return found


def find_person(db: Database, key: str) -> Person | None:
    """Return the person with this key."""
    with db.read() as connection:
        row = connection.execute(select(people).where(people.c.key == key)).one_or_none()
        return None if row is None else decode.person(row)


def get_person(db: Database, person_id: int) -> Person:
    """Return the person with this id."""
    with db.read() as connection:
        return decode.person(connection.execute(select(people).where(people.c.id == person_id)).one())


def search_people(db: Database, text: str = "", limit: int = 100, offset: int = 0) -> tuple[list[Person], int]:
    """Return people whose name or contact holds a text, for the organiser, and how many there are."""
    pattern = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").lower() + "%"
    match = or_(*(func.lower(column).like(pattern, escape="\\") for column in (people.c.name, people.c.contact)))
    with db.read() as connection:
        total = connection.execute(select(func.count()).select_from(people).where(match)).scalar_one()
        rows = connection.execute(select(people).where(match).order_by(people.c.id).limit(limit).offset(offset))
        return [decode.person(row) for row in rows], int(total)


def block(db: Database, person_id: int, actor: str, reason: str) -> None:
    """Close an account: its sessions and tokens end at once; its submissions stay."""
    _set_blocked(db, person_id, actor, reason, "block")


def unblock(db: Database, person_id: int, actor: str, reason: str = "") -> None:
    """Open a closed account again."""
    _set_blocked(db, person_id, actor, reason, "unblock")


def _set_blocked(db: Database, person_id: int, actor: str, reason: str, action: str) -> None:
    with db.write() as connection:
        at = db.now(connection) if action == "block" else None
        query = update(people).where(people.c.id == person_id).values(blocked_at=at).returning(people.c.name)
        name = connection.execute(query).scalar_one()
        if action == "block":
            revoke_all(connection, db, person_id, "session", "submit", "link")
        audit.note(connection, db, actor, action, subject=name, reason=reason)


def import_people(db: Database, competition_id: int, text: str, actor: str) -> list[tuple[Person, str]]:
    """Make accounts from CSV text with a column `name` and perhaps `contact`; return each with a one-time link's token.

    All or none: RequestError `accounts` names the first line that is wrong.
    """
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    if not rows or "name" not in rows[0] or len(rows) > MAX_PEOPLE:
        raise RequestError(
            "accounts", f"give CSV whose first line names a column `name`, with 1 to {MAX_PEOPLE:,} people"
        )
    made = []
    with db.write() as connection:
        for line, row in enumerate(rows, 2):
            try:
                found = add_person(connection, db, row["name"] or "", contact=row.get("contact") or "")
            except RequestError as error:
                raise RequestError("accounts", f"line {line}: {error.message}") from None
            join(connection, db, competition_id, found.id)
            made.append((found, issue(connection, db, "link", found.id, lifetime=LIFETIMES["invite"], uses=1)))
        audit.note(connection, db, actor, "accounts", competition_id, people=len(made))
    return made
