"""The random stream against published values, and jumps ahead against single steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptraffic.sim.kernel import count_low_draws
from deeptraffic.sim.random import (
    JUMP,
    MAX_JUMP,
    MODULUS,
    MULTIPLIER,
    SPAN,
    advance_stream,
    draw,
    open_run_streams,
    seed_stream,
)
from deeptraffic.sim.rules import RULES_2018
from deeptraffic.sim.state import make_games

STATES = st.integers(1, MODULUS - 1)


def steps(state: int, count: int) -> int:
    for _ in range(count):
        state = state * MULTIPLIER % MODULUS
    return state


def test_state_after_ten_thousand_draws_is_the_published_one() -> None:
    game = make_games(RULES_2018, 1)[0]
    game["rng"] = 1
    for _ in range(10_000):
        draw(game)
    assert game["rng"] == 1043618065  # Park and Miller, CACM 31(10), 1988, section "implementation"


@given(STATES)
def test_advancing_equals_the_division_it_saves(state: int) -> None:
    assert advance_stream(state, MULTIPLIER) == state * MULTIPLIER % MODULUS


@pytest.mark.parametrize("state", [1, 2, MODULUS - 2, MODULUS - 1])
def test_advancing_holds_at_the_ends_of_the_range(state: int) -> None:
    assert advance_stream(state, MULTIPLIER) == state * MULTIPLIER % MODULUS
    assert advance_stream(state, MODULUS - 1) == state * (MODULUS - 1) % MODULUS


@given(STATES, st.integers(0, MAX_JUMP))
def test_a_jump_equals_single_steps(state: int, count: int) -> None:
    assert advance_stream(state, int(JUMP[count])) == steps(state, count)


@given(STATES)
def test_a_draw_lies_in_zero_to_one(state: int) -> None:
    game = make_games(RULES_2018, 1)[0]
    game["rng"] = state
    value = draw(game)
    assert value == (game["rng"] - 1) / 2147483646
    assert 0.0 <= value < 1.0


@given(STATES, st.floats(-1.0, 1.0))
def test_a_look_ahead_never_counts_a_draw_above_the_threshold_as_low(state: int, threshold: float) -> None:
    draws = [(steps(state, k) - 1) / SPAN for k in range(1, MAX_JUMP + 1)]
    assert all(value <= threshold for value in draws[: count_low_draws(state, threshold)])


@given(STATES, st.integers(0, MAX_JUMP - 1))
def test_a_look_ahead_counts_what_lies_clearly_below_the_threshold_as_low(state: int, index: int) -> None:
    draws = [(steps(state, k) - 1) / SPAN for k in range(1, MAX_JUMP + 1)]
    assert count_low_draws(state, max(draws) + 1e-7) == MAX_JUMP
    first = next(k for k, value in enumerate(draws) if value >= draws[index] - 1e-7)
    assert count_low_draws(state, draws[index] - 1e-7) == first


@pytest.mark.parametrize(
    ("seed", "state"),
    [(0, MODULUS - 1), (1, 1), (MODULUS - 1, MODULUS - 1), (MODULUS, MODULUS - 1), (MODULUS + 5, 5)],
)
def test_a_seed_becomes_a_state_as_in_the_game(seed: int, state: int) -> None:
    assert seed_stream(seed) == state


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="seed=-3 is negative; give a whole number from 0"):
        seed_stream(-3)


def test_open_runs_hash_their_seed_with_splitmix64() -> None:
    # The first two outputs of the reference splitmix64.c (Vigna) for seed 0.
    published = (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4)
    assert open_run_streams(0) == tuple(1 + output % 2147483646 for output in published)


@given(st.integers(0, 2**70))
def test_open_runs_hash_into_valid_states(seed: int) -> None:
    assert all(1 <= value <= MODULUS - 1 for value in open_run_streams(seed))


def test_neighbouring_open_runs_share_nothing() -> None:
    streams = np.array([open_run_streams(seed) for seed in range(2000)])
    assert len(np.unique(streams)) == streams.size
    assert abs(np.corrcoef(streams[:, 0], streams[:, 1])[0, 1]) < 0.1
