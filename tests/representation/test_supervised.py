"""Feed-forward and convolutional networks learn from labels what their baselines cannot, and nothing from noise."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sklearn.metrics import root_mean_squared_error

from representation.data.labels import SCENES, scene_class
from representation.data.recording import Recording, observe
from representation.encoder import Encoder
from representation.fit import FitConfig, fit
from representation.metrics import macro_f1
from representation.registry import load_encoder, make_encoder
from representation.supervised import Classifier, Regressor

GRID = {"kind": "grid", "patches_ahead": 12, "patches_behind": 6}
KINDS: dict[str, Any] = {"dense": "gaps", "conv": GRID}
SMALL = FitConfig(epochs=12, batch_size=64, learning_rate=3e-3, patience=0)

Data = dict[str, dict[str, np.ndarray]]  # encoder -> obs, label, target


def examples(recording: Recording) -> Data:
    """Observations that suit each encoder, the class of the scene, and the present speed / 80 mph."""
    states = recording.states[:, :-1]
    label = scene_class(recording.rules, states).ravel()
    target = (states["following_speed"][..., 0] * states["speed_factor"][..., 0] / 4.0).ravel().astype(np.float32)
    return {
        name: {
            "obs": (obs := observe(recording.rules, states, kind)).reshape(label.size, *obs.shape[2:]),
            "label": label,
            "target": target,
        }
        for name, kind in KINDS.items()
    }


@pytest.fixture(scope="module")
def train(driving: Recording) -> Data:
    return examples(driving)


@pytest.fixture(scope="module")
def test(held_out: Recording) -> Data:
    return examples(held_out)


def new_encoder(name: str, obs: np.ndarray) -> Encoder:
    torch.manual_seed(0)
    return make_encoder(name, spaces.Box(-np.inf, np.inf, obs.shape[1:], np.float32), 32)


def part(data: dict[str, np.ndarray], target: str, count: int | None = None) -> dict[str, np.ndarray]:
    return {name: data[name][:count] for name in ("obs", target)}


def scene_f1(name: str, train: Data, test: Data, labels: np.ndarray) -> float:
    """Macro-F1 on held-out runs of a classifier that learned from these labels."""
    model = Classifier(new_encoder(name, train[name]["obs"]), len(SCENES))
    fit(model, {"obs": train[name]["obs"], "label": labels}, part(test[name], "label", 100), SMALL)
    return macro_f1(model.predict(test[name]["obs"]).argmax(1), test[name]["label"], len(SCENES))


@pytest.mark.parametrize("name", KINDS)
def test_a_classifier_learns_sixty_four_examples_by_heart(name: str, train: Data) -> None:
    few = part(train[name], "label", 64)
    model = Classifier(new_encoder(name, few["obs"]), len(SCENES))
    result = fit(model, few, few, FitConfig(epochs=120, batch_size=64, learning_rate=1e-2, patience=0))
    assert result.curves[0]["validation_accuracy"] < 0.8
    assert result.curves[-1]["validation_accuracy"] == 1.0
    assert model.predict(few["obs"]).sum(1) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_scenes_are_told_apart_on_held_out_runs_but_not_from_shuffled_labels(
    name: str, train: Data, test: Data
) -> None:
    labels = train[name]["label"]
    majority = np.full_like(test[name]["label"], np.bincount(labels).argmax())
    baseline = macro_f1(majority, test[name]["label"], len(SCENES))
    assert scene_f1(name, train, test, labels) > baseline + 0.4
    assert scene_f1(name, train, test, np.random.default_rng(0).permutation(labels)) < baseline + 0.15


@pytest.mark.parametrize("name", KINDS)
def test_speed_is_predicted_better_than_by_its_mean_but_not_from_shuffled_targets(
    name: str, train: Data, test: Data
) -> None:
    target, errors = train[name]["target"], []
    for given in (target, np.random.default_rng(0).permutation(target)):
        encoder = new_encoder(name, train[name]["obs"])
        model = Regressor(encoder, float(target.mean()), float(target.std()))
        fit(model, {"obs": train[name]["obs"], "target": given}, part(test[name], "target", 100), SMALL)
        errors.append(root_mean_squared_error(model.predict(test[name]["obs"]), test[name]["target"]))
    baseline = root_mean_squared_error(np.full_like(test[name]["target"], target.mean()), test[name]["target"])
    assert errors[0] < 0.9 * baseline
    assert errors[1] > 0.97 * baseline


def test_predictions_are_those_of_the_network_in_the_targets_unit(train: Data) -> None:
    obs = train["dense"]["obs"][:5]
    model = Regressor(new_encoder("dense", obs), mean=60.0, deviation=10.0)
    assert model.predict(obs) == pytest.approx(model(torch.from_numpy(obs)).detach().numpy(), abs=1e-4)
    # an error of one deviation costs 1
    loss, _ = model.loss({"obs": torch.from_numpy(obs), "target": model(torch.from_numpy(obs)).detach() + 10.0})
    assert loss.item() == pytest.approx(1.0)


@pytest.mark.parametrize("name", KINDS)
def test_training_is_the_same_each_time_and_its_encoder_is_saved_whole(name: str, train: Data, test: Data) -> None:
    digests = []
    for _ in range(2):
        model = Classifier(new_encoder(name, train[name]["obs"]), len(SCENES))
        fit(model, part(train[name], "label", 200), part(test[name], "label", 100), FitConfig(epochs=2))
        digests.append(model.encoder.digest())
    assert digests[0] == digests[1]
    again = load_encoder(model.encoder.content())
    assert np.array_equal(again.encode(test[name]["obs"]), model.encoder.encode(test[name]["obs"]))
