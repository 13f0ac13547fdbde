"""Removal of a person's data: nothing of it is left, and the others' scores and ranks are right."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from deeptraffic.competition.models import Base
from deeptraffic.competition.store import accounts, audit, board, co_organisers, organise, queue, removal, teams
from deeptraffic.competition.store.errors import LeaseLost, RequestError
from deeptraffic.competition.store.evaluations import complete

NAME, CONTACT = "Zebedee Q", "zebedee@example.org"


def everything(lab: Any) -> str:
    """All texts of the database."""
    with lab.db.read() as session:
        rows = [session.execute(text(f"SELECT * FROM {table.name}")).all() for table in Base.metadata.sorted_tables]
    return repr(rows)


@pytest.fixture
def person(any_lab: Any) -> Any:
    lab = any_lab
    lab.change(team_size=2)
    [(made, _)] = accounts.import_people(lab.db, 1, f"name,contact\n{NAME},{CONTACT}", "Eve")
    ana = lab.member("Ana")
    teams.found_team(lab.db, 1, made.id, "Zebras")
    co_organisers.add(lab.db, 1, made.id, "Eve")
    lab.scored(made, "zebedee-net", 70.0)
    shared = lab.scored(made, "shared", 66.0)
    lab.scored(ana, "shared", 66.0)
    lab.scored(lab.member("Bo"), "b", 60.0)
    organise.disqualify(lab.db, shared.key, "Eve", f"{NAME} copied; ask {CONTACT}")
    organise.requalify(lab.db, shared.key, "Eve")
    accounts.new_link(lab.db, made.id, NAME)
    return lab, made


def test_nothing_is_left_of_a_person_and_the_ranking_closes_up(person: Any) -> None:
    lab, made = person
    found = removal.preview(lab.db, made.id)
    assert (found.entries, found.files, [count for _, count in found.competitions]) == (2, 1, [2])
    assert [(row.name, row.rank) for row in board.read_board(lab.db, 1).rows] == [("Zebras", 1), ("Ana", 2), ("Bo", 3)]
    parts = removal.remove(lab.db, made.id, "Eve", 1)
    assert len(parts) == 3  # one file of its own, two entries
    left = everything(lab).casefold()
    assert not [word for word in ("zeb", CONTACT, made.key) if word in left]
    after = board.read_board(lab.db, 1)
    assert [(row.name, row.rank, row.score) for row in after.rows] == [("Ana", 1, 66.0), ("Bo", 2, 60.0)]
    entry = audit.entries(lab.db, 1, limit=1)[0]
    assert (entry.actor, entry.action, entry.subject, entry.details) == (
        "Eve",
        "remove data",
        "(removed)",
        {"entries": 2, "files": 1},
    )
    assert "(removed) copied; ask (removed)" in repr([one.details for one in audit.entries(lab.db, 1)])
    lab.scored(lab.member("Cy"), "zebedee-net", 71.0)  # the file can come again


def test_a_job_that_runs_ends_without_a_trace(person: Any) -> None:
    lab, made = person
    lab.submit(made, "another")
    job = queue.lease(lab.db, "test")
    assert job is not None
    removal.remove(lab.db, made.id, "Eve")
    with pytest.raises(LeaseLost):
        complete(lab.db, job, lab.score(job))
    assert queue.lease(lab.db, "test") is None


def test_the_file_of_the_database_holds_nothing_of_it_either(lab: Any, tmp_path: Path) -> None:
    [(made, _)] = accounts.import_people(lab.db, 1, f"name,contact\n{NAME},{CONTACT}", "Eve")
    lab.scored(made, "zebedee-net" * 1000, 70.0)

    def content() -> bytes:
        return b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())

    assert CONTACT.encode() in content() and b"zebedee-net" in content()
    removal.remove(lab.db, made.id, "Eve")
    assert CONTACT.encode() not in content() and b"zebedee-net" not in content()


def test_organisers_and_oneself_stay(lab: Any) -> None:
    accounts.organiser_link(lab.db, "Eve")
    [chief] = accounts.search_people(lab.db, accounts.ORGANISER)[0]
    ana = lab.member("Ana")
    for person, actor in ((chief, "Eve"), (ana, "Ana")):
        with pytest.raises(RequestError) as found:
            removal.remove(lab.db, person.id, actor)
        assert found.value.code == "role"
