"""The discriminator of a GAN as an encoder; `representation/paradigms/gan/model.py` trains it.

Source: Radford et al. 2015, arXiv:1511.06434, section 5.1; spectral norm: Miyato et al. 2018, arXiv:1802.05957,
equation 8.

Letters in shapes: B observations, C channels, H rows, W lanes, D features, w filters of the first layer.
"""

import math

import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad
from torch.nn.utils.parametrizations import spectral_norm

from representation.encoder import Encoder, Observation
from representation.layouts import as_image, image_shape

WIDE = 14  # images wider than this are halved across as well


class DiscriminatorEncoder(Encoder):
    """The discriminator up to its last layer, as an encoder.

    Every layer has spectral norm 1. The last one also reads the
    sums of each column, a lane of a road, which local filters cannot count.

    Args:
        observation_space: any, read as an image
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
        image = as_image(obs)  # (B, C, H, W)
        lanes = image.sum(2) / math.sqrt(image.shape[2])  # (B, C, W)
        image = pad(image, (0, 0, 0, self.height - image.shape[2]))  # (B, C, 4h, W)
        maps = self.layers(image)  # (B, 4w, h, W)
        return leaky_relu(self.dense(torch.cat([maps.flatten(1), lanes.flatten(1)], 1)), 0.2)  # (B, D)
