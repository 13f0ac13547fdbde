"""The file of many scores keeps every whole line, mends a cut one, and mixes no two evaluations."""

from dataclasses import replace
from pathlib import Path

import pytest

from deeptraffic.evaluation.batch import Plan, score_policy
from deeptraffic.evaluation.scores_file import HEADER, Line, ScoresFile, best_first, from_csv, to_csv
from deeptraffic.policies.builtin import make_builtin

PLAN = Plan("open", runs=3)


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    names = ("idle", "gap", "accelerate")
    return [Line.of(f"{name}.js", f"hash of {name}", score_policy(make_builtin(name), PLAN)) for name in names]


def test_lines_come_back_to_the_last_bit(lines: list[Line]) -> None:
    odd = replace(lines[0], policy='a "name", with commas', score=0.1 + 0.2)
    assert from_csv(to_csv([odd, *lines]), Path("x")) == [odd, *lines]


def test_line_says_what_the_score_says(lines: list[Line]) -> None:
    score = score_policy(make_builtin("gap"), PLAN)
    gap = lines[1]
    assert (gap.low, gap.high) == score.median_interval
    assert (gap.score, gap.passed, gap.seed_set, gap.runs) == (score.score, score.run_passed.sum(), "tuning", 3)
    official = Line.of("x", "y", replace(score, protocol="official", seed_set=None))
    assert (official.low, official.high, official.seed_set) == (*score.mean_interval, "")


def test_interrupted_file_is_read_again_and_sorted_in_the_end(lines: list[Line], tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    with pytest.raises(KeyboardInterrupt), ScoresFile(path).opened(PLAN) as file:
        file.add(lines[0])
        assert from_csv(path.read_text(), path) == [lines[0]]  # at once
        raise KeyboardInterrupt
    with ScoresFile(path).opened(PLAN) as file:
        assert file.lines == {lines[0].sha256: lines[0]}
        file.add(lines[1])
    assert from_csv(path.read_text(), path) == best_first([lines[0], lines[1]])
    assert best_first(lines)[0] == lines[1]


def test_line_cut_by_a_kill_is_forgotten_and_the_next_one_whole(lines: list[Line], tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(to_csv([lines[0]]) + to_csv([lines[1]], header=False)[:-20])
    with ScoresFile(path).opened(PLAN) as file:
        assert list(file.lines) == [lines[0].sha256]
        file.add(lines[2])
        assert from_csv(path.read_text(), path) == [lines[0], lines[2]]


def test_header_cut_by_a_kill_is_written_anew(lines: list[Line], tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("file,sha2")
    with ScoresFile(path).opened(PLAN) as file:
        file.add(lines[0])
    assert from_csv(path.read_text(), path) == [lines[0]]


@pytest.mark.parametrize(
    "other",
    [
        Plan(),
        replace(PLAN, runs=4),
        replace(PLAN, seed_set="reporting"),
        replace(PLAN, rules=2017),
        replace(PLAN, other_agents=1),
    ],
)
def test_scores_of_another_evaluation_are_refused(lines: list[Line], tmp_path: Path, other: Plan) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(to_csv(lines))
    with pytest.raises(ValueError, match="another evaluation"), ScoresFile(path).opened(other):
        pass
    assert path.read_text() == to_csv(lines)
    with ScoresFile(path).opened(replace(PLAN, rules=2018, other_agents=0)):
        pass


def test_files_of_something_else_are_refused(lines: list[Line], tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("name,score\ngap,73\n")
    with pytest.raises(ValueError, match="no file of scores"), ScoresFile(path).opened(PLAN):
        pass
    path.write_text(",".join(HEADER) + "\n" + to_csv([lines[0]], header=False).replace("2018", "long ago"))
    with pytest.raises(ValueError, match="line 2"), ScoresFile(path).opened(PLAN):
        pass
    with pytest.raises(ValueError, match="does not exist"), ScoresFile(tmp_path / "no" / "x.csv").opened(PLAN):
        pass


def test_two_processes_do_not_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    with (
        ScoresFile(path).opened(PLAN),
        pytest.raises(RuntimeError, match="another process"),
        ScoresFile(path).opened(PLAN),
    ):
        pass


def test_lines_without_a_file_stay_in_memory(lines: list[Line]) -> None:
    with ScoresFile(None).opened(PLAN) as file:
        file.add(lines[0])
    assert list(file.lines.values()) == [lines[0]]
