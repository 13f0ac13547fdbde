"""Run scores, the contest's median and bootstrap intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptraffic.evaluation.statistics import (
    bootstrap_interval,
    contest_median,
    format_as_javascript,
    mean_interval,
    run_score,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (75.0, "75"),
        (75.8, "75.8"),
        (75.04, "75.04"),
        (-0.5, "-0.5"),
        (-0.0, "0"),
        (100.0, "100"),
        (0.000001, "0.000001"),
        (0.0000001, "1e-7"),
        (1.5e-7, "1.5e-7"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e21, "1e+21"),
        (-1.25e300, "-1.25e+300"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
    ],
)
def test_numbers_are_written_as_javascript_writes_them(value: float, text: str) -> None:
    assert format_as_javascript(value) == text


@given(st.floats(allow_nan=False))
def test_written_numbers_read_back_as_themselves(value: float) -> None:
    assert float(format_as_javascript(value).replace("Infinity", "inf")) == value


def test_contest_median_sorts_scores_as_text() -> None:
    assert contest_median([75.04, 75.8, 75.0, 9.0, 100.0]) == 75.04  # "100" < "75" < "75.04" < "75.8" < "9"
    assert contest_median(np.array([75.8, 75.04])) == 75.8
    assert contest_median([-1.0, -2.0, 3.0]) == -2.0


def test_run_score_is_cut_to_hundredths_of_a_mile_per_hour() -> None:
    assert run_score(5157.99, 2000) == 51.57  # 2.578995 px/frame, 51.5799 mph
    assert run_score(-0.5, 2000) == -0.01
    assert run_score(2.6 * 100_000, 100_000) == 52.0


def test_bootstrap_interval_of_the_mean_is_near_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(70.0, 5.0, 400)
    low, high = bootstrap_interval(values, np.mean)
    half = 1.96 * values.std(ddof=1) / np.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.1)
    assert high == pytest.approx(values.mean() + half, abs=0.1)
    assert bootstrap_interval(values, np.mean) == (low, high)


def test_bootstrap_interval_of_equal_values_is_a_point() -> None:
    assert bootstrap_interval(np.full(50, 71.5), np.median) == (71.5, 71.5)


def test_the_interval_of_few_values_is_students() -> None:
    # t(0.975, 2 degrees of freedom) = 4.3027, the standard deviation is 1
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)
    random = np.random.default_rng(0)
    covered = [low <= 0.0 <= high for low, high in (mean_interval(random.normal(size=3)) for _ in range(2000))]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)  # bootstrap: 0.75
    with pytest.raises(ValueError, match="at least 2 values, got 1"):
        mean_interval([1.0])
