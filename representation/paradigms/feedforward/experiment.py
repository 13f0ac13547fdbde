"""Experiments with feed-forward networks: speed regression and scene classification."""

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deeptraffic.sim.rules import MPH_PER_PX
from representation.data.labels import SCENES, scene_class
from representation.data.recording import observe
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import FitConfig
from representation.metrics import class_metrics, confusion
from representation.paradigms.feedforward.model import DenseEncoder
from representation.plots import save_confusion, save_speeds
from representation.supervised import Classifier, Regressor

HORIZON = 5  # [decisions] whose mean speed is predicted: 2.5 seconds at 60 frames a second
SPLITS = (("train", 1200), ("validation", 150), ("test", 300))
WEIGHTS = "encoder.safetensors"
STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)  # of the linear models' regularisation, chosen on validation runs

Examples = dict[str, NDArray[Any]]


def examples(job: TrainingJob, split: str, runs: int, kind: str) -> Examples:
    """Return the decisions of so many runs, except the last ones, whose future was not recorded, N in all.

    obs: (N, n); label: (N,) class of the scene
    target: (N,) float32 [mph] mean speed over the next five decisions; now: (N,) [mph] at this moment
    """
    recording = job.record(split, runs, least=5)
    count = recording.speeds.shape[1] - HORIZON + 1
    states = recording.states[:, :count].ravel()
    ahead = np.mean([recording.speeds[:, k : k + count] for k in range(HORIZON)], axis=0)
    return {
        "obs": observe(recording.rules, states, kind),
        "label": scene_class(recording.rules, states),
        "target": ahead.ravel().astype(np.float32),
        "now": MPH_PER_PX * states["following_speed"][:, 0] * states["speed_factor"][:, 0],
    }


def new_encoder(obs: NDArray[np.float32], kind: str) -> DenseEncoder:
    """Return an encoder of rows like these, normalised on them."""
    encoder = DenseEncoder(spaces.Box(-np.inf, np.inf, obs.shape[1:], np.float32), 64, hidden=(128,))
    encoder.fit_normalisation(obs)
    encoder.observed = {"kind": kind}
    return encoder


def best_linear(train: Examples, validation: Examples, label: str) -> Any:
    """Return the linear model of `label` whose strength of regularisation is best on validation runs."""
    makers: Any = (lambda m: LogisticRegression(C=1 / m, max_iter=200)) if label == "label" else Ridge
    fitted = [
        make_pipeline(StandardScaler(), makers(strength)).fit(train["obs"], train[label]) for strength in STRENGTHS
    ]
    return max(fitted, key=lambda model: model.score(validation["obs"], validation[label]))


class DenseSpeed(Experiment):
    """Regression: the mean speed over the next five decisions, from one observation of the present."""

    name, paradigm = "dense-speed", "feed-forward network"
    summary = "Predicts the ego car's mean speed over the next five decisions from one observation of lane gaps."
    source = "Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0"
    config = FitConfig(epochs=20, batch_size=512, weight_decay=1.0)

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train on the ego speed and lane gaps."""
        train, validation, test = (examples(job, split, runs, "gaps_ego") for split, runs in SPLITS)
        mean, deviation = float(train["target"].mean()), float(train["target"].std())
        model, result = job.tune(
            "network",
            lambda: Regressor(new_encoder(train["obs"], "gaps_ego"), mean, deviation),
            {"obs": train["obs"], "target": train["target"]},
            {"obs": validation["obs"], "target": validation["target"]},
            self.config,
        )
        model.encoder.summary = result.summary(self.name)
        model.encoder.save(job.folder / WEIGHTS)
        predicted = {
            "network": model.predict(test["obs"]),
            "the mean": np.full_like(test["target"], mean),
            "current speed persists": test["now"],
            "linear model": best_linear(train, validation, "target").predict(test["obs"]),
        }
        errors = {name: float(root_mean_squared_error(test["target"], guess)) for name, guess in predicted.items()}
        save_speeds(predicted["network"], test["target"], errors, job.folder / "dense-speed.png")
        note = f"{test['target'].size:,} decisions of held-out runs, driven by a mixture of policies"
        metric = Metric(
            "RMSE of mean speed over the next five decisions", errors.pop("network"), errors, "mph", False, note=note
        )
        caption = "Mean speed over the next 2.5 seconds: predictions on held-out runs, and the error beside baselines."
        return ExperimentResult([metric], [Plot("dense-speed.png", caption)], [WEIGHTS])


class DenseScene(Experiment):
    """Classification: free, following, boxed in, gap left or gap right, from one row of lane gaps."""

    name, paradigm = "dense-scene", "feed-forward network"
    summary = "Classifies the scene (free, following, boxed in, gap left, gap right) from one observation of lane gaps."
    source = "Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0"
    config = FitConfig(epochs=20, batch_size=512, learning_rate=2e-3)

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, and compare with the majority class and with a linear model of the same features."""
        train, validation, test = (examples(job, split, runs, "gaps") for split, runs in SPLITS)
        model, result = job.tune(
            "network",
            lambda: Classifier(new_encoder(train["obs"], "gaps"), len(SCENES)),
            {"obs": train["obs"], "label": train["label"]},
            {"obs": validation["obs"], "label": validation["label"]},
            self.config,
        )
        model.encoder.summary = result.summary(self.name)
        model.encoder.save(job.folder / WEIGHTS)
        named = {
            "network": model.predict(test["obs"]).argmax(1),
            "linear model": best_linear(train, validation, "label").predict(test["obs"]),
            "majority class": np.full_like(test["label"], np.bincount(train["label"]).argmax()),
        }
        table = confusion(named["network"], test["label"], len(SCENES))
        save_confusion(table, SCENES, job.folder / "dense-scene.png", "Scenes by their true and predicted class")
        plot = Plot("dense-scene.png", "Confusion matrix of the scenes of held-out runs.")
        return ExperimentResult(class_metrics(named, test["label"], SCENES, "scene's class"), [plot], [WEIGHTS])
