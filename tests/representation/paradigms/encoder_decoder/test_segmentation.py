"""Segmentation: the U-Net learns what is in a frame and where, and the measures count what they say."""

from pathlib import Path

import numpy as np
import pytest
import torch

from representation.data.frames import CLASSES, label_maps, paint_frames
from representation.data.recording import Recording
from representation.fit import FitConfig, fit
from representation.metrics import confusion
from representation.paradigms.encoder_decoder.segmentation import (
    SegmentationNet,
    class_iou,
    mean_iou,
    recoloured,
    standardised,
)

HEIGHT, WIDTH = 32, 32
CONFIG = FitConfig(epochs=4, batch_size=8, learning_rate=1e-2, learning_rate_end=1e-3)
Frames = dict[str, np.ndarray]


def frames_of(recording: Recording, styles: str, seed: int, count: int) -> Frames:
    states = recording.states[:, ::4].reshape(-1)[:count]
    return {
        "frame": paint_frames(recording.rules, states, HEIGHT, WIDTH, styles, seed),
        "labels": label_maps(recording.rules, states, HEIGHT, WIDTH),
    }


@pytest.fixture(scope="module")
def train(driving: Recording) -> Frames:
    return frames_of(driving, "clean", 1, 160)


@pytest.fixture(scope="module")
def validation(held_out: Recording) -> Frames:
    return frames_of(held_out, "clean", 2, 40)


def new_net() -> SegmentationNet:
    torch.manual_seed(0)
    return SegmentationNet(width=8, recolour=False)


def without_cars(labels: np.ndarray) -> np.ndarray:
    """The empty road, the same for every frame: the best answer without looking."""
    counts = np.stack([(labels == k).sum((0, 1)) for k in range(len(CLASSES))])  # (K, W): all rows are alike
    return np.broadcast_to(counts.argmax(0), labels.shape).astype(np.uint8)


@pytest.fixture(scope="module")
def trained(train: Frames, validation: Frames) -> SegmentationNet:
    torch.set_num_threads(1)
    net = new_net()
    fit(net, train, validation, CONFIG)
    return net


def test_every_pixel_gets_scores_whatever_the_size() -> None:
    net = new_net().eval()
    assert net(torch.zeros(2, 3, 33, 18, dtype=torch.uint8)).shape == (2, len(CLASSES), 33, 18)
    probabilities = net.probabilities(np.zeros((2, 3, 20, 20), np.uint8))
    assert probabilities.shape == (2, 5, 20, 20) and np.allclose(probabilities.sum(1), 1, atol=1e-5)


def test_a_small_run_beats_the_empty_road(trained: SegmentationNet, validation: Frames) -> None:
    assert mean_iou(trained.predict(validation["frame"]), validation["labels"]) > 0.1 + mean_iou(
        without_cars(validation["labels"]), validation["labels"]
    )


def test_labels_of_other_frames_teach_no_more_than_the_empty_road(train: Frames, validation: Frames) -> None:
    net, order = new_net(), np.random.default_rng(0).permutation(len(train["labels"]))
    fit(net, {**train, "labels": train["labels"][order]}, validation, CONFIG)
    learned = mean_iou(net.predict(validation["frame"]), validation["labels"])
    assert learned < 0.1 + mean_iou(without_cars(validation["labels"]), validation["labels"])


def test_it_learns_64_frames_by_heart(train: Frames) -> None:
    few, net = {name: array[:64] for name, array in train.items()}, new_net()
    fit(net, few, few, FitConfig(epochs=15, batch_size=8, learning_rate=1e-2, learning_rate_end=1e-3))
    assert mean_iou(net.predict(few["frame"]), few["labels"]) > 0.8


def test_a_saved_net_says_the_same(trained: SegmentationNet, validation: Frames, tmp_path: Path) -> None:
    trained.save(tmp_path / "net.safetensors")
    again = SegmentationNet.load(tmp_path / "net.safetensors")
    assert np.array_equal(again.probabilities(validation["frame"]), trained.probabilities(validation["frame"]))


def test_the_same_seed_gives_the_same_weights(train: Frames, validation: Frames) -> None:
    few = {name: array[:32] for name, array in train.items()}
    once, again = new_net(), new_net()
    for net in (once, again):
        fit(net, few, few, FitConfig(epochs=1, batch_size=16))
    assert all(torch.equal(a, b) for a, b in zip(once.parameters(), again.parameters(), strict=True))


def test_brightness_and_contrast_of_a_picture_do_not_matter() -> None:
    dim = torch.randint(20, 80, (1, 3, 16, 16), dtype=torch.uint8)
    assert torch.allclose(standardised(dim), standardised(2 * dim + 40), atol=1e-4)


def test_recolouring_keeps_how_far_colours_differ() -> None:
    picture = torch.randn(4, 3, 8, 8)
    mixed = recoloured(picture)
    assert not torch.allclose(mixed, picture, atol=0.1)
    distance = (picture[..., 0, 0] - picture[..., 5, 3]).norm(dim=1)
    assert torch.allclose((mixed[..., 0, 0] - mixed[..., 5, 3]).norm(dim=1), distance, atol=1e-4)


def test_iou_counts_hits_over_hits_misses_and_false_alarms() -> None:
    labels, predicted = np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 1, 1, 1]], np.uint8)
    table = confusion(predicted.astype(int), labels.astype(int), 3)
    assert np.allclose(class_iou(table), [1 / 2, 2 / 3, np.nan], equal_nan=True)
    assert mean_iou(predicted, labels) == pytest.approx((1 / 2 + 2 / 3) / 2)
