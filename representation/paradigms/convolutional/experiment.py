"""Experiments with convolutional networks: the scene in a camera frame, the manoeuvre in a clip of frames."""

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.sim.rules import Rules
from representation.data.clips import MANOEUVRES, VIEW, ClipConfig, cut_clips, follow_camera, render_clips
from representation.data.frames import draw_cameras, paint_frames
from representation.data.labels import SCENES, scene_class
from representation.encoder import Encoder
from representation.experiment import Experiment, ExperimentResult, Plot, TrainingJob
from representation.fit import Arrays, FitConfig
from representation.metrics import class_metrics, confusion
from representation.paradigms.convolutional.model import ConvEncoder
from representation.paradigms.feedforward.model import DenseEncoder
from representation.plots import save_clips, save_confusion
from representation.supervised import Classifier

SHAKE_PX = 6.0
EVERY = 3  # [decisions] scenes a second and a half apart, less alike than neighbours
WEIGHTS = "encoder.safetensors"


def scene_frames(rules: Rules, states: NDArray[Any], seed: int | None = None) -> NDArray[np.uint8]:
    """Return the frames of a camera that follows the ego vehicle in states (S...), (S..., 3, 88, 32).

    seed: of the camera's shaking, up to 6 px sideways and 24 px along the road; None for a still camera
    """
    cameras = follow_camera(rules, states)
    if seed is not None:
        cameras += draw_cameras(states.shape, seed, zoom=0.0, shift_px=SHAKE_PX) - (1.0, 0.0, 0.0)
    return paint_frames(rules, states, *VIEW, cameras=cameras)


def new_classifier(kind: type[Encoder], train: Arrays, classes: int) -> Classifier:
    """Return an untrained classifier of frames, normalised on those of training."""
    encoder = kind(spaces.Box(0, 255, train["obs"].shape[1:], np.uint8), 64)
    return Classifier(encoder.fit_normalisation(train["obs"]), classes)


def scenes(job: TrainingJob, split: str, runs: int) -> Arrays:
    """Return obs (N, 3, 88, 32) uint8, frames of a shaking camera, and label (N,) of so many runs."""
    recording = job.record(split, runs, least=6)
    states = recording.states[:, :-1:EVERY].reshape(-1)
    frames = scene_frames(recording.rules, states, seed=recording.config.seeds.start)
    return {"obs": frames, "label": scene_class(recording.rules, states)}


def clip_data(job: TrainingJob, split: str, runs: int, clips: int) -> Arrays:
    """Return obs (K, 4, H, W) uint8 and label (K,) of clips of so many runs."""
    recording = job.record(split, runs, least=6)
    cut = cut_clips(recording, ClipConfig(clips=job.scaled(clips, least=24)), seed=recording.config.seeds.start)
    return {"obs": render_clips(cut), "label": cut.labels}


class ConvScene(Experiment):
    """Scene classification from the frames of a shaking camera, against a feed-forward network."""

    name, paradigm = "conv-scene", "convolutional network"
    summary = "Classifies the scene in a colour frame of 88 x 32 pixels from a shaking camera that follows the ego car."
    source = "LeCun, Bottou, Bengio and Haffner 1998, doi:10.1109/5.726791"
    config = FitConfig(epochs=10, batch_size=64, learning_rate=1.5e-3, learning_rate_end=1e-5, patience=0)

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train both networks with the best of the same learning rates."""
        train, validation, test = (
            scenes(job, split, runs) for split, runs in (("train", 600), ("validation", 60), ("test", 300))
        )
        conv, result = job.tune(
            "conv", lambda: new_classifier(ConvEncoder, train, len(SCENES)), train, validation, self.config
        )
        dense, _ = job.tune(
            "dense", lambda: new_classifier(DenseEncoder, train, len(SCENES)), train, validation, self.config
        )
        conv.encoder.summary = result.summary(self.name)
        conv.encoder.save(job.folder / WEIGHTS)
        named = {
            "convolutional": conv.predict(test["obs"]).argmax(1),
            "feed-forward": dense.predict(test["obs"]).argmax(1),
            "majority class": np.full_like(test["label"], np.bincount(train["label"]).argmax()),
        }
        table = confusion(named["convolutional"], test["label"], len(SCENES))
        save_confusion(table, SCENES, job.folder / "conv-scene.png", "Scenes by their true and predicted class")
        plot = Plot("conv-scene.png", "Confusion matrix of the scenes of held-out runs, in frames of a shaking camera.")
        return ExperimentResult(class_metrics(named, test["label"], SCENES, "scene's class"), [plot], [WEIGHTS])


class ConvManoeuvre(Experiment):
    """Video classification: keep, change left, change right or brake, from four frames in a quarter of a second."""

    name, paradigm = "conv-manoeuvre", "convolutional network"
    summary = "Classifies the manoeuvre in a clip of four grey frames, a twelfth of a second apart."
    source = "LeCun et al. 1998, doi:10.1109/5.726791; frames as channels: Mnih et al. 2015, doi:10.1038/nature14236"
    config = FitConfig(epochs=10, batch_size=64, learning_rate=1.5e-3, learning_rate_end=1e-5, patience=0)

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train on clips, and the same network on their last frames alone."""
        train, validation, test = (
            clip_data(job, split, runs, clips)
            for split, runs, clips in (("train", 500, 6000), ("validation", 80, 800), ("test", 250, 2000))
        )
        video = self._train(job, "clip", train, validation)
        video.encoder.save(job.folder / WEIGHTS)
        single = self._train(job, "single-frame", last_frame(train), last_frame(validation))
        probabilities, label = video.predict(test["obs"]), test["label"]
        named = {
            "clip": probabilities.argmax(1),
            "single frame": single.predict(last_frame(test)["obs"]).argmax(1),
            "majority class": np.full_like(label, np.bincount(train["label"]).argmax()),
        }
        shown = np.array([typical(probabilities[:, k], label == k) for k in np.unique(label)])
        path = job.folder / "conv-manoeuvre.png"
        save_clips(test["obs"][shown], probabilities[shown], label[shown], MANOEUVRES, path)
        plot = Plot(path.name, "A held-out clip of each manoeuvre, with the median probability of the true class.")
        return ExperimentResult(class_metrics(named, label, MANOEUVRES, "manoeuvre in a clip"), [plot], [WEIGHTS])

    def _train(self, job: TrainingJob, title: str, train: Arrays, validation: Arrays) -> Classifier:
        model, result = job.tune(
            title, lambda: new_classifier(ConvEncoder, train, len(MANOEUVRES)), train, validation, self.config
        )
        model.encoder.summary = result.summary(self.name)
        return model


def last_frame(data: Arrays) -> Arrays:
    """Return the same clips as single frames, (K, 1, H, W)."""
    return {"obs": data["obs"][:, -1:], "label": data["label"]}


def typical(probability: NDArray[np.floating], some: NDArray[np.bool_]) -> int:
    """Return the index of the clip with the median probability among some clips."""
    rows = np.flatnonzero(some)
    return int(rows[probability[rows].argsort(kind="stable")[rows.size // 2]])
