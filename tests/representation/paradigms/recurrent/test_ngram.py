"""n-grams: probabilities by counting, smoothed, and the contexts they look at."""

import numpy as np

from representation.data.tokens import CARS, END, SceneTokens
from representation.paradigms.recurrent.ngram import VOCABULARY, NGram, contexts_of, counted_bits, token_streams


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


def test_contexts_are_the_attribute_and_the_tokens_before() -> None:
    stream = np.array([2, 6, 50, 120, 128 + 9])
    contexts, following = contexts_of([stream], 3)
    assert contexts[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert contexts[3].tolist() == [4, 50, 6] and following[3] == 120
    contexts, _ = contexts_of([stream], 3, [np.array([1, 2, 3])])
    assert contexts[2].tolist() == [3, 3, 6] and contexts[4].tolist() == [5, VOCABULARY - 1, 120]


def test_the_better_n_gram_is_chosen_on_validation_and_bits_are_per_scene() -> None:
    ego = np.zeros((60, 4), np.int64)
    cars = np.zeros((60, CARS + 1, 4), np.int64)
    cars[:, :2, 0] = 50
    cars[:, 1, 1] = cars[:, 0, 1] = np.random.default_rng(0).integers(
        0, 4, 60
    )  # the second car in the first one's lane
    cars[:, 2, 0] = END
    tokens = SceneTokens(ego, cars)
    assert [len(stream) for stream in token_streams(tokens)] == [13] * 60
    found = counted_bits([tokens.at(slice(k, None, 3)) for k in range(3)])
    assert found["n-gram"] < found["independent tokens"] - 1.0
    across = counted_bits([tokens] * 3, [tokens] * 3)
    assert across["n-gram across scenes"] < found["n-gram"]
