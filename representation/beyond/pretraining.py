"""Self-supervised pretraining: pretext tasks that train an encoder of camera images without labels.

    >>> objective = MaskedReconstruction(new_encoder(data))
    >>> fit(objective, data, validation, FitConfig())      # obs, action and next of unlabelled decisions
    >>> objective.encoder.save("encoder.safetensors")

An objective is a loss over an encoder f and small heads that are thrown away afterwards. A batch holds unlabelled
decisions: obs (B, C, H, W) uint8, the action taken (B,), and next (B, C, H, W), what was observed after it. The
experiments give every objective the same architecture, initial weights, decisions, normalisation, epochs and batches.
Linear probes measure what the features tell about the scene; `deeptraffic report labels` measures how many labelled
decisions they save a student of `deeptraffic train distil` (`agents/analysis/label_efficiency.py`).

Sources: Hinton and Salakhutdinov 2006, doi:10.1126/science.1127647 (reconstruction); He et al. 2022, "Masked
autoencoders are scalable vision learners", arXiv:2111.06377 (masked); Schwarzer et al. 2021, "Data-efficient
reinforcement learning with self-predictive representations", arXiv:2007.05929, and Grill et al. 2020, "Bootstrap your
own latent", arXiv:2006.07733 (next latent); van den Oord, Li and Vinyals 2018, "Representation learning with
contrastive predictive coding", arXiv:1807.03748, equation 4 (contrastive).

Letters in shapes: N decisions, B of a minibatch, D features, C x H x W images.
"""

import copy
import math
from typing import ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional

from deeptraffic.sim.rules import Action
from representation.data.recording import observe_runs
from representation.encoder import Encoder, as_float
from representation.encoders.conv import ConvEncoder
from representation.encoders.dense import dense_layers
from representation.experiment import RUNS_OF_A_SEED, Experiment, ExperimentResult, TrainingJob
from representation.fit import Arrays, Batch, FitConfig, Trainable
from representation.probe import probe

ACTIONS = len(Action)
MASK_ROWS, MASK_FRACTION = 5, 0.5  # rows of a masked block, a lane wide; fraction of the blocks
MOMENTUM = 0.99  # of the target network
TEMPERATURE = 0.1  # of InfoNCE
SHIFT = 2  # [pixels] most that an augmentation shifts an image

OBSERVED = {"kind": "two-frames", "height": 35, "width": 21}  # a vehicle is 1.7 rows long, a lane 3 pixels wide
CHANNELS, FEATURES = (8, 16, 16), 64
RUNS = {"train": 500, "validation": 40}
WEIGHTS = "encoder.safetensors"
PROBED_RUNS = 100


class Objective(Trainable):
    """An encoder of images with a self-supervised loss.

    Args:
        encoder: D features of images (C, H, W)
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.shape: tuple[int, int, int] = encoder.observation_space.shape  # type: ignore[assignment]

    def images(self, obs: Tensor) -> Tensor:
        """Return observations as the encoder's normalised input (B, C, H, W)."""
        return self.encoder.normalise(as_float(self.encoder.aligned(obs), self.encoder.observation_space))


class Reconstruction(Objective):
    """Autoencoder: the mean squared error of the image decoded from its features."""

    def __init__(self, encoder: Encoder, units: int = 256) -> None:
        super().__init__(encoder)
        layers = dense_layers(encoder.features_dim, (units,), math.prod(self.shape))
        self.decoder = nn.Sequential(layers, nn.Unflatten(1, self.shape))

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (mean squared error, no further metrics)."""
        images = self.images(batch["obs"])
        return functional.mse_loss(self.decoder(self.encoder.features(images)), images), {}


class MaskedReconstruction(Reconstruction):
    """Masked autoencoder: reconstructs blocks that were replaced by the mean image, from those that remain.

    The blocks of each image of a stack are drawn separately, so that where a vehicle is hidden in one image, the others
    show it where it was or will be.
    """

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (mean squared error of the masked pixels, no further metrics)."""
        images = self.images(batch["obs"])
        hidden = self.mask(len(images))
        error = (self.decoder(self.encoder.features(images * (1.0 - hidden))) - images).pow(2)
        return (hidden * error).sum() / hidden.sum().clamp(min=1.0), {}

    def mask(self, count: int) -> Tensor:
        """Return 1 where pixels are hidden, else 0, (count, C, H, W)."""
        channels, height, width = self.shape
        rows, columns = -(-height // MASK_ROWS), 7
        blocks = (torch.rand(count, channels, rows, columns) < MASK_FRACTION).float()
        blocks = blocks.repeat_interleave(MASK_ROWS, 2).repeat_interleave(-(-width // columns), 3)
        return blocks[:, :, :height, :width].to(self.encoder.offset.device)


class NextLatent(Objective):
    """Self-predictive representation: predicts the features after the action, as a slowly moving target encodes them.

    Minimises 2 - 2 cos(q(g(h(f(o), a))), g'(f'(o'))) with transition model h, projection g and predictor q; the targets
    f' and g' are exponential moving averages of f and g and get no gradient (Grill et al. 2020, equation 2).
    """

    def __init__(self, encoder: Encoder, units: int = 128) -> None:
        super().__init__(encoder)
        size = encoder.features_dim
        self.transition = nn.Sequential(nn.Linear(size + ACTIONS, units), nn.ReLU(), nn.Linear(units, size), nn.ReLU())
        self.projection = nn.Linear(size, size)
        self.predictor = nn.Linear(size, size)
        self.target_encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.target_projection = copy.deepcopy(self.projection).requires_grad_(False)

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (2 - 2 cos, the standard deviation of normalised targets: 0 where the features have collapsed)."""
        if self.training:
            self.move_target()
        features = self.encoder.features(shifted(self.images(batch["obs"])))
        action = functional.one_hot(batch["action"], ACTIONS).float()
        predicted = self.predictor(self.projection(self.transition(torch.cat([features, action], 1))))
        with torch.no_grad():
            features = self.target_encoder.features(shifted(self.images(batch["next"])))
            target = functional.normalize(self.target_projection(features), dim=1)
        cosine = (functional.normalize(predicted, dim=1) * target).sum(1)
        return (2.0 - 2.0 * cosine).mean(), {"spread": target.std(0).mean() * target.shape[1] ** 0.5}

    @torch.no_grad()
    def move_target(self) -> None:
        """Move the targets' weights a step towards the trained ones."""
        for target, own in ((self.target_encoder, self.encoder), (self.target_projection, self.projection)):
            for moved, parameter in zip(target.parameters(), own.parameters(), strict=True):
                moved.lerp_(parameter, 1.0 - MOMENTUM)


class Contrastive(Objective):
    """Contrastive predictive coding: tells the features of the next decision from those of others in the batch.

    Minimises InfoNCE, -log softmax of the scores cos(W f(o), f(o')) / temperature; negatives are the next observations
    of the batch's other decisions. Both images are shifted at random.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        size = encoder.features_dim
        self.query, self.key = nn.Linear(size, size), nn.Linear(size, size)

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (InfoNCE [nats], fraction of decisions whose own successor scores best)."""
        both = shifted(self.images(torch.cat([batch["obs"], batch["next"]])))
        before, after = self.encoder.features(both).chunk(2)
        queries, keys = functional.normalize(self.query(before), dim=1), functional.normalize(self.key(after), dim=1)
        scores = queries @ keys.T / TEMPERATURE  # (B, B)
        own = torch.arange(len(scores), device=scores.device)
        return functional.cross_entropy(scores, own), {"accuracy": (scores.argmax(1) == own).float().mean()}


def shifted(images: Tensor) -> Tensor:
    """Return images (B, C, H, W), each moved by up to `SHIFT` pixels along the road; its edge fills the gap.

    Source: Kostrikov, Yarats and Fergus 2021, "Image augmentation is all you need", arXiv:2004.13649. Not sideways: a
    pixel is a third of a lane.
    """
    height = images.shape[2]
    rows = torch.arange(height)[None] + torch.randint(-SHIFT, SHIFT + 1, (len(images), 1))  # (B, H)
    index = rows.clamp(0, height - 1)[:, None, :, None].to(images.device)
    return images.gather(2, index.expand(images.shape))


# --- experiments ------------------------------------------------------------------------------------------------------


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
