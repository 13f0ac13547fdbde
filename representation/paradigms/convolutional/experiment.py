"""Experiment on scene classification from camera frames with a convolutional network.

The trained network also labels a video that morphs between scenes outside the data set, after the lecture's clip of a
digit that turns into another (Lex Fridman, MIT Deep Learning Basics 2019, "Introduction and Overview").

    >>> states = morph(RULES_2018, TOUR, steps=16)         # (81,) state records; only positions are set
    >>> frames = scene_frames(RULES_2018, states)          # (81, 3, 88, 32)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.sim.rules import LANE_MARGIN, LANE_WIDTH, VEHICLE_LENGTH, Rules
from deeptraffic.sim.state import make_games
from representation.data.clips import VIEW, follow_camera
from representation.data.frames import draw_cameras, paint_frames
from representation.data.labels import SCENES, scene_class
from representation.data.recording import RecordingConfig, record
from representation.encoder import Encoder
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Arrays, FitConfig
from representation.metrics import accuracy, class_f1, confusion, macro_f1
from representation.paradigms.convolutional.model import ConvEncoder
from representation.paradigms.feedforward.model import DenseEncoder
from representation.plots import save_confusion, save_morph
from representation.supervised import Classifier

SHAKE_PX = 6.0
CONV = "convolutional"
EVERY = 3  # [decisions] scenes a second and a half apart, less alike than neighbours
WEIGHTS = "encoder.safetensors"
U8 = NDArray[np.uint8]


def scene_frames(rules: Rules, states: NDArray[Any], seed: int | None = None) -> U8:
    """Return the frames of a camera that follows the ego vehicle in states (S...), (S..., 3, 88, 32).

    seed: of the camera's shaking, up to 6 px sideways and 24 px along the road; None for a still camera
    """
    cameras = follow_camera(rules, states)
    if seed is not None:
        cameras += draw_cameras(states.shape, seed, zoom=0.0, shift_px=SHAKE_PX) - (1.0, 0.0, 0.0)
    return paint_frames(rules, states, *VIEW, cameras=cameras)


def scenes(job: TrainingJob, split: str, runs: int, shaking: bool = False) -> Arrays:
    """Return obs (N, 3, 88, 32) uint8 and label (N,) of so many runs at the job's scale."""
    recording = record(RecordingConfig(split=split, runs=job.scaled(runs, least=6)), job.cache)
    states = recording.states[:, :-1:EVERY].reshape(-1)
    frames = scene_frames(recording.rules, states, seed=recording.config.seeds.start if shaking else None)
    return {"obs": frames, "label": scene_class(recording.rules, states)}


@dataclass(frozen=True)
class Predictions:
    """Predictions on the same held-out frames.

    named: by network, (N,) indices of `SCENES`; label: (N,) the true classes
    model: the convolutional network
    """

    named: dict[str, NDArray[np.int64]]
    label: NDArray[np.int64]
    model: Classifier


class ConvScene(Experiment):
    """Scene classification from frames, against a feed-forward network; a video of morphs."""

    name, paradigm = "conv-scene", "convolutional network"
    summary = "Classifies the scene in a colour frame of 88 x 32 pixels from a camera that follows the ego car."
    source = "LeCun, Bottou, Bengio and Haffner 1998, doi:10.1109/5.726791"
    config = FitConfig(epochs=10, batch_size=64, learning_rate=1.5e-3, learning_rate_end=1e-5, patience=0)

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train on a still and on a shaking camera; the still camera's network also labels the video."""
        still, shaking = (self._name(job, shakes) for shakes in (False, True))
        still.model.encoder.save(job.folder / WEIGHTS)
        plots = [self._confusion(job.folder, still), self._morph(job.folder, still.model)]
        metrics = [
            *self._metrics(still, "scene's class", 0.97),
            *self._metrics(shaking, "scene's class, shaking camera", None),
        ]
        return ExperimentResult(metrics, plots, [WEIGHTS])

    def _name(self, job: TrainingJob, shaking: bool) -> Predictions:
        """Train both networks on one camera's frames, and predict those of held-out runs."""
        train, validation, test = (
            scenes(job, split, runs, shaking) for split, runs in (("train", 600), ("validation", 60), ("test", 300))
        )
        space = spaces.Box(0, 255, train["obs"].shape[1:], np.uint8)
        torch.manual_seed(0)
        conv, dense = ConvEncoder(space, 64), DenseEncoder(space, 64, hidden=(128,))
        camera = "shaking" if shaking else "still"
        models = {
            CONV: self._train(job, f"conv-{camera}", conv, train, validation),
            "feed-forward": self._train(job, f"dense-{camera}", dense, train, validation),
        }
        named = {name: model.predict(test["obs"]).argmax(1) for name, model in models.items()}
        named["majority class"] = np.full_like(test["label"], np.bincount(train["label"]).argmax())
        return Predictions(named, test["label"], models[CONV])

    def _train(self, job: TrainingJob, title: str, encoder: Encoder, train: Arrays, validation: Arrays) -> Classifier:
        model = Classifier(encoder, len(SCENES))
        result = job.fit(title, model, train, validation, self.config)
        encoder.summary = result.summary(self.name)
        return model

    def _metrics(self, naming: Predictions, what: str, goal: float | None) -> list[Metric]:
        label = naming.label
        right = {name: accuracy(guess, label) for name, guess in naming.named.items()}
        f1 = {name: macro_f1(guess, label, len(SCENES)) for name, guess in naming.named.items()}
        by_class = class_f1(confusion(naming.named[CONV], label, len(SCENES)))
        each = ", ".join(f"{name} {value:.3f}" for name, value in zip(SCENES, by_class, strict=True))
        note = f"{label.size:,} frames of held-out runs; F1 by class: {each}"
        return [
            Metric(f"accuracy of the {what}", right.pop(CONV), right, goal=goal, note=note),
            Metric(f"macro-F1 of the {what}", f1.pop(CONV), f1),
        ]

    def _confusion(self, folder: Path, naming: Predictions) -> Plot:
        path = folder / "conv-scene.png"
        table = confusion(naming.named[CONV], naming.label, len(SCENES))
        save_confusion(table, SCENES, path, "Confusion matrix of scenes (frames)")
        return Plot(path.name, "Confusion matrix of scenes of held-out runs, classified in frames of a still camera.")

    def _morph(self, folder: Path, model: Classifier) -> Plot:
        rules = RecordingConfig().road.build()
        states = morph(rules, TOUR, steps=16)
        frames, path = scene_frames(rules, states), folder / "conv-scene-morph.png"
        save_morph(frames, model.predict(frames), scene_class(rules, states), SCENES, path)
        return Plot(path.name, "A video through scenes outside the data set, and the network's class probabilities.")


Placing = tuple[float, float]  # lanes to the right of the ego car; free road from the ego front to its tail [px]
OUT_OF_SIGHT = 5000.0  # [px] y of vehicles that are not shown

# Three vehicles: free, then one comes near, then boxed in step by step, a gap opens, and one slides out of the way.
TOUR: tuple[tuple[Placing, Placing, Placing], ...] = (
    ((0, 190.0), (-1, 180.0), (1, 170.0)),  # free
    ((0, 55.0), (-1, 180.0), (1, 170.0)),  # following
    ((0, 55.0), (-1, 15.0), (1, 170.0)),  # gap right
    ((0, 55.0), (-1, 15.0), (1, -10.0)),  # boxed in
    ((0, 55.0), (-1, 160.0), (1, -10.0)),  # gap left
    ((1, 55.0), (-1, 160.0), (1, -10.0)),  # free
)


def morph(rules: Rules, placings: Sequence[Sequence[Placing]], steps: int) -> NDArray[Any]:
    """Return states (F,) on straight lines between arrangements of the same vehicles, `steps` from one to the next.

    The ego vehicle stays in the middle lane, at its usual position. F = steps * (arrangements - 1) + 1.
    """
    if len(placings) < 2 or len({len(placing) for placing in placings}) != 1:
        raise ValueError("a video needs at least two arrangements of the same vehicles")
    table = np.asarray(placings, np.float64)  # (P, vehicles, 2)
    at = np.linspace(0.0, len(table) - 1.0, steps * (len(table) - 1) + 1)
    before = np.minimum(at.astype(np.int64), len(table) - 2)
    fraction = (at - before)[:, None, None]
    ways = (1.0 - fraction) * table[before] + fraction * table[before + 1]  # (F, vehicles, 2)
    states = make_games(rules, len(at))
    own = rules.lanes // 2
    count = ways.shape[1] + 1
    states["y"] = OUT_OF_SIGHT
    states["lane"][:, 0] = own
    states["x"][:, 0], states["y"][:, 0] = LANE_WIDTH * own + LANE_MARGIN, rules.ego_y
    states["x"][:, 1:count] = LANE_WIDTH * (own + ways[..., 0]) + LANE_MARGIN
    states["y"][:, 1:count] = rules.ego_y - VEHICLE_LENGTH - ways[..., 1]
    return states
