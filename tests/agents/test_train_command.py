"""What is typed, and what a resumed run keeps of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from agents.config import TrainConfig
from agents.run import RunFolder
from agents.train_command import to_json, train_command

TINY = ["num_envs=8", "n_steps=4", "batch_size=32", "total_timesteps=64", "evaluation_runs=2", "hidden=[8]"]


def test_typed_settings_reach_the_run_and_a_bare_command_resumes_it(tmp_path: Path, quiet: Console) -> None:
    output = tmp_path / "run"
    result = train_command(
        "ppo", settings=TINY, observation="vector", other_agents=1, seed=9, output=output, console=quiet
    )
    config = RunFolder(output).config()
    assert (config.observation.kind, config.road.other_agents, config.seed, config.agent.hidden) == (
        "vector",
        1,
        9,
        (8,),
    )
    assert to_json(result)["decisions"] == 64
    longer = train_command("ppo", settings=["total_timesteps=96"], output=output, console=quiet)
    assert longer.decisions == 96 and RunFolder(output).config().seed == 9


def test_a_resumed_run_refuses_other_settings_and_other_algorithms(tmp_path: Path, quiet: Console) -> None:
    train_command("ppo", settings=TINY, output=tmp_path, console=quiet)
    with pytest.raises(ValueError, match="agent.gamma was 0.92, now 0.1"):
        train_command("ppo", settings=["gamma=0.1"], output=tmp_path, console=quiet)
    with pytest.raises(ValueError, match="trains ppo, not dqn"):
        train_command("dqn", output=tmp_path, console=quiet)
    with pytest.raises(ValueError, match="other settings"):
        train_command("ppo", preset="demo", output=tmp_path, console=quiet)


def test_without_a_folder_a_new_one_is_made_under_runs(
    tmp_path: Path, quiet: Console, monkeypatch: pytest.MonkeyPatch, small_config: Callable[..., TrainConfig]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = train_command("ppo", settings=TINY, console=quiet)
    assert result.folder.parent == Path("runs") and result.folder.name.startswith("ppo-")
