"""Experiments with convolutional networks: the scene in a camera frame, the manoeuvre in a clip of frames."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.rules import Rules
from representation.comparison import Answers, Classification, Way
from representation.data.clips import MANOEUVRES, VIEW, cut_clips, follow_camera, render_clips
from representation.data.frames import draw_cameras, paint_frames
from representation.data.labels import scene_class
from representation.encoders.conv import ConvEncoder
from representation.encoders.dense import DenseEncoder
from representation.experiment import TrainingJob
from representation.fit import Arrays, FitConfig
from representation.plots import save_clips

SHAKE_PX = 6.0
EVERY = 3  # [decisions] scenes a second and a half apart, less alike than neighbours


def scene_frames(rules: Rules, states: NDArray[Any], seed: int | None = None) -> NDArray[np.uint8]:
    """Return the frames of a camera that follows the ego vehicle in states (S...), (S..., 3, 88, 32).

    seed: of the camera's shaking, up to 6 px sideways and 24 px along the road; None for a still camera
    """
    cameras = follow_camera(rules, states)
    if seed is not None:
        cameras += draw_cameras(states.shape, seed, zoom=0.0, shift_px=SHAKE_PX) - (1.0, 0.0, 0.0)
    return paint_frames(rules, states, *VIEW, cameras=cameras)


class ConvScene(Classification):
    """Scene classification from the frames of a shaking camera, against a feed-forward network."""

    name, paradigm = "conv-scene", "convolutional network"
    summary = "Classifies the scene in a colour frame of 88 x 32 pixels from a shaking camera that follows the ego car."
    source = "LeCun, Bottou, Bengio and Haffner 1998, doi:10.1109/5.726791"
    runs = (300, 60, 150)
    config = FitConfig(epochs=8, batch_size=64, learning_rate=1.5e-3, learning_rate_end=1e-5, patience=0)
    caption = "Scenes of held-out runs in frames of a shaking camera, by true and predicted class."

    def examples(self, job: TrainingJob, split: str, runs: int) -> Arrays:
        """Return obs (N, 3, 88, 32) uint8 and label (N,)."""
        recording = job.record(split, runs, least=6)
        states = recording.states[:, :-1:EVERY].reshape(-1)
        frames = scene_frames(recording.rules, states, seed=recording.config.seeds.start)
        return {"obs": frames, "label": scene_class(recording.rules, states)}

    def ways(self, sets: Sequence[Arrays]) -> dict[str, Way]:
        """Return convolutions and dense layers."""
        return {"convolutional": self.way(ConvEncoder, sets), "feed-forward": self.way(DenseEncoder, sets)}


class ConvManoeuvre(Classification):
    """Video classification: keep, change left, change right or brake, from four frames in a quarter of a second."""

    name, paradigm = "conv-manoeuvre", "convolutional network"
    summary = "Classifies the manoeuvre in a clip of four grey frames, a twelfth of a second apart."
    source = "LeCun et al. 1998, doi:10.1109/5.726791; frames as channels: Mnih et al. 2015, doi:10.1038/nature14236"
    runs = (300, 60, 150)
    config = FitConfig(epochs=8, batch_size=64, learning_rate=1.5e-3, learning_rate_end=1e-5, patience=0)
    classes, what = MANOEUVRES, "manoeuvre in a clip"
    caption = "A held-out clip of each manoeuvre, with the median probability of the true class."

    def examples(self, job: TrainingJob, split: str, runs: int) -> Arrays:
        """Return obs (K, 4, 88, 32) uint8 and label (K,), up to twelve clips of each run."""
        recording = job.record(split, runs, least=6)
        cut = cut_clips(recording, 12 * len(recording.states), seed=recording.config.seeds.start)
        return {"obs": render_clips(cut), "label": cut.labels}

    def ways(self, sets: Sequence[Arrays]) -> dict[str, Way]:
        """Return the network on clips, and the same on their last frames alone."""
        single = [last_frame(part) for part in sets]
        return {"clip": self.way(ConvEncoder, sets), "single frame": self.way(ConvEncoder, single)}

    def draw(self, path: Path, answers: Answers, model: Any, test: Arrays) -> None:
        """Draw a clip of each manoeuvre."""
        probabilities, label = model.predict(test["obs"]), test["label"]
        shown = np.array([typical(probabilities[:, k], label == k) for k in np.unique(label)])
        save_clips(test["obs"][shown], probabilities[shown], label[shown], MANOEUVRES, path)


def last_frame(data: Arrays) -> Arrays:
    """Return the same clips as single frames, (K, 1, H, W)."""
    return {"obs": data["obs"][:, -1:], "label": data["label"]}


def typical(probability: NDArray[np.floating], some: NDArray[np.bool_]) -> int:
    """Return the index of the clip with the median probability among some clips."""
    rows = np.flatnonzero(some)
    return int(rows[probability[rows].argsort(kind="stable")[rows.size // 2]])
