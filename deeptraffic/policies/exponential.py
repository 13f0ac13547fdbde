"""exp, tanh, sigmoid, erf and power from + - * / alone: the same bits on every machine, whatever its maths library.

`exp` and `power` follow the algorithms of FreeBSD's msun (fdlibm; Sun Microsystems 1993), the first of which browsers'
JavaScript engines use as well, so an original submission's tanh and sigmoid come out as they did in the game. Their
errors are below one unit in the last place. The others are built on `exp`.
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


# --- power ------------------------------------------------------------------------------------------------------------

NEAR = np.array([1.0, 1.5])  # log2(x) is computed from the nearer of these to x's significand
LOG2_HIGH = np.array([0.0, 5.84962487220764160156e-01])  # of 1.5, in two parts, as the constants below
LOG2_LOW = np.array([0.0, 1.35003920212974897128e-08])
L1, L2, L3 = 5.99999999999994648725e-01, 4.28571428578550184252e-01, 3.33333329818377432918e-01
L4, L5, L6 = 2.72728123808534006489e-01, 2.30660745775561754067e-01, 2.06975017800338417784e-01
CP, CP_HIGH, CP_LOW = 9.61796693925975554329e-01, 9.61796700954437255859e-01, -7.02846165095275826516e-09  # 2/(3 ln 2)
LN2, LN2_UPPER, LN2_LOWER = 6.93147180559945286227e-01, 6.93147182464599609375e-01, -1.90465429995776804525e-09
FLIP = 8.0085662595372944372e-17  # log2 of the largest double, + 1, down to its last bit
LOW_WORD, FRACTION = np.int64(0xFFFFFFFF), np.int64((1 << 52) - 1)
ONE_BITS, SQRT_HALF_3, SQRT_3 = np.int64(0x3FF << 52), np.int64(0x3988F << 32), np.int64(0xBB67A << 32)


@compiled
def bits_of(x: float) -> int:
    """Return the 64 bits of a float64 as an integer."""
    return np.float64(x).view(np.int64)


@compiled
def float_of(bits: int) -> float:
    """Return the float64 of 64 bits."""
    return np.int64(bits).view(np.float64)


@compiled
def upper(x: float) -> float:
    """Return x with the lower 32 bits of its significand cleared."""
    return float_of(bits_of(x) & ~LOW_WORD)


@compiled
def power(x: float, y: float) -> float:
    """x**y; NaN for a negative x to a power that is no integer."""
    if y == 0.0:
        return 1.0
    if x != x or y != y:
        return np.nan
    if x < 0.0:
        if math.floor(y) != y:
            return np.nan
        size = power_of_positive(-x, y)
        return -size if math.floor(y / 2.0) * 2.0 != y else size
    return power_of_positive(x, y)


@compiled
def power_of_positive(x: float, y: float) -> float:
    """`power` for x >= 0 and y other than 0."""
    if x == 1.0 or x == 0.0 or x == np.inf:
        return x if y > 0.0 or x == 1.0 else (np.inf if x == 0.0 else 0.0)
    n = 0
    if x < 2.0**-1022:
        n, x = -53, x * 2.0**53
    bits = bits_of(x)
    n += (bits >> np.int64(52)) - 1023
    fraction = bits & FRACTION
    k = 1 if SQRT_HALF_3 <= fraction < SQRT_3 else 0
    significand = fraction | ONE_BITS
    if fraction >= SQRT_3:
        n += 1
        significand -= np.int64(1 << 52)
    x = float_of(significand)
    # log2(x) = t1 + t2, twice as exact as a double
    u, v = x - NEAR[k], 1.0 / (x + NEAR[k])
    s = u * v
    s_high = upper(s)
    half = ((significand >> np.int64(33)) | np.int64(0x20000000)) + np.int64(0x00080000) + np.int64(k << 18)
    t_high = float_of(half << np.int64(32))
    s_low = v * ((u - s_high * t_high) - s_high * (x - (t_high - NEAR[k])))
    s2 = s * s
    r = s2 * s2 * (L1 + s2 * (L2 + s2 * (L3 + s2 * (L4 + s2 * (L5 + s2 * L6))))) + s_low * (s_high + s)
    s2 = s_high * s_high
    t_high = upper(3.0 + s2 + r)
    u, v = s_high * t_high, s_low * t_high + (r - ((t_high - 3.0) - s2)) * s
    p_high = upper(u + v)
    z_high, z_low = CP_HIGH * p_high, CP_LOW * p_high + (v - (p_high - u)) * CP + LOG2_LOW[k]
    t1 = upper(((z_high + z_low) + LOG2_HIGH[k]) + n)
    t2 = z_low - (((t1 - n) - LOG2_HIGH[k]) - z_high)
    # 2**(y * log2(x))
    y1 = upper(y)
    p_low, p_high = (y - y1) * t1 + y * t2, y1 * t1
    z = p_low + p_high
    if z > 1024.0 or (z == 1024.0 and p_low + FLIP > z - p_high):
        return np.inf
    if z < -1075.0 or (z == -1075.0 and p_low <= z - p_high):
        return 0.0
    n = 0
    if abs(z) > 0.5:
        n = int(z + 0.5) if z > 0.0 else int(z - 0.5)
        p_high -= n
    t = upper(p_low + p_high)
    u, v = t * LN2_UPPER, (p_low - (t - p_high)) * LN2 + t * LN2_LOWER
    z = u + v
    w = v - (z - u)
    t = z * z
    t1 = z - t * (P1 + t * (P2 + t * (P3 + t * (P4 + t * P5))))
    z = 1.0 - (((z * t1) / (t1 - 2.0) - (w + z * w)) - z)
    if n == 1024:
        return z * 2.0 * POWERS[1022 + 1023]
    if n < -1021:
        return z * POWERS[1022 + n + 100] * POWERS[1022 - 100]
    return z * POWERS[1022 + n]
