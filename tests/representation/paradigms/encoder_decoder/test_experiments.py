"""Experiments of encoder-decoders: their baselines are what they are called, and each leaves what it promises."""

from pathlib import Path

import numpy as np
import pytest

from representation.catalog import find_experiment
from representation.data.captions import sentence
from representation.data.recording import Recording
from representation.experiment import TrainingJob
from representation.paradigms.encoder_decoder.caption_experiment import most_frequent, nearest, scenes
from representation.paradigms.encoder_decoder.forecast_experiment import filled
from representation.paradigms.encoder_decoder.segmentation_experiment import PixelTree, framed, joined

PROMISED = {
    "segmentation": [
        "mIoU, clean frames",
        "mIoU, unseen styles",
        "IoU of ego, clean frames",
    ],
    "grid-predictor": [
        "IoU of the next grid's occupied cells",
        "cross-entropy of occupancy",
        "RMSE of speeds in the next grid",
    ],
    "captioner": ["exact match of sentences", "slot F1, all"],
}


@pytest.mark.parametrize("name", PROMISED)
def test_a_experiment_leaves_its_figures_pictures_and_weights(name: str, tmp_path: Path) -> None:
    outcome = find_experiment(name).run(TrainingJob(tmp_path, scale=0.03))
    metrics = {metric.name: metric for metric in outcome.metrics}
    for promised in PROMISED[name]:
        assert metrics[promised].baselines
    for plot in outcome.plots:
        assert 2_000 < (tmp_path / plot.file).stat().st_size < 160_000
    assert outcome.weights and all((tmp_path / file).exists() for file in outcome.weights)


def test_the_pixel_tree_knows_colours_and_places(driving: Recording) -> None:
    frames = framed(driving, "clean", 1, 12)
    both = joined(frames, frames)
    assert both["frame"].shape == (24, 3, 96, 40) and both["labels"].shape == (24, 96, 40)
    named = PixelTree(frames).predict(frames["frame"])
    assert (named == frames["labels"]).mean() > 0.9


def test_the_captioners_baselines_answer_by_the_decision(tmp_path: Path) -> None:
    rows = scenes(TrainingJob(tmp_path, scale=0.01), "train", 1)
    assert nearest(rows, rows) == [sentence(words) for words in rows["words"]]  # each is its own nearest
    frequent = most_frequent(rows, rows)
    for action in np.unique(rows["action"]):
        assert len({text for text, own in zip(frequent, rows["action"], strict=True) if own == action}) == 1


def test_missing_speeds_of_a_forecast_are_filled() -> None:
    grids = np.zeros((1, 4, 1, 2), np.float32)
    grids[0, :2, 0, 0] = 1.0, 0.5
    assert filled(grids, 0.6)[0, 1, 0].tolist() == pytest.approx([0.5, 0.6])
