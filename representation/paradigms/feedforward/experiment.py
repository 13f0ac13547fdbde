"""Experiments with feed-forward networks: speed regression and scene classification."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deeptraffic.sim.rules import MPH_PER_PX
from representation.data.labels import SCENES, scene_class
from representation.data.recording import RecordingConfig, observe, record
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import FitConfig
from representation.metrics import accuracy, class_f1, confusion, macro_f1, rmse
from representation.paradigms.feedforward.model import DenseEncoder
from representation.plots import save_confusion, save_speeds
from representation.supervised import Classifier, Regressor

HORIZON = 5  # [decisions] whose mean speed is predicted: 2.5 seconds at 60 frames a second
WEIGHTS = "encoder.safetensors"

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Examples:
    """Observations as rows, and their labels, N each.

    obs: (N, n) float32
    label: (N,) int64 class of the scene
    speed: (N,) float32 [mph] mean over the next five decisions; now: (N,) [mph] at this moment
    """

    obs: F32
    label: NDArray[np.int64]
    speed: F32
    now: F32


def examples(job: TrainingJob, split: str, runs: int, kind: str) -> Examples:
    """Return all decisions of `runs` runs at the job's scale, except the last ones, whose future was not recorded."""
    recording = record(RecordingConfig(split=split, runs=job.scaled(runs, least=5)), job.cache)
    count = recording.speeds.shape[1] - HORIZON + 1
    states = recording.states[:, :count]
    obs = observe(recording.rules, states, kind)  # (R, T, n)
    ahead = np.mean([recording.speeds[:, k : k + count] for k in range(HORIZON)], axis=0)
    now = MPH_PER_PX * states["following_speed"][..., 0] * states["speed_factor"][..., 0]
    return Examples(
        obs.reshape(-1, obs.shape[-1]),
        scene_class(recording.rules, states).ravel(),
        ahead.ravel().astype(np.float32),
        now.ravel().astype(np.float32),
    )


def new_encoder(obs: F32, kind: str, features_dim: int = 64) -> DenseEncoder:
    """Return an encoder with fixed initial weights, normalised on these rows."""
    torch.manual_seed(0)
    space = spaces.Box(-np.inf, np.inf, obs.shape[1:], np.float32)
    encoder = DenseEncoder(space, features_dim, hidden=(128,))
    encoder.fit_normalisation(obs)
    encoder.observed = {"kind": kind}
    return encoder


class DenseSpeed(Experiment):
    """Regression: the mean speed over the next five decisions, from one observation of the present."""

    name, paradigm = "dense-speed", "feed-forward network"
    summary = "Predicts the ego car's mean speed over the next five decisions from one observation of lane gaps."
    source = "Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train on the ego speed and lane gaps, and once more on lane gaps alone."""
        error, baselines, test, predicted = self._error(job, "gaps_ego")
        blind, blind_baselines, _, _ = self._error(job, "gaps")
        better = min(baselines["the mean"], baselines["current speed persists"])
        path = job.folder / "dense-speed.png"
        save_speeds(predicted, test.speed, {"network": error, **baselines}, path)
        note = f"{test.speed.size:,} decisions of held-out runs, driven by a mixture of policies"
        goal = 0.75 * better
        gain = 1.0 - error / better
        metrics = [
            Metric("RMSE of mean speed over the next five decisions", error, baselines, "mph", False, goal, note),
            Metric("relative reduction of the better baseline's RMSE", gain, goal=0.25, note="mean or persistence"),
            Metric("RMSE from lane gaps without the ego speed", blind, blind_baselines, "mph", False, None, note),
        ]
        caption = "Mean speed over the next 2.5 seconds: predictions on held-out runs, and the error beside baselines."
        return ExperimentResult(metrics, [Plot(path.name, caption)], [WEIGHTS])

    def _error(self, job: TrainingJob, kind: str) -> tuple[float, dict[str, float], Examples, F32]:
        train, validation, test = (
            examples(job, split, runs, kind) for split, runs in (("train", 1200), ("validation", 150), ("test", 300))
        )
        encoder = new_encoder(train.obs, kind)
        model = Regressor(encoder, float(train.speed.mean()), float(train.speed.std()))
        config = FitConfig(epochs=20, batch_size=512, weight_decay=1.0)
        pair = [{"obs": data.obs, "target": data.speed} for data in (train, validation)]
        result = job.fit(kind, model, pair[0], pair[1], config)
        encoder.summary = result.summary(self.name)
        if kind == "gaps_ego":
            encoder.save(job.folder / WEIGHTS)
        linear = make_pipeline(StandardScaler(), Ridge()).fit(train.obs, train.speed)
        baselines = {
            "the mean": rmse(np.full_like(test.speed, train.speed.mean()), test.speed),
            "current speed persists": rmse(test.now, test.speed),
            "linear model": rmse(linear.predict(test.obs), test.speed),
        }
        predicted = model.predict(test.obs)
        return rmse(predicted, test.speed), baselines, test, predicted


class DenseScene(Experiment):
    """Classification: free, following, boxed in, gap left or gap right, from one row of lane gaps."""

    name, paradigm = "dense-scene", "feed-forward network"
    summary = "Classifies the scene (free, following, boxed in, gap left, gap right) from one observation of lane gaps."
    source = "Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0"
    kind = "gaps"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, and compare with the majority class and with a linear model of the same features."""
        train, validation, test = (
            examples(job, split, runs, self.kind)
            for split, runs in (("train", 1200), ("validation", 150), ("test", 300))
        )
        encoder = new_encoder(train.obs, self.kind)
        model = Classifier(encoder, len(SCENES))
        config = FitConfig(epochs=20, batch_size=512, learning_rate=2e-3)
        pair = [{"obs": data.obs, "label": data.label} for data in (train, validation)]
        result = job.fit("network", model, pair[0], pair[1], config)
        encoder.summary = result.summary(self.name)
        encoder.save(job.folder / WEIGHTS)
        named = {
            "network": model.predict(test.obs).argmax(1),
            "majority class": np.full_like(test.label, np.bincount(train.label).argmax()),
            "linear model": _linear(train).predict(test.obs),
        }
        return self._outcome(job, named, test.label)

    def _outcome(self, job: TrainingJob, named: dict[str, Any], label: NDArray[np.int64]) -> ExperimentResult:
        table = confusion(named["network"], label, len(SCENES))
        path = job.folder / "dense-scene.png"
        save_confusion(table, SCENES, path, "Which scene is taken for which (feed-forward network)")
        f1 = {name: macro_f1(guess, label, len(SCENES)) for name, guess in named.items()}
        right = {name: accuracy(guess, label) for name, guess in named.items()}
        each = ", ".join(f"{name} {value:.3f}" for name, value in zip(SCENES, class_f1(table), strict=True))
        note = f"{label.size:,} decisions of held-out runs; by class: {each}"
        metrics = [
            Metric("macro-F1 of the scene's class", f1.pop("network"), f1, note=note),
            Metric("accuracy of the scene's class", right.pop("network"), right),
        ]
        return ExperimentResult(metrics, [Plot(path.name, "Scenes of held-out runs by their true class.")], [WEIGHTS])


def _linear(train: Examples) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)).fit(train.obs, train.label)
