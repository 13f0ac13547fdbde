"""Teams: founded, joined, left; one quota, one row of the board, one entry of the final."""

from typing import Any

import pytest

from deeptraffic.competition.store import board, finals, grades, organise, submissions, teams
from deeptraffic.competition.store.errors import RequestError


@pytest.fixture
def pair(any_lab: Any) -> Any:
    """Ana and Bo in one team, Cy alone."""
    any_lab.change(team_size=2)
    people = [any_lab.member(name) for name in ("Ana", "Bo", "Cy")]
    team = teams.found_team(any_lab.db, 1, people[0].id, "The Pair")
    teams.join_team(any_lab.db, 1, people[1].id, f" {team.code} ")
    return any_lab, *people, team


def code_of(call: Any, *arguments: Any) -> str:
    with pytest.raises(RequestError) as found:
        call(*arguments)
    return found.value.code


def test_a_team_takes_so_many_people_and_each_is_in_one(pair: Any) -> None:
    lab, ana, bo, cy, team = pair
    [found] = teams.teams_of(lab.db, 1)
    assert (found.team.name, [person.name for person in found.people]) == ("The Pair", ["Ana", "Bo"])
    assert code_of(teams.join_team, lab.db, 1, cy.id, team.code) == "team"  # it is full
    assert code_of(teams.join_team, lab.db, 1, cy.id, "wrong") == "team"
    assert code_of(teams.found_team, lab.db, 1, ana.id, "Another") == "team"
    assert code_of(teams.found_team, lab.db, 1, cy.id, "the pa1r".replace("1", "i")) == "name_taken"
    teams.leave_team(lab.db, 1, bo.id)
    teams.join_team(lab.db, 1, cy.id, team.code)
    for person in (ana, cy):
        teams.leave_team(lab.db, 1, person.id)
    assert teams.teams_of(lab.db, 1) == []  # the last one ends it


def test_the_team_stays_as_it_is_after_a_submission_unless_the_organiser_changes_it(pair: Any) -> None:
    lab, ana, bo, cy, team = pair
    lab.submit(ana, "a")
    assert code_of(teams.leave_team, lab.db, 1, ana.id) == "team"
    teams.assign(lab.db, 1, ana.id, "", "Eve")
    assert code_of(teams.join_team, lab.db, 1, ana.id, team.code) == "team"
    teams.assign(lab.db, 1, ana.id, "Others", "Eve")
    teams.assign(lab.db, 1, cy.id, "others", "Eve")
    assert [len(one.people) for one in teams.teams_of(lab.db, 1)] == [1, 2]
    assert code_of(teams.assign, lab.db, 1, bo.id, "Others", "Eve") == "team"


def test_a_team_shares_its_quota_and_its_files(pair: Any) -> None:
    lab, ana, bo, cy, _ = pair
    lab.change(daily_limit=2)
    lab.submit(ana, "a")
    assert code_of(lab.submit, bo, "a") == "duplicate"
    lab.submit(bo, "b")
    for person in (ana, bo):
        assert code_of(lab.submit, person, "c") == "quota_day"
        assert submissions.quota(lab.db, 1, person.id)["day"] == 2
    lab.submit(cy, "a")


def test_the_board_has_one_row_for_a_team_with_its_best(pair: Any) -> None:
    lab, ana, bo, cy, team = pair
    for person, name, score in ((ana, "a", 60.0), (bo, "b", 70.0), (cy, "c", 65.0), (ana, "d", 62.0)):
        lab.scored(person, name, score)
    found = board.read_board(lab.db, 1)
    assert [(row.name, row.rank, row.score, row.submissions) for row in found.rows] == [
        ("The Pair", 1, 70.0, 3),
        ("Cy", 2, 65.0, 1),
    ]
    assert found.of(ana.id) == found.of(bo.id) == found.rows[0] and found.ranked == 2
    lab.change(anonymous=True)
    assert board.read_board(lab.db, 1).rows[0].name == team.alias
    assert [(one.name, one.team, one.rank) for one in grades.read_grades(lab.db, 1)] == [
        ("Ana", "The Pair", 1),
        ("Bo", "The Pair", 1),
        ("Cy", "", 2),
    ]


def test_a_reevaluation_tells_the_ranks_of_teams(pair: Any) -> None:
    lab, ana, bo, cy, _ = pair
    for person, name, score in ((ana, "a", 60.0), (bo, "b", 70.0), (cy, "c", 65.0)):
        lab.scored(person, name, score)
    lab.score_of["b"] = 61.0
    batch = organise.begin_reevaluation(lab.db, 1, None, "Eve")
    lab.work()
    [change] = organise.preview_reevaluation(lab.db, batch).changes
    assert (change.name, change.rank_before, change.rank_after) == ("Bo", 1, 2)


def test_a_team_has_one_entry_in_the_final(pair: Any) -> None:
    lab, ana, bo, cy, _ = pair
    made = {}
    for person, name, score in ((ana, "a", 60.0), (bo, "b", 70.0), (cy, "c", 65.0), (ana, "d", 62.0)):
        made[name] = lab.scored(person, name, score)

    def entries() -> list[tuple[str, str]]:
        return [(one.name, one.label) for one in finals.preview(lab.db, 1).entries]

    assert entries() == [("The Pair", "b"), ("Cy", "c")]
    submissions.choose(lab.db, 1, bo.id, made["b"].key)
    submissions.choose(lab.db, 1, ana.id, made["a"].key)  # the team's last choice counts
    assert sorted(entries()) == [("Cy", "c"), ("The Pair", "a")]
    assert finals.begin(lab.db, 1, "Eve") == 2
    lab.work()
    finals.reveal(lab.db, 1, "Eve")
    assert [(row.name, row.score) for row in board.read_board(lab.db, 1, final=True).rows] == [
        ("The Pair", 40.0),
        ("Cy", 35.0),
    ]
    assert code_of(teams.leave_team, lab.db, 1, bo.id) == "final"


def test_there_are_no_teams_where_the_organiser_wants_none(lab: Any) -> None:
    assert code_of(teams.found_team, lab.db, 1, lab.member("Ana").id, "A") == "team"
