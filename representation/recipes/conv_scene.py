"""Recipe of the convolutional network that names scenes in pictures, and a film through scenes of no data set."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.sim.rules import Rules
from representation.charts import save_confusion, save_morph
from representation.conv import ConvEncoder
from representation.data.clips import VIEW, follow_camera
from representation.data.frames import paint_frames
from representation.data.labels import SCENES, scene_class
from representation.data.recording import RecordingConfig, record
from representation.dense import DenseEncoder
from representation.encoder import Encoder
from representation.fit import Arrays, FitConfig
from representation.measures import accuracy, class_f1, confusion, macro_f1
from representation.morph import TOUR, morph
from representation.recipe import Figure, Job, Outcome, Picture, Recipe
from representation.supervised import Classifier

EVERY = 3  # [decisions] scenes a second and a half apart, less alike than neighbours
WEIGHTS = "encoder.safetensors"
U8 = NDArray[np.uint8]


def scene_frames(rules: Rules, states: NDArray[Any], styles: str = "clean", seed: int = 0) -> U8:
    """Return what the following camera sees in states (S...), (S..., 3, 88, 32)."""
    return paint_frames(rules, states, *VIEW, styles, seed, cameras=follow_camera(rules, states))


def scenes(job: Job, split: str, runs: int, styles: str = "clean") -> Arrays:
    """Return obs (N, 3, 88, 32) uint8 and label (N,) of so many runs at the job's scale."""
    recording = record(RecordingConfig(split=split, runs=job.scaled(runs, least=6)), job.cache)
    states = recording.states[:, :-1:EVERY].reshape(-1)
    frames = scene_frames(recording.rules, states, styles, seed=recording.config.seeds.start)
    return {"obs": frames, "label": scene_class(recording.rules, states)}


class ConvScene(Recipe):
    """Scene classification from pictures, beside a feed-forward network on the same pictures; a film of morphs."""

    name, paradigm = "conv-scene", "convolutional network"
    summary = "Names the scene in a colour picture of 88 x 32 pixels from a camera that follows the car."
    source = "LeCun, Bottou, Bengio and Haffner 1998, doi:10.1109/5.726791"
    config = FitConfig(epochs=10, batch_size=64, learning_rate=1.5e-3, learning_rate_end=1e-5, patience=0)

    def run(self, job: Job) -> Outcome:
        """Train both networks, test them on held-out runs, and let the convolutional one watch the film."""
        train, validation, test = (
            scenes(job, split, runs) for split, runs in (("train", 700), ("validation", 60), ("test", 300))
        )
        space = spaces.Box(0, 255, train["obs"].shape[1:], np.uint8)
        torch.manual_seed(0)
        conv, dense = ConvEncoder(space, 64), DenseEncoder(space, 64, hidden=(128,))
        named: dict[str, NDArray[np.int64]] = {}
        for title, encoder in (("convolutional", conv), ("feed-forward", dense)):
            model = self._train(job, title, encoder, train, validation)
            named[title] = model.predict(test["obs"]).argmax(1)
            if encoder is conv:
                classifier = model
        named["commonest class"] = np.full_like(test["label"], np.bincount(train["label"]).argmax())
        conv.save(job.folder / WEIGHTS)
        pictures = [
            self._confusion(job.folder, named["convolutional"], test["label"]),
            self._film(job.folder, classifier),
        ]
        return Outcome(self._figures(named, test["label"]), pictures, [WEIGHTS])

    def _train(self, job: Job, title: str, encoder: Encoder, train: Arrays, validation: Arrays) -> Classifier:
        model = Classifier(encoder, len(SCENES))
        result = job.fit(title, model, train, validation, self.config)
        encoder.summary = {"recipe": self.name, "epochs": result.best_epoch, "validation_loss": result.validation_loss}
        return model

    def _figures(self, named: dict[str, NDArray[np.int64]], label: NDArray[np.int64]) -> list[Figure]:
        right = {name: accuracy(guess, label) for name, guess in named.items()}
        f1 = {name: macro_f1(guess, label, len(SCENES)) for name, guess in named.items()}
        by_class = class_f1(confusion(named["convolutional"], label, len(SCENES)))
        each = ", ".join(f"{name} {value:.3f}" for name, value in zip(SCENES, by_class, strict=True))
        note = f"{label.size:,} pictures of held-out runs; F1 by class: {each}"
        return [
            Figure(
                "accuracy of the scene's class from pictures", right.pop("convolutional"), right, goal=0.97, note=note
            ),
            Figure("macro-F1 of the scene's class from pictures", f1.pop("convolutional"), f1),
        ]

    def _confusion(self, folder: Path, named: NDArray[np.int64], label: NDArray[np.int64]) -> Picture:
        path = folder / "conv-scene.png"
        save_confusion(confusion(named, label, len(SCENES)), SCENES, path, "Which scene is taken for which (pictures)")
        return Picture(path.name, "Scenes of held-out runs, named from camera pictures.")

    def _film(self, folder: Path, model: Classifier) -> Picture:
        rules = RecordingConfig().road.build()
        states = morph(rules, TOUR, steps=16)
        frames, path = scene_frames(rules, states), folder / "conv-scene-morph.png"
        save_morph(frames, model.predict(frames), scene_class(rules, states), SCENES, path)
        return Picture(path.name, "A film through scenes outside the data set, and what the network says to each.")
