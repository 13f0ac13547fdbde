"""The baseline of every sequence model: probabilities by counting what came after the same few tokens before.

Source: Shannon 1948, "A Mathematical Theory of Communication", section 3. Counts of long contexts are smoothed by the
shorter one, as in Jelinek and Mercer 1980 with a weight that falls with the count:
p_k(w | c_k) = (n(c_k, w) + m p_{k-1}(w | c_{k-1})) / (n(c_k) + m), and p_0 is uniform.

    >>> model = NGram(vocabulary=184).count(train_contexts, train_tokens)
    >>> model.bits(test_contexts, test_tokens)                     # mean bits per token

Letters in shapes: N tokens, K tokens of context, the most telling first, R runs, T scenes.
"""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from representation.data.tokens import TOKENS

I64 = NDArray[np.int64]


class NGram:
    """Counts of tokens after contexts of 0 to K tokens.

    Args:
        vocabulary: tokens are 0..vocabulary - 1
        strength: m, how many sightings the shorter context is worth
    """

    def __init__(self, vocabulary: int, strength: float = 2.0) -> None:
        self.vocabulary, self.strength = vocabulary, strength
        self.counts: list[tuple[I64, I64]] = []  # of each length: (sorted keys, how often)

    def count(self, contexts: I64, tokens: I64) -> Self:
        """Learn from tokens (N,) that came after contexts (N, K)."""
        self.counts = []
        for length in range(contexts.shape[1] + 1):
            for key in self._keys(contexts, tokens, length):
                keys, often = np.unique(key, return_counts=True)
                self.counts.append((keys, often))
        return self

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
        """Return (a number for each context of this length, a number for context and token), (N,) each."""
        key = np.zeros(len(tokens), np.int64)
        for k in range(length):
            key = key * self.vocabulary + contexts[:, k]
        return key, key * self.vocabulary + tokens

    def _looked_up(self, at: int, key: I64) -> I64:
        keys, often = self.counts[at]
        place = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        return np.where(keys[place] == key, often[place], 0)


def contexts_across_scenes(tokens: I64) -> tuple[I64, I64]:
    """Return (contexts (N, 3), tokens (N,)) for an n-gram that sees the scene before, of all scenes but the first.

    Most telling first: the same place in the scene before, the place ahead of it there, the token before.
    """
    before, now = tokens[:, :-1], tokens[:, 1:]
    ahead = np.concatenate([before[..., :1], before[..., :-1]], -1)
    last = np.concatenate([np.zeros_like(now[..., :1]), now[..., :-1]], -1)
    return np.stack([column.ravel() for column in (before, ahead, last)], -1), now.ravel()


def contexts_in_stream(tokens: I64, length: int) -> tuple[I64, I64]:
    """Return (contexts (N, length), tokens (N,)) for a plain n-gram over the stream, of all scenes but the first."""
    stream = tokens.reshape(len(tokens), -1)
    size = stream.shape[1] - TOKENS
    columns = [stream[:, TOKENS - 1 - k : TOKENS - 1 - k + size].ravel() for k in range(length)]
    return np.stack(columns, -1), stream[:, TOKENS:].ravel()
