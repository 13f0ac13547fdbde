"""Experiments of the feed-forward network, small: what they are given, what they leave behind."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from representation.catalog import find_experiment
from representation.data.recording import RecordingConfig, record
from representation.experiment import ExperimentResult, TrainingJob, run_experiment
from representation.paradigms.feedforward.experiment import STRENGTHS, DenseSpeed, best_linear
from representation.registry import load_encoder

QUICK = {"batch_size": 64, "learning_rate": 3e-3}  # more steps from fewer examples


def small_run(name: str, folder: Path) -> ExperimentResult:
    return run_experiment(find_experiment(name), TrainingJob(folder, 0.1, settings={**QUICK}))


def test_the_speed_ahead_is_that_of_the_five_periods_after_the_observation() -> None:
    data = DenseSpeed().examples(TrainingJob(Path(), 0.05), "validation", 100)
    recording = record(RecordingConfig(split="validation", runs=8))
    assert data["obs"].shape == (8 * 56, 44)
    assert data["target"][56 + 7] == pytest.approx(recording.speeds[1, 7:12].mean(), rel=1e-6)
    # the ego speed stands in the row: speed factor / 2 and following speed / 2, [px/frame], 20 mph each
    assert data["now"] == pytest.approx(20.0 * 4.0 * data["obs"][:, -1] * data["obs"][:, -2], abs=1e-3)


def test_speed_is_foretold_better_than_by_its_baselines(tmp_path: Path) -> None:
    outcome = small_run("dense-speed", tmp_path)
    error = outcome.metrics[0]
    assert error.value < 0.85 * min(error.baselines["the mean"], error.baselines["current speed persists"])
    assert (tmp_path / outcome.plots[0].file).stat().st_size < 160_000
    encoder = load_encoder(tmp_path / outcome.weights[0])
    assert encoder.observed == {"kind": "gaps_ego"}
    assert encoder.encode(np.zeros((2, 44), np.float32)).shape == (2, 64)


def test_scenes_are_named_better_than_by_the_commonest_class(tmp_path: Path) -> None:
    outcome = small_run("dense-scene", tmp_path)
    f1 = outcome.metrics[0]
    assert f1.value > 0.85
    assert f1.baselines["majority class"] < 0.15
    assert (tmp_path / outcome.plots[0].file).stat().st_size < 160_000
    assert load_encoder(tmp_path / outcome.weights[0]).observed == {"kind": "gaps"}


def test_the_linear_baseline_has_the_regularisation_that_is_best_on_validation() -> None:
    random = np.random.default_rng(0)
    few, other = (  # noise: the strongest regularisation is best
        {"obs": random.normal(size=(count, 40)), "target": random.normal(size=count)} for count in (12, 400)
    )
    strongest = make_pipeline(StandardScaler(), Ridge(STRENGTHS[-1])).fit(few["obs"], few["target"])
    assert best_linear([few, other, other], "target") == pytest.approx(strongest.predict(other["obs"]))
