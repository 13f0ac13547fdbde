"""The model of traffic: it reads the scene before, and copies what does not change."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deeptraffic.sim.rules import RULES_2018
from representation.data.tokens import CARS, END, SceneTokens
from representation.experiment import TrainingJob
from representation.fit import FitConfig, fit
from representation.paradigms.recurrent.lanes import NEVER, lanes_before
from representation.paradigms.recurrent.scene_model import SceneModel
from representation.paradigms.recurrent.traffic_experiment import (
    PAIRS,
    Pairs,
    pairs,
    recorded,
    sampled_traffic,
    steadiness,
)


@pytest.fixture(scope="module")
def data() -> Pairs:
    return pairs(recorded(TrainingJob(Path()), "train", 60, PAIRS)[1])


def some(tokens: SceneTokens, count: int) -> SceneTokens:
    return tokens.at(slice(count))


def test_pairs_are_a_scene_and_the_next_of_the_same_run() -> None:
    rules, tokens = recorded(TrainingJob(Path()), "validation", 8, PAIRS)
    assert rules == RULES_2018
    made = pairs(tokens)
    assert made.before.ego.shape == (80, 4) and made.tokens.cars.shape == (80, CARS + 1, 4)
    np.testing.assert_array_equal(made.before.cars[11], tokens.cars[1, 2])
    np.testing.assert_array_equal(made.tokens.cars[11], tokens.cars[1, 3])


def test_the_next_car_of_a_lane_is_expected_where_its_speed_takes_it() -> None:
    cars = torch.zeros(1, CARS + 1, 4, dtype=torch.int64)
    cars[0, 0] = torch.tensor([100, 2, 8, 4])  # 2 * (1 + 0.35 * 8.5 / 16) = 2.371875 px per frame
    cars[0, 1, 0] = END
    ego = torch.tensor([[0, 3, 50, 4]])  # 2 px per frame: the car gains 30 * 0.371875 = 11.2 px, 4 bins
    lanes, _ = lanes_before(ego, cars, (ego, cars))
    assert lanes.expected[0, 0].tolist() == [NEVER, NEVER, 96, NEVER, NEVER, NEVER, NEVER]
    assert lanes.expected_factor[0, 0, 2] == 8
    assert lanes.expected[0, 1, 2] == NEVER  # it has come


def test_scenes_before_are_worth_many_bits_and_others_are_not(data: Pairs) -> None:
    torch.manual_seed(0)
    model = SceneModel(units=32, width=32, follows=True)
    config = FitConfig(epochs=8, batch_size=16, learning_rate=1e-2, learning_rate_end=1e-3, patience=0)
    half = len(data.tokens.ego) // 2
    train, held_out = (
        Pairs(data.tokens.at(rows), data.before.at(rows)) for rows in (slice(0, half), slice(half, None))
    )
    fit(model, train.arrays(), held_out.arrays(), config)
    true = model.bits(*held_out).mean()
    wrong = model.bits(held_out.tokens, held_out.before.at(np.arange(len(held_out.before.ego)) - 30)).mean()
    assert true < wrong - 40.0
    sampled = sampled_traffic(model, some(held_out.before, 20), 3)
    assert len(sampled) == 3 and sampled[2].cars.shape == (20, CARS + 1, 4)
    factors = [
        np.bincount(tokens.cars[..., 2].ravel(), minlength=16) for tokens in (sampled[0], some(held_out.before, 20))
    ]
    assert np.corrcoef(factors[0], factors[1])[0, 1] > 0.5


def test_a_model_of_traffic_needs_the_scene_before(data: Pairs) -> None:
    with pytest.raises(ValueError, match="reads the scene before"):
        SceneModel(units=16, width=16, follows=True).bits(some(data.tokens, 2))


def test_steadiness_is_one_where_nothing_moves() -> None:
    cars = np.random.default_rng(0).random((4, 2, 20, 7)) < 0.2
    assert steadiness(cars, cars) == pytest.approx(1.0)
    assert abs(steadiness(cars, cars[:, :, :, ::-1])) < 0.9
