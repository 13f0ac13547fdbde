"""Recipe of the convolutional network that names scenes in pictures, and a film through scenes of no data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.sim.rules import Rules
from representation.data.clips import VIEW, follow_camera
from representation.data.frames import draw_cameras, paint_frames
from representation.data.labels import SCENES, scene_class
from representation.data.recording import RecordingConfig, record
from representation.encoder import Encoder
from representation.fit import Arrays, FitConfig
from representation.measures.charts import save_confusion, save_morph
from representation.measures.morph import TOUR, morph
from representation.measures.predictions import accuracy, class_f1, confusion, macro_f1
from representation.paradigms.conv import ConvEncoder
from representation.paradigms.dense import DenseEncoder
from representation.recipe import Figure, Job, Outcome, Picture, Recipe
from representation.supervised import Classifier

SHAKE_PX = 6.0
CONV = "convolutional"
EVERY = 3  # [decisions] scenes a second and a half apart, less alike than neighbours
WEIGHTS = "encoder.safetensors"
U8 = NDArray[np.uint8]


def scene_frames(rules: Rules, states: NDArray[Any], seed: int | None = None) -> U8:
    """Return what a camera that follows the ego car sees in states (S...), (S..., 3, 88, 32).

    seed: of the camera's shaking, up to 6 px sideways and 24 px along the road; None holds it still
    """
    cameras = follow_camera(rules, states)
    if seed is not None:
        cameras += draw_cameras(states.shape, seed, zoom=0.0, shift_px=SHAKE_PX) - (1.0, 0.0, 0.0)
    return paint_frames(rules, states, *VIEW, cameras=cameras)


def scenes(job: Job, split: str, runs: int, shaking: bool = False) -> Arrays:
    """Return obs (N, 3, 88, 32) uint8 and label (N,) of so many runs at the job's scale."""
    recording = record(RecordingConfig(split=split, runs=job.scaled(runs, least=6)), job.cache)
    states = recording.states[:, :-1:EVERY].reshape(-1)
    frames = scene_frames(recording.rules, states, seed=recording.config.seeds.start if shaking else None)
    return {"obs": frames, "label": scene_class(recording.rules, states)}


@dataclass(frozen=True)
class Naming:
    """What the networks made of the same held-out pictures.

    named: by network, (N,) indices of `SCENES`; label: (N,) the truth
    model: the convolutional network
    """

    named: dict[str, NDArray[np.int64]]
    label: NDArray[np.int64]
    model: Classifier


class ConvScene(Recipe):
    """Scene classification from pictures, beside a feed-forward network on the same pictures; a film of morphs."""

    name, paradigm = "conv-scene", "convolutional network"
    summary = "Names the scene in a colour picture of 88 x 32 pixels from a camera that follows the car."
    source = "LeCun, Bottou, Bengio and Haffner 1998, doi:10.1109/5.726791"
    config = FitConfig(epochs=10, batch_size=64, learning_rate=1.5e-3, learning_rate_end=1e-5, patience=0)

    def run(self, job: Job) -> Outcome:
        """Train on a still and on a shaking camera; the still camera's network watches the film."""
        still, shaking = (self._name(job, shakes) for shakes in (False, True))
        still.model.encoder.save(job.folder / WEIGHTS)
        pictures = [self._confusion(job.folder, still), self._film(job.folder, still.model)]
        figures = [
            *self._figures(still, "scene's class", 0.97),
            *self._figures(shaking, "scene's class, shaking camera", None),
        ]
        return Outcome(figures, pictures, [WEIGHTS])

    def _name(self, job: Job, shaking: bool) -> Naming:
        """Train both networks on one camera's pictures, and let them name those of held-out runs."""
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
        named["commonest class"] = np.full_like(test["label"], np.bincount(train["label"]).argmax())
        return Naming(named, test["label"], models[CONV])

    def _train(self, job: Job, title: str, encoder: Encoder, train: Arrays, validation: Arrays) -> Classifier:
        model = Classifier(encoder, len(SCENES))
        result = job.fit(title, model, train, validation, self.config)
        encoder.summary = {"recipe": self.name, "epochs": result.best_epoch, "validation_loss": result.validation_loss}
        return model

    def _figures(self, naming: Naming, what: str, goal: float | None) -> list[Figure]:
        label = naming.label
        right = {name: accuracy(guess, label) for name, guess in naming.named.items()}
        f1 = {name: macro_f1(guess, label, len(SCENES)) for name, guess in naming.named.items()}
        by_class = class_f1(confusion(naming.named[CONV], label, len(SCENES)))
        each = ", ".join(f"{name} {value:.3f}" for name, value in zip(SCENES, by_class, strict=True))
        note = f"{label.size:,} pictures of held-out runs; F1 by class: {each}"
        return [
            Figure(f"accuracy of the {what}", right.pop(CONV), right, goal=goal, note=note),
            Figure(f"macro-F1 of the {what}", f1.pop(CONV), f1),
        ]

    def _confusion(self, folder: Path, naming: Naming) -> Picture:
        path = folder / "conv-scene.png"
        table = confusion(naming.named[CONV], naming.label, len(SCENES))
        save_confusion(table, SCENES, path, "Which scene is taken for which (pictures)")
        return Picture(path.name, "Scenes of held-out runs, named from a still camera's pictures.")

    def _film(self, folder: Path, model: Classifier) -> Picture:
        rules = RecordingConfig().road.build()
        states = morph(rules, TOUR, steps=16)
        frames, path = scene_frames(rules, states), folder / "conv-scene-morph.png"
        save_morph(frames, model.predict(frames), scene_class(rules, states), SCENES, path)
        return Picture(path.name, "A film through scenes outside the data set, and what the network says to each.")
