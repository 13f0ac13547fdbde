"""Decoders: networks from features to vectors, images or sequences. Any decoder fits any encoder.

    >>> decoder = make_decoder("conv", features_dim=64, output_shape=(4, 60, 7))
    >>> decoder(encoder(obs)).shape                        # (B, 4, 60, 7), without a final activation

Letters in shapes: B observations, D features, (...) the shape of one output.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from representation.paradigms.feedforward.model import dense_layers

MAX_OUTPUTS = 4_000_000


class Decoder(nn.Module):
    """A network from features (B, D) to outputs (B, *output_shape).

    Args:
        features_dim: D
        output_shape: of one output, without the batch axis
    """

    def __init__(self, features_dim: int, output_shape: tuple[int, ...]) -> None:
        super().__init__()
        if not output_shape or min(output_shape) < 1 or math.prod(output_shape) > MAX_OUTPUTS:
            raise ValueError(f"output_shape must have 1 to {MAX_OUTPUTS:,} values in all, got {output_shape!r}")
        self.features_dim, self.output_shape = features_dim, tuple(output_shape)


class DenseDecoder(Decoder):
    """Dense layers, for outputs without spatial structure: classes, a speed, the next observation as a vector."""

    def __init__(self, features_dim: int, output_shape: tuple[int, ...], hidden: tuple[int, ...] = (128,)) -> None:
        super().__init__(features_dim, output_shape)
        self.layers = dense_layers(features_dim, hidden, math.prod(output_shape))

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, *output_shape)."""
        return self.layers(features).unflatten(1, self.output_shape)


class ConvDecoder(Decoder):
    """Transposed convolutions, for images (C, H, W): a small image of many channels doubles its sides twice.

    Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic", arXiv:1603.07285, section 4. Other shapes are
    drawn as an image of one channel and as many columns as their last side.
    """

    def __init__(self, features_dim: int, output_shape: tuple[int, ...], width: int = 32) -> None:
        super().__init__(features_dim, output_shape)
        image = self.output_shape if len(output_shape) == 3 else (1, math.prod(output_shape[:-1]), output_shape[-1])
        self.image = image
        self.small = (2 * width, math.ceil(image[1] / 4), math.ceil(image[2] / 4))
        self.start = nn.Linear(features_dim, math.prod(self.small))
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(width, image[0], 4, 2, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, *output_shape)."""
        small = self.start(features).unflatten(1, self.small)  # (B, 2W, h, w)
        large = self.layers(small)  # (B, C, 4h, 4w)
        return large[:, :, : self.image[1], : self.image[2]].reshape(-1, *self.output_shape)


class RecurrentDecoder(Decoder):
    """A GRU that writes its output line by line, for sequences (T, n): each line sees the one before.

    Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder", arXiv:1406.1078. Other shapes
    are written line by line along their first side.
    """

    def __init__(self, features_dim: int, output_shape: tuple[int, ...], units: int = 128) -> None:
        super().__init__(features_dim, output_shape)
        self.steps, self.size = output_shape[0], math.prod(output_shape[1:])
        self.start = nn.Linear(features_dim, units)
        self.cell = nn.GRUCell(self.size, units)
        self.read = nn.Linear(units, self.size)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, *output_shape)."""
        state = torch.tanh(self.start(features))  # (B, units)
        line, lines = features.new_zeros(len(features), self.size), []
        for _ in range(self.steps):
            state = self.cell(line, state)
            line = self.read(state)  # (B, n)
            lines.append(line)
        return torch.stack(lines, 1).reshape(-1, *self.output_shape)


DECODERS: dict[str, type[Decoder]] = {"dense": DenseDecoder, "conv": ConvDecoder, "recurrent": RecurrentDecoder}


def make_decoder(name: str, features_dim: int, output_shape: tuple[int, ...], **architecture: Any) -> Decoder:
    """Return a new decoder; ValueError for a name that does not exist or arguments that it does not have."""
    if name not in DECODERS:
        raise ValueError(f"there is no decoder {name!r}; choose one of {', '.join(DECODERS)}")
    try:
        return DECODERS[name](features_dim, output_shape, **architecture)
    except TypeError as error:
        raise ValueError(f"decoder {name!r} cannot be made with {architecture}: {error}") from error
