"""Compiled optimisers, Adam and RAdam, and the clipping of gradients, in single precision."""

import math
from typing import NamedTuple

import numpy as np

from agents.compiled.network import F32, CompiledNet
from deeptraffic.sim.compiled import learner_compiled
from deeptraffic.sim.state import I64


class Moments(NamedTuple):
    """State of an Adam optimiser for P parameters.

    mean, square: (P,) float32 moving averages of the gradient and of its square
    steps: (1,) int64 taken
    """

    mean: F32
    square: F32
    steps: I64


def new_moments(net: CompiledNet) -> Moments:
    """Return the state of an optimiser that has taken no step."""
    return Moments(np.zeros_like(net.params), np.zeros_like(net.params), np.zeros(1, np.int64))


BETA1, BETA2 = 0.9, 0.999


@learner_compiled
def clip(gradient: F32, max_norm: float) -> None:
    """Scale a gradient (P,) down to a Euclidean norm of at most max_norm, as torch's `clip_grad_norm_`."""
    factor = np.float32(min(1.0, max_norm / (math.sqrt(squares(gradient)) + 1e-6)))
    for j in range(gradient.size):
        gradient[j] *= factor


@learner_compiled
def squares(x: F32) -> float:
    """Return the sum of squares."""
    total = 0.0
    for j in range(x.size):
        total += x[j] * x[j]
    return total


@learner_compiled
def adam_step(params: F32, gradient: F32, moments: Moments, rate: float, epsilon: float, rectified: bool) -> None:
    """Take a step of Adam (Kingma and Ba 2015, arXiv:1412.6980) or RAdam (Liu et al. 2020, arXiv:1908.03265).

    rate: learning rate; epsilon: added to the root of the mean square; the gradient (P,) is set to zero
    """
    moments.steps[0] += 1
    t = moments.steps[0]
    left1, left2 = 1.0 - BETA1**t, 1.0 - BETA2**t
    rate, root, adapts = rate / left1, math.sqrt(left2), True
    if rectified:
        longest = 2.0 / (1.0 - BETA2) - 1.0
        length = longest - 2.0 * t * BETA2**t / left2
        adapts = length > 5.0
        if adapts:
            rate *= math.sqrt((length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length))
    factor, scale, small = np.float32(rate), np.float32(1.0 / root), np.float32(epsilon)
    if rectified:  # torch's RAdam adds epsilon before it corrects the bias
        factor, scale, small = np.float32(rate * (root if adapts else 1.0)), np.float32(1.0), np.float32(epsilon)
    keep1, keep2, new1, new2 = np.float32(BETA1), np.float32(BETA2), np.float32(1.0 - BETA1), np.float32(1.0 - BETA2)
    mean, square = moments.mean, moments.square
    for j in range(params.size):
        g = gradient[j]
        mean[j] = keep1 * mean[j] + new1 * g
        square[j] = keep2 * square[j] + new2 * g * g
        divisor = np.sqrt(square[j]) * scale + small if adapts else np.float32(1.0)
        params[j] -= factor * mean[j] / divisor
        gradient[j] = np.float32(0.0)
