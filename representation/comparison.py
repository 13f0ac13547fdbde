"""Comparison of networks on one task: the same examples and epochs, the best of the same learning rates for each.

A subclass of `Classification` or `SpeedRegression` names data and networks; it gets tuned trainings, one metric beside
its baselines, a plot, and the weights of the first network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from sklearn.metrics import root_mean_squared_error

from representation.data.labels import SCENES, scene_class
from representation.data.recording import Recording, observe
from representation.encoder import Encoder
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Arrays, FitConfig, Trainable
from representation.metrics import class_f1, confusion, macro_f1
from representation.plots import save_confusion, save_speeds
from representation.supervised import Classifier, Regressor
from representation.weights import parameter_count

WEIGHTS = "encoder.safetensors"
Answers = Mapping[str, NDArray[Any]]  # predictions for the test examples by method, the network in question first


@dataclass(frozen=True)
class Way:
    """One of the networks compared, and its view of the examples.

    make: a new model, with its encoder as `encoder`
    sets: training, validation and test examples, in the same order for every way
    """

    make: Any
    sets: Sequence[Arrays]


class NetworkComparison(Experiment):
    """A network against others, and against baselines that need no training.

    runs: recorded ones of training, validation and test; config: of every training
    caption: of the plot; observed: configuration of the encoder's observation, where it has one
    is_normalised: whether encoders are normalised on the training examples
    """

    runs: ClassVar[tuple[int, int, int]]
    config: ClassVar[FitConfig]
    caption: ClassVar[str]
    observed: ClassVar[dict[str, Any] | None] = None
    is_normalised: ClassVar[bool] = True

    def examples(self, job: TrainingJob, split: str, runs: int) -> Arrays:
        """Return `obs` and what is to be predicted, for so many runs of a split."""
        raise NotImplementedError

    def ways(self, sets: Sequence[Arrays]) -> dict[str, Way]:
        """Return the networks by name, first the one that the experiment is about."""
        raise NotImplementedError

    def head(self, encoder: Encoder, train: Arrays) -> Trainable:
        """Return a new model on an encoder."""
        raise NotImplementedError

    def answer(self, model: Any, test: Arrays) -> NDArray[Any]:
        """Return a trained model's predictions."""
        return model.predict(test["obs"])

    def baselines(self, sets: Sequence[Arrays]) -> dict[str, NDArray[Any]]:
        """Return the predictions of methods without a network."""
        raise NotImplementedError

    def measure(self, answers: Answers, test: Arrays) -> Metric:
        """Return the metric of the first method beside the others'."""
        raise NotImplementedError

    def draw(self, path: Path, answers: Answers, model: Any, test: Arrays) -> None:
        """Plot the result; model, test: the first network and its view of the test examples."""
        raise NotImplementedError

    def way(self, kind: type[Encoder], sets: Sequence[Arrays], **architecture: Any) -> Way:
        """Return a way with an encoder of 64 features for examples like these."""
        obs = sets[0]["obs"]

        def make() -> Trainable:
            encoder = kind(space_like(obs), 64, **architecture)
            return self.head(encoder.fit_normalisation(obs) if self.is_normalised else encoder, sets[0])

        return Way(make, sets)

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train every network and measure it on held-out runs; the first one's encoder is saved."""
        splits = zip(("train", "validation", "test"), self.runs, strict=True)
        ways = self.ways([self.examples(job, split, runs) for split, runs in splits])
        models, answers, sizes = {}, {}, []
        for name, way in ways.items():
            train, validation, test = way.sets
            folder = "".join(letter if letter.isalnum() else "-" for letter in name)
            models[name], result = job.tune(folder, way.make, train, validation, self.config)
            answers[name] = self.answer(models[name], test)
            sizes.append(f"{name} {parameter_count(models[name]):,}")
            models[name].encoder.summary = result.summary(self.name)
        own, (_, _, test) = next(iter(models.values())), next(iter(ways.values())).sets
        own.encoder.observed = self.observed
        own.encoder.save(job.folder / WEIGHTS)
        answers |= self.baselines(next(iter(ways.values())).sets)
        metric = self.measure(answers, test)
        self.draw(job.folder / f"{self.name}.png", answers, own, test)
        metric = Metric(**{**vars(metric), "note": f"{metric.note}; parameters: {', '.join(sizes)}"})
        return ExperimentResult([metric], [Plot(f"{self.name}.png", self.caption)], [WEIGHTS])


class Classification(NetworkComparison):
    """Classification of examples `obs` and `label` (N,), scored by macro-F1.

    classes: their names; what: they are classes of
    """

    classes: ClassVar[Sequence[str]] = SCENES
    what: ClassVar[str] = "scene's class"

    def head(self, encoder: Encoder, train: Arrays) -> Trainable:
        """Return a classifier."""
        return Classifier(encoder, len(self.classes))

    def answer(self, model: Classifier, test: Arrays) -> NDArray[Any]:
        """Return the most probable classes, (N,)."""
        return model.predict(test["obs"]).argmax(1)

    def baselines(self, sets: Sequence[Arrays]) -> dict[str, NDArray[Any]]:
        """Return the most frequent class of training."""
        return {"majority class": np.full_like(sets[2]["label"], np.bincount(sets[0]["label"]).argmax())}

    def measure(self, answers: Answers, test: Arrays) -> Metric:
        """Return the macro-F1."""
        own, *_ = answers.values()
        by_class = zip(self.classes, class_f1(own, test["label"], len(self.classes)), strict=True)
        note = f"{len(own):,} of held-out runs; F1: " + ", ".join(f"{name} {value:.3f}" for name, value in by_class)
        f1 = {name: macro_f1(answer, test["label"], len(self.classes)) for name, answer in answers.items()}
        return Metric(f"macro-F1 of the {self.what}", f1.pop(next(iter(answers))), f1, note=note)

    def draw(self, path: Path, answers: Answers, model: Any, test: Arrays) -> None:
        """Plot the confusion matrix."""
        table = confusion(next(iter(answers.values())), test["label"], len(self.classes))
        save_confusion(table, self.classes, path, "True and predicted class")


class SpeedRegression(NetworkComparison):
    """Regression of speeds, scored by the root mean squared error [mph].

    what: is predicted
    """

    what: ClassVar[str] = "mean speed over the next five decisions"

    def head(self, encoder: Encoder, train: Arrays) -> Trainable:
        """Return a regressor of standardised targets."""
        return Regressor(encoder, float(train["target"].mean()), float(train["target"].std()))

    def truth(self, data: Arrays) -> NDArray[np.float32]:
        """Return the true values [mph], (N,)."""
        return data["target"]

    def baselines(self, sets: Sequence[Arrays]) -> dict[str, NDArray[Any]]:
        """Return the mean of training."""
        return {"the mean": np.full_like(self.truth(sets[2]), self.truth(sets[0]).mean())}

    def measure(self, answers: Answers, test: Arrays) -> Metric:
        """Return the root mean squared error."""
        truth = self.truth(test)
        errors = {name: float(root_mean_squared_error(truth, answer)) for name, answer in answers.items()}
        note = f"{truth.size:,} values of held-out runs"
        return Metric(f"RMSE of {self.what}", errors.pop(next(iter(answers))), errors, "mph", False, note=note)

    def draw(self, path: Path, answers: Answers, model: Any, test: Arrays) -> None:
        """Plot predicted over true values."""
        save_speeds(next(iter(answers.values())), self.truth(test), self.what, path)


# --- examples ---------------------------------------------------------------------------------------------------------


def space_like(obs: Any) -> spaces.Space:
    """Return a space for observations like these: an array (N, ...), or a dict of arrays."""
    if isinstance(obs, Mapping):
        return spaces.Dict({name: space_like(part) for name, part in sorted(obs.items())})
    if obs.dtype == np.uint8:
        return spaces.Box(0, 255, obs.shape[1:], np.uint8)
    return spaces.Box(-np.inf, np.inf, obs.shape[1:], np.float32)


def scene_examples(recording: Recording, observed: Any, every: int = 1) -> dict[str, Any]:
    """Return obs and label, the scene's class, of one decision in `every` of each run."""
    states = recording.states[:, :-1:every].reshape(-1)
    return {
        "obs": observe(recording.rules, states, observed),
        "label": scene_class(recording.rules, states),
    }
