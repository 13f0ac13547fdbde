"""Seeds of open runs."""

import itertools
from typing import Any

import pytest

from deeptraffic.evaluation.seeds import MAX_RUNS, SEED_SETS, choose_seeds, private_seeds


def test_seed_sets_are_disjoint_and_large_enough() -> None:
    for one, other in itertools.combinations(SEED_SETS.values(), 2):
        assert one.stop <= other.start or other.stop <= one.start
    assert all(len(seeds) >= MAX_RUNS for seeds in SEED_SETS.values())


def test_fewer_runs_are_the_first_of_more() -> None:
    assert list(choose_seeds("tuning", 10)) == list(choose_seeds("tuning", 20))[:10]


@pytest.mark.parametrize(("seed_set", "runs"), [("test", 10), ("tuning", 0), ("tuning", MAX_RUNS + 1)])
def test_impossible_choice_is_refused(seed_set: str, runs: int) -> None:
    with pytest.raises(ValueError, match=r"tuning|give an integer in \[1, 100000\]"):
        choose_seeds(seed_set, runs)


def test_private_seeds_are_drawn_apart_from_all_public_ones() -> None:
    seeds = private_seeds(500)
    assert len(set(seeds)) == 500
    assert not any(seed in public for seed in seeds for public in SEED_SETS.values())
    assert not set(seeds) & set(private_seeds(500))
    assert private_seeds(510, before=seeds)[:500] == seeds


def test_private_seeds_that_are_given_stay_as_they_are() -> None:
    assert private_seeds(2, [1 << 41, 7 + (1 << 41), 9 + (1 << 41)]) == [1 << 41, 7 + (1 << 41), 9 + (1 << 41)]


@pytest.mark.parametrize("given", [[], [1 << 41], [1 << 41, 1 << 41], [1 << 41, 5]])
def test_private_seeds_that_are_few_doubled_or_public_are_refused(given: list[int]) -> None:
    with pytest.raises(ValueError, match="at least 2 different ones, none of a public set"):
        private_seeds(2, given)


@pytest.mark.parametrize(
    "given", [7, "12", ["1", "2"], [True, 2], [1.0, 2.0], [1 << 41, -1], [1 << 41, 1 << 53], {1: 2}]
)
def test_what_is_no_list_of_seeds_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="private_seeds must be a list of integers in"):
        private_seeds(2, given)
