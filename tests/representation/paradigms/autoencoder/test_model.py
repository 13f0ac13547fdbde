"""Autoencoders: what a code keeps, mends and dreams up, on small grids of recorded driving."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from representation.data.recording import Recording, RecordingConfig, observe, record
from representation.encoder import Encoder
from representation.encoders.dense import DenseEncoder
from representation.fit import FitConfig, fit
from representation.paradigms.autoencoder.grids import (
    GridPca,
    best_threshold,
    occupancy_iou,
)
from representation.paradigms.autoencoder.likelihood import frequency_nats
from representation.paradigms.autoencoder.model import Autoencoder, VariationalAutoencoder
from representation.registry import load_encoder, make_encoder

WINDOW = {"kind": "grid", "patches_ahead": 10, "patches_behind": 6}
SHAPE = (4, 16, 7)
CODE = 12
QUICK = FitConfig(epochs=20, batch_size=64, learning_rate=8e-3, learning_rate_end=4e-4, patience=0)

Grids = NDArray[np.float32]


@pytest.fixture(scope="module")
def grids() -> dict[str, Grids]:
    """Small grids to learn from and to judge by."""
    sets = {}
    for split, runs in (("train", 240), ("validation", 60)):
        recording = record(RecordingConfig(split=split, runs=runs, decisions=10))
        sets[split] = observe(recording.rules, recording.states[:, 1:].ravel(), WINDOW)
    return sets


def new_encoder(seed: int = 0, features_dim: int = CODE) -> Encoder:
    torch.manual_seed(seed)
    return DenseEncoder(spaces.Box(0.0, 1.0, SHAPE, np.float32), features_dim, hidden=(128,), activation="gelu")


def trained(grids: dict[str, Grids], kind: Any = Autoencoder, config: FitConfig = QUICK, **options: Any) -> Any:
    model = kind(new_encoder(), "grid", **options)
    fit(model, {"obs": grids["train"]}, {"obs": grids["validation"]}, config)
    return model


@pytest.fixture(scope="module")
def plain(grids: dict[str, Grids]) -> Autoencoder:
    """A small autoencoder that was trained."""
    torch.set_num_threads(1)
    return trained(grids)


def iou_of(give_back: Any, grids: dict[str, Grids]) -> float:
    returned = give_back(grids["validation"])
    return occupancy_iou(returned, grids["validation"], best_threshold(returned, grids["validation"]))


@pytest.mark.parametrize("encoder", ["dense", "conv"])
@pytest.mark.parametrize("kind", ["gaps", "grid", "kinematics", "pixels"])
def test_an_autoencoder_on_any_encoder_gives_back_any_observation(
    kind: str, encoder: str, driving: Recording, observations: dict[str, dict[str, Any]]
) -> None:
    obs = observe(driving.rules, driving.states[0, :3], observations[kind])
    space: spaces.Space = spaces.Box(-np.inf, np.inf, getattr(obs, "shape", (0,))[1:], np.float32)
    if kind == "pixels":
        space = spaces.Box(0, 255, obs.shape[1:], np.uint8)
    elif isinstance(obs, dict):
        space = spaces.Dict({name: spaces.Box(-2, 2, part.shape[1:], np.float32) for name, part in obs.items()})
    model = Autoencoder(make_encoder(encoder, space, 5), "grid" if kind == "grid" else "gaussian")
    returned = model.reconstruct(obs)
    numbers = sum(part[0].size for part in obs.values()) if isinstance(obs, dict) else obs[0].size
    assert returned.shape[0] == 3 and returned[0].size == numbers


def test_it_overfits_sixty_four_grids(grids: dict[str, Grids]) -> None:
    few = {name: grids["train"][::37][:64] for name in grids}
    model = trained(few, config=FitConfig(epochs=300, batch_size=32, learning_rate=4e-3, patience=0))
    assert iou_of(model.reconstruct, few) > 0.97


def test_a_code_keeps_more_than_pca_of_the_same_size(plain: Autoencoder, grids: dict[str, Grids]) -> None:
    assert iou_of(plain.reconstruct, grids) > iou_of(GridPca(grids["train"], CODE).reconstruct, grids) + 0.05


class ShuffledAutoencoder(Autoencoder):
    """Reconstructs a scene from another one."""

    def output(self, obs: torch.Tensor) -> torch.Tensor:
        return super().output(obs[torch.randperm(len(obs))] if self.training else obs)


def test_a_code_of_shuffled_scenes_keeps_less_than_pca(grids: dict[str, Grids]) -> None:
    shuffled = trained(grids, ShuffledAutoencoder)
    assert iou_of(shuffled.reconstruct, grids) < iou_of(GridPca(grids["train"], CODE).reconstruct, grids)


def test_its_encoder_is_a_plain_file(plain: Autoencoder, grids: dict[str, Grids], tmp_path: Path) -> None:
    plain.encoder.save(tmp_path / "encoder.safetensors")
    again = load_encoder(tmp_path / "encoder.safetensors")
    assert np.array_equal(again.encode(grids["validation"]), plain.encoder.encode(grids["validation"]))


@pytest.mark.parametrize("kind", [Autoencoder, VariationalAutoencoder])
def test_training_is_the_same_each_time(kind: Any, grids: dict[str, Grids]) -> None:
    few = {name: part[:200] for name, part in grids.items()}
    config = FitConfig(epochs=2, batch_size=64)
    codes = [trained(few, kind, config).encoder.encode(few["validation"]) for _ in range(2)]
    assert np.array_equal(*codes)


# --- the variational one ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def variational(grids: dict[str, Grids]) -> VariationalAutoencoder:
    """A small variational autoencoder that was trained."""
    torch.set_num_threads(1)
    return trained(grids, VariationalAutoencoder, latents=8)


def test_kl_is_that_of_two_normal_distributions(grids: dict[str, Grids]) -> None:
    model = VariationalAutoencoder(new_encoder(), "grid", latents=2)
    with torch.no_grad():
        model.posterior.weight.zero_()
        model.posterior.bias.copy_(torch.tensor([1.0, 0.0, 0.0, np.log(4.0)]))  # means 1, 0; variances 1, 4
    kl = model.loss({"obs": torch.from_numpy(grids["train"][:5])})[1]["kl"]
    # 1/2 (1 + 1 - 1 - 0) + 1/2 (0 + 4 - 1 - log 4) = 0.5 + 0.80685
    assert kl.item() == pytest.approx(1.30685, abs=1e-4)


def test_the_bound_is_better_than_telling_cell_by_cell(
    variational: VariationalAutoencoder, grids: dict[str, Grids]
) -> None:
    negative_elbo, kl = variational.bound(grids["validation"])
    assert negative_elbo < frequency_nats(grids["train"], grids["validation"], by_lane=True)
    assert 0 < kl < negative_elbo
    assert (negative_elbo, kl) == variational.bound(grids["validation"])


def test_a_latent_that_says_nothing_is_not_active(variational: VariationalAutoencoder, grids: dict[str, Grids]) -> None:
    before = variational.active_units(grids["validation"])
    assert before.any()
    silent = int(np.flatnonzero(before)[0])
    weight = variational.posterior.weight[silent].clone()
    with torch.no_grad():
        variational.posterior.weight[silent] = 0.0
    after = variational.active_units(grids["validation"])
    with torch.no_grad():
        variational.posterior.weight[silent] = weight
    assert not after[silent]
    assert after.sum() == before.sum() - 1


def test_the_kl_term_gains_its_weight_over_the_warm_up_and_validation_has_all_of_it(grids: dict[str, Grids]) -> None:
    model = VariationalAutoencoder(new_encoder(8), "grid", latents=4, warm_up=4)
    batch, weights = {"obs": torch.from_numpy(grids["train"][:32])}, []
    model.train()
    for _ in range(5):
        torch.manual_seed(0)  # the same noise
        loss, watched = model.loss(batch)
        weights.append(((loss - watched["negative_elbo"]) / watched["kl"]).item() + 1.0)
    assert weights == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0], abs=1e-3)
    again = VariationalAutoencoder(new_encoder(8), "grid", latents=4, warm_up=4)
    again.load_state_dict(model.state_dict())  # a resumed training goes on from there
    assert again.steps == 5
    fresh = VariationalAutoencoder(new_encoder(8), "grid", latents=4, warm_up=4).eval()
    loss, watched = fresh.loss(batch)
    assert torch.equal(loss, watched["negative_elbo"])


def test_samples_are_drawn_by_seed_and_paths_end_at_their_scenes(
    variational: VariationalAutoencoder, grids: dict[str, Grids]
) -> None:
    assert np.array_equal(variational.sample(4, seed=3), variational.sample(4, seed=3))
    assert not np.array_equal(variational.sample(4, seed=3), variational.sample(4, seed=4))
    assert variational.sample(4).shape == (4, *SHAPE)
    first, last = grids["validation"][:2]
    path = variational.interpolate(first, last, 5)
    assert np.allclose(path[[0, -1]], variational.reconstruct(grids["validation"][:2]), atol=1e-5)


def test_an_unknown_likelihood_is_named() -> None:
    with pytest.raises(ValueError, match="there is no likelihood 'poisson'; choose one of gaussian, pixels, grid"):
        Autoencoder(new_encoder(), "poisson")
