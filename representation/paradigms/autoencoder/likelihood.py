"""Likelihoods of observations given a decoder's output: the reconstruction losses.

All are negative log-likelihoods in nats, summed over one observation, so that a loss is also a code length (divide by
log 2 for bits) and autoencoders of different sizes compare.

Letters in shapes: B observations, (...) the shape of one, C channels, H rows, W columns.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD, OWN, SPEED
from representation.encoder import Encoder, as_float
from representation.layouts import as_vector, vector_size

SPEED_MEAN = 0.6  # of the traffic [80 mph]
SPEED_SD, OWN_SPEED_SD = 0.1, 0.3  # standard deviations, of the traffic and of the ego vehicle [80 mph]
MARKS = [OCCUPIED, OFF_ROAD, OWN]  # channels of 0 and 1
LOG_2PI = math.log(2 * math.pi)


def gaussian_nats(output: Tensor, target: Tensor) -> Tensor:
    """Return (B,) for values of variance 1 about the output, such as normalised vectors."""
    return 0.5 * ((output - target).pow(2) + LOG_2PI).flatten(1).sum(1)


def pixel_nats(output: Tensor, target: Tensor) -> Tensor:
    """Return (B,) for values in 0..1 whose logits are the output (Kingma and Welling 2013, appendix C.1)."""
    return functional.binary_cross_entropy_with_logits(output, target, reduction="none").flatten(1).sum(1)


def grid_nats(output: Tensor, target: Tensor) -> Tensor:
    """Return (B,) for grids (B, 4, H, W): occupied, off the road, ego, and the speed of occupied cells.

    The output holds logits of the three marks, and for the speed the mean of a normal distribution, standardised by the
    traffic's mean and deviation. The ego vehicle's speed, which lies far from the traffic's, has a larger standard
    deviation, or it would dominate the loss.
    """
    cells = functional.binary_cross_entropy_with_logits(output[:, MARKS], target[:, MARKS], reduction="none")
    deviation = SPEED_SD + (OWN_SPEED_SD - SPEED_SD) * target[:, OWN]  # (B, H, W)
    error = (SPEED_MEAN + SPEED_SD * output[:, SPEED] - target[:, SPEED]) / deviation
    speeds = target[:, OCCUPIED] * (0.5 * (error.pow(2) + LOG_2PI) + deviation.log())
    return cells.sum((1, 2, 3)) + speeds.sum((1, 2))


Likelihood = Callable[[Tensor, Tensor], Tensor]  # (output, target) (B, ...) each -> (B,) nats
LIKELIHOODS: dict[str, Likelihood] = {"gaussian": gaussian_nats, "pixels": pixel_nats, "grid": grid_nats}


def choose_likelihood(name: str) -> Likelihood:
    """Return a likelihood by name; ValueError for one that does not exist."""
    if name not in LIKELIHOODS:
        raise ValueError(f"there is no likelihood {name!r}; choose one of {', '.join(LIKELIHOODS)}")
    return LIKELIHOODS[name]


def target_shape(space: spaces.Space) -> tuple[int, ...]:
    """Shape of an autoencoder's target: the observation, or all parts of a dict as one vector."""
    return (vector_size(space),) if isinstance(space, spaces.Dict) else tuple(space.shape or ())


def target_of(encoder: Encoder, observations: Any) -> Tensor:
    """Return the reconstruction target of a batch, (B, *target_shape): the encoder's normalised input."""
    space = encoder.observation_space
    if isinstance(space, spaces.Dict):
        return as_vector({name: as_float(observations[name], part) for name, part in space.spaces.items()})
    return (as_float(observations, space) - encoder.offset) / encoder.scale


def expected_grid(output: Tensor) -> Tensor:
    """Return the expected grids (B, 4, H, W) of an output: probabilities of marks, and speeds, in 0..1."""
    grid = (SPEED_MEAN + SPEED_SD * output).clamp(0.0, 1.0)
    grid[:, MARKS] = torch.sigmoid(output[:, MARKS])
    return grid


def frequency_nats(train: NDArray[np.float32], test: NDArray[np.float32], by_lane: bool = False) -> float:
    """Return the mean code length [nats] of grids (N, 4, H, W) under independent cells with their training frequencies.

    Speeds are coded about the mean speed. by_lane: frequencies conditional on the ego lane (the columns off the road)
    """
    nats, lanes = np.empty(len(test)), _lane_codes(test) * by_lane
    for lane in np.unique(lanes):
        alike = train[_lane_codes(train) * by_lane == lane]
        here = lanes == lane
        output = frequency_output(alike if len(alike) else train)
        truth = torch.from_numpy(test[here])
        nats[here] = grid_nats(output.expand(len(truth), -1, -1, -1), truth).numpy()
    return float(nats.mean())


def frequency_output(grids: NDArray[np.float32]) -> Tensor:
    """Return the output (1, 4, H, W) of a decoder under which grids (N, 4, H, W) are most probable."""
    seen = torch.from_numpy((grids.sum(0) + 0.5) / (len(grids) + 1.0))  # (4, H, W), never 0 or 1
    output = torch.logit(seen.clamp(1e-4, 1.0 - 1e-4))
    mean = float(grids[:, SPEED].sum() / max(1.0, grids[:, OCCUPIED].sum()))
    output[SPEED] = (mean - SPEED_MEAN) / SPEED_SD
    return output[None]


def _lane_codes(grids: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return an integer code of the columns that are off the road in the middle row, (N,)."""
    columns = grids[:, OFF_ROAD, grids.shape[2] // 2] > 0.5  # (N, W)
    return columns @ (1 << np.arange(columns.shape[1]))
