"""Denoising autoencoder for the sensor's cells: from several noisy grids, a decision apart, to the clean present one.

It minimises the negative log-likelihood of the clean grid given a corrupted one (Vincent et al. 2008,
doi:10.1145/1390156.1390294). Noise that is independent per cell is best estimated from the cells around it, in space
and in time, so encoder and decoder are convolutions (Zhang et al. 2017, "Beyond a Gaussian denoiser",
arXiv:1608.03981), here to a quarter of the rows and back.

A grid is centred on the ego vehicle, so previous ones are first moved to where their vehicles should be now
(`representation/paradigms/autoencoder/alignment.py`). What is left of the distances between the grids says how fast a
vehicle is, together with the ego vehicle's own motion and with all other vehicles, over which one layer takes the mean.

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
from deeptraffic.policies.layers import Add, Concat, Conv2d, Dense, Flatten, Reshape, SetPool
from deeptraffic.policies.sensor_layers import SensorCells
from deeptraffic.policies.torch_export import NetworkBuilder
from deeptraffic.sim.rules import Sensor
from deeptraffic.sim.state import F64
from representation.paradigms.autoencoder.alignment import add_aligned, aligned, aligned_channels
from representation.perception import PerceptionModel, add_rows, rows_of_maps

WINDOW = 3  # previous grids
ROWS = 4  # of the sensor for each row of the hidden maps
BEYOND = 1e3  # added to the predictions off the road, which is known: an occupied cell of speed 0 reads 0


class GridDenoiser(PerceptionModel):
    """From the last T noisy grids to the content of each of the sensor's cells.

    Args:
        observed: options of the observation, of kind grid
        channels: of the three hidden layers
        units: of the layer that reads the mean over all places
    """

    kind = "deeptraffic-denoiser"
    row: ClassVar[int] = Sensor().patches_ahead
    speed_weight: ClassVar[float] = 100.0

    def __init__(
        self, observed: dict[str, Any] | None = None, channels: tuple[int, ...] = (32, 24, 24), units: int = 32
    ) -> None:
        observed = {"kind": "noisy", "temporal_window": WINDOW} if observed is None else dict(observed)
        super().__init__(observed=observed, channels=list(channels), units=units)
        self.observed = observed
        first, second, third = channels
        self.grids = int(observed.get("temporal_window", 0)) + 1
        motion = 2 * self.grids - 1
        self.along = nn.Sequential(  # (N, C, H / 4, W)
            nn.Conv2d(aligned_channels(self.grids), first, (2 * ROWS, 1), (ROWS, 1), (ROWS // 2, 0)),
            nn.ReLU(),
            nn.Conv2d(first, second, (3, 1), padding=(1, 0)),
            nn.ReLU(),
        )
        self.everywhere = nn.Sequential(nn.Linear(second + motion, units), nn.ReLU(), nn.Linear(units, third))
        self.across = nn.Conv2d(second, third, (1, 3), padding=(0, 1), bias=False)
        self.last = nn.Sequential(nn.ReLU(), nn.Conv2d(third, 2 * ROWS, 1, bias=False))  # two predictions for each row
        self.relative = nn.Linear(motion, 2 * ROWS)
        nn.init.normal_(self.relative.weight, std=0.05)
        nn.init.zeros_(self.relative.bias)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return (predictions (N, 2, H, W), None) of grids (N, 4 T, H, W)."""
        assert obs.shape[1:] == (CHANNELS * self.grids, self.sensor.length, self.sensor.columns), obs.shape
        grids, motion = aligned(obs)
        maps = self.along(grids)
        overall = self.everywhere(torch.cat([maps.mean((2, 3)), motion], 1))  # (N, C)
        maps = self.last(self.across(maps) + overall[:, :, None, None])
        return rows_of_maps(maps + self.relative(motion)[:, :, None, None]), None

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
        off = obs[:, CHANNELS * (self.grids - 1) + OFF_ROAD] > 0.5  # (N, H, W)
        return np.where(off.reshape(len(obs), -1), 0.0, super().perceive(obs))

    def add_layers(self, network: NetworkBuilder) -> None:
        """Append the layers of a policy file that compute the sensor's cells from the flat grids."""
        sensor, values = self.sensor, CHANNELS * self.grids
        motion = add_aligned(network, self.grids)
        network.module(self.along)
        maps, (height, width, channels) = len(network.layers), network.shape
        network.add(Reshape(shape=(height * width, channels)))
        network.add(SetPool(mode="mean"))
        network.add(Concat(inputs=(len(network.layers), motion)))
        network.module(self.everywhere)
        overall = add_everywhere(network, height, width)
        network.add(Reshape(shape=(height, width, channels), inputs=(maps,)))
        network.module(self.across)
        network.add(Add(inputs=(len(network.layers), overall)))
        network.module(self.last)
        predicted = len(network.layers)
        weight, bias = (tensor.detach().numpy() for tensor in (self.relative.weight, self.relative.bias))
        network.add(Dense(outputs=2 * ROWS, inputs=(motion,)), {"weight": weight, "bias": bias})
        network.add(Add(inputs=(predicted, add_everywhere(network, height, width))))
        add_rows(network, sensor.columns)
        predicted = len(network.layers)
        network.add(Reshape(shape=(sensor.length, sensor.columns, values), inputs=(0,)))
        marks = np.zeros((2, 1, 1, values), np.float32)
        marks[:, 0, 0, values - CHANNELS + OFF_ROAD] = BEYOND, -BEYOND
        network.add(Conv2d(filters=2, kernel=(1, 1), bias=False), {"weight": marks})
        network.add(Add(inputs=(predicted, len(network.layers))))
        network.add(SensorCells(**sensor._asdict(), row=self.row))


def add_everywhere(network: NetworkBuilder, height: int, width: int) -> int:
    """Append layers that repeat the last output (C,) at every place, (H, W, C); return the number of their output."""
    (channels,) = network.shape
    network.add(Reshape(shape=(channels, 1)))
    network.add(Dense(outputs=height * width, bias=False), {"weight": np.ones((height * width, 1), np.float32)})
    network.add(Reshape(shape=(channels, 1, height * width)))
    network.add(Flatten(order="chw"))
    network.add(Reshape(shape=(height, width, channels)))
    return len(network.layers)
