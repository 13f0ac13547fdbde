"""Experiments of recurrent networks and of what compares with them, small: what they measure and leave behind."""

from pathlib import Path

import numpy as np
import pytest

from representation.catalog import find_experiment
from representation.data.sequences import DEGRADED
from representation.experiment import ExperimentResult, TrainingJob, run_experiment
from representation.paradigms.recurrent.experiment import RecurrentSpeed
from representation.paradigms.recurrent.model import RecurrentEncoder
from representation.paradigms.recurrent.traffic_experiment import ngrams, steadiness
from representation.registry import load_encoder


def small_run(name: str, folder: Path, scale: float, **settings: float) -> ExperimentResult:
    return run_experiment(find_experiment(name), TrainingJob(folder, scale, settings=settings))


def pictures_are_small(outcome: ExperimentResult, folder: Path) -> bool:
    return all(0 < (folder / plot.file).stat().st_size < 160_000 for plot in outcome.plots)


def test_splits_lose_different_frames_of_different_runs() -> None:
    sets = [RecurrentSpeed().examples(TrainingJob(Path(), 0.1), split, 80) for split in ("train", "validation", "test")]
    assert all(part["rows"].shape == (8, 60, DEGRADED.size) for part in sets)
    assert len({part["rows"][..., -1].tobytes() for part in sets}) == 3
    assert len({part["target"].tobytes() for part in sets}) == 3


def test_hidden_speeds_are_told_and_the_encoder_is_left(tmp_path: Path) -> None:
    outcome = small_run("recurrent-speed", tmp_path, 0.04, epochs=2, batch_size=4)
    metric = outcome.metrics[0]
    assert set(metric.baselines) == {"the mean", "MLP, 1 frame", "MLP, 4 frames", "MLP, 12 frames"}
    assert 0 < metric.value < 1.3 * metric.baselines["the mean"]
    assert pictures_are_small(outcome, tmp_path)
    assert isinstance(load_encoder(tmp_path / outcome.weights[0]), RecurrentEncoder)


def test_the_better_n_gram_is_chosen_on_validation() -> None:
    random = np.random.default_rng(0)
    texts = [random.integers(0, 3, (4, 5, 21)) for _ in range(3)]
    found = ngrams(*texts)
    assert set(found) == {"n-gram", "n-gram across scenes"}
    assert all(np.log2(3) - 0.05 < bits < 4.0 for bits in found.values())


def test_steadiness_is_one_where_nothing_moves() -> None:
    cars = np.random.default_rng(0).random((2, 4, 20, 7)) < 0.2
    assert steadiness(cars, cars) == pytest.approx(1.0)
    assert abs(steadiness(cars, cars[:, :, :, ::-1])) < 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["traffic-model", "attention-lanes", "combined-speed", "memory-speed", "capsule-scene"]
)
def test_a_small_run_leaves_metrics_beside_baselines_plots_and_weights(name: str, tmp_path: Path) -> None:
    outcome = small_run(name, tmp_path, 0.04)
    assert outcome.metrics[0].baselines
    assert pictures_are_small(outcome, tmp_path)
    assert all((tmp_path / file).is_file() for file in outcome.weights)
