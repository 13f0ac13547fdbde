"""The table of runs driven by hand."""

from pathlib import Path

import pytest

from deeptraffic.episodes.high_scores import HandDrivenRun, add_score, load_scores, score_table_path


def run(score: float, other_agents: int = 0, name: str = "a") -> HandDrivenRun:
    return HandDrivenRun(name, score, 3, 2018, other_agents, 1)


def test_places_count_among_runs_of_the_same_game(tmp_path):
    path = tmp_path / "deep" / "runs.json"
    assert add_score(run(60.0), path) == (1, 1)
    assert add_score(run(70.0), path) == (1, 2)
    assert add_score(run(65.0), path) == (2, 3)
    assert add_score(run(50.0, other_agents=10), path) == (1, 1)
    assert [entry.score_mph for entry in load_scores(path)] == [70.0, 65.0, 60.0, 50.0]


def test_a_file_that_is_no_table_is_left_alone(tmp_path):
    path = tmp_path / "runs.json"
    path.write_text("[{}]")
    with pytest.raises(ValueError, match="move it away"):
        add_score(run(1.0), path)
    assert path.read_text() == "[{}]"


def test_the_path_can_be_set_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPTRAFFIC_TABLE", str(tmp_path / "t.json"))
    add_score(run(1.0, name="x" * 500))
    assert score_table_path() == tmp_path / "t.json" and len(load_scores()[0].name) == 60


def test_without_a_setting_the_table_is_in_the_users_data_folder(monkeypatch):
    for name in ("DEEPTRAFFIC_TABLE", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert score_table_path() == Path.home() / ".local" / "share" / "deeptraffic" / "runs.json"
