"""Export: everything there, nothing private before its time, nothing that a spreadsheet would run."""

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from deeptraffic.competition.store import archive, audit, board, competitions, finals


def opened(lab: Any, path: Path) -> dict[str, bytes]:
    archive.export(lab.db, lab.competition.id, path, "Eve")
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1"])
def test_cells_that_are_formulas_get_an_apostrophe(cell: str) -> None:
    text = board.csv_text(["cell"], [[cell]])
    assert next(csv.DictReader(io.StringIO(text, newline="")))["cell"] == "'" + cell


@pytest.mark.parametrize("cell", ["Ana", "a=b", "1+1", -1.5, 3, None, True, ""])
def test_other_cells_stay_as_they_are(cell: Any) -> None:
    assert board.csv_text(["cell"], [[cell, 0]]) == f"cell\r\n{'' if cell is None else cell},0\r\n"


def test_it_holds_boards_people_submissions_runs_policies_and_the_log(lab: Any, tmp_path: Path) -> None:
    made = lab.scored(lab.member("=Ana"), "a", 70.0)
    lab.scored(lab.member("Bo"), "b", 60.0)
    files = opened(lab, tmp_path / "lab.zip")
    assert set(files) == {
        *("board.csv", "competition.json", "people.csv", "submissions.csv", "audit.csv", "run_scores.json"),
        *(f"policies/{lab.upload(name).sha256}.safetensors" for name in ("a", "b")),
    }
    rows = list(csv.DictReader(io.StringIO(files["board.csv"].decode())))
    assert [(row["rank"], row["name"], row["score"]) for row in rows] == [("1", "'=Ana", "70.0"), ("2", "Bo", "60.0")]
    assert files[f"policies/{made.sha256}.safetensors"] == b"a"
    assert json.loads(files["run_scores.json"])[made.sha256] == [70.0] * 20
    assert "'=Ana" in files["people.csv"].decode() and made.key in files["submissions.csv"].decode()
    assert audit.entries(lab.db)[0].action == "export"


def test_private_seeds_and_results_are_in_it_once_they_are_revealed(lab: Any, tmp_path: Path) -> None:
    lab.scored(lab.member("Ana"), "a", 70.0)
    finals.begin(lab.db, lab.competition.id, "Eve")
    lab.work()
    with lab.db.read() as session:
        seeds = competitions.seeds_of(session, lab.competition.id)
    before = opened(lab, tmp_path / "before.zip")
    assert "final.csv" not in before and str(seeds[0]).encode() not in b"".join(before.values())
    assert b"30.0" not in before["submissions.csv"] + before["board.csv"]
    finals.reveal(lab.db, lab.competition.id, "Eve")
    after = opened(lab, tmp_path / "after.zip")
    assert json.loads(after["competition.json"])["private_seeds"] == list(seeds)
    assert b",30.0," in after["final.csv"]


def test_a_board_is_the_same_in_csv_and_json(lab: Any) -> None:
    lab.scored(lab.member("Ana"), "a", 70.0)
    found = board.read_board(lab.db, lab.competition.id)
    (row,) = csv.DictReader(io.StringIO(board.board_csv(found)))
    assert row == {name: str(value) for name, value in board.record(found.rows[0]).items()}
