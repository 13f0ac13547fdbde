"""Experiments: metrics beside their baselines, folders that remember, and the catalogue."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

from deeptraffic.settings import Settings
from representation import catalog
from representation.catalog import EXPERIMENTS, PARADIGMS, find_experiment, pretrain
from representation.experiment import (
    Experiment,
    ExperimentResult,
    Metric,
    Plot,
    TrainingJob,
    read_result,
    run_experiment,
)
from representation.fit import FitConfig
from representation.registry import make_encoder
from representation.supervised import Regressor


class Coin(Experiment):
    name, paradigm = "coin", "beyond"
    summary, source = "Tosses a coin.", "none"
    runs = 0

    def run(self, job: TrainingJob) -> ExperimentResult:
        Coin.runs += 1
        (job.folder / "coin.png").write_bytes(b"")
        return ExperimentResult(
            [Metric("heads", 0.5, {"tails": 0.4})], [Plot("coin.png", "a coin")], ["coin.safetensors"]
        )


def test_a_figure_knows_what_it_beats() -> None:
    error = Metric("error", 2.0, {"mean": 3.0, "last": 2.5}, "mph", higher_is_better=False, goal=1.9)
    assert error.beats_baselines
    assert error.reaches_goal is False
    assert not replace(error, value=2.5).beats_baselines
    assert replace(error, value=1.9).reaches_goal
    assert error.describe() == "error: 2 mph (mean 3; last 2.5, goal 1.9 missed)"
    assert Metric("fraction", 0.5).reaches_goal is None


def test_a_finished_experiment_is_not_run_again_and_another_is_refused(tmp_path: Path) -> None:
    Coin.runs = 0
    first, again = (run_experiment(Coin(), TrainingJob(tmp_path)) for _ in range(2))
    assert first == again
    assert Coin.runs == 1
    with pytest.raises(ValueError, match=r"holds the result of .*'scale': 1\.0.*, not of .*'scale': 0\.5"):
        run_experiment(Coin(), TrainingJob(tmp_path, scale=0.5))
    outcome, content = read_result(tmp_path / "result.json")
    assert outcome == first
    assert content["versions"]["torch"]


@pytest.mark.parametrize(("settings", "epochs"), [({}, 2), ({"epochs": 3}, 3)], ids=["scaled", "asked"])
def test_epochs_are_scaled_unless_a_number_is_asked_for(settings: Settings, epochs: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Regressor(make_encoder("dense", spaces.Box(0, 1, (2,), np.float32), 4))
    data = {"obs": np.ones((8, 2), np.float32), "target": np.ones(8, np.float32)}
    result = TrainingJob(tmp_path, 0.1, settings).fit("line", model, data, data, FitConfig(epochs=20))
    assert result.epochs == epochs


def test_time_of_earlier_sessions_is_counted(tmp_path: Path) -> None:
    data = {"obs": np.ones((8, 2), np.float32), "target": np.ones(8, np.float32)}
    sessions, results = [TrainingJob(tmp_path), TrainingJob(tmp_path)], []
    for job in sessions:
        model = Regressor(make_encoder("dense", spaces.Box(0, 1, (2,), np.float32), 4))
        results.append(job.fit("line", model, data, data, FitConfig(epochs=2)))
    assert sessions[0].earlier == (0.0, 0.0)
    assert 0.0 < sessions[1].earlier[0] < results[1].seconds
    assert 0.0 < sessions[1].earlier[1] < results[1].cpu_seconds


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_in_the_catalogue_is_described(name: str) -> None:
    experiment = find_experiment(name)
    assert experiment.name == name
    assert experiment.paradigm in PARADIGMS
    assert experiment.summary.endswith(".")
    assert experiment.source


def test_experiments_that_do_not_exist_and_impossible_scales_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "EXPERIMENTS", {"coin": f"{__name__}:Coin"})
    with pytest.raises(ValueError, match="there is no experiment 'dice'; choose one of coin"):
        pretrain("dice")
    with pytest.raises(ValueError, match=r"scale must be in \(0, 10\], got 0"):
        pretrain("coin", scale=0)
