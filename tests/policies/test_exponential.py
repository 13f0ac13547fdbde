"""exp and its kin, against the maths library."""

import math

import numpy as np
import pytest

from deeptraffic.policies.exponential import erf, exp, power, sigmoid, tanh, tanh_convnetjs


def test_exp_is_within_one_unit_in_the_last_place() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-745, 709, 20000), rng.uniform(-2, 2, 20000), rng.normal(size=2000) * 1e-9])
    mine, library = np.array([exp(value) for value in x]), np.exp(x)
    apart = np.abs(mine.view(np.int64) - library.view(np.int64))
    assert apart.max() == 1
    assert np.mean(apart == 0) > 0.85


@pytest.mark.parametrize(
    ("x", "y"), [(0.0, 1.0), (1.0, math.e), (709.782712893384, math.exp(709.782712893384)), (709.79, math.inf)]
)
def test_exp_of_special_values(x: float, y: float) -> None:
    assert exp(x) == y


def test_exp_ends_in_zero_infinity_and_nan() -> None:
    assert exp(-745.2) == 0.0 == exp(-math.inf)
    assert exp(-745.1) == 5e-324
    assert exp(math.inf) == math.inf
    assert math.isnan(exp(math.nan))


def test_tanh_sigmoid_and_erf_agree_with_the_library() -> None:
    for x in np.linspace(-9.0, 9.0, 4001):
        assert abs(tanh(x) - math.tanh(x)) < 3e-16
        assert abs(sigmoid(x) - 1.0 / (1.0 + math.exp(-x))) < 3e-16
        assert abs(erf(x) - math.erf(x)) < 5e-15


def test_convnetjs_tanh_overflows_to_nan_as_in_the_original_game() -> None:
    assert tanh_convnetjs(354.0) == 1.0
    assert math.isnan(tanh_convnetjs(355.0))
    assert tanh_convnetjs(-400.0) == -1.0
    assert tanh(400.0) == 1.0


def test_power_is_within_one_unit_in_the_last_place() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [rng.uniform(0, 10, 5000), np.exp(rng.uniform(-700, 700, 5000)), rng.uniform(0, 1, 100) * 1e-310]
    )
    y = np.concatenate([np.full(5000, 0.75), rng.uniform(-1, 1, 5000), rng.uniform(-1, 1, 100)])
    mine = np.array([power(base, exponent) for base, exponent in zip(x, y, strict=True)])
    library = np.array([math.pow(base, exponent) for base, exponent in zip(x, y, strict=True)])
    apart = np.abs(mine.view(np.int64) - library.view(np.int64))
    assert apart.max() == 1
    assert np.mean(apart == 0) > 0.85


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        *[(4.0, 0.5, 2.0), (2.0, 1023.0, 2.0**1023), (2.0, 1024.0, math.inf), (2.0, -1074.0, 5e-324)],
        *[(2.0, -1080.0, 0.0), (1.5, 2.0, 2.25), (0.0, 2.0, 0.0), (0.0, -1.0, math.inf), (7.0, 0.0, 1.0)],
        *[(-2.0, 3.0, -8.0), (-2.0, 2.0, 4.0), (-2.0, 0.5, math.nan), (math.inf, 2.0, math.inf)],
        *[(math.inf, -2.0, 0.0), (math.nan, 1.0, math.nan), (1.0, 1e300, 1.0), (1.0 + 1e-9, 1e300, math.inf)],
    ],
)
def test_power_of_special_values(x: float, y: float, expected: float) -> None:
    np.testing.assert_array_equal(power(x, y), expected)
