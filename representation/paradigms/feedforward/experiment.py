"""Experiments with feed-forward networks: the speed of the next decisions, and the class of the scene."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deeptraffic.sim.rules import MPH_PER_PX
from representation.comparison import Classification, SpeedRegression, Way, scene_examples
from representation.data.recording import Recording, observe
from representation.encoders.dense import DenseEncoder
from representation.experiment import TrainingJob
from representation.fit import Arrays, FitConfig

HORIZON = 5  # [decisions] whose mean speed is predicted: 2.5 seconds at 60 frames a second
STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)  # of the linear models' regularisation, chosen on validation runs


def speed_ahead(recording: Recording, every: int = 1) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return states (N,) and the mean speed over the next five decisions [mph], for one decision in `every`."""
    count = recording.speeds.shape[1] - HORIZON + 1
    ahead = np.mean([recording.speeds[:, k : k + count] for k in range(HORIZON)], axis=0)[:, ::every]
    return recording.states[:, :count:every].ravel(), ahead.ravel().astype(np.float32)


def best_linear(sets: Sequence[Arrays], label: str) -> NDArray[Any]:
    """Return test predictions of the linear model of `label` whose regularisation is best on validation runs."""
    train, validation, test = sets
    makers: Any = (lambda m: LogisticRegression(C=1 / m, max_iter=200)) if label == "label" else Ridge
    fitted = [
        make_pipeline(StandardScaler(), makers(strength)).fit(train["obs"], train[label]) for strength in STRENGTHS
    ]
    return max(fitted, key=lambda model: model.score(validation["obs"], validation[label])).predict(test["obs"])


class DenseSpeed(SpeedRegression):
    """Regression: the mean speed over the next five decisions, from one observation of the present."""

    name, paradigm = "dense-speed", "feed-forward network"
    summary = "Predicts the ego car's mean speed over the next five decisions from one observation of lane gaps."
    source = "Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0"
    runs = (800, 100, 300)
    config = FitConfig(epochs=20, batch_size=512, weight_decay=1.0)
    observed = {"kind": "gaps_ego"}
    caption = "Mean speed over the next 2.5 seconds: predictions on held-out runs."

    def examples(self, job: TrainingJob, split: str, runs: int) -> Arrays:
        """Return obs (N, 44), target (N,) and now (N,), the present speed [mph]."""
        recording = job.record(split, runs)
        states, target = speed_ahead(recording)
        now = MPH_PER_PX * states["following_speed"][:, 0] * states["speed_factor"][:, 0]
        return {"obs": observe(recording.rules, states, self.observed), "target": target, "now": now}

    def ways(self, sets: Sequence[Arrays]) -> dict[str, Way]:
        """Return one network."""
        return {"network": self.way(DenseEncoder, sets, hidden=(128,))}

    def baselines(self, sets: Sequence[Arrays]) -> dict[str, NDArray[Any]]:
        """Return the mean, the present speed, and a linear model of the same features."""
        simple = {"current speed persists": sets[2]["now"], "linear model": best_linear(sets, "target")}
        return super().baselines(sets) | simple


class DenseScene(Classification):
    """Classification: free, following, boxed in, gap left or gap right, from one vector of lane gaps."""

    name, paradigm = "dense-scene", "feed-forward network"
    summary = "Classifies the scene (free, following, boxed in, gap left, gap right) from one observation of lane gaps."
    source = "Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0"
    runs = (800, 100, 300)
    config = FitConfig(epochs=20, batch_size=512, learning_rate=2e-3)
    observed = {"kind": "gaps"}
    caption = "Scenes of held-out runs by true and predicted class."

    def examples(self, job: TrainingJob, split: str, runs: int) -> Arrays:
        """Return obs (N, 42) and label (N,)."""
        return scene_examples(job.record(split, runs), self.observed)

    def ways(self, sets: Sequence[Arrays]) -> dict[str, Way]:
        """Return one network."""
        return {"network": self.way(DenseEncoder, sets, hidden=(128,))}

    def baselines(self, sets: Sequence[Arrays]) -> dict[str, NDArray[Any]]:
        """Return the majority class, and a linear model of the same features."""
        return super().baselines(sets) | {"linear model": best_linear(sets, "label")}
