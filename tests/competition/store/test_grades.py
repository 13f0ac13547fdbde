"""The grade sheet: everybody, and nothing in it that a spreadsheet would run."""

import csv
import io
from typing import Any

import pytest

from deeptraffic.competition.store import accounts, audit, class_list, finals, grades, organise
from deeptraffic.competition.store.board import csv_text


def test_it_has_everybody_who_takes_part_or_is_on_the_list(any_lab: Any) -> None:
    lab = any_lab
    people = [person for person, _ in accounts.import_people(lab.db, 1, "name,contact\nAda,ada@x\nBo,bo@x\nCy,", "Eve")]
    class_list.replace(lab.db, 1, "ada@x\nbo@x\nzoe@x", "Eve")
    lab.scored(people[0], "a", 70.0)
    lab.scored(people[0], "a2", 65.0)
    lab.scored(people[1], "b", 72.0)
    organise.add_baseline(lab.db, 1, "Base", lab.upload("base"), "Eve")
    organise.disqualify_member(lab.db, 1, people[1].id, "Eve", "copied")
    rows = list(csv.DictReader(io.StringIO(grades.grades_csv(lab.db, 1, "Eve"))))
    assert [(r["contact"], r["name"], r["score"], r["rank"], r["entries"], r["late"], r["state"]) for r in rows] == [
        ("ada@x", "Ada", "70.00", "1", "2", "no", "takes part"),
        ("bo@x", "Bo", "", "", "1", "", "disqualified"),
        ("", "Cy", "", "", "0", "", "takes part"),
        ("zoe@x", "", "", "", "0", "", "has not joined"),
    ]
    assert (audit.entries(lab.db)[0].actor, audit.entries(lab.db)[0].action) == ("Eve", "grades")


def test_scores_are_those_of_the_final_once_it_is_revealed(lab: Any) -> None:
    lab.scored(lab.member("Ana"), "a", 70.0)
    finals.begin(lab.db, 1, "Eve")
    lab.work()
    assert grades.read_grades(lab.db, 1)[0].score == 70.0
    finals.reveal(lab.db, 1, "Eve")
    assert grades.read_grades(lab.db, 1)[0].score == 30.0


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\u00a0=1", "\r=1", "\uff1d1"])
def test_no_cell_begins_a_formula(text: str) -> None:
    [row] = list(csv.reader(io.StringIO(csv_text(["a"], [[text]]), newline="")))[1:]
    assert row == ["'" + text]
