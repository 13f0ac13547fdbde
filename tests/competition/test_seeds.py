"""Seeds of open runs."""

import itertools

import pytest

from deeptraffic.competition.seeds import MAX_RUNS, SEED_SETS, choose_seeds


def test_seed_sets_are_disjoint_and_large_enough() -> None:
    for one, other in itertools.combinations(SEED_SETS.values(), 2):
        assert one.stop <= other.start or other.stop <= one.start
    assert all(len(seeds) >= MAX_RUNS for seeds in SEED_SETS.values())


def test_fewer_runs_are_the_first_of_more() -> None:
    assert list(choose_seeds("tuning", 10)) == list(choose_seeds("tuning", 20))[:10]


@pytest.mark.parametrize(("seed_set", "runs"), [("test", 10), ("tuning", 0), ("tuning", MAX_RUNS + 1)])
def test_impossible_choice_is_refused(seed_set: str, runs: int) -> None:
    with pytest.raises(ValueError, match="tuning|give 1 to"):
        choose_seeds(seed_set, runs)
