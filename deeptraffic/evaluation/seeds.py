"""Seed sets of open runs: for training, for tuning and for reported results.

The three ranges are disjoint, so that a reported score was neither trained nor tuned on. Take the first N of a range:
results on the same N are then paired. `env.reset(seed=s)` is open run s. A competition's final has private seeds, drawn
from a range of their own.
"""

import secrets
from collections.abc import Sequence

SEED_SETS = {
    "training": range(0, 1_000_000_000),
    "tuning": range(1_000_000_000, 1_001_000_000),
    "reporting": range(2_000_000_000, 2_001_000_000),
}
PRIVATE = range(1 << 40, 1 << 50)  # so many that a final's are not met by chance; JSON numbers keep them exactly
MAX_SEED = 2**53 - 1  # what every reader of JSON keeps exactly
MAX_RUNS = 100_000


def choose_seeds(seed_set: str, runs: int) -> range:
    """Return the first `runs` seeds of a set; ValueError for an unknown set or an impossible number."""
    if seed_set not in SEED_SETS:
        raise ValueError(f"there is no seed set {seed_set!r}; choose one of {', '.join(SEED_SETS)}")
    if not 1 <= runs <= MAX_RUNS:
        raise ValueError(f"runs={runs}: give an integer in [1, {MAX_RUNS}]")
    return SEED_SETS[seed_set][:runs]


def private_seeds(runs: int, given: list[int] | None = None, before: Sequence[int] = ()) -> list[int]:
    """Return `runs` different seeds that lie in no public set: those given, or drawn by the operating system.

    before: seeds drawn earlier, with which the list begins
    """
    if given is not None:
        if not isinstance(given, list) or not all(type(seed) is int and 0 <= seed <= MAX_SEED for seed in given):
            raise ValueError(f"private_seeds must be a list of integers in [0, {MAX_SEED}], got {given!r:.60}")
        public = any(seed in seeds for seed in given for seeds in SEED_SETS.values())
        if len(set(given)) != len(given) or len(given) < runs or public:
            raise ValueError(f"{len(given)} private seeds; give at least {runs} different ones, none of a public set")
        return list(given)
    random = secrets.SystemRandom()
    chosen = dict.fromkeys(before)
    while len(chosen) < runs:
        chosen.setdefault(random.choice(PRIVATE))
    return list(chosen)
