"""Experiments of recurrent networks and of what compares with them, small: what they measure and leave behind."""

from pathlib import Path

import pytest

from representation.catalog import find_experiment
from representation.data.sequences import DEGRADED
from representation.experiment import ExperimentResult, TrainingJob, run_experiment
from representation.paradigms.recurrent.experiment import RecurrentSpeed
from representation.paradigms.recurrent.model import RecurrentEncoder
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["scene-model", "traffic-model", "attention-lanes", "combined-speed", "memory-speed", "capsule-scene"]
)
def test_a_small_run_leaves_metrics_beside_baselines_plots_and_weights(name: str, tmp_path: Path) -> None:
    outcome = small_run(name, tmp_path, 0.04)
    assert outcome.metrics[0].baselines
    assert pictures_are_small(outcome, tmp_path)
    assert all((tmp_path / file).is_file() for file in outcome.weights)
