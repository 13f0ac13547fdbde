"""Experiments with convolutional networks, small: what goes in, and what they leave behind."""

from pathlib import Path

import numpy as np

from representation.catalog import find_experiment
from representation.data.clips import MANOEUVRES
from representation.data.labels import SCENES
from representation.experiment import TrainingJob, run_experiment
from representation.paradigms.convolutional.experiment import ConvManoeuvre, ConvScene, last_frame, scene_frames
from representation.registry import load_encoder


def test_pictures_and_labels_belong_to_the_same_scenes() -> None:
    job = TrainingJob(Path(), 0.1)
    data, recording = ConvScene().examples(job, "validation", 60), job.record("validation", 60, least=6)
    states = recording.states[:, :-1:3].reshape(-1)
    still = scene_frames(recording.rules, states)
    assert data["obs"].shape == still.shape == (6 * 20, 3, 88, 32)
    assert (data["obs"] != still).any((1, 2, 3)).mean() > 0.9  # the camera shakes
    free = still[data["label"] == SCENES.index("free")]
    boxed_in = still[data["label"] == SCENES.index("boxed in")]
    ahead = np.s_[:, :, 25:50, 13:19]  # the ego lane for 100 px before the ego car, which begins in line 50
    assert boxed_in[ahead].astype(float).std() > 3 * free[ahead].astype(float).std()


def test_it_leaves_figures_pictures_and_an_encoder(tmp_path: Path) -> None:
    outcome = run_experiment(find_experiment("conv-scene"), TrainingJob(tmp_path, 0.01, settings={"epochs": 1}))
    assert set(outcome.metrics[0].baselines) == {"feed-forward", "majority class"}
    for plot in outcome.plots:
        assert 5_000 < (tmp_path / plot.file).stat().st_size < 160_000
    encoder = load_encoder(tmp_path / outcome.weights[0])
    assert encoder.encode(np.zeros((2, 3, 88, 32), np.uint8)).shape == (2, 64)


def test_a_single_frame_is_the_last_of_the_clip() -> None:
    data = ConvManoeuvre().examples(TrainingJob(Path(), 0.1), "validation", 60)
    assert data["obs"].shape == (64, 4, 88, 32)
    single = last_frame(data)
    assert single["obs"].shape == (64, 1, 88, 32)
    assert np.array_equal(single["obs"][:, 0], data["obs"][:, 3])
    assert single["label"] is data["label"]


def test_manoeuvres_leave_metrics_a_plot_and_an_encoder(tmp_path: Path) -> None:
    outcome = run_experiment(find_experiment("conv-manoeuvre"), TrainingJob(tmp_path, 0.01, settings={"epochs": 1}))
    assert set(outcome.metrics[0].baselines) == {"single frame", "majority class"}
    assert all(name in outcome.metrics[0].note for name in MANOEUVRES)
    assert 5_000 < (tmp_path / outcome.plots[0].file).stat().st_size < 160_000
    encoder = load_encoder(tmp_path / outcome.weights[0])
    assert encoder.encode(np.zeros((2, 4, 88, 32), np.uint8)).shape == (2, 64)
