"""Experiments of GANs for pictures, small: frames in styles, sensor noise, what is made before, what is left behind."""

from pathlib import Path

import numpy as np
import pytest

from representation.catalog import find_experiment
from representation.data.labels import scene_class
from representation.experiment import Experiment, ExperimentResult, TrainingJob, run_experiment
from representation.paradigms.gan.frames_experiment import (
    STYLES,
    draw_scores,
    frame_data,
    frames_by_condition,
    made_before,
    some_states,
)
from representation.paradigms.gan.pix2pix import load_pix2pix
from representation.registry import load_encoder


def test_frames_carry_what_they_show() -> None:
    data = frame_data(TrainingJob(Path(), 0.1), "validation", 720, seed=1)
    assert data.frames.shape == (72, 3, 64, 32)
    assert data.maps.shape == (72, 64, 32)
    assert set(np.unique(data.style)) <= set(range(len(STYLES)))
    np.testing.assert_array_equal(data.label, scene_class(data.rules, data.states))
    night = data.frames[data.style == STYLES.index("night")].mean()
    assert night < data.frames[data.style == STYLES.index("concrete")].mean()


def test_test_frames_are_of_styles_that_training_has_not_seen_and_noisy_on_request() -> None:
    rules, states = some_states(TrainingJob(Path(), 0.1), "test", 720)
    frames = frames_by_condition(rules, states)
    unseen, noisy = frames["unseen styles"], frames["unseen styles, noise"]
    assert unseen.shape == noisy.shape == (72, 3, 64, 32)
    assert 15 < (noisy.astype(float) - unseen).std() < 31  # clipped at black and white


class Maker(Experiment):
    name, paradigm = "maker", "beyond"
    summary, source = "Makes a file.", "none"

    def run(self, job: TrainingJob) -> ExperimentResult:
        (job.folder / "weights").write_text(str(job.scale))
        return ExperimentResult([])


def test_what_another_experiment_makes_is_made_once_beside_it(tmp_path: Path) -> None:
    job = TrainingJob(tmp_path / "mine", 0.5)
    path = made_before(job, Maker(), "weights")
    assert path == tmp_path / "maker" / "weights"
    path.write_text("kept")
    assert made_before(job, Maker(), "weights").read_text() == "kept"


def test_scores_are_drawn_small(tmp_path: Path) -> None:
    part = {"clean": {"a": [0.5, 0.6], "b": [0.7, 0.8]}, "noise": {"a": [0.1, 0.2], "b": [0.3, 0.4]}}
    draw_scores(tmp_path / "scores.png", {"frames": part, "grids": part})
    assert (tmp_path / "scores.png").stat().st_size < 60_000


@pytest.mark.slow
def test_the_experiments_leave_figures_pictures_and_weights(tmp_path: Path) -> None:
    for name in ("pix2pix", "gan-perception"):
        outcome = run_experiment(find_experiment(name), TrainingJob(tmp_path / name, 0.05))
        assert all(np.isfinite(metric.value) and metric.baselines for metric in outcome.metrics)
        for plot in outcome.plots:
            assert (tmp_path / name / plot.file).stat().st_size < 60_000
    assert load_pix2pix(tmp_path / "pix2pix" / "pix2pix.safetensors").styles == len(STYLES)
    assert load_encoder(tmp_path / "gan-perception" / "encoder.safetensors").name == "conv"
    assert load_encoder(tmp_path / "gan-perception" / "discriminator.safetensors").observed is not None
