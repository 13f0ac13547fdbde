"""Comparison of policies on the same runs: interquartile means, paired differences, probability of improvement.

Source: Agarwal, Schwarzer, Castro, Courville and Bellemare 2021, "Deep Reinforcement Learning at the Edge of the
Statistical Precipice", arXiv:2108.13264, section 4 and appendix A. What they call tasks are here the evaluation runs,
which are the same for all drivers; what they call runs are here the policies that one way of training made with
different seeds, a *group*.

Intervals are from a stratified bootstrap: every resample draws policies within each group and, for all groups alike,
evaluation runs. A group of one policy says nothing about another training, and its interval does not either.

    >>> compare({"ppo": ppo_scores, "gap": gap_scores})       # each (policies, runs) [mph]

Letters in shapes: P policies of a group, R evaluation runs, K resamples.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Interval = tuple[float, float]
RESAMPLES, CONFIDENCE = 2000, 0.95


@dataclass(frozen=True)
class Estimate:
    """A number and its 95% interval."""

    value: float
    interval: Interval

    def to_json(self) -> dict[str, Any]:
        """The estimate as JSON values."""
        return {"value": self.value, "interval": list(self.interval)}


@dataclass(frozen=True)
class GroupStatistics:
    """One group's scores [mph].

    iqm: mean of the middle half of all its scores; mean, median: of all; p10: what the worst tenth stays below
    policies, runs: P and R
    """

    name: str
    iqm: Estimate
    mean: Estimate
    median: Estimate
    p10: Estimate
    policies: int
    runs: int


@dataclass(frozen=True)
class PairStatistics:
    """Two groups on the same runs.

    difference: mean of first minus second [mph], run by run
    improvement: probability that a policy of the first beats one of the second on a run, ties counting half
    """

    first: str
    second: str
    difference: Estimate
    improvement: Estimate


def compare(groups: Mapping[str, F64], seed: int = 0) -> tuple[list[GroupStatistics], list[PairStatistics]]:
    """Return the statistics of each group and of every pair, the group with the greater mean first.

    groups: name -> (P, R) scores [mph], with the same R runs in all

    Raises ValueError if the groups were not scored on equally many runs.
    """
    check_groups(groups)
    seeds = {name: [seed, k] for k, name in enumerate(groups)}
    singles = [_describe(name, scores, seeds[name]) for name, scores in groups.items()]
    order = [group.name for group in sorted(singles, key=lambda group: -group.mean.value)]
    pairs = [_describe_pair(*pair, groups, seeds) for pair in itertools.combinations(order, 2)]
    return singles, pairs


def paired_difference(first: F64, second: F64, seed: int = 0) -> Estimate:
    """Return the mean of first (P, R) minus second (Q, R) [mph], run by run; the interval is over policies and runs."""
    check_groups({"first": first, "second": second})
    draws = zip(_resamples(first, [seed, 0]), _resamples(second, [seed, 1]), strict=True)
    measured = np.array([a.mean() - b.mean() for a, b in draws])
    return Estimate(float(first.mean() - second.mean()), _interval(measured))


def check_groups(groups: Mapping[str, F64]) -> None:
    """Raise ValueError unless all groups hold (P, R) finite scores of the same number of runs."""
    shapes = {name: scores.shape for name, scores in groups.items()}
    if not groups or any(len(shape) != 2 or 0 in shape for shape in shapes.values()):
        raise ValueError(f"scores of shapes {shapes} cannot be compared; give (policies, runs) for each group")
    if any(a[1] != b[1] for a, b in itertools.pairwise(shapes.values())):
        raise ValueError(f"scores of shapes {shapes} are not of the same runs; evaluate all on the same seeds")
    for name, scores in groups.items():
        if not np.isfinite(scores).all():
            raise ValueError(f"group {name!r} has scores that are not finite; a policy that leaves the road's numbers")


def interquartile_mean(scores: F64) -> F64:
    """Return the mean of the middle half along the last axis, (..., n) -> (...)."""
    count = scores.shape[-1]
    cut = count // 4
    return np.sort(scores, axis=-1)[..., cut : count - cut].mean(-1)


def improvement(first: F64, second: F64) -> float:
    """Return the share of runs and pairs of policies in which the first is better, ties half: (P, R), (Q, R)."""
    lead = first[:, None, :] - second[None, :, :]  # (P, Q, R)
    return float(np.mean((lead > 0) + 0.5 * (lead == 0)))


def _resamples(scores: F64, seed: list[int]) -> Iterator[F64]:
    """Yield (P, R) scores K times; the runs drawn in resample k are the same for every group."""
    policies, runs = scores.shape
    run_draws, policy_draws = np.random.default_rng(seed[0]), np.random.default_rng([*seed, 1])
    for _ in range(RESAMPLES):
        columns = run_draws.integers(runs, size=(1, runs))
        yield scores[policy_draws.integers(policies, size=(policies, 1)), columns]


def _describe(name: str, scores: F64, seed: list[int]) -> GroupStatistics:
    draws = _resamples(scores, seed)
    parts = iter(lambda: [draw.ravel() for draw in itertools.islice(draws, 100)], [])
    measured = np.concatenate([_summary(np.array(part)) for part in parts])  # (K, 4)
    iqm, mean, median, p10 = (
        Estimate(float(value), _interval(column))
        for value, column in zip(_summary(scores.ravel()), measured.T, strict=True)
    )
    return GroupStatistics(name, iqm, mean, median, p10, *scores.shape)


def _summary(scores: F64) -> F64:
    """Return interquartile mean, mean, median and tenth percentile along the last axis, (..., n) -> (..., 4)."""
    percentile = np.percentile(scores, 10, axis=-1)
    return np.stack([interquartile_mean(scores), scores.mean(-1), np.median(scores, axis=-1), percentile], axis=-1)


def _describe_pair(
    first: str, second: str, groups: Mapping[str, F64], seeds: Mapping[str, list[int]]
) -> PairStatistics:
    one, other = groups[first], groups[second]
    draws = zip(_resamples(one, seeds[first]), _resamples(other, seeds[second]), strict=True)
    measured = np.array([(a.mean() - b.mean(), improvement(a, b)) for a, b in draws])  # (K, 2)
    return PairStatistics(
        first,
        second,
        Estimate(float(one.mean() - other.mean()), _interval(measured[:, 0])),
        Estimate(improvement(one, other), _interval(measured[:, 1])),
    )


def _interval(values: F64) -> Interval:
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(values, [tail, 100.0 - tail])
    return float(low), float(high)
