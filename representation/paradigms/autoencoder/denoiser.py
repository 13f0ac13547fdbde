"""Denoising autoencoder for the sensor's cells: from several noisy grids, a decision apart, to the clean present one.

It minimises the negative log-likelihood of the clean grid given a corrupted one (Vincent et al. 2008,
doi:10.1145/1390156.1390294). Noise that is independent per cell is best estimated from the cells around it, in space
and in time, so encoder and decoder are convolutions (Zhang et al. 2017, "Beyond a Gaussian denoiser",
arXiv:1608.03981), here to half as many rows and back.

    >>> denoiser = GridDenoiser()
    >>> denoiser.perceive(grids)                        # (N, 16, 60, 7) -> (N, 420), as the contest's sensor

Letters in shapes: N observations, T grids of each, H rows and W columns of the sensor, C channels.
"""

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deeptraffic.envs.observations.grid import CHANNELS, OFF_ROAD
from deeptraffic.policies.layers import Add, Conv2d, Reshape
from deeptraffic.policies.sensor_layers import SensorCells
from deeptraffic.policies.torch_export import NetworkBuilder
from deeptraffic.sim.rules import Sensor
from deeptraffic.sim.state import F64
from representation.perception import PerceptionModel, add_pairs, pairs_of_rows

WINDOW = 3  # previous grids
BEYOND = 1e3  # added to the predictions off the road, which is known: an occupied cell of speed 0 reads 0


class GridDenoiser(PerceptionModel):
    """From the last T noisy grids to the content of each of the sensor's cells.

    Args:
        observed: options of the observation, of kind grid
        channels: of the three hidden layers
    """

    kind = "deeptraffic-denoiser"
    row: ClassVar[int] = Sensor().patches_ahead

    def __init__(self, observed: dict[str, Any] | None = None, channels: tuple[int, ...] = (24, 24, 24)) -> None:
        observed = {"kind": "noisy", "temporal_window": WINDOW} if observed is None else dict(observed)
        super().__init__(observed=observed, channels=list(channels))
        self.observed = observed
        first, second, third = channels
        self.grids = CHANNELS * (int(observed.get("temporal_window", 0)) + 1)
        self.layers = nn.Sequential(
            nn.Conv2d(self.grids, first, (6, 1), (2, 1), (2, 0)),  # (N, C, H/2, W)
            nn.ReLU(),
            nn.Conv2d(first, second, (5, 1), padding=(2, 0)),
            nn.ReLU(),
            nn.Conv2d(second, third, (1, 3), padding=(0, 1)),
            nn.ReLU(),
            nn.Conv2d(third, 4, 1),  # two predictions for each of two rows
        )

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return (predictions (N, 2, H, W), None) of grids (N, 4 T, H, W)."""
        assert obs.shape[1:] == (self.grids, self.sensor.length, self.sensor.columns), obs.shape
        return pairs_of_rows(self.layers(obs)), None

    def augmented(self, obs: Tensor, occupied: Tensor, speed: Tensor, lane: Tensor) -> tuple[Tensor, ...]:
        """Return examples of which half are mirrored; in evaluation mode unchanged."""
        if not self.training:
            return obs, occupied, speed, lane
        turned = (torch.rand(len(obs), device=obs.device) < 0.5)[:, None, None]
        obs = torch.where(turned[..., None], obs.flip(3), obs)
        occupied, speed = (torch.where(turned, grid.flip(2), grid) for grid in (occupied, speed))
        return obs, occupied, speed, lane

    def perceive(self, obs: NDArray[Any]) -> F64:
        """Return the sensor's cells (N, D) of observations (N, ...); those off the road, which are known, are 0."""
        off = obs[:, self.grids - CHANNELS + OFF_ROAD] > 0.5  # (N, H, W)
        return np.where(off.reshape(len(obs), -1), 0.0, super().perceive(obs))

    def add_layers(self, network: NetworkBuilder) -> None:
        """Append the layers of a policy file that compute the sensor's cells from the flat grids."""
        sensor = self.sensor
        network.add(Reshape(shape=(sensor.length, sensor.columns, self.grids)))
        grids = len(network.layers)
        network.module(self.layers)
        add_pairs(network, sensor.columns)
        predicted = len(network.layers)
        weight = np.zeros((2, 1, 1, self.grids), np.float32)
        weight[:, 0, 0, self.grids - CHANNELS + OFF_ROAD] = BEYOND, -BEYOND
        network.add(Conv2d(filters=2, kernel=(1, 1), bias=False, inputs=(grids,)), {"weight": weight})
        network.add(Add(inputs=(predicted, len(network.layers))))
        network.add(SensorCells(**sensor._asdict(), row=self.row))
