"""Paradigm 6, generative adversarial networks: one network draws, another says what gives the drawing away.

Source: Goodfellow et al. 2014, "Generative adversarial nets", arXiv:1406.2661. A generator G turns noise z into a
picture, a discriminator D gives a picture a number, high for real ones. Here in the form of DCGAN (Radford, Metz and
Chintala 2015, arXiv:1511.06434, section 3): strided convolutions, no pooling, batch normalisation in G. D's weights
are held at spectral norm 1 (Miyato et al. 2018, arXiv:1802.05957, equation 8), which bounds how steep D can be, and
the game is the hinge loss (their equations 16 and 17):

    loss of D = mean max(0, 1 - D(real)) + mean max(0, 1 + D(G(z)))          loss of G = -mean D(G(z))

What is sampled is a running mean of G's weights (Yazici et al. 2018, arXiv:1806.04498): steadier than the last ones.

    >>> gan = SceneGAN(picture=(5, 20, 7))
    >>> fit(gan, {"picture": pictures}, {"picture": held_out}, FitConfig(beta1=0.0, patience=0))
    >>> gan.sample(1000, seed=1)                           # (1000, 5, 20, 7) float32, to be read by decode_rasters

Letters in shapes: B pictures, C channels, H rows, W lanes, Z numbers of noise, K classes, D features.
"""

import copy
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn.functional import pad, relu
from torch.nn.utils.parametrizations import spectral_norm

from representation.data.rasters import EGO_POSITION, FOLLOWING, OWN, POSITION, SPEED_FACTOR, VEHICLE
from representation.encoder import Encoder, Observation
from representation.fit import Batch, Trainable
from representation.layouts import as_image, image_shape
from representation.weights import read_weights, save_module

NOISE, HALVINGS = 32, 2  # Z; how often the generator doubles a picture's height and the discriminator halves it
STEEPNESS = 4.0  # how steep D may be: at 1 it hardly notices one car too many
CLASS_GAIN = 10.0  # how fast D learns what a class looks like
BLUR = 0.1  # standard deviation of the noise on what the discriminator sees
MEMORY = 0.995  # of the running mean of the generator's weights
CHUNK = 2048  # pictures drawn at a time
WIDE = 14  # pictures wider than this are halved across as well

F32 = NDArray[np.float32]


class SceneGenerator(nn.Module):
    """Noise (and a class, if there are any) to pictures (C, H, W) in -1..1; the lanes stay, the rows double twice.

    In pictures of scenes (`ego_row`) the own car is one cell of its row, and only cells with cars have numbers.
    """

    def __init__(self, picture: tuple[int, int, int], width: int, classes: int, ego_row: int | None) -> None:
        super().__init__()
        self.picture, self.ego_row = picture, ego_row
        self.small = (4 * width, math.ceil(picture[1] / 4), picture[2])
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
            nn.Conv2d(width, picture[0], 3, 1, 1),
        )

    def forward(self, noise: Tensor, classes: Tensor | None = None) -> Tensor:
        """Return (B, C, H, W) for noise (B, Z) and classes (B,)."""
        if self.embedding is not None:
            assert classes is not None, "this generator draws classes; say which"
            noise = torch.cat([noise, self.embedding(classes)], 1)  # (B, 2Z)
        small = self.start(noise).unflatten(1, self.small)  # (B, 4w, h, W)
        drawn = torch.tanh(self.layers(small)[:, :, : self.picture[1]])  # (B, C, H, W)
        return drawn if self.ego_row is None else self._as_scene(drawn)

    def _as_scene(self, drawn: Tensor) -> Tensor:
        """Make whole decisions of vehicle and own car, with the gradient of half ones (Bengio 2013, arXiv:1308.3432).

        A real cell holds a car or none: else the discriminator would need to look no further.
        """
        own = torch.full_like(drawn[:, OWN], -1.0)  # (B, H, W)
        own[:, self.ego_row] = _decided(2.0 * drawn[:, OWN, self.ego_row].mul(4.0).softmax(1) - 1.0, one_of_all=True)
        here = torch.maximum(_decided(drawn[:, VEHICLE]), own)  # (B, H, W)
        place = torch.where(own > 0, EGO_POSITION, drawn[:, POSITION])
        numbers = torch.stack([place, *drawn[:, SPEED_FACTOR : FOLLOWING + 1].unbind(1)], 1)  # (B, 3, H, W)
        return torch.cat([here[:, None], own[:, None], numbers * (0.5 * (here + 1.0))[:, None]], 1)


def _decided(values: Tensor, one_of_all: bool = False) -> Tensor:
    """Return -1 or 1 for values in between, the largest of a line alone if `one_of_all`; backward passes through."""
    chosen = values >= values.amax(-1, keepdim=True) if one_of_all else values > 0
    return (2.0 * chosen - 1.0) + (values - values.detach())  # exactly -1 or 1


class DiscriminatorEncoder(Encoder):
    """The discriminator up to its last layer: what it looks at to tell real scenes from drawn ones, as features.

    Source of the use: Radford et al. 2015, section 5.1. Every layer is held at spectral norm 1. The last one also reads
    the sums of each column, a lane of a road: how many cars there are is seen by nobody who looks at corners only.

    Args:
        observation_space: any, read as one picture
        features_dim: D
        width: filters of the first layer
    """

    name = "discriminator"

    def __init__(self, observation_space: spaces.Space, features_dim: int = 64, width: int = 32) -> None:
        super().__init__(observation_space, features_dim, width=width)
        channels, height, across = image_shape(self.observation_space)
        stride = (2, 2 if across > WIDE else 1)
        self.height = math.ceil(height / 4) * 4
        self.layers = nn.Sequential(
            spectral_norm(nn.Conv2d(channels, 2 * width, (4, 3), stride, 1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(2 * width, 4 * width, (4, 3), stride, 1)),
            nn.LeakyReLU(0.2),
        )
        read = 4 * width * (self.height // 4) * math.ceil(math.ceil(across / stride[1]) / stride[1])
        self.dense = spectral_norm(nn.Linear(read + channels * across, features_dim))

    def features(self, obs: Observation) -> Tensor:
        """Return (B, D)."""
        picture = as_image(obs)  # (B, C, H, W)
        lanes = picture.sum(2) / math.sqrt(picture.shape[2])  # (B, C, W)
        picture = pad(picture, (0, 0, 0, self.height - picture.shape[2]))  # (B, C, 4h, W)
        maps = self.layers(picture)  # (B, 4w, h, W)
        return nn.functional.leaky_relu(self.dense(torch.cat([maps.flatten(1), lanes.flatten(1)], 1)), 0.2)  # (B, D)


class SceneDiscriminator(nn.Module):
    """Pictures to numbers, high for real ones.

    With classes, by projection (Miyato and Koyama 2018, arXiv:1802.05637, equation 3): D(x, k) = w f(x) + v_k f(x).
    """

    def __init__(self, picture: tuple[int, int, int], width: int, classes: int) -> None:
        super().__init__()
        self.encoder = DiscriminatorEncoder(spaces.Box(-1.0, 1.0, picture, np.float32), width=width)
        self.read = spectral_norm(nn.Linear(self.encoder.features_dim, 1))
        self.embedding = nn.Embedding(classes, self.encoder.features_dim) if classes else None
        if self.embedding is not None:  # not held at norm 1, at which it would hardly count; nothing is known at first
            nn.init.zeros_(self.embedding.weight)

    def forward(self, pictures: Tensor, classes: Tensor | None = None) -> Tensor:
        """Return (B,) for pictures (B, C, H, W) and their classes (B,)."""
        features = self.encoder(pictures)  # (B, D)
        score = self.read(features)[:, 0]  # (B,)
        if self.embedding is not None:
            score = score + CLASS_GAIN * (self.embedding(classes) * features).sum(1)
        return STEEPNESS * score


class SceneGAN(Trainable):
    """Generator and discriminator, trained on arrays {"picture": (N, C, H, W) float32 in -1..1}.

    Args:
        picture: (C, H, W)
        width: filters of the networks' widest rows
        ego_row: row of the own car where the pictures are scenes of `legal.py`; None for other pictures
    """

    players = ("discriminator", "generator")
    classes = 0
    steps: Tensor

    def __init__(self, picture: tuple[int, int, int], width: int = 32, ego_row: int | None = None) -> None:
        super().__init__()
        self.facts = {"picture": list(picture), "width": width, "ego_row": ego_row, "classes": self.classes}
        self.generator = SceneGenerator(picture, width, self.classes, ego_row)
        self.discriminator = SceneDiscriminator(picture, width, self.classes)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    # --- training -----------------------------------------------------------------------------------------------------

    def player_parameters(self, player: str) -> Iterable[nn.Parameter]:
        """Return the parameters of one of the two."""
        return (self.generator if player == "generator" else self.discriminator).parameters()

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return the hinge loss of one of the two."""
        real, classes = batch["picture"], batch.get("scene")
        noise = torch.randn(len(real), NOISE, device=real.device)
        if player == "generator":
            self._remember()
            loss = -self.discriminator(_blurred(self.generator(noise, classes)), classes).mean()
            return loss, {}
        with torch.no_grad():
            drawn = self.generator(noise, classes)
        score_real = self.discriminator(_blurred(real), classes)
        score_drawn = self.discriminator(_blurred(drawn), classes)
        right = torch.cat([score_real > 0, score_drawn < 0]).float().mean()
        return relu(1.0 - score_real).mean() + relu(1.0 + score_drawn).mean(), {"discriminator_right": right}

    def validation(self, batch: Batch) -> dict[str, Tensor]:
        """Return how far drawn pictures are from real ones as a set: 0 if nobody could tell the sets apart.

        The energy distance (Szekely and Rizzo 2013, doi:10.1016/j.jspi.2013.03.018, equation 1).
        """
        real = batch["picture"]
        noise = torch.randn(len(real), NOISE, device=real.device)
        drawn = self.average(noise, batch.get("scene"))
        return {"loss": energy_distance(real.flatten(1), drawn.flatten(1))}

    @torch.no_grad()
    def _remember(self) -> None:
        """Move the running mean of the generator's weights on by one step; the first steps count for less and less."""
        if not self.generator.training:
            return
        self.steps += 1
        memory = min(MEMORY, float(self.steps) / (10.0 + float(self.steps)))
        now = self.generator.state_dict()
        for name, kept in self.average.state_dict().items():
            if kept.is_floating_point():
                kept.lerp_(now[name], 1.0 - memory)
            else:
                kept.copy_(now[name])

    # --- drawing ------------------------------------------------------------------------------------------------------

    def draw(self, noise: NDArray[np.floating], classes: ArrayLike | None = None) -> F32:
        """Return the pictures (B, C, H, W) of noise (B, Z)."""
        device = next(self.parameters()).device
        self.eval()
        asked = None if classes is None else torch.as_tensor(np.broadcast_to(classes, len(noise)).copy()).to(device)
        pieces = []
        with torch.no_grad():
            for start in range(0, len(noise), CHUNK):
                some = slice(start, start + CHUNK)
                z = torch.as_tensor(noise[some], dtype=torch.float32, device=device)
                pieces.append(self.average(z, None if asked is None else asked[some]).cpu().numpy())
        return np.concatenate(pieces)

    def sample(self, count: int, seed: int = 0, truncation: float = np.inf, classes: ArrayLike | None = None) -> F32:
        """Return `count` pictures; classes: one or one per picture, where there are any.

        truncation: noise beyond this is drawn again (Brock, Donahue and Simonyan 2019, arXiv:1809.11096, section 3.1):
            the smaller, the more typical and the more alike are the pictures
        """
        return self.draw(truncated_noise(count, seed, truncation), classes)

    def save(self, path: str | Path, summary: dict[str, Any] | None = None) -> None:
        """Write a weights file."""
        kind = "conditional-scene-gan" if self.classes else "scene-gan"
        save_module(path, self.state_dict(), {"architecture": {"name": kind, **self.facts}, "summary": summary or {}})


class ConditionalSceneGAN(SceneGAN):
    """A GAN that is told which class to draw; trained on "picture" and "scene" (N,) int64, numbers of classes.

    Source: Mirza and Osindero 2014, arXiv:1411.1784.

    classes: K
    """

    def __init__(
        self, picture: tuple[int, int, int], width: int = 32, ego_row: int | None = None, classes: int = 5
    ) -> None:
        if classes < 1:
            raise ValueError(f"classes={classes} cannot be told apart; give at least 1, or take SceneGAN")
        self.classes = classes
        super().__init__(picture, width, ego_row)

    def sample(self, count: int, seed: int = 0, truncation: float = np.inf, classes: ArrayLike | None = None) -> F32:
        """As `SceneGAN.sample`; classes that are not given are drawn, all as often."""
        if classes is None:
            classes = np.random.default_rng([seed, self.classes]).integers(self.classes, size=count)
        return super().sample(count, seed, truncation, classes)


def load_gan(path: str | Path) -> SceneGAN:
    """Return the GAN in a weights file; ValueError if it holds something else."""
    tensors, facts = read_weights(path)
    plan = dict(facts.get("architecture", {}))
    if plan.pop("name", None) not in ("scene-gan", "conditional-scene-gan"):
        raise ValueError(f"{str(path)!r} holds no GAN of scenes; `deeptraffic pretrain scene-gan` writes one")
    plan["picture"] = tuple(plan["picture"])
    if not plan["classes"]:
        del plan["classes"]
    gan = ConditionalSceneGAN(**plan) if "classes" in plan else SceneGAN(**plan)
    gan.load_state_dict(tensors)
    return gan.eval()


def _blurred(pictures: Tensor) -> Tensor:
    """Pictures with a little noise, so that no exact number gives a picture away (Sonderby 2016, arXiv:1610.04490)."""
    return pictures + BLUR * torch.randn_like(pictures)


# --- noise and distance -----------------------------------------------------------------------------------------------


def truncated_noise(count: int, seed: int = 0, truncation: float = np.inf) -> NDArray[np.float64]:
    """Return (count, Z) normal draws, none further from 0 than `truncation`."""
    if not truncation > 0.0:
        raise ValueError(f"truncation={truncation} leaves no noise; give a number above 0, such as 1")
    random = np.random.default_rng(seed)
    noise = random.normal(size=(count, NOISE))
    while (far := np.abs(noise) > truncation).any():
        noise[far] = random.normal(size=int(far.sum()))
    return noise


def interpolate(ends: Sequence[NDArray[np.floating]], steps: int) -> NDArray[np.float64]:
    """Return noise on the way through several points (Z,), `steps` from each to the next, (..., Z).

    On the sphere, where normal noise lies (White 2016, arXiv:1609.04468, section 2.1).
    """
    pieces = []
    for first, last in zip(ends, ends[1:], strict=False):
        lengths = np.linalg.norm(first), np.linalg.norm(last)
        angle = np.arccos(np.clip(np.dot(first, last) / (lengths[0] * lengths[1]), -1.0, 1.0))
        share = np.linspace(0.0, 1.0, steps)[:, None]
        pieces.append((np.sin((1 - share) * angle) * first + np.sin(share * angle) * last) / np.sin(angle))
    return np.concatenate(pieces)


def energy_distance(first: Tensor, second: Tensor) -> Tensor:
    """Return 2 E|x - y| - E|x - x'| - E|y - y'| of two sets of points (B, n), pairs of different points."""
    between = torch.cdist(first, second).mean()
    within = [torch.cdist(points, points).sum() / (len(points) * (len(points) - 1)) for points in (first, second)]
    return 2.0 * between - within[0] - within[1]
