"""deepqlearn in a run folder: it trains, resumes and stops as every other algorithm does."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agents.algorithms.deepqlearn.learner import DeepQLearn
from agents.config import TrainConfig
from agents.loader import load_policy
from agents.run import RunFolder, configure
from agents.settings import build_config
from agents.trainer import Trainer, train
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.policies.file import read_policy
from deeptraffic.run_dir import Interrupted

SHORT = {
    "total_timesteps": 2500,
    "checkpoint_every": 1000,
    "evaluation_runs": 4,
    "temporal_window": 1,
    "other_agents": 1,
}
CLOCKS = ("seconds", "cpu_seconds")


def short(**settings: Any) -> TrainConfig:
    return build_config("deepqlearn", "mit-default", settings=SHORT | settings)


def timeless_metrics(folder: Path) -> list[dict[str, Any]]:
    records = RunFolder(folder).metrics()
    return [{name: value for name, value in record.items() if name not in CLOCKS} for record in records]


def test_a_run_folder_holds_the_configuration_the_metrics_and_the_network(tmp_path: Path, quiet: Console) -> None:
    folder = tmp_path / "run"
    result = train(short(), folder, quiet)
    assert json.loads((folder / "config.json").read_text())["algo"] == "deepqlearn"
    assert RunFolder(folder).config() == short()
    metrics = timeless_metrics(folder)
    assert [record["decisions"] for record in metrics] == [1000, 2000, 2500, 2500]
    assert metrics[1].keys() == {"decisions", "train_mph", "loss", "epsilon"}
    policy = load_policy(folder)
    assert policy.label == "deepqlearn run" and (policy.rules, policy.other_agents) == (2018, 1)
    score = evaluate_open(policy, 2018, 1, runs=4)
    assert (result.decisions, result.mean_mph, result.median_mph) == (2500, score.mean_mph, score.median_mph)
    assert metrics[3]["tuning_mean_mph"] == pytest.approx(score.mean_mph, abs=1e-4)


def test_a_stopped_run_resumes_to_what_an_undisturbed_one_is(
    tmp_path: Path, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    undisturbed = train(short(), whole, quiet)
    with monkeypatch.context() as patch:
        advance = DeepQLearn.advance

        def ask_to_stop(self: DeepQLearn, decisions: int) -> None:
            advance(self, decisions)
            if self.decisions == 2000:
                os.kill(os.getpid(), signal.SIGINT)

        patch.setattr(DeepQLearn, "advance", ask_to_stop)
        with pytest.raises(Interrupted, match="stopped after 2,000 of 2,500 decisions"):
            train(short(), stopped, quiet)
    resumed = train(short(), stopped, quiet)
    assert timeless_metrics(whole) == timeless_metrics(stopped)
    assert resumed.mean_mph == undisturbed.mean_mph
    tensors = [read_policy(folder / "best.safetensors").network.tensors for folder in (whole, stopped)]
    assert all((tensors[0][name] == tensors[1][name]).all() for name in tensors[0])


def test_a_killed_run_resumes_from_its_newest_checkpoint(
    tmp_path: Path, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(short(), whole, quiet)
    with monkeypatch.context() as patch:

        def die(self: Trainer, decisions: int) -> None:
            raise KeyboardInterrupt

        patch.setattr(Trainer, "_evaluate", die)  # the metrics of the last block are written, its checkpoint is not
        with pytest.raises(KeyboardInterrupt):
            train(short(), killed, quiet)
    assert timeless_metrics(killed)[-1]["decisions"] == 2500
    assert train(short(), killed, quiet).decisions == 2500
    assert timeless_metrics(whole) == timeless_metrics(killed)


def test_a_finished_run_is_not_trained_again(tmp_path: Path, quiet: Console) -> None:
    first = train(short(), tmp_path / "run", quiet)
    again = train(short(), tmp_path / "run", quiet)
    assert (again.decisions, again.mean_mph) == (2500, first.mean_mph)


def test_a_run_of_other_settings_is_refused(tmp_path: Path, quiet: Console) -> None:
    train(short(total_timesteps=50), tmp_path / "run", quiet)
    with pytest.raises(ValueError, match="agent.gamma was 0.7, now 0.9"):
        train(short(total_timesteps=50, gamma=0.9), tmp_path / "run", quiet)


def test_what_is_typed_wins_and_the_rest_is_the_runs_own(tmp_path: Path, quiet: Console) -> None:
    folder, file = tmp_path / "run", tmp_path / "settings.json"
    file.write_text(json.dumps({"total_timesteps": 70, "gamma": 0.8, "evaluation_runs": 0}))
    train(configure("deepqlearn", folder, "mit-default", file, ["gamma=0.6", "seed=5"]), folder, quiet)
    config = RunFolder(folder).config()
    assert (config.seed, config.total_timesteps, config.observation.temporal_window) == (5, 70, 3)
    assert train(configure("deepqlearn", folder), folder, quiet).decisions == 70
    with pytest.raises(ValueError, match="gamma was 0.6, now 0.5"):
        train(configure("deepqlearn", folder, settings={"gamma": 0.5}), folder, quiet)


def test_a_damaged_checkpoint_is_an_error_that_says_what_to_do(tmp_path: Path, quiet: Console) -> None:
    train(short(total_timesteps=50, evaluation_runs=0), tmp_path, quiet)
    checkpoint = RunFolder(tmp_path).newest_checkpoint()
    assert checkpoint is not None
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    with pytest.raises(ValueError, match="delete it to resume from the one before"):
        train(short(total_timesteps=60, evaluation_runs=0), tmp_path, quiet)


def test_a_folder_without_a_network_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no training run"):
        load_policy(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(short().to_json()))
    with pytest.raises(ValueError, match="has no network yet"):
        load_policy(tmp_path)
