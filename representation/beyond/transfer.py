"""Transfer: what was learned in one place, used in another where there is little to learn from.

    >>> source = train(encoder, on="the 2017 rules")
    >>> labelled = LabelledScenes(obs, labels)                   # a few runs under the 2018 rules
    >>> adapted = adapt(source, labelled, validation, FitConfig(), frozen=False)

Source: Yosinski et al. 2014, "How transferable are features in deep neural networks?", arXiv:1411.1792. From one kind
of observation to another, where weights do not fit, the new encoder learns the old one's features on pairs that need no
labels (`Distillation`; Gupta, Hoffman and Malik 2016, "Cross modal distillation", arXiv:1507.00448).

Letters in shapes: N examples, B of a minibatch, D features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from representation.data.labels import SCENES, scene_class
from representation.data.recording import RecordingConfig, observe, record
from representation.encoder import Encoder
from representation.fit import Batch, FitConfig, Trainable, fit
from representation.registry import load_encoder
from representation.supervised import Classifier


@dataclass(frozen=True)
class LabelledScenes:
    """Scenes and their classes. obs: (N, ...); label: (N,) int64; per_run: of these, one run's."""

    obs: NDArray[Any]
    label: NDArray[np.int64]
    per_run: int

    def first(self, runs: int) -> Self:
        """Return the first runs alone."""
        return type(self)(self.obs[: runs * self.per_run], self.label[: runs * self.per_run], self.per_run)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `Classifier` learns from."""
        return {"obs": self.obs, "label": self.label}


def labelled_scenes(config: RecordingConfig, observed: Mapping[str, Any], cache: Any = None) -> LabelledScenes:
    """Return recorded scenes as they are observed, with their classes."""
    recording = record(config, cache)
    states = recording.states[:, :-1].ravel()
    obs = observe(recording.rules, states, observed)
    return LabelledScenes(obs, scene_class(recording.rules, states), config.decisions)


def copy_of(encoder: Encoder) -> Encoder:
    """Return the same encoder once more, through its file's content."""
    copied = load_encoder(encoder.content())
    copied.is_pretrained = False
    return copied


def adapt(
    start: Classifier, train: LabelledScenes, validation: LabelledScenes, config: FitConfig, frozen: bool = False
) -> Classifier:
    """Return a copy of a classifier of scenes, head included, that goes on learning from other scenes.

    frozen: whether the encoder keeps its weights, so that the head alone learns
    """
    model = Classifier(copy_of(start.encoder), len(SCENES))
    model.head.load_state_dict(start.head.state_dict())
    if frozen:
        model.encoder.freeze()
    fit(model, train.arrays(), validation.arrays(), config)
    return model


def compare_ways(
    pretrained: Classifier,
    fresh: Classifier,
    train: LabelledScenes,
    validation: LabelledScenes,
    runs: int,
    config: FitConfig,
) -> dict[str, Classifier]:
    """Return classifiers by way, each from the first `runs` runs of labels: fine-tuned, frozen, from scratch.

    fresh: one of the same architecture before any training; validation: of the target, which chooses the epoch
    """
    few = train.first(runs)
    return {
        "fine-tuned": adapt(pretrained, few, validation, config),
        "frozen": adapt(pretrained, few, validation, config, frozen=True),
        "from scratch": adapt(fresh, few, validation, config),
    }


class Distillation(Trainable):
    """A student encoder that learns a teacher's features: minimise |student(seen) - teacher features|^2 / deviation^2.

    Args:
        student: of the new observations, with as many features as the teacher
        features: (N, D) of the teacher on training data, from which each feature's deviation is taken
    """

    deviation: Tensor

    def __init__(self, student: Encoder, features: NDArray[np.float32]) -> None:
        super().__init__()
        if features.shape[1:] != (student.features_dim,):
            raise ValueError(
                f"the teacher has {features.shape[1:]} features, the student {student.features_dim}; "
                "make a student with as many"
            )
        self.student = student
        self.register_buffer("deviation", torch.from_numpy(np.maximum(features.std(0), 1e-2)))

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (mean squared error in the features' deviations, {}) on obs (B, ...) and features (B, D)."""
        error = (self.student(batch["obs"]) - batch["features"]) / self.deviation  # (B, D)
        return error.pow(2).mean(), {}
