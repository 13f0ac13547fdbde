"""The experiment of scenes in pictures, as small as it gets: what it leaves behind."""

from pathlib import Path

import numpy as np

from representation.catalog import find_experiment
from representation.data.labels import SCENES
from representation.experiment import TrainingJob, run_experiment
from representation.paradigms.convolutional.experiment import scenes
from representation.registry import load_encoder


def test_pictures_and_labels_belong_to_the_same_scenes() -> None:
    data = scenes(TrainingJob(Path(), 0.1), "validation", 60)
    assert data["obs"].shape == (6 * 20, 3, 88, 32)
    free = data["obs"][data["label"] == SCENES.index("free")]
    boxed_in = data["obs"][data["label"] == SCENES.index("boxed in")]
    ahead = np.s_[:, :, 25:50, 13:19]  # the ego lane for 100 px before the ego car, which begins in line 50
    assert boxed_in[ahead].astype(float).std() > 3 * free[ahead].astype(float).std()


def test_it_leaves_figures_pictures_and_an_encoder(tmp_path: Path) -> None:
    outcome = run_experiment(find_experiment("conv-scene"), TrainingJob(tmp_path, 0.01, {"epochs": 1}))
    assert outcome.metrics[0].goal == 0.97
    assert set(outcome.metrics[0].baselines) == {"feed-forward", "majority class"}
    for plot in outcome.plots:
        assert 5_000 < (tmp_path / plot.file).stat().st_size < 60_000
    encoder = load_encoder(tmp_path / outcome.weights[0])
    assert encoder.encode(np.zeros((2, 3, 88, 32), np.uint8)).shape == (2, 64)
