"""A curriculum over the number of other agents."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from agents import stages as stages_module
from agents.config import TrainConfig
from agents.run import RunFolder
from agents.settings import build_config
from agents.stages import stage_configs, train_in_stages, train_then
from deeptraffic.cli.app import app
from deeptraffic.run_dir import Interrupted, stop_requests

Config = Callable[..., TrainConfig]


def test_every_stage_goes_on_with_the_network_of_the_one_before(small_config: Config) -> None:
    config = small_config("team_ppo", total_timesteps=300)
    first, second, third = stage_configs(config, (0, 3, 10), "runs/staged")
    assert [stage.road.other_agents for stage in (first, second, third)] == [0, 3, 10]
    assert [stage.total_timesteps for stage in (first, second, third)] == [100, 100, 100]
    assert (first.init, second.init, third.init) == ("", "runs/staged/others-00", "runs/staged/others-03")
    assert (first.agent.critic_warmup, third.agent.critic_warmup) == (0, 5)  # type: ignore[attr-defined]


def test_stages_are_trained_once_each_and_a_stopped_one_goes_on(
    tmp_path: Path, small_config: Config, quiet: Console
) -> None:
    config = small_config("team_ppo", total_timesteps=400, evaluation_runs=2)
    result = train_in_stages(config, (0, 2), tmp_path, quiet)
    assert result.folder == tmp_path / "others-02"
    metrics = RunFolder(tmp_path / "others-00").metrics()
    again = train_in_stages(config, (0, 2), tmp_path, quiet)
    assert (again.decisions, again.best_at, again.mean_mph) == (result.decisions, result.best_at, result.mean_mph)
    assert RunFolder(tmp_path / "others-00").metrics() == metrics


def test_a_request_at_the_end_of_a_stage_stops_the_next_one(
    tmp_path: Path, small_config: Config, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def train_and_signal(config: TrainConfig, folder: Path, console: Console | None) -> None:
        with stop_requests():  # as a trainer that is all but done
            signal.raise_signal(signal.SIGINT)
        trained.append(folder)

    monkeypatch.setattr(stages_module, "train", train_and_signal)
    with pytest.raises(Interrupted, match="before the stage with 2 other agents"):
        train_in_stages(small_config("team_ppo"), (0, 2), tmp_path, quiet)
    with pytest.raises(Interrupted, match="before ppo"):
        train_then(build_config("distil"), "ppo", tmp_path)
    assert trained == [tmp_path / "others-00", tmp_path / "distil"]


def test_stages_are_trained_by_ppo_too(tmp_path: Path, quiet: Console) -> None:
    small = ["num_envs=4", "n_steps=4", "batch_size=8", "total_timesteps=64", "evaluation_runs=0", "hidden=[4]"]
    result = train_in_stages(build_config("ppo", settings=small), (0, 1), tmp_path, quiet)
    assert RunFolder(result.folder).config().road.other_agents == 1


@pytest.mark.parametrize(
    ("algo", "stages", "words"),
    [
        ("a2c", (0, 3), "train ppo or team_ppo or expert_iteration"),
        ("ppo", (3, 3), "different numbers"),
        ("ppo", (), "different numbers"),
    ],
)
def test_impossible_stages_are_refused(small_config: Config, algo: str, stages: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        stage_configs(small_config(algo), stages, "runs/staged")


def test_an_imitation_is_fine_tuned_by_reward(tmp_path: Path, quiet: Console) -> None:
    small = {"num_envs": 8, "max_steps": 9, "total_timesteps": 144, "evaluation_runs": 2, "hidden": [8], "seed": 5}
    config = build_config("distil", settings=small | {"encoder.name": "dense", "encoder.features_dim": 4})
    later = {"num_envs": 4, "n_steps": 4, "batch_size": 8, "total_timesteps": 64, "evaluation_runs": 2, "gamma": 0.9}
    result = train_then(config, "ppo", tmp_path, later, quiet)
    assert (result.folder, result.decisions) == (tmp_path / "ppo", 64)
    found = RunFolder(tmp_path / "ppo").config()
    assert (found.init, found.seed, found.encoder.name) == (str(tmp_path / "distil"), 5, "dense")
    agent = found.agent
    assert (agent.gamma, agent.critic_warmup, agent.hidden) == (0.9, 100_000, (8,))  # type: ignore[attr-defined]
    again = train_then(config, "ppo", tmp_path, later, quiet)
    assert (again.decisions, again.mean_mph) == (result.decisions, result.mean_mph)


def test_what_cannot_follow_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dqn cannot continue from distil; choose one of ppo, team_ppo"):
        train_then(build_config("distil"), "dqn", tmp_path)
    result = CliRunner().invoke(app, ["train", "distil", "--set", "then.gamma=0.9", "-o", str(tmp_path / "run")])
    assert result.exit_code == 2 and "name it by --then" in result.stderr
