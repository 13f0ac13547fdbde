"""Experiments on self-supervised pretraining: five ways to the weights of one encoder of camera images, without labels.

All get the same architecture, initial weights, unlabelled decisions, normalisation, epochs and batches. Linear probes
measure what the features tell about the scene; `deeptraffic report labels` measures how many labelled decisions they
save a student of `deeptraffic train distil` (`agents/analysis/label_efficiency.py`).
"""

from typing import ClassVar

import numpy as np
from gymnasium import spaces

from representation.beyond.pretraining.model import (
    Contrastive,
    MaskedReconstruction,
    NextLatent,
    Objective,
    Reconstruction,
)
from representation.data.recording import observe_runs
from representation.encoder import Encoder
from representation.experiment import RUNS_OF_A_SEED, Experiment, ExperimentResult, TrainingJob
from representation.fit import Arrays, FitConfig
from representation.paradigms.convolutional.model import ConvEncoder
from representation.probe import probe

OBSERVED = {"kind": "two-frames", "height": 35, "width": 21}  # three pixels to a lane, two vehicle lengths to four rows
CHANNELS, FEATURES = (8, 16, 16), 64
RUNS = {"train": 500, "validation": 40}
WEIGHTS = "encoder.safetensors"
PROBED_RUNS = 100


def decisions(job: TrainingJob, split: str) -> Arrays:
    """Return unlabelled decisions: obs and next (N, 2, 35, 21) uint8, action (N,)."""
    recording = job.record(split, RUNS[split])
    seen = np.moveaxis(observe_runs(recording, OBSERVED), -1, 2)  # (R, T + 1, 2, 35, 21)
    obs, following = (np.ascontiguousarray(part).reshape(-1, *seen.shape[2:]) for part in (seen[:, :-1], seen[:, 1:]))
    return {"obs": obs, "action": recording.actions.ravel(), "next": following}


def new_encoder(data: Arrays) -> Encoder:
    """Return an encoder with random weights, normalised on unlabelled decisions."""
    shape = data["obs"].shape[1:]
    encoder = ConvEncoder(spaces.Box(0, 255, (*shape[1:], shape[0]), np.uint8), FEATURES, CHANNELS)
    encoder.observed = dict(OBSERVED)
    return encoder.fit_normalisation(data["obs"])


class Pretraining(Experiment):
    """Pretrains the encoder by an objective; none leaves its random weights."""

    paradigm = "beyond"
    objective: ClassVar[type[Objective] | None] = None
    config = FitConfig(epochs=4, batch_size=128, learning_rate=1e-3, learning_rate_end=1e-4, patience=0)

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Pretrain, save the encoder, and probe its features."""
        train = decisions(job, "train")
        encoder = job.new(lambda: new_encoder(train))
        if self.objective:
            model = self.objective(encoder)
            result = job.fit(self.name, model, train, decisions(job, "validation"), self.config)
            encoder.summary = result.summary(self.name)
        encoder.save(job.folder / WEIGHTS)
        metrics = probe(encoder, job.scaled(PROBED_RUNS, 20), job.cache, first=job.seed * RUNS_OF_A_SEED)
        return ExperimentResult(metrics, weights=[WEIGHTS])


class NoPretraining(Pretraining):
    """Random weights, the baseline of pretraining."""

    name = "pretext-none"
    summary = "Keeps the random initial weights of an encoder of camera images: the baseline of pretraining."
    source = "Saxe et al. 2011, On random weights and unsupervised feature learning"


class AutoencoderPretraining(Pretraining):
    """Pretraining as an autoencoder."""

    name = "pretext-autoencoder"
    summary = "Pretrains an encoder of camera images by reconstructing them from its features."
    source = "Hinton and Salakhutdinov 2006, doi:10.1126/science.1127647"
    objective = Reconstruction


class MaskedPretraining(Pretraining):
    """Pretraining as a masked autoencoder."""

    name = "pretext-masked"
    summary = "Pretrains an encoder of camera images by reconstructing masked blocks, half of all."
    source = "He et al. 2022, arXiv:2111.06377"
    objective = MaskedReconstruction


class NextLatentPretraining(Pretraining):
    """Pretraining by predicting the next features under the action."""

    name = "pretext-next-latent"
    summary = "Pretrains an encoder of camera images by predicting the features after an action, with a target network."
    source = "Schwarzer et al. 2021, arXiv:2007.05929; Grill et al. 2020, arXiv:2006.07733"
    objective = NextLatent


class ContrastivePretraining(Pretraining):
    """Pretraining by InfoNCE over successive decisions."""

    name = "pretext-contrastive"
    summary = "Pretrains an encoder of camera images by telling the next decision's image from those of others."
    source = "van den Oord, Li and Vinyals 2018, arXiv:1807.03748"
    objective = Contrastive
