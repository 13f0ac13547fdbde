"""Lehmer random number generator of the game, and the hash that seeds independent runs.

Sources: `RULES.md`, "Randomness"; Park and Miller, "Random number generators: good ones are hard to find", CACM 31(10),
1988 (the generator); Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (SplitMix64).
"""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.compiled import compiled

MODULUS = 2147483647  # 2**31 - 1
MULTIPLIER = 16807
SPAN = 2147483646.0  # a draw is (state - 1) / SPAN
MAX_JUMP = 24
# JUMP[k] = MULTIPLIER**k mod MODULUS: state * JUMP[k] mod MODULUS is the state k draws ahead.
JUMP = np.array([pow(MULTIPLIER, k, MODULUS) for k in range(MAX_JUMP + 1)], np.uint32)

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio: the step of SplitMix64's state


@compiled
def advance_stream(state: int, multiplier: int) -> int:
    """Return state * multiplier mod 2**31 - 1, both in 1..2**31 - 2 (Mersenne folding instead of a division)."""
    product = np.uint64(state) * np.uint64(multiplier)
    folded = (product & np.uint64(MODULUS)) + (product >> np.uint64(31))
    if folded >= np.uint64(MODULUS):
        folded -= np.uint64(MODULUS)
    return np.int64(folded)


@compiled
def draw(game: Any) -> float:
    """Advance the stream `game.rng` by one and return a number in [0, 1)."""
    game.rng = advance_stream(game.rng, MULTIPLIER)
    return (game.rng - 1) / SPAN


def seed_stream(seed: int) -> int:
    """Return the stream's state for a seed >= 0, as the game sets it."""
    if seed < 0:
        raise ValueError(f"seed={seed} is negative; give a whole number from 0")
    state = seed % MODULUS
    return state if state > 0 else state + MODULUS - 1


@compiled
def mix(z: np.uint64) -> np.uint64:
    """Return the output of SplitMix64 in state z."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def open_run_streams(seed: int) -> tuple[int, int]:
    """Hash an open run's seed into (state of the stream before construction, reset number), see `hash_run`."""
    return hash_run(np.uint64(seed & (2**64 - 1)))


@compiled
def hash_run(seed: np.uint64) -> tuple[int, int]:
    """Hash a seed into (state of the stream before construction, reset number), both in 1..2147483646.

    SplitMix64 with the seed as its state, two outputs. The game's own reset numbers 1, 2, 3, ... would give every
    fresh program the same traffic factors, so an open run draws the stream too.
    """
    first, span = seed + GOLDEN, np.uint64(MODULUS - 1)
    return np.int64(mix(first) % span) + 1, np.int64(mix(first + GOLDEN) % span) + 1


def run_keys(starts: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return a key of each run (K,), from the random stream and the reset number that it starts from (K, 2).

    The key seeds what a policy draws in the run. It is a hash that cannot be inverted, so that a policy in a sandbox,
    which is told the key, does not learn the run's seed: the first 8 bytes of the SHA-256 of "STREAM RESET".
    """
    texts = (f"{stream} {run}".encode("ascii") for stream, run in starts.tolist())
    keys = [int.from_bytes(hashlib.sha256(text).digest()[:8], "little") for text in texts]
    return np.array(keys, np.uint64)
