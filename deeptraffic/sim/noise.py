"""Noise of sensors and images: random numbers as a hash of a key and an index, without a generator's state.

Numbers of one key are independent of each other, and drawn in any order; the game's own stream is untouched.
"""

import math

from deeptraffic.sim.compiled import compiled

MASK = 0xFFFFFFFF
GOLDEN = 0x9E3779B9  # 2**32 divided by the golden ratio


@compiled
def mix(value: int) -> int:
    """Hash to 32 bits: a bijection of 32 bits (Wellons 2018, "Prospecting for hash functions", lowbias32)."""
    value = int(value) & MASK
    value = ((value ^ (value >> 16)) * 0x7FEB352D) & MASK
    value = ((value ^ (value >> 15)) * 0x846CA68B) & MASK
    return value ^ (value >> 16)


@compiled
def uniform(key: int, index: int) -> float:
    """Return draw `index` of a key, in [0, 1)."""
    return mix(mix(key + (index * GOLDEN & MASK)) + key) / 4294967296.0


@compiled
def normal(key: int, index: int) -> float:
    """Return a standard normal number from draws `index` and `index` + 1 of a key (Box and Muller 1958)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(key, index)))
    return radius * math.cos(2.0 * math.pi * uniform(key, index + 1))
