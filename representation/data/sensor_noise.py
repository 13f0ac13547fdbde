"""Sensor noise on grids: misses, ghosts and errors of speed.

    >>> noise = SensorNoise()
    >>> noise.corrupt(grids, torch.Generator().manual_seed(0))          # (B, 4, H, W), independent for each cell

The ego vehicle's cells and those off the road are known without the sensor and stay unchanged.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.settings import Checked, real


@dataclass(frozen=True)
class SensorNoise(Checked):
    """Noise of the sensor, independent for each cell.

    miss: probability that an occupied cell reads as free
    ghost: probability that a free cell reads as occupied, by a vehicle of any speed
    speed_sd: standard deviation of a speed reading [80 mph]
    """

    miss: float = real(0.2, 0.0, 1.0)
    ghost: float = real(0.03, 0.0, 1.0)
    speed_sd: float = real(0.1, 0.0, 10.0)

    def corrupt(self, grids: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return noisy grids (B, 4, H, W); generator: None for torch's global generator."""
        occupied = grids[:, OCCUPIED] > 0.5  # (B, H, W)
        known = (grids[:, OFF_ROAD] > 0.5) | (grids[:, OWN] > 0.5)
        probability, any_speed = torch.rand(2, *occupied.shape, generator=generator)
        reads = torch.where(occupied, probability >= self.miss, probability < self.ghost)
        reads = torch.where(known, occupied, reads)
        error = self.speed_sd * torch.randn(occupied.shape, generator=generator)
        speed = torch.where(occupied, grids[:, SPEED] + error * ~known, any_speed).clamp(0.0, 1.0)
        out = grids.clone()
        out[:, OCCUPIED], out[:, SPEED] = reads.float(), speed * reads
        return out
