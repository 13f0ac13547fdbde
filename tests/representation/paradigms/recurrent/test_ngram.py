"""n-grams: probabilities by counting, smoothed, and the contexts they look at."""

import numpy as np

from representation.data.tokens import TOKENS
from representation.paradigms.recurrent.traffic_experiment import NGram, contexts_across_scenes, contexts_in_stream


def test_bits_are_those_of_the_formula() -> None:
    contexts, tokens = np.array([[0], [0], [0], [1]]), np.array([2, 2, 1, 2])
    model = NGram(vocabulary=4, strength=1.0).count(contexts, tokens)
    # p0 = 1/4; p1(2) = (3 + 1/4) / (4 + 1) = 0.65; p2(2 | 0) = (2 + 0.65) / (3 + 1) = 0.6625
    np.testing.assert_allclose(model.bits(np.array([[0]]), np.array([2])), -np.log2(0.6625))
    # never seen after 3: what is left is p1 = 0.65 * 1 / (0 + 1)
    np.testing.assert_allclose(model.bits(np.array([[3]]), np.array([2])), -np.log2(0.65))


def test_probabilities_of_all_tokens_add_up_to_one() -> None:
    random = np.random.default_rng(0)
    model = NGram(vocabulary=5).count(random.integers(0, 5, (40, 2)), random.integers(0, 5, 40))
    context = np.array([[3, 1]])
    total = sum(2.0 ** -model.bits(context, np.array([token])) for token in range(5))
    np.testing.assert_allclose(total, 1.0)


def test_contexts_are_the_tokens_before_and_the_scene_before() -> None:
    tokens = np.arange(2 * 3 * TOKENS).reshape(2, 3, TOKENS)
    contexts, following = contexts_in_stream(tokens, 2)
    np.testing.assert_array_equal(contexts[0], [TOKENS - 1, TOKENS - 2])
    assert following[0] == TOKENS
    contexts, following = contexts_across_scenes(tokens)
    assert following[5] == TOKENS + 5
    np.testing.assert_array_equal(contexts[5], [5, 4, TOKENS + 4])
