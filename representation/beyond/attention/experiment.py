"""Experiment on attention: which lanes ahead are taken, from an unordered set of vehicles."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score

from deeptraffic.figure import GREY, INK, ORANGE, empty_figure
from representation.beyond.attention.model import AttentionEncoder
from representation.comparison import NetworkComparison, Way
from representation.data.labels import FAR, free_ahead
from representation.data.recording import observe
from representation.encoder import to_tensors
from representation.experiment import Metric, TrainingJob
from representation.fit import Arrays, FitConfig, Trainable
from representation.paradigms.feedforward.model import DenseEncoder
from representation.plots import save_plot
from representation.supervised import Classifier

NEAREST = 12  # vehicles that are listed
NEAR = 150.0  # [px] ahead
EVERY = 4  # of the decisions of a run one in so many is taken: neighbours are alike
LANES = 3  # to the left of the ego car, its own, to the right


def vehicle_scenes(job: TrainingJob, split: str, runs: int, shuffled: bool) -> dict[str, Any]:
    """Return obs: vehicles (N, 12, 6), nearest first or shuffled, with mask and ego car; label: lanes taken ahead (N,).

    The class index has three bits: whether a car is near ahead in the lane to the left, in the own, to the right.
    """
    recording = job.record(split, runs)
    states = recording.states[:, ::EVERY].reshape(-1)
    obs = observe(recording.rules, states, AttentionLanes.observed)
    if shuffled:
        order = np.random.default_rng(len(states)).permuted(np.tile(np.arange(NEAREST), (len(states), 1)), axis=1)
        obs["vehicles"] = np.take_along_axis(obs["vehicles"], order[..., None], 1)
        obs["mask"] = np.take_along_axis(obs["mask"], order, 1)
    free = np.pad(free_ahead(recording.rules, states), ((0, 0), (1, 1)), constant_values=FAR)
    lanes = states["lane"][:, :1].astype(np.int64) + np.arange(LANES)  # left, own, right of the padded lanes
    taken = np.take_along_axis(free, lanes, 1) < NEAR  # (N, 3)
    return {"obs": obs, "label": taken @ np.array([4, 2, 1])}


def space_like(obs: Mapping[str, NDArray[Any]]) -> spaces.Dict:
    """Return a space for observations like these."""
    return spaces.Dict(
        {name: spaces.Box(-np.inf, np.inf, part.shape[1:], np.float32) for name, part in sorted(obs.items())}
    )


class AttentionLanes(NetworkComparison):
    """Classification of the occupied lanes ahead from an unordered set of vehicles."""

    name, paradigm = "attention-lanes", "beyond"
    summary = (
        "Classifies, from an unordered set of vehicles, which of the left, ego and right lanes are occupied ahead."
    )
    source = "Vaswani et al. 2017, arXiv:1706.03762, equation 1; Zaheer et al. 2017, arXiv:1703.06114"
    metric = Metric("accuracy of the occupied lanes ahead", 0.0)
    config = FitConfig(epochs=10, batch_size=32, learning_rate=3e-3, learning_rate_end=2e-4, patience=0)
    observed = {"kind": "kinematics", "nearest": NEAREST}
    caption = (
        "Attention of the ego car (orange) in three held-out scenes: the darker a vehicle, the higher its weight "
        "in the last layer. Ahead is up."
    )

    def ways(self, job: TrainingJob) -> dict[str, Way]:
        """Return attention on shuffled lists; dense layers also on lists that are nearest first."""
        splits = (("train", 400), ("validation", 80), ("test", 200))
        mixed, ordered = (
            [vehicle_scenes(job, split, runs, shuffled) for split, runs in splits] for shuffled in (True, False)
        )
        space = space_like(mixed[0]["obs"])
        return {
            "attention": Way(lambda: Classifier(AttentionEncoder(space, 32), 2**LANES), *mixed),
            "dense, shuffled": Way(lambda: Classifier(DenseEncoder(space, 32), 2**LANES), *mixed),
            "dense, nearest first": Way(lambda: Classifier(DenseEncoder(space, 32), 2**LANES), *ordered),
        }

    def score(self, model: Trainable, test: Arrays) -> float:
        """Return the fraction of scenes with all three lanes right."""
        assert isinstance(model, Classifier)
        return float(accuracy_score(test["label"], model.predict(test["obs"]).argmax(1)))

    def baselines(self, way: Way) -> dict[str, float]:
        """Return the accuracy of the most frequent class."""
        return {"majority class": float(np.mean(way.test["label"] == np.bincount(way.train["label"]).argmax()))}

    def draw(self, job: TrainingJob, scores: Mapping[str, float], model: Any, test: Arrays) -> None:
        """Draw the weights of three scenes."""
        obs = test["obs"]
        places = np.linspace(0, len(obs["mask"]) - 1, 5).astype(np.int64)[1:4]
        weights = model.encoder.weights_of(to_tensors(obs, places)).numpy()
        figure = empty_figure((7.0, 3.6))
        for axes, place, weight in zip(figure.subplots(1, 3), places, weights, strict=True):
            ahead, right = obs["vehicles"][place, :, 0] * 70.0, obs["vehicles"][place, :, 1] * 7.0
            there = obs["mask"][place] > 0
            shade = weight[there] / weight.max()
            style: dict[str, Any] = {"s": 130, "marker": "s"}
            axes.scatter(right[there], ahead[there], c=shade, cmap="Greys", vmin=-0.1, edgecolors=GREY, **style)
            axes.scatter([0], [0], color=ORANGE, **style)
            axes.set_xlim(-6.5, 6.5)
            axes.set_ylim(-20, 55)
            axes.set_xlabel("lanes to the right", color=INK)
        figure.axes[0].set_ylabel("cells ahead", color=INK)
        save_plot(figure, job.folder / f"{self.name}.png")
