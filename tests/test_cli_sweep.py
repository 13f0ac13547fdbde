"""`deeptraffic sweep` and `deeptraffic figures`, as typed."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agents.study.table import table_content
from deeptraffic.cli.app import app

SWEEP = """
algorithm = "deepqlearn"
trials = 2
tuning_runs = 2
reporting_runs = 2
[settings]
total_timesteps = 60
start_learn_threshold = 20
learning_steps_burnin = 10
learning_steps_total = 50
[space]
gamma = { float = [0.5, 0.99] }
"""


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_sweep_prints_its_winner_and_how_to_train_it(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(SWEEP)
    arguments = ("sweep", tmp_path / "tiny.toml", "-o", tmp_path / "s")
    first = run(*arguments, "--json")
    assert first.exit_code == 0, first.output
    result = json.loads(first.stdout)
    assert (result["trials"], result["failed"], result["winner"]["runs"]) == (2, 0, 2)
    again = run(*arguments)
    assert f"Best: trial {result['best']}, {result['score']:.2f} mph on tuning seeds" in again.stdout
    assert "deeptraffic train deepqlearn --config" in again.stdout


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gama = { float = [0.5, 0.9] }", "did you mean 'agent.gamma'"),
        ("batch_size = { int = [1, 99999999] }", "space.batch_size contains 99999999"),
    ],
)
def test_a_space_that_is_impossible_is_bad_input(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "bad.toml").write_text(SWEEP + line)
    result = run("sweep", tmp_path / "bad.toml", "-o", tmp_path / "s")
    assert result.exit_code == 2 and message in result.stderr and not (tmp_path / "s").exists()


def test_impossible_numbers_of_workers_are_bad_input(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(SWEEP)
    result = run("sweep", tmp_path / "tiny.toml", "--workers", 0, "-o", tmp_path / "s")
    assert result.exit_code == 2 and "workers must be an integer in [1, 1024], got 0" in result.stderr


def test_figures_say_what_a_study_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.study.importance.TREES", 2)
    rows = [{"study": "s", "number": n, "state": "complete"} for n in range(20)]
    rows = [{**row, "score": 65 - 5 * (n % 2), "temporal_window": n % 2} for n, row in enumerate(rows)]
    (tmp_path / "study.csv").write_bytes(table_content(rows))
    result = run("figures", tmp_path, "-o", tmp_path / "f", "--json")
    assert result.exit_code == 0, result.output
    (finding,) = json.loads(result.stdout)["findings"]
    assert (finding["effect"]["value"], finding["verdict"], finding["trials"]) == (5.0, "holds", [10, 10])
    assert (tmp_path / "f" / "settings.svg").is_file()
    printed = run("figures", tmp_path, "-o", tmp_path / "f").stdout
    assert "temporal_window" in printed and "holds" in printed


def test_figures_of_no_study_are_bad_input(tmp_path: Path) -> None:
    result = run("figures", tmp_path / "nowhere")
    assert result.exit_code == 2 and "name a sweep's folder or its study.csv" in result.stderr
