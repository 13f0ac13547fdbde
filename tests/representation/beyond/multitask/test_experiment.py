"""One encoder with several heads: losses add up as in the paper, the tasks are learned, answers come by name."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from representation.beyond.multitask.experiment import MultiTask, Task, driven_states, driving_labels, driving_tasks
from representation.data.recording import Recording, observe
from representation.fit import FitConfig, fit
from representation.metrics import macro_f1, rmse
from representation.paradigms.feedforward.model import DenseEncoder

CONFIG = FitConfig(epochs=25, batch_size=64, learning_rate=5e-3, patience=0)
TWO = (Task("side", 2), Task("height", 0, mean=10.0, deviation=2.0))


def scenes(recording: Recording) -> dict[str, Any]:
    obs = observe(recording.rules, driven_states(recording).ravel(), "gaps_ego")
    return {"obs": obs, **driving_labels(recording)}


def new_model(inputs: int, tasks: tuple[Task, ...], seed: int = 0) -> MultiTask:
    torch.manual_seed(seed)
    return MultiTask(DenseEncoder(spaces.Box(-np.inf, np.inf, (inputs,), np.float32), 16, hidden=(64,)), tasks)


@pytest.fixture(scope="module")
def sets(driving: Recording, held_out: Recording) -> tuple[dict[str, Any], dict[str, Any]]:
    """Scenes with their answers, to learn from and to judge by."""
    return scenes(driving), scenes(held_out)


def test_speed_ahead_is_the_mean_of_the_next_five_decisions(driving: Recording) -> None:
    labels = driving_labels(driving)
    assert driven_states(driving).shape == (40, 16)
    assert labels["speed ahead"][3] == pytest.approx(driving.speeds[0, 3:8].mean(), rel=1e-6)
    assert labels["speed ahead"][16 + 15] == pytest.approx(driving.speeds[1, 15:20].mean(), rel=1e-6)
    assert {len(values) for values in labels.values()} == {640}


def test_the_loss_weighs_each_task_by_its_noise() -> None:
    model = new_model(3, TWO)
    batch = {"obs": torch.zeros(4, 3), "side": torch.tensor([0, 1, 1, 0]), "height": torch.full((4,), 14.0)}
    with torch.no_grad():
        for head in model.heads:
            head.weight.zero_()
            head.bias.zero_()
        model.log_noise.copy_(torch.tensor([0.0, np.log(4.0)]))
    loss, losses = model.loss(batch)
    # side: log 2; height: 1/2 ((10 - 14) / 2)^2 = 2; log 2 * 1 + 0 / 2 + 2 / 4 + log(4) / 2 = log 2 + 0.5 + log 2
    assert losses["side"].item() == pytest.approx(np.log(2), rel=1e-5)
    assert losses["height"].item() == pytest.approx(2.0)
    assert loss.item() == pytest.approx(2 * np.log(2) + 0.5, rel=1e-5)


def test_three_tasks_are_learned_at_once_and_beat_the_simplest_answers(sets: Any) -> None:
    train, test = sets
    model = new_model(44, driving_tasks())
    fit(model, train, test, CONFIG)
    answers = model.answers(test["obs"])
    assert macro_f1(answers["scene"].argmax(1), test["scene"], 5) > 0.5
    assert answers["best lane"].shape == (len(test["obs"]), 7)
    assert rmse(answers["speed ahead"], test["speed ahead"]) < 0.85 * test["speed ahead"].std()


def test_shuffled_answers_teach_nothing(sets: Any) -> None:
    train, test = sets
    order = np.random.default_rng(0).permutation(len(train["obs"]))
    shuffled = {name: array if name == "obs" else array[order] for name, array in train.items()}
    model = new_model(44, driving_tasks())
    fit(model, shuffled, test, CONFIG)
    answers = model.answers(test["obs"])
    assert macro_f1(answers["scene"].argmax(1), test["scene"], 5) < 0.3
    assert rmse(answers["speed ahead"], test["speed ahead"]) > 0.95 * test["speed ahead"].std()


def test_it_overfits_sixty_four_scenes(sets: Any) -> None:
    few = {name: array[::10][:64] for name, array in sets[0].items()}
    model = new_model(44, driving_tasks())
    fit(model, few, few, FitConfig(epochs=200, batch_size=32, learning_rate=8e-3, patience=0))
    answers = model.answers(few["obs"])
    assert (answers["scene"].argmax(1) == few["scene"]).mean() > 0.97
    assert rmse(answers["speed ahead"], few["speed ahead"]) < 0.3 * few["speed ahead"].std()


def test_training_is_the_same_each_time(sets: Any) -> None:
    digests = []
    for _ in range(2):
        model = new_model(44, driving_tasks())
        fit(model, *sets, FitConfig(epochs=2))
        digests.append(model.encoder.digest())
    assert digests[0] == digests[1]
