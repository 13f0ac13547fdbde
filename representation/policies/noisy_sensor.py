"""Policy with a noisy sensor, with or without a denoiser: what is denoising worth in mph?

    >>> policy = NoisySensorPolicy(SensorNoise(), Denoiser(lambda grids: model.reconstruct(grids), threshold=0.45))
    >>> evaluate_open(policy, runs=200, seed_set="reporting").mean_mph

The policy behind the sensor is the built-in `gap`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deeptraffic.envs.observations import ObservationLike, make_observation
from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.policies.base import Policy
from deeptraffic.policies.builtin import GapPolicy
from deeptraffic.sim.rules import RULES_2018
from deeptraffic.sim.state import I64
from representation.data.sensor_noise import SensorNoise
from representation.metrics.grids import Grids, grid_to_cells


@dataclass(frozen=True)
class Denoiser:
    """Estimates the true grids (B, 4, H, W) from corrupted ones; cells above the threshold count as occupied."""

    restore: Callable[[Grids], Grids]
    threshold: float = 0.5

    def cleaned(self, corrupted: Grids) -> Grids:
        """Return grids with occupancies 0 or 1; cells known without the sensor are unchanged."""
        guess = self.restore(corrupted)
        out = corrupted.copy()
        known = (corrupted[:, OFF_ROAD] > 0.5) | (corrupted[:, OWN] > 0.5)  # (B, H, W)
        out[:, OCCUPIED] = np.where(known, corrupted[:, OCCUPIED], guess[:, OCCUPIED] > self.threshold)
        speed = np.where(known, corrupted[:, SPEED], np.clip(guess[:, SPEED], 0.0, 1.0))
        out[:, SPEED] = speed * out[:, OCCUPIED]
        return out


class NoisySensorPolicy(Policy):
    """The policy `gap` behind a sensor that errs.

    Args:
        noise: of the sensor; None for an exact sensor
        denoiser: None to believe what the sensor says
        observed: the kind grid and its window
        seed: of the noise
    """

    def __init__(
        self,
        noise: SensorNoise | None,
        denoiser: Denoiser | None = None,
        observed: ObservationLike = "grid",
        seed: int = 0,
    ) -> None:
        self.noise, self.denoiser, self.seed = noise, denoiser, seed
        self.label = "gap, " + (
            "exact sensor" if noise is None else "noisy sensor" + (", denoised" if denoiser else "")
        )
        self.observation = make_observation(observed)
        self.driver = GapPolicy(RULES_2018.empty, observation=self.observation.sensor)
        self.random = torch.Generator().manual_seed(seed)

    def reset(self, rows: I64) -> None:
        """Start the noise anew."""
        self.random.manual_seed(self.seed)

    def act(self, obs: NDArray[Any], rows: I64) -> I64:
        """Return the actions (B,) for true grids (B, 4, P + Q, 7)."""
        grids = obs
        if self.noise is not None:
            grids = self.noise.corrupt(torch.from_numpy(grids), self.random).numpy()
        if self.denoiser is not None:
            grids = self.denoiser.cleaned(grids)
        return self.driver.act(grid_to_cells(grids, RULES_2018.empty), rows)
