"""Experiments of autoencoders and of what comes after them: small runs leave metrics, pictures and files behind."""

from pathlib import Path

import pytest

from representation.experiment import RESULT, Experiment, ExperimentResult, TrainingJob, run_experiment
from representation.paradigms.autoencoder.experiment import AutoencoderExperiment, Denoising, Variational
from representation.probe import observed_by
from representation.registry import load_encoder


def run(experiment: Experiment, folder: Path, scale: float = 0.008) -> ExperimentResult:
    """Run a experiment on very little, and check what every experiment leaves."""
    outcome = run_experiment(experiment, TrainingJob(folder, scale))
    assert (folder / RESULT).exists()
    for plot in outcome.plots:
        assert (folder / plot.file).read_bytes().startswith(b"\x89PNG")
        assert (folder / plot.file).stat().st_size < 160_000
    if not isinstance(experiment, Denoising):
        assert observed_by(load_encoder(folder / outcome.weights[0]))
    return outcome


@pytest.mark.parametrize(
    ("experiment", "rivals"),
    [
        (AutoencoderExperiment(), {"PCA"}),
        (Denoising(), {"noisy sensor", "best median filter", "median over time"}),
        (Variational(), {"independent cell frequencies", "the same, given the ego lane"}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_an_autoencoder_is_measured_beside_its_rivals(experiment: Experiment, rivals: set[str], tmp_path: Path) -> None:
    outcome = run(experiment, tmp_path)
    assert set(outcome.metrics[0].baselines) == rivals
