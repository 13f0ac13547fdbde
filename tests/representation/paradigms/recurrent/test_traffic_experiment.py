"""The traffic model: it sees nothing of what it predicts, it samples legal tokens, and it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from representation.data.recording import RecordingConfig, record
from representation.data.tokens import PATTERNS, TOKENS, VOCABULARY, scene_tokens
from representation.fit import FitConfig, fit
from representation.paradigms.recurrent.traffic_experiment import NGram, TrafficModel, contexts_in_stream


@pytest.fixture(scope="module")
def tokens() -> NDArray[np.int64]:
    return scene_tokens(record(RecordingConfig(runs=8, decisions=10)))


@pytest.fixture
def model() -> TrafficModel:
    torch.manual_seed(0)
    return TrafficModel(32, 32)


def test_a_prediction_sees_earlier_tokens_and_scenes_but_not_its_own(
    model: TrafficModel, tokens: NDArray[np.int64]
) -> None:
    scenes = torch.from_numpy(tokens[:2, :6])
    logits = model(scenes[:, :-1], scenes[:, 1:])
    assert logits.shape == (2, 5, TOKENS, VOCABULARY)
    changed = scenes.clone()
    changed[:, 3, 8] = (changed[:, 3, 8] + 1) % PATTERNS  # token 8 of scene 3, predicted as scene 2 of `after`
    after = model(changed[:, :-1], changed[:, 1:])
    same = (after - logits).abs().amax((0, 3)) < 1e-6  # (5, 21)
    assert same[:2].all() and same[2, :9].all()
    assert not same[2, 9:].any() and not same[3:].any()


def test_sampled_scenes_are_tokens_in_their_places_and_the_same_for_a_seed(
    model: TrafficModel, tokens: NDArray[np.int64]
) -> None:
    sampled = model.generate(tokens[:4, :3], scenes=5, seed=1)
    assert sampled.shape == (4, 5, TOKENS)
    assert (sampled[..., 0] >= PATTERNS).all() and (sampled[..., 1:] < PATTERNS).all()
    np.testing.assert_array_equal(sampled, model.generate(tokens[:4, :3], scenes=5, seed=1))
    assert (sampled != model.generate(tokens[:4, :3], scenes=5, seed=2)).any()


def test_sampling_follows_the_probabilities_that_are_trained(model: TrafficModel, tokens: NDArray[np.int64]) -> None:
    """The first token of many samples, against the network's probabilities for it."""
    past = np.repeat(tokens[:1, :4], 800, 0)
    logits = model(torch.from_numpy(past[:1]), torch.from_numpy(past[:1]))[0, -1, 0]
    expected = torch.softmax(logits[PATTERNS:], 0).detach().numpy()
    drawn = np.bincount(model.generate(past, 1, seed=0)[:, 0, 0] - PATTERNS, minlength=expected.size) / 800
    assert np.abs(drawn - expected).max() < 0.04


def conveyor(count: int, seed: int) -> NDArray[np.int64]:
    """Traffic that falls back by one stretch from scene to scene, (N, 8, 21): each but the first is known."""
    rows, scenes = np.random.default_rng(seed).choice([0, 0, 1, 4, 16, 64], (count, 28)), 8
    tokens = np.full((count, scenes, TOKENS), PATTERNS)
    for t in range(scenes):
        tokens[:, t, 1:] = rows[:, scenes - t : scenes - t + TOKENS - 1]
    return tokens


def test_a_small_run_beats_counting_and_one_on_shuffled_tokens_does_not() -> None:
    train, held_out = conveyor(64, seed=0), conveyor(24, seed=1)
    counted = NGram(VOCABULARY, 3.0).count(*contexts_in_stream(train, 1)).bits(*contexts_in_stream(held_out, 1))
    config = FitConfig(epochs=12, batch_size=4, learning_rate=1e-2, learning_rate_end=1e-3, patience=0)
    shuffled = train.copy()
    shuffled[..., 1:] = np.random.default_rng(0).permuted(train[..., 1:], axis=-1)
    bits = {}
    for name, tokens, epochs in (("true", train, 12), ("shuffled", shuffled, 6)):
        torch.manual_seed(0)
        model = TrafficModel(32, 32)
        fit(model, {"tokens": tokens}, {"tokens": held_out}, replace(config, epochs=epochs))
        bits[name] = model.bits(held_out)
    assert bits["true"] < counted - 1.0
    assert bits["shuffled"] > counted - 0.5
