"""The model of scenes: exact probabilities, samples that follow them, classes, files, and that it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch

from representation.data.rasters import decode_rasters, rasterise
from representation.data.recording import Recording
from representation.data.tokens import CAR_SIZES, CARS, END, SceneTokens, scene_tokens
from representation.fit import FitConfig, fit
from representation.paradigms.recurrent.lanes import lanes_before
from representation.paradigms.recurrent.ngram import counted_bits
from representation.paradigms.recurrent.scene_model import SceneModel


@pytest.fixture(scope="module")
def tokens(driving: Recording) -> SceneTokens:
    states = decode_rasters(driving.rules, rasterise(driving.rules, driving.states[:, ::2].reshape(-1))).states
    return scene_tokens(driving.rules, states)


@pytest.fixture
def model() -> SceneModel:
    torch.manual_seed(0)
    return SceneModel(units=16, width=16)


def some(tokens: SceneTokens, count: int) -> SceneTokens:
    return SceneTokens(tokens.ego[:count].copy(), tokens.cars[:count].copy())


def test_a_token_depends_on_those_before_it_alone(model: SceneModel, tokens: SceneTokens) -> None:
    first = some(tokens, 1)
    bits = model.token_bits(*(torch.from_numpy(part) for part in first))[1]
    for step, k in ((3, 0), (5, 1), (6, 2), (4, 3)):
        changed = some(tokens, 1)
        changed.cars[0, step, k] = (changed.cars[0, step, k] + 1) % (CAR_SIZES[k] - 1)
        other = model.token_bits(*(torch.from_numpy(part) for part in changed))[1]
        flat, place = (other - bits).abs().flatten().detach().numpy(), 4 * step + k
        assert flat[:place].max() < 1e-5
        assert flat[place + 1 :].max() > 1e-4


def test_probabilities_of_all_values_of_a_token_add_up_to_one(model: SceneModel, tokens: SceneTokens) -> None:
    for k, size in enumerate(CAR_SIZES):
        parts = [np.repeat(part, size, 0) for part in some(tokens, 1)]
        parts[1][:, 4, k] = np.arange(size)
        bits = model.token_bits(*(torch.from_numpy(part) for part in parts))[1][:, 4, k]
        assert float((2.0**-bits).sum().detach()) == pytest.approx(1.0, abs=1e-4)


def test_samples_follow_the_probabilities_and_the_seed(model: SceneModel) -> None:
    drawn = model.sample(3000, seed=1, classes=2)
    assert (drawn.ego[:, 0] == 2).all()
    probability = torch.softmax(model._ego_logits(1, torch.from_numpy(drawn.ego[:1])), 1)[0].detach().numpy()
    assert np.abs(np.bincount(drawn.ego[:, 1], minlength=7) / 3000 - probability).max() < 0.04
    ends = (drawn.cars[..., 0] == END).argmax(1)
    assert ((drawn.cars[..., 0] == END).sum(1) == 1).all() and ends.max() <= CARS
    assert all(
        (cars[end + 1 :] == 0).all() and (cars[end, 1:] == 0).all() for cars, end in zip(drawn.cars, ends, strict=True)
    )
    again, other = model.sample(20, seed=1), model.sample(20, seed=2)
    np.testing.assert_array_equal(again.cars, model.sample(20, seed=1).cars)
    assert (again.cars != other.cars).any()


def test_of_several_candidates_the_one_that_most_probably_is_of_its_class_is_kept(model: SceneModel) -> None:
    drawn = model.sample(60, seed=4)
    probabilities = model.class_probabilities(drawn)
    np.testing.assert_allclose(probabilities.sum(1), 1.0)
    fields = [drawn.ego.copy() for _ in range(2)]
    for k, ego in enumerate(fields):
        ego[:, 0] = k
    bits = [model.bits(SceneTokens(ego, drawn.cars)) for ego in fields]
    np.testing.assert_allclose(np.log2(probabilities[:, 0] / probabilities[:, 1]), bits[1] - bits[0], rtol=1e-6)
    one, best = (model.sample(60, seed=5, classes=3, candidates=count) for count in (1, 4))
    assert (best.ego[:, 0] == 3).all()
    gain = model.class_probabilities(best)[:, 3] - model.class_probabilities(one)[:, 3]
    assert (gain >= 0.0).all() and (gain > 0.0).any()
    for wrong in ({"candidates": 2}, {"candidates": 0, "classes": 3}):
        with pytest.raises(ValueError, match="candidates"):
            model.sample(2, **wrong)


def test_the_model_codes_its_own_samples_in_their_entropy(model: SceneModel) -> None:
    """What sampling and training compute is the same: -log2 p of samples is lower than that of other orders."""
    drawn = model.sample(100, seed=3)
    shuffled = SceneTokens(drawn.ego, drawn.cars.copy())
    ends = (drawn.cars[..., 0] == END).argmax(1)
    for cars, end in zip(shuffled.cars, ends, strict=True):
        cars[:end, 0] = np.minimum(cars[:end, 0] + 60, CAR_SIZES[0] - 2)
    assert model.bits(drawn).mean() < model.bits(shuffled).mean()


def test_lanes_hold_the_last_car_and_the_ego_car_from_its_place_on() -> None:
    cars = torch.zeros(1, 4, 4, dtype=torch.int64)
    cars[0, :3] = torch.tensor([[100, 2, 5, 4], [50, 2, 7, 4], [70, 4, 0, 4]])  # at 100, 150 and 220
    cars[0, 3, 0] = END
    lanes, place = lanes_before(torch.tensor([[0, 3, 100, 4]]), cars)
    assert place[0].tolist() == [0, 100, 150, 220]
    assert lanes.place[0, :, 2].tolist() == [-80, 100, 150, 150]
    assert lanes.place[0, :, 3].tolist() == [-80, -80, -80, 210]
    assert lanes.factor[0, :, 2].tolist() == [16, 5, 7, 7]
    assert lanes.speed[0, 3, 3].item() == pytest.approx(2.0)
    assert lanes.side[0, 0].tolist() == [3, 3, 0, 1, 2, 3, 3]


def test_a_short_training_beats_counting_and_its_file_gives_it_back(
    model: SceneModel, tokens: SceneTokens, held_out: Recording, tmp_path: Path
) -> None:
    states = decode_rasters(held_out.rules, rasterise(held_out.rules, held_out.states[:, ::5].reshape(-1))).states
    other = scene_tokens(held_out.rules, states)
    config = FitConfig(epochs=8, batch_size=16, learning_rate=1e-2, learning_rate_end=1e-3, patience=0)
    fit(model, tokens._asdict(), other._asdict(), config)
    counted = counted_bits([tokens, other, other])
    assert counted["n-gram"] <= counted["independent tokens"]
    assert model.bits(other).mean() < counted["n-gram"] - 5.0
    model.save(tmp_path / "scenes.safetensors")
    np.testing.assert_array_equal(SceneModel.load(tmp_path / "scenes.safetensors").bits(other), model.bits(other))
