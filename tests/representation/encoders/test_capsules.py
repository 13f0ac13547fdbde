"""Capsules: their lengths, the agreement they route by, and that they learn."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from representation.encoders.capsules import CapsuleEncoder, squash
from representation.fit import FitConfig, fit
from representation.supervised import Classifier

SPACE = spaces.Box(0.0, 1.0, (2, 8, 5), np.float32)


def test_squashing_keeps_the_direction_and_bounds_the_length() -> None:
    # |s| = 5: the length becomes 25 / 26, along (3, 4) / 5
    torch.testing.assert_close(squash(torch.tensor([[3.0, 4.0]])), torch.tensor([[0.6, 0.8]]) * 25 / 26)
    assert torch.isfinite(squash(torch.zeros(1, 4))).all()


def test_capsules_are_routed_to_where_predictions_agree() -> None:
    encoder = CapsuleEncoder(SPACE, 16, routings=3)  # two output capsules
    torch.nn.init.zeros_(encoder.bias)
    predicted = torch.zeros(1, 6, 2, 8)
    predicted[0, :, 0, 0] = 1.0  # all say the same about output 0
    predicted[0, :, 1, 0] = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])  # and contradict each other about output 1
    once = CapsuleEncoder(SPACE, 16, routings=1)
    torch.nn.init.zeros_(once.bias)
    routed, unrouted = (part.route(predicted).norm(dim=2)[0] for part in (encoder, once))
    assert routed[0] > unrouted[0]
    assert routed[1] < 1e-3


def test_impossible_capsules_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        CapsuleEncoder(SPACE, channels=(16, 20))


def test_it_overfits_sixty_four_pictures_and_does_not_learn_from_shuffled_labels() -> None:
    random = np.random.default_rng(0)
    obs = random.random((64, 2, 8, 5), np.float32)
    data = {"obs": obs, "label": random.integers(0, 4, 64)}
    config = FitConfig(epochs=50, batch_size=16, learning_rate=5e-3, patience=0)
    torch.manual_seed(0)
    model = Classifier(CapsuleEncoder(SPACE, 32, channels=(16, 16)), 4)
    assert fit(model, data, data, config).curves[-1]["validation_accuracy"] > 0.95
    unseen, labels = random.random(obs.shape, np.float32), random.integers(0, 4, 64)  # noise: probability is 0.25
    assert (model.predict(unseen).argmax(1) == labels).mean() < 0.5
