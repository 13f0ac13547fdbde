"""Comparisons: against arithmetic by hand, and intervals that hold what they promise."""

import numpy as np
import pytest

from deeptraffic.evaluation import comparison
from deeptraffic.evaluation.comparison import compare, improvement, interquartile_mean, paired_difference


def test_the_interquartile_mean_leaves_out_both_outer_quarters() -> None:
    scores = np.array([[1.0, 100.0, 4.0, 2.0, 3.0, 5.0, -50.0, 6.0]])  # the middle four: 2, 3, 4, 5
    assert interquartile_mean(scores).tolist() == [3.5]


def test_improvement_counts_wins_and_half_of_ties_over_all_pairs() -> None:
    first, second = np.array([[1.0, 2.0], [3.0, 2.0]]), np.array([[2.0, 2.0]])
    # run 0: 1 < 2, 3 > 2; run 1: 2 = 2 twice -> (0 + 1 + 0.5 + 0.5) / 4
    assert improvement(first, second) == 0.5
    assert improvement(np.array([[2.0]]), np.array([[1.0]])) == 1.0


def test_paired_runs_show_a_difference_that_unpaired_ones_would_hide() -> None:
    random = np.random.default_rng(0)
    luck = random.normal(70.0, 6.0, (1, 400))  # a run's traffic, the same for both
    better = luck + 0.5 + random.normal(0.0, 0.5, (1, 400))
    singles, pairs = compare({"base": luck, "better": better})
    assert pairs[0].first == "better"
    low, high = pairs[0].difference.interval
    assert 0.3 < low < pairs[0].difference.value < high < 0.7
    assert pairs[0].improvement.value > 0.8
    mean = {group.name: group.mean for group in singles}
    assert mean["base"].interval[1] > mean["better"].interval[0]  # each alone overlaps


def test_the_paired_difference_of_two_groups_is_that_of_their_comparison() -> None:
    random = np.random.default_rng(1)
    first, second = random.normal(72.0, 1.0, (1, 50)), random.normal(70.0, 1.0, (3, 50))
    _, (pair,) = compare({"first": first, "second": second})
    assert paired_difference(first, second) == pair.difference
    assert paired_difference(first, second).value == pytest.approx(first.mean() - second.mean())


def test_another_trainings_luck_widens_the_interval() -> None:
    random = np.random.default_rng(1)
    alike = random.normal(70.0, 1.0, (4, 300))
    unlike = alike + np.array([[-3.0], [-1.0], [1.0], [3.0]])
    singles, _ = compare({"alike": alike, "unlike": unlike})
    widths = [group.iqm.interval[1] - group.iqm.interval[0] for group in singles]
    assert widths[1] > 5 * widths[0]
    assert (singles[0].policies, singles[0].runs) == (4, 300)


def test_a_95_percent_interval_holds_the_truth_about_95_times_in_100(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "RESAMPLES", 200)
    random = np.random.default_rng(2)
    hits = 0
    for _ in range(100):
        singles, _ = compare({"a": random.normal(0.0, 1.0, (1, 60))})
        low, high = singles[0].mean.interval
        hits += low <= 0.0 <= high
    assert 86 <= hits <= 100


def test_what_was_not_scored_alike_is_refused() -> None:
    with pytest.raises(ValueError, match="are not of the same runs"):
        compare({"a": np.ones((1, 3)), "b": np.ones((1, 4))})
    with pytest.raises(ValueError, match=r"give \(policies, runs\) for each group"):
        compare({"a": np.ones(3)})
    with pytest.raises(ValueError, match="'a' has scores that are not finite"):
        compare({"a": np.array([[np.nan, 1.0]])})
