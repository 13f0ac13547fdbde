"""Self-supervised objectives: pretext tasks that train an encoder without labels, all over the same architecture.

    >>> objective = MaskedReconstruction(new_encoder())
    >>> fit(objective, data, validation, FitConfig())      # obs, action and next of unlabelled decisions
    >>> objective.encoder.save("encoder.safetensors")

Each objective is a loss over one encoder f and small heads that are thrown away afterwards. A batch holds unlabelled
decisions: obs (B, C, H, W) uint8, the action taken (B,), and next (B, C, H, W), what was observed after it.

Sources: Hinton and Salakhutdinov 2006, doi:10.1126/science.1127647 (reconstruction); He et al. 2022, "Masked
autoencoders are scalable vision learners", arXiv:2111.06377 (masked); Schwarzer et al. 2021, "Data-efficient
reinforcement learning with self-predictive representations", arXiv:2007.05929, and Grill et al. 2020, "Bootstrap your
own latent", arXiv:2006.07733 (next latent); van den Oord, Li and Vinyals 2018, "Representation learning with
contrastive predictive coding", arXiv:1807.03748, equation 4 (contrastive).

Letters in shapes: B decisions, D features, C x H x W images.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from deeptraffic.sim.rules import Action
from representation.encoder import Encoder, as_float
from representation.fit import Batch, Trainable
from representation.paradigms.autoencoder.decoders import make_decoder

ACTIONS = len(Action)
MASK_ROWS, MASK_FRACTION = 5, 0.5  # rows of a masked block, a lane wide; fraction of the blocks
MOMENTUM = 0.99  # of the target network
TEMPERATURE = 0.1  # of InfoNCE
SHIFT = 2  # [pixels] most that an augmentation shifts an image


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
        self.decoder = make_decoder("dense", encoder.features_dim, self.shape, hidden=(units,))

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
        self.target = copy.deepcopy(nn.ModuleList([encoder, self.projection])).requires_grad_(False)

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (2 - 2 cos, the standard deviation of normalised targets: 0 where the features have collapsed)."""
        if self.training:
            self.move_target()
        features = self.encoder.features(shifted(self.images(batch["obs"])))
        action = functional.one_hot(batch["action"], ACTIONS).float()
        predicted = self.predictor(self.projection(self.transition(torch.cat([features, action], 1))))
        encoder, projection = self.target
        with torch.no_grad():
            target = functional.normalize(projection(encoder.features(shifted(self.images(batch["next"])))), dim=1)
        cosine = (functional.normalize(predicted, dim=1) * target).sum(1)
        return (2.0 - 2.0 * cosine).mean(), {"spread": target.std(0).mean() * target.shape[1] ** 0.5}

    @torch.no_grad()
    def move_target(self) -> None:
        """Move the target's weights a step towards the trained ones."""
        own = nn.ModuleList([self.encoder, self.projection])
        for target, parameter in zip(self.target.parameters(), own.parameters(), strict=True):
            target.lerp_(parameter, 1.0 - MOMENTUM)


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
