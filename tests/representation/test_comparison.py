"""Comparisons of networks: the same examples for all, one metric beside its baselines, the first one's weights."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from representation.comparison import Classification, SpeedRegression, Way, space_like
from representation.encoders.dense import DenseEncoder
from representation.experiment import TrainingJob, run_experiment
from representation.fit import Arrays, FitConfig
from representation.registry import load_encoder

LABELS = np.array([0, 0, 0, 1, 1, 2])


class Letters(Classification):
    classes, what = ("a", "b", "c"), "letter"


class Signs(Classification):
    """The sign of a value, against a network that gets noise."""

    name, paradigm = "signs", "beyond"
    summary, source = "Tells signs.", "none"
    classes, what, runs = ("minus", "plus"), "sign", (64, 32, 32)
    config = FitConfig(epochs=8, batch_size=16, learning_rate=1e-2, learning_rate_end=1e-2)
    caption, observed = "Signs.", {"kind": "gaps"}

    def examples(self, job: TrainingJob, split: str, runs: int) -> Arrays:
        obs = np.random.default_rng(runs).normal(3.0, 2.0, (runs, 2)).astype(np.float32)
        return {"obs": obs, "label": (obs[:, 0] > 3.0).astype(np.int64)}

    def ways(self, sets: Sequence[Arrays]) -> dict[str, Way]:
        noise = [{**part, "obs": part["obs"][:, 1:]} for part in sets]
        return {"all": self.way(DenseEncoder, sets), "noise": self.way(DenseEncoder, noise)}


def test_the_first_method_is_measured_against_the_others() -> None:
    metric = Letters().measure({"network": LABELS, "majority": np.zeros_like(LABELS)}, {"label": LABELS})
    assert metric.name == "macro-F1 of the letter" and metric.value == 1.0
    assert metric.baselines == {"majority": pytest.approx((2 / 3) / 3)}  # F1 of class 0: precision 1/2, recall 1
    assert metric.note == "6 of held-out runs; F1: a 1.000, b 1.000, c 1.000"


def test_speeds_are_measured_by_their_error_and_against_the_mean_of_training() -> None:
    regression = SpeedRegression()
    train, test = {"target": np.array([60.0, 70.0])}, {"target": np.array([62.0, 68.0])}
    answers = {"network": np.array([63.0, 67.0]), **regression.baselines([train, train, test])}
    metric = regression.measure(answers, test)
    assert (metric.value, metric.baselines, metric.higher_is_better) == (1.0, {"the mean": 3.0}, False)


def test_a_comparison_leaves_its_metric_its_plot_and_the_first_encoder(tmp_path: Path) -> None:
    result = run_experiment(Signs(), TrainingJob(tmp_path))
    (metric,) = result.metrics
    assert metric.value > 0.9 > metric.baselines["noise"]
    assert set(metric.baselines) == {"noise", "majority class"}
    # weights and biases: 2 x 128 + 128, 128 x 64 + 64, 64 x 2 + 2; noise has 128 weights fewer
    assert "parameters: all 8,770, noise 8,642" in metric.note
    assert (tmp_path / result.plots[0].file).read_bytes().startswith(b"\x89PNG")
    encoder = load_encoder(tmp_path / result.weights[0])
    assert encoder.observed == Signs.observed
    assert encoder.offset.tolist() == pytest.approx(Signs().examples(TrainingJob(tmp_path), "", 64)["obs"].mean(0))


def test_spaces_are_those_of_the_examples() -> None:
    obs = {"image": np.zeros((9, 3, 8, 8), np.uint8), "row": np.zeros((9, 4), np.float32)}
    space = space_like(obs)
    assert isinstance(space, spaces.Dict) and list(space.spaces) == ["image", "row"]
    assert space["image"].dtype == np.uint8 and space["image"].shape == (3, 8, 8)
    assert space["row"].shape == (4,)
