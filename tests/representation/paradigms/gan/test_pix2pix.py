"""Painting label maps: shapes, styles and looks between them, learning, the flat baseline, files."""

from pathlib import Path

import numpy as np
import pytest
import torch

from representation.data.frames import EGO, label_maps, paint_frames
from representation.data.recording import Recording
from representation.fit import FitConfig, fit
from representation.paradigms.gan.pix2pix import (
    Pix2Pix,
    flat_colours,
    load_pix2pix,
    mixed_styles,
    paint_flat,
    pure_styles,
)
from representation.weights import save_module

SIZE, STYLES = (32, 16), ("day", "ocean")
CONFIG = FitConfig(epochs=12, batch_size=16, learning_rate=4e-3, beta1=0.5, patience=0, max_grad_norm=1e3)

Data = dict[str, np.ndarray]


def two_styles(recording: Recording, count: int) -> Data:
    """Small label maps and their frames, every other one in the second style."""
    states = recording.states[:, 10:].reshape(-1)[:: max(1, recording.states[:, 10:].size // count)][:count]
    style = np.arange(count) % 2
    frames = np.empty((count, 3, *SIZE), np.uint8)
    for k, name in enumerate(STYLES):
        frames[style == k] = paint_frames(recording.rules, states[style == k], *SIZE, name, seed=k)
    return {"labels": label_maps(recording.rules, states, *SIZE), "style": style, "frame": frames}


@pytest.fixture(scope="module")
def train(driving: Recording) -> Data:
    return two_styles(driving, 64)


@pytest.fixture(scope="module")
def held_out_data(held_out: Recording) -> Data:
    return two_styles(held_out, 32)


@pytest.fixture(scope="module")
def net(train: Data) -> Pix2Pix:
    return trained(train)


def trained(data: Data) -> Pix2Pix:
    torch.manual_seed(0)
    net = Pix2Pix(styles=2, width=8)
    fit(net, data, data, CONFIG)
    return net


def error(frames: np.ndarray, true: np.ndarray) -> float:
    """Mean absolute difference in levels, 0..255."""
    return float(np.abs(frames.astype(np.float64) - true).mean())


def painted(net: Pix2Pix, data: Data) -> np.ndarray:
    return net.paint(data["labels"], pure_styles(data["style"], 2))


def test_frames_have_the_shape_of_their_maps(net: Pix2Pix, held_out_data: Data) -> None:
    frames = painted(net, held_out_data)
    assert frames.shape == held_out_data["frame"].shape
    assert frames.dtype == np.uint8
    assert (painted(net, held_out_data) == frames).all()  # noise is drawn from the seed


def test_a_few_frames_are_learned_and_held_out_maps_are_painted_alike(
    net: Pix2Pix, train: Data, held_out_data: Data
) -> None:
    middle = train["frame"].mean((0, 2, 3), keepdims=True).repeat(len(held_out_data["frame"]), 0)
    assert error(painted(net, train), train["frame"]) < 0.4 * error(middle, held_out_data["frame"])
    assert error(painted(net, held_out_data), held_out_data["frame"]) < 0.4 * error(middle, held_out_data["frame"])


def test_maps_of_other_frames_teach_nothing_about_the_own_car(net: Pix2Pix, train: Data, held_out_data: Data) -> None:
    order = np.random.default_rng(0).permutation(len(train["labels"]) // 2)
    mixed = {**train, "labels": train["labels"].copy()}
    for k in (0, 1):
        mixed["labels"][k::2] = train["labels"][k::2][order]
    own = held_out_data["labels"] == EGO

    def error_on_it(some: Pix2Pix) -> float:
        return float(np.abs(painted(some, held_out_data).astype(float) - held_out_data["frame"]).mean(1)[own].mean())

    assert error_on_it(net) < 0.85 * error_on_it(trained(mixed))


def test_a_mixed_style_lies_between_its_parts(net: Pix2Pix, held_out_data: Data) -> None:
    maps = held_out_data["labels"][:8]
    first, last, half = (
        net.paint(maps, np.tile(np.array(weights, np.float32), (8, 1))).mean()
        for weights in ((1, 0), (0, 1), (0.5, 0.5))
    )
    assert min(first, last) < half < max(first, last)
    mixed = mixed_styles(50, 3, seed=1)
    np.testing.assert_allclose(mixed.sum(1), 1.0, atol=1e-6)
    assert 0 < np.sort(mixed, 1)[:, 1].mean() < 0.5


def test_the_flat_baseline_knows_the_mean_colours(train: Data) -> None:
    colours = flat_colours(train["labels"], train["frame"], train["style"], 2)
    frames = paint_flat(train["labels"], train["style"], colours)
    road = train["labels"][0] == 0
    wanted = train["frame"][0::2].transpose(0, 2, 3, 1)[train["labels"][0::2] == 0].mean(0)
    np.testing.assert_allclose(frames[0][:, road].T, np.tile(wanted, (road.sum(), 1)), atol=0.51)


def test_a_file_gives_the_network_back_and_others_are_refused(
    net: Pix2Pix, held_out_data: Data, tmp_path: Path
) -> None:
    net.save(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(
        painted(load_pix2pix(tmp_path / "net.safetensors"), held_out_data), painted(net, held_out_data)
    )
    save_module(tmp_path / "other.safetensors", {}, {"architecture": {"name": "segmentation"}})
    with pytest.raises(ValueError, match="does not hold a pix2pix network"):
        load_pix2pix(tmp_path / "other.safetensors")


def test_the_same_seed_gives_the_same_network(net: Pix2Pix, train: Data, held_out_data: Data) -> None:
    torch.manual_seed(0)
    one, other = (Pix2Pix(2, 8) for _ in range(2))
    other.load_state_dict(one.state_dict())
    for some in (one, other):
        fit(some, train, train, FitConfig(epochs=1, batch_size=16, patience=0))
    np.testing.assert_array_equal(painted(one, held_out_data), painted(other, held_out_data))
