"""Convolutional networks (paradigm 2): filters with shared weights at every position of an image.

Source: LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition",
doi:10.1109/5.726791, section II. A layer computes, with the same weights w at every position (i, j),

    y[k, i, j] = f(b[k] + sum over c, u, v of w[k, c, u, v] * x[c, s * i + u - p, s * j + v - p])

with stride s and zero padding p. A translated input gives a translated output. Stride in place of pooling: Springenberg
et al. 2015, arXiv:1412.6806.

    >>> encoder = ConvEncoder(spaces.Box(0, 1, (4, 60, 7)), features_dim=64)
    >>> encoder.encode(grids)                              # (B, 64)

Letters in shapes: B observations, C channels, H rows, W columns, D features.
"""

from collections.abc import Sequence

import torch
from gymnasium import spaces
from torch import Tensor, nn

from deeptraffic.policies.layers import Reshape
from deeptraffic.policies.torch_export import NetworkBuilder
from representation.encoder import Encoder, Observation
from representation.layouts import as_image, image_shape

SHORT = 8  # a side up to this length is not halved any more
READINGS = ("flat", "max", "mean")


def conv_layers(
    shape: tuple[int, int, int], channels: Sequence[int], kernel_size: int = 3
) -> tuple[nn.Sequential, tuple[int, int, int]]:
    """Return (layers, shape of their output) for images of a shape (C, H, W).

    Each layer is a convolution and relu. It halves every side longer than 8; along a side of length 1, filters have
    length 1 as well.
    """
    if not channels or min(channels) < 1:
        raise ValueError(f"channels={tuple(channels)!r} is not possible; give at least 1 filter per layer")
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd and at least 1, got {kernel_size}")
    layers: list[nn.Module] = []
    inputs, height, width = shape
    for outputs in channels:
        kernel = (_kernel(height, kernel_size), _kernel(width, kernel_size))
        stride = (1 + (height > SHORT), 1 + (width > SHORT))
        layers += [nn.Conv2d(inputs, outputs, kernel, stride, (kernel[0] // 2, kernel[1] // 2)), nn.ReLU()]
        inputs, height, width = outputs, -(-height // stride[0]), -(-width // stride[1])
    return nn.Sequential(*layers), (inputs, height, width)


def _kernel(side: int, kernel_size: int) -> int:
    return 1 if side == 1 else kernel_size


class ConvEncoder(Encoder):
    """Convolutions over the observation as an image, then one dense layer.

    Args:
        observation_space: any; a stack of images becomes one image with all their channels, which shows motion
        features_dim: D
        channels: filters of each layer
        kernel_size: side of a filter, odd
        reading: input of the dense layer: "flat" for the last maps, flattened; "max" or "mean" for global pooling
        columns: of a vector of cells, which is then read as an image of rows; 0 for one row of all
    """

    name = "conv"
    reads_images = True

    def __init__(
        self,
        observation_space: spaces.Space,
        features_dim: int = 64,
        channels: Sequence[int] = (16, 32, 32),
        kernel_size: int = 3,
        reading: str = "flat",
        columns: int = 0,
    ) -> None:
        if reading not in READINGS:
            raise ValueError(f"reading={reading!r} does not exist; choose one of {', '.join(READINGS)}")
        architecture = {"channels": list(channels), "kernel_size": kernel_size, "reading": reading, "columns": columns}
        super().__init__(observation_space, features_dim, **architecture)
        shape = image_shape(self.observation_space)
        if columns:
            if shape[:2] != (1, 1) or columns < 0 or shape[2] % columns:
                raise ValueError(f"columns={columns} does not divide observations of {shape}; leave columns out")
            shape = (1, shape[2] // columns, columns)
        self.reading, self.shape = reading, shape
        self.layers, self.maps = conv_layers(shape, channels, kernel_size)
        read = self.maps[0] * self.maps[1] * self.maps[2] if reading == "flat" else self.maps[0]
        self.dense = nn.Linear(read, features_dim)

    def features(self, obs: Observation) -> Tensor:
        """Return (B, D)."""
        image = as_image(obs).view(-1, *self.shape)  # (B, C, H, W)
        maps = self.layers(image)  # (B, K, h, w)
        if self.reading == "flat":
            read = maps.flatten(1)  # (B, K * h * w)
        else:
            read = maps.amax((2, 3)) if self.reading == "max" else maps.mean((2, 3))  # (B, K)
        return torch.relu(self.dense(read))  # (B, D)

    def add_layers(self, network: NetworkBuilder) -> bool:
        """Append the layers of a policy file; see `Encoder.add_layers`."""
        if self.reading != "flat":
            return False
        if len(network.shape) == 1:  # cells as an image
            network.add(Reshape(shape=(*self.shape[1:], self.shape[0])))
        network.module(nn.Sequential(self.layers, nn.Flatten(), self.dense, nn.ReLU()))
        return True
