"""Metrics of generated scenes: indistinguishability, precision and recall, copies.

All are taken on rasters of valid scenes (`representation/data/rasters.py`), real and generated ones treated alike, so
that they measure traffic rather than artefacts of a network.

    >>> two_sample_accuracy(real, Sample.independent(drawn))     # 0.5 if indistinguishable, 1 if always distinguished
    >>> precision_recall(descriptors(rules, real_states), descriptors(rules, drawn_states))

Letters in shapes: B scenes, N vehicles, L lanes, K features that describe a scene.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score

from deeptraffic.sim.rules import MPH_PER_PX, Rules
from representation.data.labels import free_ahead
from representation.data.rasters import CELL, OWN, raster_rows
from representation.encoders.conv import ConvEncoder
from representation.fit import FitConfig, fit
from representation.supervised import Classifier

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
NEIGHBOURS = 3  # k of the manifolds, as in the paper
CLASSIFIER = FitConfig(epochs=12, batch_size=128, learning_rate=2e-3, learning_rate_end=2e-4, patience=4)


def independent_scenes(rasters: F32, count: int, seed: int = 0) -> F32:
    """Return the baseline: every cell drawn independently from that cell's values in real scenes.

    rasters: (B, 5, R, L); the ego vehicle is that of one scene
    """
    random = np.random.default_rng(seed)
    rows, lanes = rasters.shape[2:]
    which = random.integers(len(rasters), size=(count, rows, lanes))
    drawn = rasters[which, :, np.arange(rows)[:, None], np.arange(lanes)]  # (count, R, L, 5)
    drawn[drawn[..., OWN] > 0.0] = (-1.0, -1.0, 0.0, 0.0, 0.0)
    whose = rasters[random.integers(len(rasters), size=count)]
    scene, row, lane = np.nonzero(whose[:, OWN] > 0.0)
    drawn[scene, row, lane] = whose[scene, :, row, lane]
    return np.ascontiguousarray(drawn.transpose(0, 3, 1, 2))


@dataclass(frozen=True)
class Sample:
    """Images (B, ...), and the run that each is from, (B,); images of one run stay in one part of a split."""

    images: F32
    run: NDArray[np.int64]

    @classmethod
    def independent(cls, images: F32) -> "Sample":
        """Return images that share no run, such as generated ones."""
        return cls(images, np.arange(len(images)))

    def split(self, random: np.random.Generator) -> list[F32]:
        """Return 60%, 10% and 30% of the images, divided by run."""
        order = random.permutation(np.unique(self.run))
        place = np.argsort(order)[np.searchsorted(np.sort(order), self.run)] / len(order)  # of each image's run, 0..1
        return [self.images[(place >= low) & (place < high)] for low, high in ((0.0, 0.6), (0.6, 0.7), (0.7, 1.0))]


def two_sample_accuracy(real: Sample, drawn: Sample, seed: int = 0) -> float:
    """Return the held-out accuracy of a convolutional network that classifies images as real or generated.

    The classifier two-sample test (Lopez-Paz and Oquab 2017, arXiv:1610.06545, section 3): 0.5 is chance level. It
    trains on 60% of the runs of both sets, validates on 10% and tests on 30%, cut to equally many images: scenes of one
    run are alike, so that a split by image would reward a network that recognises runs.
    """
    random = np.random.default_rng(seed)
    parts = []
    for one, other in zip(real.split(random), drawn.split(random), strict=True):
        size = min(len(one), len(other))
        images = np.concatenate([some[random.permutation(len(some))[:size]] for some in (one, other)])
        parts.append({"obs": images, "label": np.repeat([1, 0], size)})
    train, validation, test = parts
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = ConvEncoder(spaces.Box(-1.0, 1.0, real.images.shape[1:], np.float32), channels=(16, 32))
        classifier = Classifier(encoder, 2)
    fit(classifier, train, validation, replace(CLASSIFIER, seed=seed), title="two-sample test")
    return float(accuracy_score(test["label"], classifier.predict(test["obs"]).argmax(1)))


def precision_recall(real: F64, drawn: F64) -> tuple[float, float]:
    """Return (precision, recall) of the generated scenes' manifold.

    Source: Kynkaanniemi et al. 2019, arXiv:1904.06991, equations 1 and 2. A point is within a manifold if it is nearer
    to one of its points than that point's third neighbour. real, drawn: (B, K) descriptors, of equally many scenes.
    """
    return _fraction_within(real, drawn), _fraction_within(drawn, real)


def _fraction_within(points: F64, asked: F64) -> float:
    """Return the fraction of `asked` within the balls around `points` up to their k-th neighbours."""
    radius = np.sort(_distances(points, points), 1)[:, NEIGHBOURS]  # the nearest is the point itself
    return float((_distances(asked, points) <= radius).any(1).mean())


def _distances(first: NDArray[np.floating], second: NDArray[np.floating]) -> F64:
    return torch.cdist(torch.from_numpy(np.asarray(first)), torch.from_numpy(np.asarray(second))).numpy()


def descriptors(rules: Rules, states: NDArray[Any]) -> F64:
    """Return features of the traffic around the ego car, in comparable units, (B, K).

    Per lane: vehicles in view, free road ahead, mean speed (0 without vehicles), and whether it is the ego lane; ego
    speed.
    """
    seen, lane, speed = in_view(rules, states), states["lane"], speeds_mph(states)
    lanes = seen[..., None] & (lane[..., None] == np.arange(rules.lanes))  # (B, N, L)
    cars = lanes.sum(1).astype(np.float64)
    mean_speed = (lanes * speed[..., None]).sum(1) / np.maximum(cars, 1)
    own = lane[:, :1] == np.arange(rules.lanes)
    free = np.minimum(free_ahead(rules, states), 525.0)
    parts = [cars, free / 150.0, mean_speed / 20.0, own * 2.0, speed[:, :1] / 20.0]
    return np.concatenate(parts, 1)


def copied_ratio(drawn: F32, held_out: F32, training: F32) -> float:
    """Return the median distance of generated scenes to the training data, relative to that of held-out real scenes.

    1: as far as real scenes of other runs. 0: copies. Distances are between whole rasters.
    """
    flat = [rasters.reshape(len(rasters), -1) for rasters in (drawn, held_out, training)]
    nearest = [_distances(some, flat[2]).min(1) for some in flat[:2]]
    return float(np.median(nearest[0]) / np.median(nearest[1]))


# --- vehicles ------------------------------------------------------------------------------------------


def in_view(rules: Rules, states: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each car's front is in the raster, (B, N)."""
    along = (states["y"] - states["y"][:, :1] + rules.ego_y) / CELL
    return (along >= 0) & (along < raster_rows(rules))


def speeds_mph(states: NDArray[Any]) -> F64:
    """Return each car's speed, (B, N) [mph]."""
    return MPH_PER_PX * states["following_speed"] * states["speed_factor"]
