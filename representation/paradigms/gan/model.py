"""Generative adversarial networks (paradigm 6) for scene rasters, with or without classes.

Source: Goodfellow et al. 2014, "Generative adversarial nets", arXiv:1406.2661. A generator G maps noise z to an image,
a discriminator D maps an image to a score, high for real ones. Here in the form of DCGAN (Radford, Metz and Chintala
2015, arXiv:1511.06434, section 3): strided convolutions, no pooling, batch normalisation in G. D's weights are
constrained to spectral norm 1 (Miyato et al. 2018, arXiv:1802.05957, equation 8), which bounds its Lipschitz constant,
and the objective is the hinge loss (their equations 16 and 17):

    loss of D = mean max(0, 1 - D(real)) + mean max(0, 1 + D(G(z)))          loss of G = -mean D(G(z))

Samples come from an exponential moving average of G's weights (Yazici et al. 2018, arXiv:1806.04498).

    >>> gan = SceneGAN(shape=(5, 20, 7))
    >>> fit(gan, {"image": rasters}, {"image": held_out}, FitConfig(beta1=0.0, patience=0))
    >>> gan.sample(1000, seed=1)                           # (1000, 5, 20, 7) float32, for `decode_rasters`

Letters in shapes: B images, C channels, H rows, W lanes, Z values of noise, K classes, D features.
"""

import copy
import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils.parametrizations import spectral_norm

from representation.data.rasters import EGO_POSITION, FOLLOWING, OWN, POSITION, SPEED_FACTOR, VEHICLE
from representation.encoders.discriminator import DiscriminatorEncoder
from representation.fit import Batch
from representation.saved_model import SavedModel

NOISE = 32  # Z
LIPSCHITZ = 4.0  # of D: at 1 it is hardly sensitive to one additional vehicle
CLASS_GAIN = 10.0  # scale of D's class embedding
INSTANCE_NOISE = 0.1  # standard deviation of the noise on the discriminator's input
EMA_DECAY = 0.995  # of the running mean of the generator's weights
CHUNK = 2048  # images drawn at a time

F32 = NDArray[np.float32]


class SceneGenerator(nn.Module):
    """Noise (and a class, if any) to images (C, H, W) in -1..1; the lanes stay, the rows double twice.

    In scene rasters (`ego_row`) the ego vehicle is one cell of its row, and only cells with vehicles have further
    values.
    """

    def __init__(self, shape: tuple[int, int, int], width: int, classes: int, ego_row: int | None) -> None:
        super().__init__()
        self.shape, self.ego_row = shape, ego_row
        self.small = (4 * width, math.ceil(shape[1] / 4), shape[2])
        self.embedding = nn.Embedding(classes, NOISE) if classes else None
        self.start = nn.Linear(NOISE * (2 if classes else 1), math.prod(self.small))
        self.layers = nn.Sequential(
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(4 * width, 2 * width, (4, 3), (2, 1), 1),  # (B, 2w, 2h, W)
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, (4, 3), (2, 1), 1),  # (B, w, 4h, W)
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, shape[0], 3, 1, 1),
        )

    def forward(self, noise: Tensor, classes: Tensor | None = None) -> Tensor:
        """Return (B, C, H, W) for noise (B, Z) and classes (B,)."""
        if self.embedding is not None:
            assert classes is not None, "a conditional generator needs classes"
            noise = torch.cat([noise, self.embedding(classes)], 1)  # (B, 2Z)
        small = self.start(noise).unflatten(1, self.small)  # (B, 4w, h, W)
        drawn = torch.tanh(self.layers(small)[:, :, : self.shape[1]])  # (B, C, H, W)
        return drawn if self.ego_row is None else self._as_scene(drawn)

    def _as_scene(self, drawn: Tensor) -> Tensor:
        """Binarise vehicle and ego channels, with straight-through gradients (Bengio 2013, arXiv:1308.3432).

        A real cell holds a vehicle or none, so soft values would give a generated image away.
        """
        own = torch.full_like(drawn[:, OWN], -1.0)  # (B, H, W)
        own[:, self.ego_row] = _decided(2.0 * drawn[:, OWN, self.ego_row].mul(4.0).softmax(1) - 1.0, one_of_all=True)
        here = torch.maximum(_decided(drawn[:, VEHICLE]), own)  # (B, H, W)
        place = torch.where(own > 0, EGO_POSITION, drawn[:, POSITION])
        values = torch.stack([place, *drawn[:, SPEED_FACTOR : FOLLOWING + 1].unbind(1)], 1)  # (B, 3, H, W)
        return torch.cat([here[:, None], own[:, None], values * (0.5 * (here + 1.0))[:, None]], 1)


def _decided(values: Tensor, one_of_all: bool = False) -> Tensor:
    """Return -1 or 1 for values in between, if `one_of_all` 1 for a row's maximum alone; straight-through backward."""
    chosen = values >= values.amax(-1, keepdim=True) if one_of_all else values > 0
    return (2.0 * chosen - 1.0) + (values - values.detach())  # exactly -1 or 1


class SceneDiscriminator(nn.Module):
    """Images to scores, high for real ones.

    With classes, by projection (Miyato and Koyama 2018, arXiv:1802.05637, equation 3): D(x, k) = w f(x) + v_k f(x).
    """

    def __init__(self, shape: tuple[int, int, int], width: int, classes: int) -> None:
        super().__init__()
        self.encoder = DiscriminatorEncoder(spaces.Box(-1.0, 1.0, shape, np.float32), width=width)
        self.read = spectral_norm(nn.Linear(self.encoder.features_dim, 1))
        self.embedding = nn.Embedding(classes, self.encoder.features_dim) if classes else None
        if self.embedding is not None:  # without spectral norm, under which it would hardly matter
            nn.init.zeros_(self.embedding.weight)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Return (B,) for images (B, C, H, W) and their classes (B,)."""
        features = self.encoder(images)  # (B, D)
        score = self.read(features)[:, 0]  # (B,)
        if self.embedding is not None:
            score = score + CLASS_GAIN * (self.embedding(classes) * features).sum(1)
        return LIPSCHITZ * score


class SceneGAN(SavedModel):
    """Generator and discriminator, trained on arrays {"image": (N, C, H, W) float32 in -1..1}.

    With classes it is conditional (Mirza and Osindero 2014, arXiv:1411.1784), and "scene" (N,) int64 are theirs.

    Args:
        shape: (C, H, W) of an image
        width: filters of the networks' widest rows
        ego_row: row of the ego car where the images are scene rasters; None for other images
        classes: K; 0 for none
    """

    kind = "scene-gan"
    players = ("discriminator", "generator")
    steps: Tensor

    def __init__(self, shape: Sequence[int], width: int = 32, ego_row: int | None = None, classes: int = 0) -> None:
        super().__init__(shape=list(shape), width=width, ego_row=ego_row, classes=classes)
        channels, height, across = shape
        self.classes = classes
        self.generator = SceneGenerator((channels, height, across), width, classes, ego_row)
        self.discriminator = SceneDiscriminator((channels, height, across), width, classes)
        self.ema = copy.deepcopy(self.generator).requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    # --- training -----------------------------------------------------------------------------------------------------

    def player_parameters(self, player: str) -> Iterable[nn.Parameter]:
        """Return the parameters of one player."""
        return (self.generator if player == "generator" else self.discriminator).parameters()

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return the hinge loss of one player."""
        real, classes = batch["image"], batch.get("scene")
        noise = torch.randn(len(real), NOISE, device=real.device)
        if player == "generator":
            self._update_ema()
            loss = -self.discriminator(_with_noise(self.generator(noise, classes)), classes).mean()
            return loss, {}
        with torch.no_grad():
            drawn = self.generator(noise, classes)
        score_real = self.discriminator(_with_noise(real), classes)
        score_drawn = self.discriminator(_with_noise(drawn), classes)
        right = torch.cat([score_real > 0, score_drawn < 0]).float().mean()
        return relu(1.0 - score_real).mean() + relu(1.0 + score_drawn).mean(), {"discriminator_right": right}

    def validation(self, batch: Batch) -> dict[str, Tensor]:
        """Return the energy distance between generated and real images: 0 for equal distributions.

        Szekely and Rizzo 2013, doi:10.1016/j.jspi.2013.03.018, equation 1.
        """
        real = batch["image"]
        noise = torch.randn(len(real), NOISE, device=real.device)
        drawn = self.ema(noise, batch.get("scene"))
        return {"loss": energy_distance(real.flatten(1), drawn.flatten(1))}

    @torch.no_grad()
    def _update_ema(self) -> None:
        """Update the moving average of the generator's weights, with a lower decay in the first steps."""
        if not self.generator.training:
            return
        self.steps += 1
        memory = min(EMA_DECAY, float(self.steps) / (10.0 + float(self.steps)))
        now = self.generator.state_dict()
        for name, kept in self.ema.state_dict().items():
            if kept.is_floating_point():
                kept.lerp_(now[name], 1.0 - memory)
            else:
                kept.copy_(now[name])

    # --- sampling -----------------------------------------------------------------------------------------------------

    def draw(self, noise: NDArray[np.floating], classes: ArrayLike | None = None) -> F32:
        """Return the images (B, C, H, W) of noise (B, Z)."""
        asked = () if classes is None else (np.array(np.broadcast_to(classes, len(noise))),)
        return self.in_chunks(self.ema, noise.astype(np.float32), *asked, size=CHUNK)

    def sample(self, count: int, seed: int = 0, classes: ArrayLike | None = None) -> F32:
        """Return `count` images; classes: one, or one per image; uniform by default."""
        if classes is None and self.classes:
            classes = np.random.default_rng([seed, self.classes]).integers(self.classes, size=count)
        return self.draw(np.random.default_rng(seed).normal(size=(count, NOISE)), classes)


def _with_noise(images: Tensor) -> Tensor:
    """Add instance noise (Sonderby 2016, arXiv:1610.04490)."""
    return images + INSTANCE_NOISE * torch.randn_like(images)


def energy_distance(first: Tensor, second: Tensor) -> Tensor:
    """Return 2 E|x - y| - E|x - x'| - E|y - y'| of two sets of points (B, n), pairs of different points."""
    between = torch.cdist(first, second).mean()
    within = [torch.cdist(points, points).sum() / (len(points) * (len(points) - 1)) for points in (first, second)]
    return 2.0 * between - within[0] - within[1]
