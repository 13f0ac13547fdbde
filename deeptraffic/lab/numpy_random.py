"""NumPy's default random generator in compiled code: the same normal numbers from the same seed.

A learner's first weights come from `numpy.random.default_rng(seed)`; so do those in a page, which has no NumPy.
Sources: O'Neill 2014, "PCG" (PCG64, XSL-RR); NumPy's SeedSequence; Marsaglia and Tsang 2000, "The ziggurat method"
(256 layers, with the tables of Numba's translation); FreeBSD's msun for log1p. The generator's state is (4,) uint64:
the halves of the state and of the increment, high half first.

    >>> state = seed_generator(7)
    >>> standard_normal(state) == np.random.default_rng(7).standard_normal()
    True
"""

import numpy as np
from numba.np.random._constants import fi_double, ki_double, wi_double, ziggurat_nor_inv_r, ziggurat_nor_r
from numpy.typing import NDArray

from deeptraffic.policies.exponential import LN2_HIGH, LN2_LOW, exp
from deeptraffic.sim.compiled import compiled

U64 = NDArray[np.uint64]
LOW32 = np.uint64(0xFFFFFFFF)
N11, N16, N32, N58, N63 = (np.uint64(n) for n in (11, 16, 32, 58, 63))
ONE, SIGN_BIT, SIZE_BITS = np.uint64(1), np.uint64(0x100), np.uint64((1 << 52) - 1)
INIT_A, MULT_A, INIT_B, MULT_B = (np.uint64(n) for n in (0x43B0D7E5, 0x931E8875, 0x8B51F9DD, 0x58F38DED))
MIX_LEFT, MIX_RIGHT = np.uint64(0xCA01F9DD), np.uint64(0x4973F715)
POOL, STATE_WORDS = 4, 8
MULTIPLIER_HIGH, MULTIPLIER_LOW = np.uint64(0x2360ED051FC65DA4), np.uint64(0x4385DF649FCCF645)
LP = (
    *(6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01),
    *(1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01),
)


# --- the seed ---------------------------------------------------------------------------------------------------------


@compiled
def seed_generator(seed: int) -> U64:
    """Return the state of a generator with this seed in [0, 2**63 - 1]."""
    pool, state, constant = np.zeros(POOL, np.uint64), np.zeros(4, np.uint64), INIT_A
    for i in range(POOL):
        word = np.uint64(seed) >> np.uint64(32 * i) & LOW32 if i < 2 else np.uint64(0)
        pool[i], constant = hash_word(word, constant)
    for source in range(POOL):
        for target in range(POOL):
            if source != target:
                hashed, constant = hash_word(pool[source], constant)
                mixed = (MIX_LEFT * pool[target] - MIX_RIGHT * hashed) & LOW32
                pool[target] = mixed ^ (mixed >> N16)
    constant = INIT_B
    for i in range(STATE_WORDS):
        word = pool[i % POOL] ^ constant
        constant = constant * MULT_B & LOW32
        word = word * constant & LOW32
        state[i // 2] |= (word ^ (word >> N16)) << np.uint64(32 * (i % 2))
    return start_pcg(state)


@compiled
def hash_word(word: np.uint64, constant: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return a 32-bit word hashed, and the next constant."""
    word = word ^ constant
    constant = constant * MULT_A & LOW32
    word = word * constant & LOW32
    return word ^ (word >> N16), constant


@compiled
def start_pcg(seeds: U64) -> U64:
    """Return the state of PCG64 for an initial state and a stream number, each in two halves."""
    state = np.zeros(4, np.uint64)
    state[2], state[3] = seeds[2] << ONE | seeds[3] >> N63, seeds[3] << ONE | ONE
    step(state)
    low = state[1] + seeds[1]
    state[0] += seeds[0] + np.uint64(low < seeds[1])
    state[1] = low
    step(state)
    return state


# --- numbers ----------------------------------------------------------------------------------------------------------


@compiled
def step(state: U64) -> None:
    """Advance PCG64: state * multiplier + increment, modulo 2**128."""
    high = high_product(state[1], MULTIPLIER_LOW) + state[0] * MULTIPLIER_LOW + state[1] * MULTIPLIER_HIGH
    low = state[1] * MULTIPLIER_LOW + state[3]
    state[0] = high + state[2] + np.uint64(low < state[3])
    state[1] = low


@compiled
def high_product(a: np.uint64, b: np.uint64) -> np.uint64:
    """Return the upper 64 bits of a product."""
    a_low, a_high, b_low, b_high = a & LOW32, a >> N32, b & LOW32, b >> N32
    cross = a_high * b_low + (a_low * b_low >> N32)
    middle = a_low * b_high + (cross & LOW32)
    return a_high * b_high + (cross >> N32) + (middle >> N32)


@compiled
def next_word(state: U64) -> np.uint64:
    """Return the next 64 random bits."""
    step(state)
    word, turns = state[0] ^ state[1], state[0] >> N58
    return word >> turns | word << ((np.uint64(64) - turns) & N63)


@compiled
def next_double(state: U64) -> float:
    """Return a number in [0, 1) with 53 random bits."""
    return np.float64(next_word(state) >> N11) * 2.0**-53


@compiled
def standard_normal(state: U64) -> float:
    """Return a standard normal number."""
    while True:
        word = next_word(state)
        layer, size = np.int64(word & np.uint64(0xFF)), word >> np.uint64(9) & SIZE_BITS
        x = np.float64(size) * wi_double[layer]
        if word & SIGN_BIT:
            x = -x
        if size < ki_double[layer]:
            return x
        if layer == 0:
            while True:
                beyond = -ziggurat_nor_inv_r * log1p(-next_double(state))
                height = -log1p(-next_double(state))
                if height + height > beyond * beyond:
                    far = ziggurat_nor_r + beyond
                    return -far if size & SIGN_BIT else far
        height = (fi_double[layer - 1] - fi_double[layer]) * next_double(state) + fi_double[layer]
        if height < exp(-0.5 * x * x):
            return x


@compiled
def log1p(x: float) -> float:
    """log(1 + x) for x in (-1, 0], the only ones that a normal number asks for."""
    if x > -(2.0**-29):
        return x if x > -(2.0**-54) else x - x * x * 0.5
    k, f, correction = 0, x, 0.0
    if x <= -0.2928932188134524:  # 1 + x = 2**k * (1 + f), f above sqrt(2)/2 - 1
        u = 1.0 + x
        correction = (x - (u - 1.0)) / u
        while u < 0.70710678:
            u, k = 2.0 * u, k - 1
        f = u - 1.0
    half = 0.5 * f * f
    if f == 0.0:
        return k * LN2_HIGH + (correction + k * LN2_LOW)
    s = f / (2.0 + f)
    z = s * s
    r = z * (LP[0] + z * (LP[1] + z * (LP[2] + z * (LP[3] + z * (LP[4] + z * (LP[5] + z * LP[6]))))))
    if k == 0:
        return f - (half - s * (half + r))
    return k * LN2_HIGH - ((half - (s * (half + r) + (k * LN2_LOW + correction))) - f)
