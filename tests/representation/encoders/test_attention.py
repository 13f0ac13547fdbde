"""Attention over vehicles: their order does not matter, absent ones are not looked at, but steps keep their order."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from representation.data.labels import FAR, free_ahead
from representation.data.recording import Recording, observe
from representation.encoder import Encoder
from representation.encoders.attention import AttentionEncoder, positional_encoding
from representation.encoders.dense import DenseEncoder
from representation.fit import FitConfig, fit
from representation.supervised import Classifier

K = 6
SPACE = spaces.Dict(
    {
        "ego": spaces.Box(-2.0, 2.0, (5,), np.float32),
        "vehicles": spaces.Box(-2.0, 2.0, (K, 6), np.float32),
        "mask": spaces.MultiBinary(K),
    }
)


def scene(count: int = 4, seed: int = 0) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    mask = torch.ones(count, K, dtype=torch.int8)
    mask[:, 4:] = 0
    vehicles = torch.randn(count, K, 6, generator=random) * mask[..., None]
    return {"ego": torch.randn(count, 5, generator=random), "vehicles": vehicles, "mask": mask}


@pytest.fixture(params=[{}, {"width": 12, "layers": 1, "point_units": 24}], ids=["tokens", "points"])
def encoder(request: pytest.FixtureRequest) -> AttentionEncoder:
    torch.manual_seed(0)
    encoder = AttentionEncoder(SPACE, 16, **request.param)
    if "point_units" in request.param:
        encoder.fit_normalisation({name: part.numpy() for name, part in scene(64, seed=1).items()})
    return encoder.eval()


def test_the_order_of_vehicles_does_not_matter(encoder: AttentionEncoder) -> None:
    obs, order = scene(), torch.tensor([3, 5, 0, 2, 4, 1])
    shuffled = {**obs, "vehicles": obs["vehicles"][:, order], "mask": obs["mask"][:, order]}
    torch.testing.assert_close(encoder(obs), encoder(shuffled), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder.weights_of(obs)[:, order], encoder.weights_of(shuffled))


def test_absent_vehicles_are_not_looked_at(encoder: AttentionEncoder) -> None:
    obs = scene()
    changed = {**obs, "vehicles": obs["vehicles"] + 9.0 * (obs["mask"] == 0)[..., None]}
    torch.testing.assert_close(encoder(obs), encoder(changed))
    assert (encoder.weights_of(obs)[:, 4:] == 0).all()
    assert (encoder.weights_of(obs)[:, :4] > 0).all()


def test_every_vehicle_and_the_own_car_are_looked_at(encoder: AttentionEncoder) -> None:
    obs = scene()
    for k in range(4):
        vehicles = obs["vehicles"].clone()
        vehicles[:, k] += 1.0
        assert (encoder(obs) - encoder({**obs, "vehicles": vehicles})).abs().max() > 1e-5
    assert (encoder(obs) - encoder({**obs, "ego": obs["ego"] + 1.0})).abs().max() > 1e-5


def test_a_road_without_vehicles_gives_finite_features(encoder: AttentionEncoder) -> None:
    obs = scene()
    empty = {**obs, "vehicles": torch.zeros(4, K, 6), "mask": torch.zeros(4, K, dtype=torch.int8)}
    assert torch.isfinite(encoder(empty)).all()


def test_steps_of_a_sequence_keep_their_order() -> None:
    torch.manual_seed(0)
    encoder = AttentionEncoder(spaces.Box(-1.0, 1.0, (5, 3), np.float32), 16)
    rows = torch.randn(2, 5, 3)
    assert (encoder(rows) - encoder(rows.flip(1))).abs().max() > 1e-3


def test_places_are_those_of_the_paper() -> None:
    # section 3.5 with pos = 2, d_model = 4: sin(2 / 1), cos(2 / 1), sin(2 / 100), cos(2 / 100)
    expected = [np.sin(2.0), np.cos(2.0), np.sin(0.02), np.cos(0.02)]
    np.testing.assert_allclose(positional_encoding(3, 4)[2].numpy(), expected, rtol=1e-5)


def test_settings_that_are_not_possible_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 of each"):
        AttentionEncoder(SPACE, 16, heads=0)
    with pytest.raises(ValueError, match="give 0 or more of each"):
        AttentionEncoder(SPACE, 16, width=-1)
    with pytest.raises(ValueError, match="point_units=8 needs a set of vehicles"):
        AttentionEncoder(spaces.Box(-1.0, 1.0, (5, 3), np.float32), 16, point_units=8)


# --- points -------------------------------------------------------------------------------------------------------


def test_vehicles_are_normalised_without_the_absent_ones() -> None:
    obs = {name: part.numpy() for name, part in scene(200).items()}
    obs["vehicles"] = np.where(obs["mask"][..., None] > 0, 5.0 + 3.0 * obs["vehicles"], 99.0).astype(np.float32)
    encoder = AttentionEncoder(SPACE, 16, point_units=24).fit_normalisation(obs)
    present = obs["vehicles"][:, :4].reshape(-1, 6)
    np.testing.assert_allclose(encoder.mean[:6].numpy(), present.mean(0), rtol=1e-4)
    np.testing.assert_allclose(encoder.deviation[:6].numpy(), present.std(0, ddof=1), rtol=1e-4)
    np.testing.assert_allclose(encoder.mean[6:].numpy(), obs["ego"].mean(0), atol=1e-5)


def test_the_first_layer_begins_as_hinges_at_different_distances() -> None:
    torch.manual_seed(0)
    obs = {name: part.numpy() for name, part in scene(200).items()}
    first = AttentionEncoder(SPACE, 16, point_units=32).fit_normalisation(obs).each[0]
    distance = first.weight[::8, 0]  # units 0, 8, 16 and 24 bend in the distance
    kinks = -(first.bias[::8] / distance).detach()
    assert (distance.abs() > 1.5).all() and (first.weight[::8, 1:].abs() < 0.1).all()
    assert kinks.unique().numel() == 4 and kinks.abs().max() < 2.5


# --- learning -----------------------------------------------------------------------------------------------------


def right_lane(recording: Recording, seed: int) -> dict[str, Any]:
    """Vehicles in an order drawn anew for every scene; whether one is near ahead in the lane to the right."""
    states = recording.states[:, :-1].reshape(-1)
    obs = observe(recording.rules, states, {"kind": "kinematics", "nearest": 12})
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(12), (len(states), 1)), axis=1)
    obs["vehicles"] = np.take_along_axis(obs["vehicles"], order[..., None], 1)
    free = np.pad(free_ahead(recording.rules, states), ((0, 0), (0, 1)), constant_values=FAR)
    right = np.take_along_axis(free, states["lane"][:, :1].astype(np.int64) + 1, 1)[:, 0]
    return {"obs": obs, "label": (right < 150.0).astype(np.int64)}


def test_it_finds_a_car_among_unordered_vehicles_where_a_dense_encoder_and_shuffled_labels_do_not(
    driving: Recording, held_out: Recording
) -> None:
    train, validation = right_lane(driving, 0), right_lane(held_out, 1)
    space = spaces.Dict(
        {name: spaces.Box(-2.0, 2.0, part.shape[1:], np.float32) for name, part in train["obs"].items()}
    )
    config = FitConfig(epochs=12, batch_size=32, learning_rate=5e-3, learning_rate_end=5e-4, patience=0)

    def accuracy(encoder: Encoder, train: dict[str, Any], epochs: int = 12) -> float:
        torch.manual_seed(0)
        model = Classifier(encoder, 2)
        return fit(model, train, validation, replace(config, epochs=epochs)).curves[-1]["validation_accuracy"]

    def attention() -> AttentionEncoder:
        torch.manual_seed(0)
        return AttentionEncoder(space, 32, layers=1)

    assert accuracy(attention(), train) > 0.88 > 0.8 > accuracy(DenseEncoder(space, 32), train)
    shuffled = {**train, "label": np.random.default_rng(2).permutation(train["label"])}
    assert accuracy(attention(), shuffled, epochs=4) < 0.8


def test_it_overfits_sixty_four_scenes() -> None:
    torch.manual_seed(0)
    obs = {name: part.numpy() for name, part in scene(64).items()}
    data = {"obs": obs, "label": np.random.default_rng(0).integers(0, 5, 64)}
    model = Classifier(AttentionEncoder(SPACE, 32), 5)
    config = FitConfig(epochs=60, batch_size=64, learning_rate=5e-3, patience=0)
    assert fit(model, data, data, config).curves[-1]["validation_accuracy"] > 0.95
