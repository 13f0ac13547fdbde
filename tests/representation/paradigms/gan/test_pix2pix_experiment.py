"""Experiment on label maps rendered as frames, small: what goes in, and what it leaves behind."""

from pathlib import Path

import numpy as np
import pytest

from representation.catalog import find_experiment
from representation.experiment import TrainingJob, run_experiment
from representation.paradigms.gan.pix2pix import load_pix2pix
from representation.paradigms.gan.pix2pix_experiment import STYLES, frame_data


def test_frames_carry_their_label_maps_styles_and_runs() -> None:
    data = frame_data(TrainingJob(Path(), 0.1), "validation", 720, seed=1)
    assert data.frames.shape == (72, 3, 64, 32)
    assert data.maps.shape == (72, 64, 32)
    assert set(np.unique(data.style)) <= set(range(len(STYLES)))
    assert np.bincount(data.run).tolist() == [6] * 12
    night = data.frames[data.style == STYLES.index("night")].mean()
    assert night < data.frames[data.style == STYLES.index("concrete")].mean()


@pytest.mark.slow
def test_the_experiment_leaves_metrics_a_plot_and_weights(tmp_path: Path) -> None:
    outcome = run_experiment(find_experiment("pix2pix"), TrainingJob(tmp_path, 0.05))
    assert all(metric.baselines for metric in outcome.metrics)
    assert (tmp_path / outcome.plots[0].file).stat().st_size < 160_000
    assert load_pix2pix(tmp_path / "pix2pix.safetensors").styles == len(STYLES)
