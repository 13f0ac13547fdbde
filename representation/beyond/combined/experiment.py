"""Experiment on multimodal fusion: a grid without speeds and the ego car's state, together and each alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import root_mean_squared_error

from representation.beyond.attention.experiment import space_like
from representation.beyond.combined.model import CombinedEncoder
from representation.comparison import NetworkComparison, Way
from representation.data.recording import observe
from representation.experiment import Metric, TrainingJob
from representation.fit import Arrays, FitConfig, Trainable
from representation.supervised import Regressor

EVERY = 4  # of the decisions of a run one in so many is taken: neighbours are alike
HORIZON = 5  # [decisions]
SENSES = {"both": ("instruments", "road"), "road alone": ("road",), "ego state alone": ("instruments",)}


class CombinedSpeed(NetworkComparison):
    """Speed prediction from a grid without speeds and the ego car's state: together, and each alone."""

    name, paradigm = "combined-speed", "beyond"
    summary = "Predicts the mean speed over the next five decisions from a grid of the road and the ego car's state."
    source = "Ngiam et al. 2011, Multimodal deep learning, ICML, section 3"
    metric = Metric("RMSE of the next five decisions' mean speed", 0.0, unit="mph", higher_is_better=False)
    config = FitConfig(epochs=8, batch_size=64, learning_rate=2e-3, learning_rate_end=2e-4, patience=0)
    caption = "Errors with a grid of the road without speeds and the ego car's state, together and each alone."

    def ways(self, job: TrainingJob) -> dict[str, Way]:
        """Return both modalities and each alone."""
        sets = [self._examples(job, split, runs) for split, runs in (("train", 500), ("validation", 80), ("test", 200))]
        return {name: self._way(sets, parts) for name, parts in SENSES.items()}

    def score(self, model: Trainable, test: Arrays) -> float:
        """Return the error [mph]."""
        assert isinstance(model, Regressor)
        return float(root_mean_squared_error(test["target"], model.predict(test["obs"])))

    def baselines(self, way: Way) -> dict[str, float]:
        """Return the error of the mean of training."""
        return {"the mean": float(np.sqrt(np.mean((way.test["target"] - way.train["target"].mean()) ** 2)))}

    def _way(self, sets: list[tuple[dict[str, Any], NDArray[Any]]], parts: tuple[str, ...]) -> Way:
        chosen: list[Arrays] = [{"obs": {part: obs[part] for part in parts}, "target": target} for obs, target in sets]
        space, target = space_like(chosen[0]["obs"]), sets[0][1]
        mean, deviation = float(target.mean()), float(target.std())
        return Way(lambda: Regressor(CombinedEncoder(space, 64), mean, deviation), *chosen)

    def _examples(self, job: TrainingJob, split: str, runs: int) -> tuple[dict[str, Any], NDArray[np.float32]]:
        recording = job.record(split, runs)
        count = recording.speeds.shape[1] - HORIZON + 1
        ahead = np.mean([recording.speeds[:, k : k + count] for k in range(HORIZON)], axis=0)[:, ::EVERY]
        flat = recording.states[:, :count:EVERY].reshape(-1)
        road = observe(recording.rules, flat, {"kind": "grid", "patches_ahead": 24, "patches_behind": 8})
        own = observe(recording.rules, flat, {"kind": "kinematics", "nearest": 1})["ego"]
        return {"road": road[:, [0, 2, 3]], "instruments": own}, ahead.ravel().astype(np.float32)
