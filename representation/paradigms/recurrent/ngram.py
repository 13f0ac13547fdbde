"""n-grams of scenes' tokens, the baseline of autoregressive models: probabilities by counting, smoothed.

    >>> counted_bits([train, validation, test])                    # bits per scene of independent tokens and an n-gram

Source: Shannon 1948, "A mathematical theory of communication", section 3.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from representation.data.tokens import CAR_SIZES, EGO_SIZES, END, SceneTokens

STRENGTHS = (0.3, 1.0, 3.0, 10.0)  # of the smoothing, chosen on validation data
LENGTHS = (1, 2, 3, 4, 5)  # of the contexts, likewise; the attribute of the token among them
SIZES = (*EGO_SIZES, *CAR_SIZES)
VOCABULARY = sum(SIZES)

I64 = NDArray[np.int64]


class NGram:
    """Counts of tokens after contexts of 0 to K tokens.

    Args:
        vocabulary: tokens are 0..vocabulary - 1
        strength: m, pseudo-counts of the shorter context
    """

    def __init__(self, vocabulary: int, strength: float = 2.0) -> None:
        self.vocabulary, self.strength = vocabulary, strength
        self.counts: list[tuple[I64, I64]] = []  # of each length: (sorted keys, counts)

    def count(self, contexts: I64, tokens: I64) -> Self:
        """Learn from tokens (N,) that came after contexts (N, K)."""
        self.counts = []
        for length in range(contexts.shape[1] + 1):
            for key in self._keys(contexts, tokens, length):
                keys, often = np.unique(key, return_counts=True)
                self.counts.append((keys, often))
        return self

    def smoothed(self, strength: float) -> "NGram":
        """Return the same counts with another smoothing."""
        other = NGram(self.vocabulary, strength)
        other.counts = self.counts
        return other

    def bits(self, contexts: I64, tokens: I64) -> float:
        """Return the mean of -log2 p over tokens (N,) after contexts (N, K)."""
        p = np.full(len(tokens), 1.0 / self.vocabulary)
        for length in range(contexts.shape[1] + 1):
            before, both = (
                self._looked_up(2 * length + k, key) for k, key in enumerate(self._keys(contexts, tokens, length))
            )
            p = (both + self.strength * p) / (before + self.strength)
        return float(-np.log2(p).mean())

    def _keys(self, contexts: I64, tokens: I64, length: int) -> tuple[I64, I64]:
        """Return (a key of each context of this length, a key of context and token), (N,) each."""
        key = np.zeros(len(tokens), np.int64)
        for k in range(length):
            key = key * self.vocabulary + contexts[:, k]
        return key, key * self.vocabulary + tokens

    def _looked_up(self, at: int, key: I64) -> I64:
        keys, often = self.counts[at]
        place = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        return np.where(keys[place] == key, often[place], 0)


def counted_bits(sets: Sequence[SceneTokens], before: Sequence[SceneTokens] | None = None) -> dict[str, float]:
    """Return bits per scene of independent tokens, and of the n-gram whose length and smoothing suit validation.

    sets: training, validation and test scenes; before: the scene before each, for n-grams that read it
    """
    known = [token_streams(tokens) for tokens in before] if before else [None] * len(sets)
    data = [contexts_of(token_streams(tokens), max(LENGTHS), some) for tokens, some in zip(sets, known, strict=True)]
    found = {}
    kinds = {"independent tokens": (1,), "n-gram across scenes" if before else "n-gram": LENGTHS}
    for name, lengths in kinds.items():
        tried: list[tuple[float, int, NGram]] = []
        for length in lengths:
            counted = NGram(VOCABULARY).count(data[0][0][:, :length], data[0][1])
            for model in map(counted.smoothed, STRENGTHS):
                tried.append((model.bits(data[1][0][:, :length], data[1][1]), length, model))
        _, length, best = min(tried, key=lambda one: one[0])
        found[name] = best.bits(data[2][0][:, :length], data[2][1]) * len(data[2][1]) / len(sets[2].ego)
    return found


def token_streams(tokens: SceneTokens) -> list[I64]:
    """Return each scene's tokens in the order in which they are predicted, numbered over all attributes."""
    first = np.cumsum([0, *SIZES[:-1]])
    ego, cars = tokens.ego + first[: len(EGO_SIZES)], tokens.cars + first[len(EGO_SIZES) :]
    ends = (tokens.cars[..., 0] == END).argmax(1)
    scenes = zip(ego, cars, ends, strict=True)
    return [np.concatenate([own, some[:end].ravel(), some[end, :1]]) for own, some, end in scenes]


def contexts_of(streams: Sequence[I64], length: int, before: Sequence[I64] | None = None) -> tuple[I64, I64]:
    """Return (contexts (M, length), tokens (M,)): which attribute comes next, and the tokens before it, nearest first.

    Where a scene has no such token stands the last number. before: the streams of the scenes before, whose token at the
    same place then is the second of the context
    """
    first = np.cumsum([0, *SIZES])
    columns: list[list[I64]] = [[] for _ in range(length)]
    for k, stream in enumerate(streams):
        known = [np.searchsorted(first, stream, side="right")]
        if before is not None:
            fill = np.full(max(0, len(stream) - len(before[k])), VOCABULARY - 1)
            known.append(np.concatenate([before[k][: len(stream)], fill]))
        padded = np.concatenate([np.full(length, VOCABULARY - 1), stream])
        known += [padded[length - back : len(padded) - back] for back in range(1, length)]
        for column, values in zip(columns, known, strict=False):
            column.append(values)
    return np.stack([np.concatenate(column) for column in columns], 1), np.concatenate(streams)
