"""The experiment of manoeuvres in films, as small as it gets: what goes in, and what it leaves behind."""

from pathlib import Path

import numpy as np

from representation.catalog import find_experiment
from representation.data.clips import MANOEUVRES
from representation.experiment import TrainingJob, run_experiment
from representation.paradigms.convolutional.video_experiment import clip_data, last_frame
from representation.registry import load_encoder


def test_a_single_picture_is_the_last_of_the_film() -> None:
    data = clip_data(TrainingJob(Path(), 0.1), "validation", 100, 240)
    assert data["obs"].shape == (24, 4, 88, 32)
    single = last_frame(data)
    assert single["obs"].shape == (24, 1, 88, 32)
    assert np.array_equal(single["obs"][:, 0], data["obs"][:, 3])
    assert single["label"] is data["label"]


def test_it_leaves_figures_a_picture_and_an_encoder(tmp_path: Path) -> None:
    outcome = run_experiment(find_experiment("conv-manoeuvre"), TrainingJob(tmp_path, 0.01, {"epochs": 1}))
    assert set(outcome.metrics[0].baselines) == {"single frame", "majority class"}
    assert all(name in outcome.metrics[0].note for name in MANOEUVRES)
    assert 5_000 < (tmp_path / outcome.plots[0].file).stat().st_size < 60_000
    encoder = load_encoder(tmp_path / outcome.weights[0])
    assert encoder.encode(np.zeros((2, 4, 88, 32), np.uint8)).shape == (2, 64)
