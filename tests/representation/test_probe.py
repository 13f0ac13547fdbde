"""Linear probes: they read what is in the features, fail on shuffled facts, and say what they cannot probe."""

import numpy as np
import pytest
from gymnasium import spaces

from representation.data.recording import Recording
from representation.encoders.dense import DenseEncoder
from representation.probe import facts_of, linear_probe, probe, random_copy, scenes_for


def gaps_encoder(features_dim: int = 8) -> DenseEncoder:
    encoder = DenseEncoder(spaces.Box(-np.inf, np.inf, (42,), np.float32), features_dim)
    encoder.observed = {"kind": "gaps"}
    return encoder


def test_facts_are_read_from_the_state(driving: Recording) -> None:
    states = driving.states[0, :3]
    facts = facts_of(driving, states)
    speed = 20.0 * states["following_speed"][:, 0] * states["speed_factor"][:, 0]
    assert facts["ego lane"].tolist() == states["lane"][:, 0].tolist()
    assert np.allclose(facts["ego speed"], speed)
    assert set(facts["blocked ahead"]) <= {0, 1}


def test_a_linear_fact_is_read_and_a_shuffled_one_is_not() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(600, 6)).astype(np.float32)
    label = (features @ random.normal(size=6) > 0).astype(np.int64)
    assert np.mean(linear_probe(features[:400], label[:400], features[400:]) == label[400:]) > 0.95
    shuffled = random.permutation(label[:400])
    assert np.mean(linear_probe(features[:400], shuffled, features[400:]) == label[400:]) < 0.7


def test_each_fact_is_measured_beside_pca_and_a_random_encoder() -> None:
    encoder = gaps_encoder()
    metrics = probe(encoder, runs=15)
    facts = ["ego lane", "blocked ahead", "best lane", "ego speed"]
    assert [metric.name.split(", ")[0] for metric in metrics] == [f"probe: {fact}" for fact in facts]
    assert all(list(metric.baselines) == ["PCA of the same size", "random encoder"] for metric in metrics)
    assert [metric.higher_is_better for metric in metrics] == [True, True, True, False]
    assert metrics == probe(encoder, runs=15)


def test_a_random_twin_has_the_normalisation_but_not_the_weights(driving: Recording) -> None:
    encoder = gaps_encoder()
    encoder.fit_normalisation(scenes_for(encoder, driving)[0])
    twin = random_copy(encoder)
    assert twin.offset.tolist() == encoder.offset.tolist()
    assert twin.digest() != encoder.digest()
    assert twin.digest() == random_copy(encoder).digest() != random_copy(encoder, seed=1).digest()


def test_a_stack_of_frames_shows_the_decisions_before(driving: Recording) -> None:
    encoder = DenseEncoder(spaces.Box(0, 255, (35, 21, 2), np.uint8), 8)
    encoder.observed = {"kind": "two-frames", "height": 35, "width": 21}
    obs = scenes_for(encoder, driving)[0].reshape(len(driving.states), -1, 35, 21, 2)
    assert np.array_equal(obs[:, 1:, ..., 0], obs[:, :-1, ..., 1])
    assert not np.array_equal(obs[:, 1:, ..., 0], obs[:, 1:, ..., 1])


def test_an_encoder_that_does_not_say_what_it_observes_is_refused(driving: Recording) -> None:
    encoder = gaps_encoder()
    encoder.observed = None
    with pytest.raises(ValueError, match="has no known observation.*set encoder.observed"):
        scenes_for(encoder, driving)
    encoder.observed = {"kind": "grid"}
    with pytest.raises(ValueError, match=r"reads observations of shape \(42,\), a scene of .*grid.* has \(4, 60, 7\)"):
        scenes_for(encoder, driving)
