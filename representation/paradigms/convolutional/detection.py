"""Vehicle detection: from two images a decision apart to the cells of the simulator's grid, by a convolutional network.

The output for a cell depends on the pixels around that cell, with the same weights everywhere. Source: Long, Shelhamer
and Darrell 2015, "Fully convolutional networks", arXiv:1411.4038, section 3; predictions per cell: Redmon et al. 2016,
"You only look once", arXiv:1506.02640, section 2. Images are standardised, and training mixes their colours at random,
so that the network goes by shape and contrast in whatever colours it meets (domain randomisation: Tobin et al. 2017,
arXiv:1703.06907).

    >>> detector = GridDetector()
    >>> detector.perceive(images)                       # (N, 70, 28, 6) uint8 -> (N, 420), as the contest's sensor
    >>> detector.cells(images).occupied                 # (N, 70, 7)

Letters in shapes: N scenes, T images of each, H x W pixels, R rows and L lanes of the road's grid, C channels.
"""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from deeptraffic.policies.layers import Concat, Conv2d, Flatten, LayerNorm, Relu, Reshape, Scale, Slice
from deeptraffic.policies.sensor_layers import SensorCells
from deeptraffic.policies.torch_export import NetworkBuilder
from deeptraffic.sim.rules import RULES_2018
from representation.data.cells import ego_row
from representation.perception import PerceptionModel, add_rows, rows_of_maps

LANE_PIXELS = 4  # across a lane; a cell of the road is a row of pixels
COLOURS, FRAMES = 3, 2
EPSILON = 1e-3  # variance of levels in 0..1, so that an image of one colour is not amplified
SCORED = slice(24, 31)  # pairs of rows around the ego vehicle, of which its lane is told


class GridDetector(PerceptionModel):
    """From two images, the last one the present, to the content of each cell.

    Args:
        observed: options of the observation: images of one pixel a row of cells and four pixels a lane
        rows, lanes: R, L of the road
        channels: of the three hidden layers
        recolour: fraction of the scenes of training whose colours are mixed at random
    """

    kind = "deeptraffic-detector"
    row: ClassVar[int] = ego_row(RULES_2018)

    def __init__(
        self,
        observed: dict[str, Any] | str = "seen-styles",
        rows: int = 70,
        lanes: int = 7,
        channels: tuple[int, ...] = (20, 20, 20),
        recolour: float = 0.5,
    ) -> None:
        super().__init__(observed=observed, rows=rows, lanes=lanes, channels=list(channels), recolour=recolour)
        self.observed = {"kind": observed} if isinstance(observed, str) else dict(observed)
        self.shape, self.recolour = (rows, lanes), recolour
        first, second, third = channels
        self.pixels = nn.Sequential(
            nn.Conv2d((COLOURS + 1) * FRAMES, first, (6, LANE_PIXELS), (2, LANE_PIXELS), (2, 0)),  # (B, C, R/2, L)
            nn.ReLU(),
            nn.Conv2d(first, second, (5, 1), padding=(2, 0)),
            nn.ReLU(),
        )
        self.lane = nn.Conv2d(second, 1, (SCORED.stop - SCORED.start, 1))
        self.across = nn.Sequential(
            nn.Conv2d(second, third, (1, 3), padding=(0, 1)),
            nn.ReLU(),
            nn.Conv2d(third, 4, 1),  # two predictions for each of two rows
        )

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the predictions (N, 2, R, L) and the scores of the lanes (N, L) of images (N, H, W, 6)."""
        images = standardised(obs) if obs.dtype == torch.uint8 else obs
        assert images.shape[1:] == (COLOURS * FRAMES, self.shape[0], self.shape[1] * LANE_PIXELS), images.shape
        hidden = self.pixels(with_contrast(images))  # (N, C, R/2, L)
        scores = self.lane(hidden[:, :, SCORED])[:, 0, 0]  # (N, L)
        return rows_of_maps(self.across(hidden)), scores

    def augmented(self, obs: Tensor, occupied: Tensor, speed: Tensor, lane: Tensor) -> tuple[Tensor, ...]:
        """Return scenes, some of them mirrored or recoloured; in evaluation mode unchanged."""
        if not self.training:
            return obs, occupied, speed, lane
        images = standardised(obs)
        draws = torch.rand(2, len(obs), 1, 1, 1, device=obs.device)
        images = torch.where(draws[0] < self.recolour, recoloured(images), images)
        turned = draws[1, :, 0, 0, 0] < 0.5
        around = turned[:, None, None]
        images = torch.where(around[..., None], images.flip(3), images)
        occupied, speed = (torch.where(around, grid.flip(2), grid) for grid in (occupied, speed))
        return images, occupied, speed, torch.where(turned, self.shape[1] - 1 - lane, lane)

    def add_layers(self, network: NetworkBuilder) -> None:
        """Append the layers of a policy file that compute the sensor's cells from the flat images."""
        rows, lanes, channels = *self.shape, COLOURS * FRAMES
        pixels = rows * lanes * LANE_PIXELS
        network.add(Scale(per="all"), {"factor": np.full(1, 1 / 255), "offset": np.zeros(1)})
        network.add(Reshape(shape=(rows, lanes * LANE_PIXELS, channels)))
        network.add(Flatten(order="chw"))
        network.add(Reshape(shape=(channels, pixels)))
        ones = np.ones(pixels, np.float16)
        network.add(LayerNorm(epsilon=EPSILON), {"weight": ones, "bias": 0 * ones})
        network.add(Reshape(shape=(channels, 1, pixels)))
        network.add(Flatten(order="chw"))  # channels last again
        network.add(Reshape(shape=(rows, lanes * LANE_PIXELS, channels)))
        image = len(network.layers)
        network.add(Scale(per="all"), {"factor": np.full(1, -1.0), "offset": np.zeros(1)})
        network.add(Relu())
        network.add(Relu(inputs=(image,)))
        network.add(Concat(inputs=(image + 2, image + 3)))  # the absolute values in two parts
        summed = np.tile(np.repeat(np.eye(FRAMES), COLOURS, 1), 2)  # (2, 12)
        network.add(Conv2d(filters=FRAMES, kernel=(1, 1), bias=False), {"weight": summed[:, None, None]})
        network.add(Concat(inputs=(image, len(network.layers))))
        network.module(self.pixels)
        hidden, width = len(network.layers), network.shape[2]
        network.module(self.across)
        add_rows(network, lanes)
        grid = len(network.layers)
        network.add(Flatten(inputs=(hidden,)))
        network.add(Slice(start=SCORED.start * lanes * width, stop=SCORED.stop * lanes * width))
        network.add(Reshape(shape=(SCORED.stop - SCORED.start, lanes, width)))
        network.module(self.lane)
        network.add(Flatten())
        network.add(SensorCells(**self.sensor._asdict(), row=self.row, inputs=(grid, len(network.layers))))


def standardised(images: Tensor) -> Tensor:
    """Return images (N, H, W, C) of uint8 channels first, each channel less its mean over its standard deviation."""
    levels = images.permute(0, 3, 1, 2).float() / 255.0  # (N, C, H, W)
    away = levels - levels.mean((2, 3), keepdim=True)
    return away / torch.sqrt(away.pow(2).mean((2, 3), keepdim=True) + EPSILON)


def with_contrast(images: Tensor) -> Tensor:
    """Return standardised images (N, 3 T, H, W) with a channel more for each: the distance from its mean colour."""
    return torch.cat([images, images.unflatten(1, (-1, COLOURS)).abs().sum(2)], 1)  # (N, 4 T, H, W)


def recoloured(images: Tensor) -> Tensor:
    """Return standardised images (N, 3 T, H, W) with their colours mixed by a random rotation per scene."""
    rotation, _ = torch.linalg.qr(torch.randn(len(images), COLOURS, COLOURS, device=images.device))
    frames = images.unflatten(1, (-1, COLOURS))  # (N, T, 3, H, W)
    return torch.einsum("nij,ntjhw->ntihw", rotation, frames).flatten(1, 2)
