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
    PooledMetric,
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


def test_a_metric_tells_whether_it_reaches_its_goal() -> None:
    error = Metric("error", 2.0, {"mean": 3.0, "last": 2.5}, "mph", higher_is_better=False, goal=1.9)
    assert error.reaches_goal is False
    assert replace(error, value=1.9).reaches_goal
    assert error.describe() == "error: 2 mph (mean 3; last 2.5, goal 1.9 missed)"
    assert Metric("fraction", 0.5).reaches_goal is None


def pooled(values: list[float], baselines: list[float], higher_is_better: bool = True) -> PooledMetric:
    pairs = zip(values, baselines, strict=True)
    metrics = [Metric("m", own, {"other": other, "worse": -9.0}, "", higher_is_better) for own, other in pairs]
    return PooledMetric.of(dict(enumerate(metrics)))


def test_a_pooled_metric_has_the_interval_of_students_t_over_seeds() -> None:
    metric = pooled([1.0, 2.0, 3.0], [0.0, 1.0, 2.5])
    # t(0.975, 2 degrees of freedom) = 4.3027; sd 1, sqrt(3) values
    assert metric.mean == 2.0
    assert metric.interval == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)
    assert metric.best_baseline == "other"
    assert metric.difference is not None
    assert metric.difference[0] == pytest.approx(2.5 / 3)  # of 1, 1, 0.5: paired by seed


def test_a_win_needs_an_interval_of_the_paired_difference_that_excludes_0() -> None:
    assert pooled([1.0, 2.0, 3.0], [0.5, 1.4, 2.5]).wins  # differences 0.5, 0.6, 0.5 although the seeds differ widely
    assert not pooled([1.0, 2.0, 3.0], [0.5, 1.9, 1.0]).wins  # always better, but 0.5, 0.1, 2.0
    assert not pooled([0.5, 1.4, 2.5], [1.0, 2.0, 3.0]).wins  # worse
    assert not pooled([1.0], [0.5]).wins  # one seed shows nothing
    assert pooled([1.0], [0.5]).interval is None


def test_of_errors_the_lowest_baseline_is_the_best_and_lower_wins() -> None:
    metric = pooled([-9.5, -9.6, -9.5], [0.0, 0.0, 0.0], higher_is_better=False)
    assert metric.best_baseline == "worse"
    assert metric.wins


def test_seeds_that_measured_different_things_are_not_pooled() -> None:
    with pytest.raises(ValueError, match="measured different things"):
        PooledMetric.of({0: Metric("a", 1.0, {"x": 1.0}), 1: Metric("a", 1.0, {"y": 1.0})})


def test_a_seed_has_its_own_weights_shuffling_and_runs(tmp_path: Path) -> None:
    jobs = [TrainingJob(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    runs = [set(job.record(split, 8, decisions=1).config.seeds) for job in jobs for split in ("train", "test")]
    assert runs[0] == runs[2] and not runs[0] & runs[4] and not runs[1] & runs[5]
    data = {"obs": np.random.default_rng(0).random((64, 2), np.float32), "target": np.ones(64, np.float32)}
    digests = []
    for job in jobs:
        model = job.new(lambda: Regressor(make_encoder("dense", spaces.Box(0, 1, (2,), np.float32), 4)))
        before = model.encoder.digest()
        job.fit("line", model, data, data, FitConfig(epochs=1, batch_size=16))
        digests.append((before, model.encoder.digest()))
    assert digests[0] == digests[1]
    assert digests[0][0] != digests[2][0] and digests[0][1] != digests[2][1]


def test_the_best_of_three_learning_rates_in_short_trials_is_taken(tmp_path: Path) -> None:
    data = {"obs": np.random.default_rng(0).random((64, 2), np.float32), "target": np.ones(64, np.float32)}
    config = FitConfig(epochs=8, batch_size=16, learning_rate=1e-3, learning_rate_end=1e-3)

    def make() -> Regressor:
        return Regressor(make_encoder("dense", spaces.Box(0, 1, (2,), np.float32), 4))

    model, result = TrainingJob(tmp_path / "tuned").tune("line", make, data, data, config)
    trials = {}
    for factor in (1 / 3, 1.0, 3.0):
        rated = replace(config, learning_rate=1e-3 * factor, learning_rate_end=1e-3 * factor)
        trial = TrainingJob(tmp_path / f"{factor}")
        trials[factor] = trial.fit("line", trial.new(make), data, data, replace(rated, epochs=2)).validation_loss
        trained = trial.new(make)
        trial.fit("full", trained, data, data, rated)
        if factor == 3.0:
            assert trained.encoder.digest() == model.encoder.digest()
    assert min(trials, key=lambda factor: trials[factor]) == 3.0
    assert result.epochs == 8


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
    result = TrainingJob(tmp_path, 0.1, settings=settings).fit("line", model, data, data, FitConfig(epochs=20))
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
    with pytest.raises(ValueError, match=r"seed must be an integer in \[0, 98\], got 99"):
        pretrain("coin", seed=99)
