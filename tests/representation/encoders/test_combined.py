"""Several senses at once: each part has the encoder that was chosen for it, and none is left out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

from representation.encoders.combined import CombinedEncoder
from representation.encoders.conv import ConvEncoder
from representation.encoders.dense import DenseEncoder
from representation.encoders.recurrent import RecurrentEncoder
from representation.fit import FitConfig, fit
from representation.registry import load_encoder
from representation.supervised import Classifier

SPACE = spaces.Dict(
    {
        "picture": spaces.Box(0, 255, (20, 16, 3), np.uint8),
        "past": spaces.Box(-1.0, 1.0, (4, 6), np.float32),
        "speed": spaces.Box(0.0, 1.0, (2,), np.float32),
    }
)
PARTS = {"past": {"name": "recurrent", "cell": "gru"}}


def observed(count: int = 5, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "picture": random.integers(0, 256, (count, 20, 16, 3), np.uint8),
        "past": random.normal(size=(count, 4, 6)).astype(np.float32),
        "speed": random.random((count, 2), np.float32),
    }


@pytest.fixture
def encoder() -> CombinedEncoder:
    torch.manual_seed(0)
    return CombinedEncoder(SPACE, 16, parts=PARTS, part_dim=8)


def test_each_part_has_the_encoder_that_was_chosen_or_suits_it(encoder: CombinedEncoder) -> None:
    kinds = {name: type(part) for name, part in encoder.encoders.items()}
    assert kinds == {"picture": ConvEncoder, "past": RecurrentEncoder, "speed": DenseEncoder}


def test_every_part_changes_the_features(encoder: CombinedEncoder) -> None:
    obs = observed()
    for name in obs:
        changed = {**obs, name: observed(seed=1)[name]}
        assert np.abs(encoder.encode(obs) - encoder.encode(changed)).max() > 1e-5


def test_pictures_are_divided_once_and_may_have_their_channels_last(encoder: CombinedEncoder) -> None:
    obs = observed()
    as_sb3_gives_it = {name: torch.from_numpy(part) for name, part in obs.items()}
    as_sb3_gives_it["picture"] = as_sb3_gives_it["picture"].permute(0, 3, 1, 2).float() / 255.0
    with torch.no_grad():
        np.testing.assert_allclose(encoder(as_sb3_gives_it).numpy(), encoder.encode(obs), rtol=1e-4, atol=1e-6)


def test_it_is_saved_with_its_parts(encoder: CombinedEncoder, tmp_path: Path) -> None:
    encoder.save(tmp_path / "combined.safetensors")
    loaded = load_encoder(tmp_path / "combined.safetensors")
    np.testing.assert_array_equal(loaded.encode(observed()), encoder.encode(observed()))


def test_a_part_that_is_not_observed_is_refused() -> None:
    with pytest.raises(ValueError, match="past, picture, speed"):
        CombinedEncoder(SPACE, parts={"sound": "dense"})


def test_it_joins_what_no_part_tells_alone() -> None:
    """The label is whether two parts agree: each part alone says nothing."""
    space = spaces.Dict({name: spaces.Box(-1.0, 1.0, (3,), np.float32) for name in ("a", "b")})

    def agreement(count: int, seed: int) -> dict[str, object]:
        random = np.random.default_rng(seed)
        obs = {name: random.normal(size=(count, 3)).astype(np.float32) for name in ("a", "b")}
        return {"obs": obs, "label": ((obs["a"][:, 0] > 0) == (obs["b"][:, 0] > 0)).astype(np.int64)}

    torch.manual_seed(0)
    config = FitConfig(epochs=25, batch_size=32, learning_rate=1e-2, patience=0)
    model = Classifier(CombinedEncoder(space, 16, part_dim=16), 2)
    assert fit(model, agreement(600, 0), agreement(300, 1), config).curves[-1]["validation_accuracy"] > 0.85
