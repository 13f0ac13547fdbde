"""Linear probes: how much of a scene's facts can a linear model read from an encoder's features?

    >>> for metric in probe(load_encoder("autoencoder.safetensors")): print(metric.describe())

Source: Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes", arXiv:1610.01644. A
linear model is trained on the features of recorded driving for each fact and tested on held-out runs, against the same
model on PCA of the same size and on the features of an encoder of the same architecture with random weights.

Letters in shapes: N scenes, D features.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deeptraffic.settings import Settings
from deeptraffic.sim.rules import MPH_PER_PX
from representation.data.labels import LOOK_AHEAD, best_lane, free_ahead
from representation.data.recording import Recording, RecordingConfig, observe_runs, record
from representation.encoder import Encoder, describe_space
from representation.experiment import Metric
from representation.metrics import macro_f1
from representation.registry import make_encoder

DECISIONS = 20  # of each run: consecutive scenes are similar, so more runs help more than longer ones
SPEED = "ego speed"
F32 = NDArray[np.float32]
Facts = dict[str, NDArray[Any]]  # by name, (N,) each: classes, or the speed


def probe(encoder: Encoder, runs: int = 200, cache: str | Path | None = None, first: int = 0) -> list[Metric]:
    """Return one metric per fact: ego lane, blocked ahead, best lane (macro-F1), ego speed (RMSE).

    Args:
        encoder: its `observed` must be set
        runs: of the training set; a third as many for the test set
        cache: folder of cached recordings
        first: runs of the splits to skip

    Observations follow the recorded runs: stacks hold the decisions before. Raises ValueError for an encoder whose
    observation is unknown or of another shape.
    """
    config = RecordingConfig(runs=runs, decisions=DECISIONS, first=first)
    test_config = replace(config, split="test", runs=max(5, runs // 3))
    (train, facts), (test, expected) = (scenes_for(encoder, record(each, cache)) for each in (config, test_config))
    rows = as_vectors(train)
    pca = PCA(min(encoder.features_dim, *rows.shape), svd_solver="randomized", random_state=0).fit(rows)
    other = random_copy(encoder)
    ways = {
        "model": (encoder.encode(train), encoder.encode(test)),
        "PCA of the same size": (pca.transform(rows), pca.transform(as_vectors(test))),
        "random encoder": (other.encode(train), other.encode(test)),
    }
    return [_metric(name, ways, facts[name], expected[name]) for name in facts]


def scenes_for(encoder: Encoder, recording: Recording) -> tuple[Any, Facts]:
    """Return a recording as the encoder's observations, N or a dict of N, with the facts of each scene."""
    obs = _scenes(observe_runs(recording, observed_by(encoder)))
    _check_shape(encoder, obs)
    return obs, facts_of(recording, recording.states[:, :-1].ravel())


def facts_of(recording: Recording, states: NDArray[Any]) -> Facts:
    """Return the facts of states (N,): ego lane, whether a car is within 100 px ahead, best lane, speed [mph]."""
    lane = states["lane"][:, 0].astype(np.int64)
    ahead = np.take_along_axis(free_ahead(recording.rules, states), lane[:, None], -1)[:, 0]
    speed = MPH_PER_PX * states["following_speed"][:, 0] * states["speed_factor"][:, 0]
    return {
        "ego lane": lane,
        "blocked ahead": (ahead < LOOK_AHEAD).astype(np.int64),
        "best lane": best_lane(recording.rules, states),
        SPEED: speed,
    }


def observed_by(encoder: Encoder) -> Settings:
    """Return the observation of an encoder; ValueError if its file does not say."""
    if not encoder.observed:
        raise ValueError(
            f"this {type(encoder).__name__} has no known observation; "
            'set encoder.observed, such as {"kind": "grid"}, before it is saved'
        )
    return encoder.observed


def random_copy(encoder: Encoder, seed: int = 0) -> Encoder:
    """Return an encoder of the same architecture and normalisation with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        twin = make_encoder(encoder.name, encoder.observation_space, encoder.features_dim, **encoder.architecture)
    twin.offset.copy_(encoder.offset)
    twin.scale.copy_(encoder.scale)
    twin.observed = encoder.observed
    return twin.eval()


def as_vectors(obs: Any) -> F32:
    """Return observations as rows (N, n) float32; a dict's parts in the order of their names."""
    if isinstance(obs, Mapping):
        return np.concatenate([as_vectors(obs[name]) for name in sorted(obs)], axis=1)
    return np.asarray(obs, np.float32).reshape(len(obs), -1)


def linear_probe(train: F32, truth: NDArray[Any], test: F32) -> NDArray[Any]:
    """Return predictions for test features by a linear model of `truth` (N,) trained on features (N, D)."""
    is_class = np.issubdtype(truth.dtype, np.integer)
    reader = LogisticRegression(max_iter=300, C=1.0) if is_class else Ridge(1.0)
    return make_pipeline(StandardScaler(), reader).fit(train, truth).predict(test)


def _metric(name: str, ways: Mapping[str, tuple[F32, F32]], truth: NDArray[Any], expected: NDArray[Any]) -> Metric:
    guesses = {way: linear_probe(train, truth, test) for way, (train, test) in ways.items()}
    note = f"linear probe on {len(truth):,} scenes, tested on {len(expected):,} of held-out runs"
    if name == SPEED:
        values = {way: float(root_mean_squared_error(expected, guess)) for way, guess in guesses.items()}
        return Metric(f"probe: {name}, RMSE", values.pop("model"), values, "mph", higher_is_better=False, note=note)
    classes = int(max(truth.max(), expected.max())) + 1
    values = {way: macro_f1(guess, expected, classes) for way, guess in guesses.items()}
    return Metric(f"probe: {name}, macro-F1", values.pop("model"), values, note=note)


def _scenes(seen: Any) -> Any:
    """Return observations (R, T + 1, ...) of runs, without the last of each, as (N, ...)."""
    if isinstance(seen, Mapping):
        return {name: _scenes(part) for name, part in seen.items()}
    return seen[:, :-1].reshape(-1, *seen.shape[2:])


def _check_shape(encoder: Encoder, obs: Any) -> None:
    """Raise ValueError for an encoder whose file names another observation than it reads."""
    described: dict[str, Any] = describe_space(encoder.observation_space)
    shapes = {"": obs.shape[1:]} if "shape" in described else {name: part.shape[1:] for name, part in obs.items()}
    for name, shape in shapes.items():
        expected = tuple((described[name] if name else described)["shape"])
        if sorted(shape) != sorted(expected):
            raise ValueError(
                f"this encoder reads observations of shape {expected}, a scene of {encoder.observed} has "
                f"{tuple(shape)}; set encoder.observed to what it was trained on"
            )
