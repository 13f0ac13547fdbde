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
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn

from deeptraffic.policies.layers import Reshape, SetPool
from deeptraffic.policies.torch_export import NetworkBuilder
from representation.encoder import Encoder, Observation
from representation.layouts import as_image, image_shape

SHORT = 8  # a side up to this length is not halved any more
READINGS = ("flat", "max", "mean")


def conv_layers(
    shape: tuple[int, int, int],
    channels: Sequence[int],
    kernel_size: int = 3,
    windows: Sequence[Sequence[int]] = (),
) -> tuple[nn.Sequential, tuple[int, int, int]]:
    """Return (layers, shape of their output) for images of a shape (C, H, W).

    Each layer is a convolution and relu. Without `windows` it halves every side longer than 8; along a side of length
    1, filters have length 1 as well.

    windows: rows and columns of each layer's filters, of their stride, and of the zero padding at each edge
    """
    if not channels or min(channels) < 1:
        raise ValueError(f"channels={tuple(channels)!r} is not possible; give at least 1 filter per layer")
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd and at least 1, got {kernel_size}")
    if windows and (len(windows) != len(channels) or any(len(window) != 6 for window in windows)):
        raise ValueError(f"windows={windows!r} must hold 6 integers for each of {len(channels)} layers")
    layers: list[nn.Module] = []
    for number, outputs in enumerate(channels):
        kernel, stride, padding = _window(shape, kernel_size) if not windows else _pairs(windows[number])
        layers += [nn.Conv2d(shape[0], outputs, kernel, stride, padding), nn.ReLU()]
        sides = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(shape[1:], kernel, stride, padding, strict=True)]
        if min(sides) < 1 or min(*kernel, *stride) < 1:
            raise ValueError(f"a filter of {kernel} does not fit into {shape[1:]}; change windows of layer {number}")
        shape = (outputs, sides[0], sides[1])
    return nn.Sequential(*layers), shape


Pair = tuple[int, int]


def _window(shape: tuple[int, int, int], kernel_size: int) -> tuple[Pair, Pair, Pair]:
    """Return kernel, stride and padding of a layer that halves long sides."""
    _, height, width = shape
    kernel = (_kernel(height, kernel_size), _kernel(width, kernel_size))
    return kernel, (1 + (height > SHORT), 1 + (width > SHORT)), (kernel[0] // 2, kernel[1] // 2)


def _pairs(window: Sequence[int]) -> tuple[Pair, Pair, Pair]:
    kernel_rows, kernel_columns, stride_rows, stride_columns, padding_rows, padding_columns = window
    return (kernel_rows, kernel_columns), (stride_rows, stride_columns), (padding_rows, padding_columns)


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
        windows: of the filters, see `conv_layers`; () for square ones that halve every long side
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
        windows: Sequence[Sequence[int]] = (),
    ) -> None:
        if reading not in READINGS:
            raise ValueError(f"reading={reading!r} does not exist; choose one of {', '.join(READINGS)}")
        architecture: dict[str, Any] = {"channels": list(channels), "kernel_size": kernel_size, "reading": reading}
        architecture |= {"columns": columns, "windows": [list(window) for window in windows]}
        super().__init__(observation_space, features_dim, **architecture)
        shape = image_shape(self.observation_space)
        if columns:
            if shape[:2] != (1, 1) or columns < 0 or shape[2] % columns:
                raise ValueError(f"columns={columns} does not divide observations of {shape}; leave columns out")
            shape = (1, shape[2] // columns, columns)
        self.reading, self.shape = reading, shape
        self.layers, self.maps = conv_layers(shape, channels, kernel_size, windows)
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
        if len(network.shape) == 1:  # cells as an image
            network.add(Reshape(shape=(*self.shape[1:], self.shape[0])))
        network.module(self.layers)
        if self.reading == "flat":
            network.module(nn.Flatten())
        else:
            filters, height, width = self.maps
            network.add(Reshape(shape=(height * width, filters)))
            network.add(SetPool(mode="max" if self.reading == "max" else "mean"))
        network.module(nn.Sequential(self.dense, nn.ReLU()))
        return True
