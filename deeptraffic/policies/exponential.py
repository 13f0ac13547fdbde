"""exp, tanh, sigmoid and erf from + - * / alone: the same bits on every machine, whatever its maths library.

`exp` follows the algorithm of FreeBSD's msun (fdlibm; Sun Microsystems 1993), which browsers' JavaScript engines use as
well, so an original submission's tanh and sigmoid come out as they did in the game. Its error is below one unit in the
last place. The others are built on it.
"""

import math

import numpy as np

from deeptraffic.sim.compiled import compiled

LARGEST = 7.09782712893383973096e02  # exp overflows above
SMALLEST = -7.45133219101941108420e02  # and is 0 below
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
ONE_OVER_LN2 = 1.44269504088896338700e00
P1, P2, P3 = 1.66666666666666019037e-01, -2.77777777770155933842e-03, 6.61375632143793436117e-05
P4, P5 = -1.65339022054652515390e-06, 4.13813679705723846039e-08
E = 2.718281828459045
HALF_LN2_UP = float.fromhex("0x1.62e43p-2")  # the algorithm's own limits, which look at the upper 32 bits only
LN2_AND_HALF_DOWN = float.fromhex("0x1.0a2b2p+0")
TWO_TO_MINUS_28 = 2.0**-28
TWO_TO_MINUS_1000 = 2.0**-1000
POWERS = np.array([2.0**k for k in range(-1022, 1024)])  # POWERS[1022 + k] = 2**k
TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)


@compiled
def exp(x: float) -> float:
    """e**x; NaN for NaN, inf above 709.78, 0 below -745.13."""
    if not SMALLEST <= x <= LARGEST:
        return x if x != x else (np.inf if x > 0.0 else 0.0)
    if x == 1.0:
        return E
    k, high, low = 0, x, 0.0
    if abs(x) >= HALF_LN2_UP:
        one = 1 if x > 0.0 else -1
        k = one if abs(x) < LN2_AND_HALF_DOWN else int(ONE_OVER_LN2 * x + 0.5 * one)
        high, low = x - k * LN2_HIGH, k * LN2_LOW
        x = high - low
    elif abs(x) < TWO_TO_MINUS_28:
        return 1.0 + x
    t = x * x
    c = x - t * (P1 + t * (P2 + t * (P3 + t * (P4 + t * P5))))
    if k == 0:
        return 1.0 - ((x * c) / (c - 2.0) - x)
    y = 1.0 - ((low - (x * c) / (2.0 - c)) - high)
    if k == 1024:
        return y * 2.0 * POWERS[1022 + 1023]
    if k >= -1021:
        return y * POWERS[1022 + k]
    return y * POWERS[1022 + k + 1000] * TWO_TO_MINUS_1000


@compiled
def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + exp(-x))


@compiled
def tanh(x: float) -> float:
    """The hyperbolic tangent, to about 1e-16 absolutely; 1 and -1 for large arguments."""
    if x != x:
        return x
    y = exp(2.0 * abs(x))
    size = 1.0 - 2.0 / (y + 1.0)
    return size if x >= 0.0 else -size


@compiled
def tanh_convnetjs(x: float) -> float:
    """(y - 1) / (y + 1) with y = exp(2 x): NaN once y overflows, as in the original game."""
    y = exp(2.0 * x)
    return (y - 1.0) / (y + 1.0)


@compiled
def erf(x: float) -> float:
    """The error function by its series of positive terms, Abramowitz and Stegun 7.1.6, to about 1e-15."""
    if x != x:
        return x
    if abs(x) > 6.0:
        return 1.0 if x > 0.0 else -1.0
    term = TWO_OVER_SQRT_PI * x * exp(-x * x)
    total = 0.0
    k = 1.0
    while abs(term) > 1e-18 * abs(total) and k < 400.0:
        total += term
        k += 2.0
        term *= 2.0 * x * x / k
    return total
