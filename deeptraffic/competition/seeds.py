"""Seeds of open runs: which belong to training, which to tuning, and which to reported results.

The three ranges are disjoint, so that a reported number was neither trained nor tuned on. Take the first N of a range:
results on the same N are then paired. `env.reset(seed=s)` is open run s.
"""

SEED_SETS = {
    "training": range(0, 1_000_000_000),
    "tuning": range(1_000_000_000, 1_001_000_000),
    "reporting": range(2_000_000_000, 2_001_000_000),
}
MAX_RUNS = 100_000


def choose_seeds(seed_set: str, runs: int) -> range:
    """Return the first `runs` seeds of a set; ValueError for an unknown set or an impossible number."""
    if seed_set not in SEED_SETS:
        raise ValueError(f"there is no seed set {seed_set!r}; choose one of {', '.join(SEED_SETS)}")
    if not 1 <= runs <= MAX_RUNS:
        raise ValueError(f"runs={runs} is not possible; give 1 to {MAX_RUNS}")
    return SEED_SETS[seed_set][:runs]
