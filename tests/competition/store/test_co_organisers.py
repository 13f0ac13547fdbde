"""Co-organisers: of one competition alone."""

from typing import Any

import pytest

from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.competition.store import accounts, audit, co_organisers, competitions
from deeptraffic.competition.store.errors import RequestError


def test_they_are_added_removed_and_logged_by_name(any_lab: Any) -> None:
    db = any_lab.db
    ana = any_lab.member("Ana")
    co_organisers.add(db, 1, ana.id, "Eve")
    link = co_organisers.add_new(db, 1, "Tutor", "Eve")
    assert [person.name for person in co_organisers.of_competition(db, 1)] == ["Ana", "Tutor"]
    tutor, _ = accounts.follow_link(db, link)
    assert co_organisers.competitions_of(db, tutor.id) == {1}
    with pytest.raises(RequestError, match="already"):
        co_organisers.add(db, 1, ana.id, "Eve")
    co_organisers.remove(db, 1, ana.id, "Eve")
    with pytest.raises(RequestError, match="no co-organiser"):
        co_organisers.remove(db, 1, ana.id, "Eve")
    acts = [(entry.actor, entry.action, entry.subject) for entry in audit.entries(db, 1, 3)]
    assert acts[0] == ("Eve", "remove co-organiser", "Ana")
    assert {act[1:] for act in acts[1:]} == {("add co-organiser", "Tutor"), ("add co-organiser", "Ana")}


def test_they_manage_the_accounts_of_their_own_class_alone(lab: Any) -> None:
    db = lab.db
    other = competitions.create(db, "other", CompetitionConfig(), "Eve")
    ana, bo, tutor, second = (lab.member(name) for name in ("Ana", "Bo", "Tutor", "Second"))
    co_organisers.add(db, 1, tutor.id, "Eve")
    co_organisers.add(db, other.id, second.id, "Eve")
    with db.write() as session:
        chief = accounts.add_person(session, db, "Chief", "organiser")
        outsider = accounts.add_person(session, db, "Outsider")
        competitions.join(session, db, other.id, bo.id)
        competitions.join(session, db, other.id, outsider.id)
    allowed = {p.name for p in (ana, bo, tutor, second, chief, outsider) if co_organisers.may_manage(db, tutor, p)}
    assert allowed == {"Ana"}  # the others are in another class as well, or organise something
    assert all(co_organisers.may_manage(db, chief, person) for person in (ana, bo, tutor, outsider))
