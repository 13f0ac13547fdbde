"""How probable an observation is under what a decoder put out: the loss of everything that reconstructs.

All are negative log-likelihoods in nats, summed over one observation, so that a loss is also a code length (divide by
log 2 for bits) and autoencoders of different size compare.

Letters in shapes: B observations, (...) the shape of one, C channels, H rows, W columns.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional

from deeptraffic.envs.scene import OCCUPIED, OFF_ROAD, SPEED
from representation.encoder import Encoder, as_float
from representation.forms import as_row, row_size

SPEED_SD = 0.2  # of 80 mph: 16 mph; where it is much less, speeds drown the question of where the cars are
LOG_2PI = math.log(2 * math.pi)


def gaussian_nats(output: Tensor, target: Tensor) -> Tensor:
    """Return (B,) for numbers of variance 1 about the output, such as a normalised row."""
    return 0.5 * ((output - target).pow(2) + LOG_2PI).flatten(1).sum(1)


def pixel_nats(output: Tensor, target: Tensor) -> Tensor:
    """Return (B,) for numbers in 0..1 whose logits the output is (Kingma and Welling 2013, appendix C.1)."""
    return functional.binary_cross_entropy_with_logits(output, target, reduction="none").flatten(1).sum(1)


def grid_nats(output: Tensor, target: Tensor) -> Tensor:
    """Return (B,) for grids (B, 4, H, W): is a cell occupied, is it off the road, and how fast is the car in it.

    The output holds logits of the first two and the mean of a normal distribution for the speed, which counts only
    where there is a car. The fourth channel, the own car's place, is the same in every grid and tells nothing.
    """
    logits, marks = output[:, [OCCUPIED, OFF_ROAD]], target[:, [OCCUPIED, OFF_ROAD]]  # (B, 2, H, W)
    cells = functional.binary_cross_entropy_with_logits(logits, marks, reduction="none")
    error = (output[:, SPEED] - target[:, SPEED]) / SPEED_SD  # (B, H, W)
    speeds = target[:, OCCUPIED] * 0.5 * (error.pow(2) + LOG_2PI + 2 * math.log(SPEED_SD))
    return cells.sum((1, 2, 3)) + speeds.sum((1, 2))


Likelihood = Callable[[Tensor, Tensor], Tensor]  # (output, target) (B, ...) each -> (B,) nats
LIKELIHOODS: dict[str, Likelihood] = {"gaussian": gaussian_nats, "pixels": pixel_nats, "grid": grid_nats}


def choose_likelihood(name: str) -> Likelihood:
    """Return a likelihood by name; ValueError for one that does not exist."""
    if name not in LIKELIHOODS:
        raise ValueError(f"there is no likelihood {name!r}; choose one of {', '.join(LIKELIHOODS)}")
    return LIKELIHOODS[name]


def target_shape(space: spaces.Space) -> tuple[int, ...]:
    """Shape of what an autoencoder reconstructs: the observation, or all parts of a dict as one row."""
    return (row_size(space),) if isinstance(space, spaces.Dict) else tuple(space.shape or ())


def target_of(encoder: Encoder, observations: Any) -> Tensor:
    """Return what is to be reconstructed of a batch, (B, *target_shape): as the encoder's network sees it."""
    space = encoder.observation_space
    if isinstance(space, spaces.Dict):
        return as_row({name: as_float(observations[name], part) for name, part in space.spaces.items()})
    return (as_float(observations, space) - encoder.offset) / encoder.scale


def expected_grid(output: Tensor) -> Tensor:
    """Return the grids (B, 4, H, W) that an output stands for: chances of marks, and speeds, in 0..1."""
    grid = output.clamp(0.0, 1.0)
    grid[:, [OCCUPIED, OFF_ROAD]] = torch.sigmoid(output[:, [OCCUPIED, OFF_ROAD]])
    return grid
