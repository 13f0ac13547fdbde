"""Statistics of run scores: the median as the game took it, and bootstrap intervals.

Source of the bootstrap intervals: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13
(percentile method). For a handful of values, such as one per training seed, they are too narrow; Student's t is not.
"""

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.rules import MPH_PER_PX

F64 = NDArray[np.float64]
QUANTILES = (5, 10, 25, 50, 75, 90, 95)  # [%]


def format_as_javascript(value: float) -> str:
    """Return a number as JavaScript prints it: 75, 75.8, 75.04 (ECMAScript, Number::toString)."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    sign, digit_tuple, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    digits = "".join(map(str, digit_tuple))
    point = len(digits) + int(exponent)  # the decimal point stands behind this many digits
    if len(digits) <= point <= 21:
        text = digits.ljust(point, "0")
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        fraction = f".{digits[1:]}" if digits[1:] else ""
        text = f"{digits[0]}{fraction}e{point - 1:+d}"
    return "-" + text if sign else text


def contest_median(run_scores: Sequence[float] | F64) -> float:
    """Return entry len // 2 of the scores sorted as JavaScript strings: 9.5 sorts behind 80, and 75 before 75.04."""
    return sorted((float(score) for score in run_scores), key=format_as_javascript)[len(run_scores) // 2]


def run_score(speed_sum: float | F64, frames: int) -> F64:
    """Return floor(mean * 2000) / 100 [mph] for speeds [px/frame] summed over the frames of a run."""
    return np.floor(np.asarray(speed_sum) / frames * 2000.0) / 100.0


def mean_speed(speed_sum: float | F64, frames: int) -> F64:
    """Return the mean speed [mph], not rounded, for speeds [px/frame] summed over the frames of a run."""
    return np.asarray(speed_sum) / frames * MPH_PER_PX


def bootstrap_interval(
    values: NDArray[Any] | Sequence[NDArray[Any]],
    statistic: Callable[..., F64],
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile interval of a statistic, the same on every call.

    values: of one group, or of several groups, which are resampled separately
    statistic: of as many arrays (resamples, values), called with axis=1: np.median, np.mean, ...
    """
    groups = [values] if isinstance(values, np.ndarray) else list(values)
    random = np.random.default_rng(seed)
    block = max(1, 2_000_000 // max(group.size for group in groups))  # resamples in memory at a time
    estimates = []
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        drawn = [group[random.integers(group.size, size=(count, group.size))] for group in groups]
        estimates.append(statistic(*drawn, axis=1))
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(np.concatenate(estimates), [tail, 100.0 - tail])
    return float(low), float(high)


def mean_interval(values: Sequence[float] | F64, confidence: float = 0.95) -> tuple[float, float]:
    """Return Student's t interval of the mean of two or more independent values (Student 1908, Biometrika 6)."""
    from scipy.special import stdtrit  # what scipy.stats takes, which takes a second to import

    sample = np.asarray(values, np.float64)
    if sample.size < 2:
        raise ValueError(f"an interval needs at least 2 values, got {sample.size}")
    half = float(stdtrit(sample.size - 1, 0.5 + confidence / 2) * sample.std(ddof=1) / np.sqrt(sample.size))
    return float(sample.mean()) - half, float(sample.mean()) + half
