"""A curriculum over the number of other agents."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from agents.config import TrainConfig, build_config
from agents.run import RunFolder
from agents.stages import stage_configs, train_in_stages

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
