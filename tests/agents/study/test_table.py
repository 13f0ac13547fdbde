from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.study.table import StudyTable, read_tables, table_content


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(table_content([{"study": "s", "algorithm": "pqn", "failure": "", **row} for row in rows]))
    return path


def test_a_table_reads_as_it_was_written(tmp_path: Path) -> None:
    rows = [
        {"number": 0, "state": "complete", "score": 66.12345, "gamma": 0.9, "kind": "gaps"},
        {"number": 1, "state": "failed", "failure": 'it said "no", twice', "batch_size": 64},
    ]
    table = read_tables([write(tmp_path / "study.csv", rows), tmp_path])
    assert len(table) == 4 and table.texts("failure")[3] == 'it said "no", twice'
    assert table.texts("kind") == ["gaps", "", "gaps", ""]
    np.testing.assert_allclose(table.numbers("score"), [66.1234, np.nan, 66.1234, np.nan], atol=1e-4)
    assert table.complete().texts("number") == ["0", "0"]


def test_settings_that_differ_are_told_from_results(tmp_path: Path) -> None:
    rows = [{"number": n, "state": "complete", "score": 60 + n, "gamma": 0.5 + n, "lanes_side": 1} for n in range(2)]
    assert read_tables([write(tmp_path / "t.csv", rows)]).varied() == ["gamma"]


def test_studies_keep_their_order(tmp_path: Path) -> None:
    rows = [{"number": n, "state": "complete", "study": name} for n, name in enumerate("bab")]
    studies = read_tables([write(tmp_path / "t.csv", rows)]).studies()
    assert {name: study.texts("number") for name, study in studies.items()} == {"b": ["0", "2"], "a": ["1"]}


def test_text_is_no_number() -> None:
    table = StudyTable(({"kind": "gaps"}, {"kind": "vector"}))
    assert not table.is_numeric("kind")
    with pytest.raises(ValueError, match="column 'kind' has text that is no number"):
        table.numbers("kind")


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no study in .*nowhere"):
        read_tables([tmp_path / "nowhere"])
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="is no table of a sweep"):
        read_tables([tmp_path / "other.csv"])
