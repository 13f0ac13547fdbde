"""Class list of a competition: the contacts of those who may join. Without a list, an invitation is enough.

Nothing proves that a contact is the joiner's own; each is used once, so that the organiser hears of a wrong one.
"""

import csv
import io

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from deeptraffic.competition.models import ListedContact, Member, Person
from deeptraffic.competition.names import visible
from deeptraffic.competition.store import audit
from deeptraffic.competition.store.database import Database, changed_rows
from deeptraffic.competition.store.errors import RequestError

MAX_CONTACT, MAX_CONTACTS = 200, 20_000
UNLISTED = (
    "this contact is not on the competition's class list, or somebody has joined with it; write it as your organiser "
    "knows it, or ask there"
)


def fold(contact: str) -> str:
    """Return what contacts that differ in case or spaces alone have in common."""
    return "".join(contact.casefold().split())[:MAX_CONTACT]


def read_contacts(text: str) -> list[str]:
    """Return the contacts in a text: one per line, or the column `contact` of CSV; RequestError `class_list`."""
    rows = [row for row in read_csv(text) if any(cell.strip() for cell in row)]
    column = 0
    if rows and "contact" in (head := [cell.strip().casefold() for cell in rows[0]]):
        column, rows = head.index("contact"), rows[1:]
    contacts: dict[str, str] = {}
    for line, row in enumerate(rows, 1):
        contact = visible(row[column]) if column < len(row) else ""
        if not fold(contact) or len(contact) > MAX_CONTACT:
            raise RequestError(
                "class_list", f"entry {line} of the list has no contact of 1 to {MAX_CONTACT} characters"
            )
        contacts.setdefault(fold(contact), contact)
    if len(contacts) > MAX_CONTACTS:
        raise RequestError("class_list", f"a class list has at most {MAX_CONTACTS:,} contacts, got {len(contacts):,}")
    return list(contacts.values())


def read_csv(text: str) -> list[list[str]]:
    """Return the rows of CSV text; RequestError `csv`."""
    try:
        return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
    except csv.Error as error:
        raise RequestError("csv", f"the text is not CSV ({error}); write one row per line") from None


def replace(db: Database, competition_id: int, text: str, actor: str) -> int:
    """Replace the list by the contacts in a text, none for no list; return how many. Who has joined stays a member."""
    contacts = {fold(contact): contact for contact in read_contacts(text)}
    with db.write() as session:
        mine = ListedContact.competition_id == competition_id
        kept = {row.folded: row for row in session.scalars(select(ListedContact).where(mine))}
        gone = set(kept) - set(contacts)
        for row in kept.values():
            if row.folded in gone:
                session.delete(row)
            else:
                row.contact = contacts[row.folded]
        new = [ListedContact(competition_id, folded, contacts[folded]) for folded in contacts if folded not in kept]
        session.add_all(new)
        session.flush()
        theirs = select(Person).join(Member, Member.person_id == Person.id)
        for person in session.scalars(theirs.where(Member.competition_id == competition_id, Person.contact != "")):
            link(session, competition_id, person)
        audit.note(
            session, db, actor, "class list", competition_id, contacts=len(contacts), added=len(new), removed=len(gone)
        )
    return len(contacts)


def contacts_of(db: Database, competition_id: int) -> list[ListedContact]:
    """Return the list, in alphabetical order."""
    query = select(ListedContact).where(ListedContact.competition_id == competition_id)
    with db.read() as session:
        return list(session.scalars(query.order_by(ListedContact.folded)))


def is_set(db: Database, competition_id: int) -> bool:
    """Return whether joining takes a contact on the list."""
    with db.read() as session:
        return _is_set(session, competition_id)


def _is_set(session: Session, competition_id: int) -> bool:
    query = select(ListedContact.folded).where(ListedContact.competition_id == competition_id).limit(1)
    return session.execute(query).first() is not None


def claim(session: Session, competition_id: int, person: Person, contact: str) -> None:
    """Let a person join by a contact, given or of the account; RequestError `class_list` if it is not on the list."""
    if not _is_set(session, competition_id):
        return
    given = visible(contact) or person.contact
    if not _take(session, competition_id, person, given):
        raise RequestError("class_list", UNLISTED)
    if not person.contact:
        person.contact = given[:MAX_CONTACT]


def link(session: Session, competition_id: int, person: Person) -> None:
    """Note that the organiser's member has a contact on the list, if it is on it."""
    if person.contact:
        _take(session, competition_id, person, person.contact)


def _take(session: Session, competition_id: int, person: Person, contact: str) -> bool:
    """Take a contact of the list that is free; of two people at the same time, one succeeds."""
    free = (ListedContact.folded == fold(contact), ListedContact.person_id.is_(None))
    taken = update(ListedContact).where(ListedContact.competition_id == competition_id, *free)
    return bool(fold(contact)) and changed_rows(session, taken.values(person_id=person.id)) == 1


def forget(session: Session, person: Person) -> None:
    """Remove a person's contact, and those by which the person joined."""
    theirs = (ListedContact.person_id == person.id, ListedContact.folded == fold(person.contact))
    session.execute(delete(ListedContact).where(or_(*theirs)))


def count_free(db: Database, competition_id: int) -> tuple[int, int]:
    """Return how many contacts the list has, and with how many of them nobody has joined."""
    query = select(func.count(), func.count().filter(ListedContact.person_id.is_(None)))
    with db.read() as session:
        row = session.execute(query.where(ListedContact.competition_id == competition_id)).one()
        return row[0], row[1]
