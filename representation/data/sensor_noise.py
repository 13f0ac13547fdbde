"""A sensor that errs: cars in the grid go missing, cars that are not there appear, and speeds are misread.

    >>> noise = SensorNoise()
    >>> noise.corrupt(grids, torch.Generator().manual_seed(0))           # (B, 4, H, W), drawn anew for each cell

The own car's cells and what lies off the road are known without the sensor and stay as they are.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.settings import Checked, real


@dataclass(frozen=True)
class SensorNoise(Checked):
    """How often and how much the sensor errs, in each cell by itself.

    miss: chance that an occupied cell reads as free
    ghost: chance that a free cell reads as occupied, by a car of any speed
    speed_sd: standard deviation of a speed that is read [80 mph]
    """

    miss: float = real(0.2, 0.0, 1.0)
    ghost: float = real(0.03, 0.0, 1.0)
    speed_sd: float = real(0.1, 0.0, 10.0)

    def corrupt(self, grids: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return new grids (B, 4, H, W) as the sensor reads them; generator: None for torch's own random numbers."""
        occupied = grids[:, OCCUPIED] > 0.5  # (B, H, W)
        known = (grids[:, OFF_ROAD] > 0.5) | (grids[:, OWN] > 0.5)
        chance, any_speed = torch.rand(2, *occupied.shape, generator=generator)
        reads = torch.where(occupied, chance >= self.miss, chance < self.ghost)
        reads = torch.where(known, occupied, reads)
        error = self.speed_sd * torch.randn(occupied.shape, generator=generator)
        speed = torch.where(occupied, grids[:, SPEED] + error * ~known, any_speed).clamp(0.0, 1.0)
        out = grids.clone()
        out[:, OCCUPIED], out[:, SPEED] = reads.float(), speed * reads
        return out
