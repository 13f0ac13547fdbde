"""Image-to-image translation (paradigm 6): from label maps to camera frames in several styles.

Source: Isola, Zhu, Zhou and Efros 2017, "Image-to-image translation with conditional adversarial networks",
arXiv:1611.07004. The generator is a U-Net; the discriminator takes label map and frame and classifies patches (their
section 3.2.2). The generator's loss is equation 4, here with the hinge loss of `SceneGAN` in
place of the logarithms: -mean D(x, G(x)) + weight * mean |y - G(x)|.

One network renders several styles: a style is a vector of weights over the training styles, so that mixed weights
interpolate between them. Noise channels at the input model the frame's noise.

    >>> net = Pix2Pix(styles=8)
    >>> fit(net, {"labels": maps, "style": indices, "frame": frames}, ..., FitConfig(beta1=0.5, patience=0))
    >>> net.paint(maps, mixed_styles(len(maps), 8, seed=0))                # (B, 3, H, W) uint8

Letters in shapes: B frames, H and W pixels (multiples of 4), K classes of pixels, S styles, C channels.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import one_hot, relu
from torch.nn.utils.parametrizations import spectral_norm

from representation.data.frames import CLASSES
from representation.fit import Batch, Trainable
from representation.weights import read_weights, save_module

KIND = "pix2pix"
L1_WEIGHT = 30.0  # lambda of equation 4; the paper's 100 is for another adversarial loss
NOISE_CHANNELS = 2
CHUNK = 128  # frames painted at a time

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


class StyledConv(nn.Module):
    """A convolution with style-conditioned instance normalisation, then relu."""

    def __init__(self, layer: nn.Module, channels: int, styles: int) -> None:
        super().__init__()
        self.layer, self.bias = layer, nn.Linear(styles, 2 * channels)
        self.norm = nn.InstanceNorm2d(channels)

    def forward(self, maps: Tensor, style: Tensor) -> Tensor:
        """Return (B, C, h, w) for maps and style weights (B, S)."""
        gain, bias = self.bias(style)[:, :, None, None].chunk(2, 1)  # (B, C, 1, 1) each
        return relu(
            (1.0 + gain) * self.norm(self.layer(maps)) + bias
        )  # Huang and Belongie 2017, arXiv:1703.06868, eq. 8


class UNetGenerator(nn.Module):
    """The generator: a U-Net with two levels of downsampling, and a colour per class and style at its output."""

    def __init__(self, styles: int, width: int) -> None:
        super().__init__()
        inputs = len(CLASSES) + NOISE_CHANNELS
        self.down_1 = StyledConv(nn.Conv2d(inputs, width, 3, 1, 1), width, styles)
        self.down_2 = StyledConv(nn.Conv2d(width, 2 * width, 4, 2, 1), 2 * width, styles)
        self.down_3 = StyledConv(nn.Conv2d(2 * width, 2 * width, 4, 2, 1), 2 * width, styles)
        self.up_2 = StyledConv(nn.ConvTranspose2d(2 * width, 2 * width, 4, 2, 1), 2 * width, styles)
        self.up_1 = StyledConv(nn.ConvTranspose2d(4 * width, width, 4, 2, 1), width, styles)
        self.read = nn.Conv2d(2 * width + inputs, 3, 3, 1, 1)
        self.colours = nn.Linear(styles, 3 * len(CLASSES), bias=False)

    def forward(self, classes: Tensor, style: Tensor) -> Tensor:
        """Return frames (B, 3, H, W) in -1..1 for classes of pixels (B, K, H, W), one-hot, and styles (B, S)."""
        noise = torch.randn(len(classes), NOISE_CHANNELS, *classes.shape[2:], device=classes.device)
        first = torch.cat([classes, noise], 1)  # (B, K + 2, H, W)
        fine = self.down_1(first, style)  # (B, C, H, W)
        middle = self.down_2(fine, style)  # (B, 2C, H/2, W/2)
        coarse = self.down_3(middle, style)  # (B, 2C, H/4, W/4)
        middle = torch.cat([middle, self.up_2(coarse, style)], 1)  # (B, 4C, H/2, W/2)
        fine = torch.cat([fine, self.up_1(middle, style), first], 1)  # (B, 2C + K + 2, H, W)
        plain = torch.einsum("bck,bkhw->bchw", self.colours(style).unflatten(1, (3, len(CLASSES))), classes)
        return torch.tanh(plain + self.read(fine))


class PatchDiscriminator(nn.Module):
    """Classifies patches of about a fifth of the frame's height, high for real ones."""

    def __init__(self, styles: int, width: int) -> None:
        super().__init__()
        self.first = spectral_norm(nn.Conv2d(len(CLASSES) + 3, width, 4, 2, 1))
        self.style = nn.Linear(styles, width, bias=False)
        self.layers = nn.Sequential(
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(width, 2 * width, 4, 2, 1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(2 * width, 1, 3, 1, 1)),
        )

    def forward(self, classes: Tensor, frames: Tensor, style: Tensor) -> Tensor:
        """Return (B, 1, H/4, W/4) for classes (B, K, H, W), frames (B, 3, H, W) in -1..1 and styles (B, S)."""
        seen = self.first(torch.cat([classes, frames], 1))  # (B, C, H/2, W/2)
        return self.layers(seen + self.style(style)[:, :, None, None])


class Pix2Pix(Trainable):
    """Label maps to frames, trained on "labels" (N, H, W) uint8, "style" (N,) int64 and "frame" (N, 3, H, W) uint8.

    Args:
        styles: S
        width: channels of the widest maps
    """

    players = ("discriminator", "generator")

    def __init__(self, styles: int, width: int = 16) -> None:
        super().__init__()
        self.styles, self.facts = styles, {"styles": styles, "width": width}
        self.generator = UNetGenerator(styles, width)
        self.discriminator = PatchDiscriminator(styles, width)

    def player_parameters(self, player: str) -> Iterable[nn.Parameter]:
        """Return the parameters of one player."""
        return (self.generator if player == "generator" else self.discriminator).parameters()

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of one player."""
        classes = one_hot(batch["labels"].long(), len(CLASSES)).permute(0, 3, 1, 2).float()  # (B, K, H, W)
        style = one_hot(batch["style"], self.styles).float()  # (B, S)
        frames = batch["frame"].float() / 127.5 - 1.0  # (B, 3, H, W)
        painted = self.generator(classes, style)
        if player == "generator":
            away = (painted - frames).abs().mean()
            return L1_WEIGHT * away - self.discriminator(classes, painted, style).mean(), {"l1": away}
        real, drawn = (self.discriminator(classes, seen, style) for seen in (frames, painted.detach()))
        return relu(1.0 - real).mean() + relu(1.0 + drawn).mean(), {}

    def validation(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean absolute difference to the true frames, in -1..1."""
        return {"loss": self.loss(batch, "generator")[1]["l1"]}

    def paint(self, labels: U8, styles: F32, seed: int = 0) -> U8:
        """Return frames (B, 3, H, W) of label maps (B, H, W) in styles (B, S), weights that sum to 1."""
        self.eval()
        pieces, device = [], next(self.parameters()).device
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(seed)
            for start in range(0, len(labels), CHUNK):
                some = torch.from_numpy(labels[start : start + CHUNK]).to(device).long()
                classes = one_hot(some, len(CLASSES)).permute(0, 3, 1, 2).float()
                style = torch.from_numpy(styles[start : start + CHUNK]).to(device)
                frames = (self.generator(classes, style) + 1.0) * 127.5
                pieces.append(frames.round().clamp(0, 255).to(torch.uint8).cpu().numpy())
        return np.concatenate(pieces)

    def save(self, path: str | Path, summary: dict[str, Any] | None = None) -> None:
        """Write a weights file."""
        save_module(path, self.state_dict(), {"architecture": {"name": KIND, **self.facts}, "summary": summary or {}})


def load_pix2pix(path: str | Path) -> Pix2Pix:
    """Return the network in a weights file; ValueError if it holds something else."""
    tensors, facts = read_weights(path)
    plan = dict(facts.get("architecture", {}))
    if plan.pop("name", None) != KIND:
        raise ValueError(f"{str(path)!r} does not hold a pix2pix network; `deeptraffic pretrain pix2pix` writes one")
    net = Pix2Pix(**plan)
    net.load_state_dict(tensors)
    return net.eval()


def pure_styles(indices: NDArray[np.integer[Any]], styles: int) -> F32:
    """Return style weights (B, S) of style indices (B,)."""
    return np.eye(styles, dtype=np.float32)[indices]


def mixed_styles(count: int, styles: int, seed: int = 0) -> F32:
    """Return style weights (count, S) of mixtures of training styles, Dirichlet-distributed."""
    return np.random.default_rng(seed).dirichlet(np.full(styles, 0.3), count).astype(np.float32)


def flat_colours(labels: U8, frames: U8, indices: NDArray[np.integer[Any]], styles: int) -> F32:
    """Return the mean colour of each class in each style, (S, K, 3)."""
    out = np.zeros((styles, len(CLASSES), 3), np.float32)
    for style in range(styles):
        maps, pixels = labels[indices == style], frames[indices == style].transpose(0, 2, 3, 1)
        for k in range(len(CLASSES)):
            out[style, k] = pixels[maps == k].mean(0) if (maps == k).any() else 0.0
    return out


def paint_flat(labels: U8, indices: NDArray[np.integer[Any]], colours: F32) -> U8:
    """Return frames (B, 3, H, W) of label maps with one colour per class: the baseline."""
    painted = colours[indices[:, None, None], labels]  # (B, H, W, 3)
    return np.ascontiguousarray(painted.round().astype(np.uint8).transpose(0, 3, 1, 2))
