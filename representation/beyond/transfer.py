"""Transfer learning: a pretrained encoder on a target task with few labels.

    >>> few = labelled_scenes(config, observed).first(runs=3)
    >>> tuned = adapt(source, few, validation, FitConfig(), frozen=False)

Source: Yosinski et al. 2014, "How transferable are features in deep neural networks?", arXiv:1411.1792. Between kinds
of observation, where weights do not fit, the new encoder learns the old one's features from unlabelled pairs
(`Distillation`; Gupta, Hoffman and Malik 2016, "Cross modal distillation", arXiv:1507.00448).

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
    """Scenes and their classes. obs: (N, ...); label: (N,) int64; per_run: number of scenes of one run."""

    obs: NDArray[Any]
    label: NDArray[np.int64]
    per_run: int

    def first(self, runs: int) -> Self:
        """Return the scenes of the first runs."""
        return type(self)(self.obs[: runs * self.per_run], self.label[: runs * self.per_run], self.per_run)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the training data of `Classifier`."""
        return {"obs": self.obs, "label": self.label}


def labelled_scenes(config: RecordingConfig, observed: Mapping[str, Any], cache: Any = None) -> LabelledScenes:
    """Return recorded scenes as observations, with their classes."""
    recording = record(config, cache)
    states = recording.states[:, :-1].ravel()
    obs = observe(recording.rules, states, observed)
    return LabelledScenes(obs, scene_class(recording.rules, states), config.decisions)


def copy_of(encoder: Encoder) -> Encoder:
    """Return a copy of an encoder."""
    copied = load_encoder(encoder.content())
    copied.is_pretrained = False
    return copied


def adapt(
    start: Classifier, train: LabelledScenes, validation: LabelledScenes, config: FitConfig, frozen: bool = False
) -> Classifier:
    """Return a copy of a classifier of scenes, head included, trained on other scenes.

    frozen: whether the encoder keeps its weights, so that only the head is trained
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
    """Return classifiers trained on the labels of the first `runs` runs, by method: fine-tuned, frozen, from scratch.

    fresh: untrained, of the same architecture; validation: of the target, for early stopping
    """
    few = train.first(runs)
    return {
        "fine-tuned": adapt(pretrained, few, validation, config),
        "frozen": adapt(pretrained, few, validation, config, frozen=True),
        "from scratch": adapt(fresh, few, validation, config),
    }


class Distillation(Trainable):
    """A student encoder that learns a teacher's features: minimise |student(obs) - teacher features|^2 / deviation^2.

    Args:
        student: of the new observations, with as many features as the teacher
        features: (N, D) of the teacher on training data, for the standardisation of each feature
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
