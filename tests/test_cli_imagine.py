"""`deeptraffic imagine`: a picture and figures of a trained world model, as files, sentences and JSON."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from agents.settings import build_config
from agents.trainer import train
from deeptraffic.cli.imagine import imagine
from deeptraffic.cli.terminal import reported
from representation.paradigms.recurrent.scene_model import SceneModel


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world model that was trained for a moment."""
    settings = {"num_envs": 4, "total_timesteps": 64, "evaluation_runs": 0, "learning_starts": 32, "hidden": [8]}
    folder = tmp_path_factory.mktemp("world_model") / "run"
    train(build_config("world_model", settings=settings), folder, Console(quiet=True))
    return folder


@pytest.fixture
def call() -> Callable[..., str]:
    """Give a function (arguments) -> what the command prints."""
    app = typer.Typer()
    app.command()(reported(imagine))

    def run_command(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    return run_command


def test_scenes_of_a_generator_are_drawn_by_class(call: Callable[..., str], tmp_path: Path) -> None:
    SceneModel(units=8, width=8).save(tmp_path / "scenes.safetensors")
    printed = call(tmp_path / "scenes.safetensors", "--scene", "boxed in", "--seed", "3")
    assert printed.split() == [str(tmp_path / "imagined.png")]
    assert (tmp_path / "imagined.png").read_bytes().startswith(b"\x89PNG")
    content = json.loads(call(tmp_path / "scenes.safetensors", "--json", "-o", tmp_path / "pictures"))
    assert content["files"] == [str(tmp_path / "pictures" / "imagined.png")]


def test_a_class_that_does_not_exist_and_another_model_are_refused(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(reported(imagine))
    SceneModel(units=8, width=8).save(tmp_path / "scenes.safetensors")
    SceneModel(units=8, width=8, follows=True).save(tmp_path / "traffic.safetensors")
    for arguments, said in (
        (
            ["scenes.safetensors", "--scene", "hilly"],
            "there is no class of scenes 'hilly'; choose one of free, following",
        ),
        (["traffic.safetensors"], "is a model of traffic"),
    ):
        result = CliRunner().invoke(app, [str(tmp_path / arguments[0]), *arguments[1:]])
        assert result.exit_code == 2
        assert said in result.stderr.replace("\n", " ")


def test_it_draws_and_measures(run: Path, call: Callable[..., str], tmp_path: Path) -> None:
    search = ("--runs", 2, "--rollouts", 1, "--depth", 1, "--ahead", 1)
    printed = call(run, *search)
    assert "in true simulator: " in printed and printed.count(" mph (") == 6
    for name in ("imagined.png", "planning.png", "planning.json"):
        assert (run / "evaluation" / name).stat().st_size > 100
    content = json.loads(call(run, *search, "-o", tmp_path / "elsewhere", "--json"))
    assert content["search"] == {"depth": 1, "rollouts": 1, "seed": 0} and len(content["groups"]) == 3
    assert Path(content["files"][1]).read_text() and len(content["files"]) == 3


def test_without_runs_it_only_draws(run: Path, call: Callable[..., str]) -> None:
    assert json.loads(call(run, "--json", "--ahead", 1))["files"] == [str(run / "evaluation" / "imagined.png")]
