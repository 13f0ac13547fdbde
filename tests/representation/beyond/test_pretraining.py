"""Self-supervised pretraining: losses against arithmetic, and experiments that share weights and decisions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch.nn import functional

from representation.beyond import pretraining
from representation.beyond.pretraining import (
    MOMENTUM,
    OBSERVED,
    TEMPERATURE,
    Contrastive,
    MaskedReconstruction,
    NextLatent,
    Objective,
    Reconstruction,
    decisions,
    shifted,
)
from representation.catalog import find_experiment
from representation.encoder import Encoder
from representation.encoders.conv import ConvEncoder
from representation.experiment import TrainingJob, run_experiment
from representation.fit import FitConfig, fit
from representation.registry import load_encoder

SHAPE = (2, 20, 14)


def new_encoder() -> Encoder:
    torch.manual_seed(0)
    return ConvEncoder(spaces.Box(0, 255, (20, 14, 2), np.uint8), 8, channels=(4,))


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    obs, following = torch.randint(0, 256, (2, 6, *SHAPE), generator=random, dtype=torch.uint8)
    return {"obs": obs, "action": torch.randint(0, 5, (6,), generator=random), "next": following}


@pytest.mark.parametrize("objective", [Reconstruction, MaskedReconstruction, NextLatent, Contrastive])
def test_training_lowers_every_loss(objective: type[Objective], batch: dict[str, torch.Tensor]) -> None:
    data = {name: part.numpy() for name, part in batch.items()}
    trained = objective(new_encoder().fit_normalisation(data["obs"]))
    before = trained.encoder.digest()
    curves = fit(trained, data, data, FitConfig(epochs=100, batch_size=6, learning_rate=3e-3, patience=0)).curves
    assert curves[-1]["train_loss"] < 0.9 * curves[0]["train_loss"]
    assert trained.encoder.digest() != before


def test_reconstruction_is_the_mean_squared_error(batch: dict[str, torch.Tensor]) -> None:
    objective = Reconstruction(new_encoder())
    images = batch["obs"].float() / 255.0
    expected = (objective.decoder(objective.encoder(batch["obs"])) - images).pow(2).mean()
    assert objective.loss(batch)[0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_masked_pixels_alone_count_and_are_not_shown(
    batch: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = MaskedReconstruction(new_encoder())
    hidden = torch.zeros(6, *SHAPE)
    hidden[:, 1, :5] = 1.0
    monkeypatch.setattr(objective, "mask", lambda count: hidden)
    images = batch["obs"].float() / 255.0
    shown = objective.decoder(objective.encoder.features(images * (1 - hidden)))
    expected = (shown - images)[:, 1, :5].pow(2).mean()
    assert objective.loss(batch)[0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_masks_are_blocks_of_each_image_of_a_stack() -> None:
    torch.manual_seed(0)
    mask = MaskedReconstruction(new_encoder()).mask(50)
    blocks = mask.reshape(50, 2, 4, 5, 7, 2)  # rows of blocks, rows, lanes, pixels of a lane
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert bool((blocks == blocks[:, :, :, :1, :, :1]).all())
    assert mask.mean().item() == pytest.approx(0.5, abs=0.03)
    assert (mask[:, 0] != mask[:, 1]).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_targets_of_the_next_latent_follow_slowly_and_get_no_gradient(batch: dict[str, torch.Tensor]) -> None:
    objective = NextLatent(new_encoder())
    weight = objective.encoder.layers[0].weight  # type: ignore[attr-defined, union-attr, index]
    target = objective.target_encoder.layers[0].weight  # type: ignore[attr-defined, union-attr, index]
    with torch.no_grad():
        weight += 1.0
    before = target.clone()
    objective.train()
    objective.loss(batch)[0].backward()
    assert torch.allclose(target, before + (1.0 - MOMENTUM), atol=1e-6)
    assert weight.grad is not None and target.grad is None
    objective.eval()
    objective.loss(batch)
    assert torch.allclose(target, before + (1.0 - MOMENTUM), atol=1e-6)  # validation moves nothing


def test_the_next_latent_depends_on_the_action(batch: dict[str, torch.Tensor]) -> None:
    objective = NextLatent(new_encoder()).eval()
    losses = []
    for action in range(2):
        torch.manual_seed(0)
        losses.append(objective.loss({**batch, "action": torch.full((6,), action)})[0].item())
    assert losses[0] != losses[1]


def test_contrastive_loss_is_info_nce(batch: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "shifted", lambda images: images)
    objective = Contrastive(new_encoder())
    encoder = objective.encoder
    queries, keys = objective.query(encoder(batch["obs"])), objective.key(encoder(batch["next"]))
    total = 0.0
    for b in range(6):
        scores = torch.exp(functional.cosine_similarity(queries[b : b + 1], keys) / TEMPERATURE)
        total -= float(torch.log(scores[b] / scores.sum()).detach())
    assert objective.loss(batch)[0].item() == pytest.approx(total / 6, rel=1e-4)


def test_images_are_shifted_along_the_road_alone() -> None:
    torch.manual_seed(0)
    images = torch.arange(8.0)[None, None, :, None].expand(40, 2, 8, 3)
    moved = shifted(images)
    assert set((moved[:, 0, 4, 0] - 4).tolist()) == {-2.0, -1.0, 0.0, 1.0, 2.0}
    assert bool((moved == moved[:, :1, :, :1]).all())  # every channel and column alike
    assert moved.min() == 0 and moved.max() == 7  # the edge is repeated


# --- experiments --------------------------------------------------------------------------------------------------


@pytest.fixture
def few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "RUNS", {"train": 8, "validation": 8})


def test_decisions_are_followed_by_their_successors(tmp_path: Path, few_runs: None) -> None:
    data = decisions(TrainingJob(tmp_path), "train")
    obs, following = (data[name].reshape(8, 60, 2, 35, 21) for name in ("obs", "next"))
    assert data["action"].shape == (480,)
    assert np.array_equal(obs[:, 1:], following[:, :-1])
    assert np.array_equal(obs[:, 1:, 0], obs[:, :-1, 1])  # a stack's older image is the newer one of the stack before
    assert not np.array_equal(obs[:, 1:, 1], obs[:, :-1, 1])


def test_pretraining_starts_from_the_weights_and_normalisation_of_none(tmp_path: Path, few_runs: None) -> None:
    encoders = {}
    for name in ("none", "masked"):
        made = run_experiment(find_experiment(f"pretext-{name}"), TrainingJob(tmp_path / name, 0.02))
        assert made.metrics[0].name == "probe: ego lane, macro-F1"
        encoders[name] = load_encoder(tmp_path / name / made.weights[0])
        assert encoders[name].observed == OBSERVED
    assert torch.equal(encoders["none"].offset, encoders["masked"].offset)
    assert encoders["none"].digest() != encoders["masked"].digest()
    job = TrainingJob(tmp_path / "new", 0.02)
    again = job.new(lambda: pretraining.new_encoder(decisions(job, "train")))
    assert again.digest() == encoders["none"].digest()
