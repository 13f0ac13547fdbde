"""The commands around teams: `others`, `train --stages` and `--init`, `bench --train`."""

import json
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from agents.analysis import train_bench
from agents.analysis.train_bench import TrainingSpeed
from agents.run import RunFolder
from deeptraffic.cli.measure import bench
from deeptraffic.cli.others import others, parse_numbers
from deeptraffic.cli.train import train

SPEED = TrainingSpeed("team_ppo", "deeptraffic", 64, 10, 20_480, 2.0, 1.0)


def run(command: object, *arguments: str) -> str:
    """What a command prints to standard output."""
    app = typer.Typer()
    app.command()(command)  # type: ignore[type-var]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_others_names_the_best_number_and_draws_it(tmp_path: Path) -> None:
    arguments = ("accelerate", "--numbers", "0,10", "--runs", "6")
    told = json.loads(run(others, *arguments, "--json", "-o", str(tmp_path / "best.png")))
    assert told["best"] == 10 and [score["other_agents"] for score in told["scores"]] == [0, 10]
    assert "Best: 10 other agents" in run(others, *arguments)
    with Image.open(tmp_path / "best.png") as picture:
        assert picture.format == "PNG"


def test_numbers_are_read_and_others_are_refused() -> None:
    assert parse_numbers("0, 3,10") == [0, 3, 10]
    with pytest.raises(ValueError, match="'x' in '0,x' is no integer"):
        parse_numbers("0,x")


def test_train_takes_stages_and_a_beginning(tmp_path: Path) -> None:
    tiny = "--set num_envs=4 --set n_steps=4 --set batch_size=8 --set total_timesteps=32 --set evaluation_runs=0"
    run(train, "ppo", *tiny.split(), "--set", "hidden=[4]", "--stages", "0,2", "-o", str(tmp_path / "staged"), "--json")
    last = tmp_path / "staged" / "others-02"
    run(train, "team_ppo", *tiny.split(), "--init", str(last), "--other-agents", "3", "-o", str(tmp_path / "next"))
    config = RunFolder(tmp_path / "next").config()
    assert (config.agent.hidden, config.init, config.road.other_agents) == ((4,), str(last), 3)


def test_bench_train_prints_a_table_or_one_json_object(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def measure(seconds: float) -> list[TrainingSpeed]:
        asked.append(seconds)
        return [SPEED]

    monkeypatch.setattr(train_bench, "measure_training", measure)
    assert "20,480" in run(bench, "--train")
    told = json.loads(run(bench, "--train", "--seconds", "0.5", "--json"))
    assert told["training"][0]["decisions_per_second"] == 10_240.0
    assert asked == [2.0, 0.5]
