"""Experiment on video classification: the manoeuvre of a short clip."""

from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from representation.data.clips import MANOEUVRES, ClipConfig, cut_clips, render_clips
from representation.data.recording import RecordingConfig, record
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Arrays, FitConfig
from representation.metrics import accuracy, class_f1, confusion, macro_f1
from representation.paradigms.convolutional.model import ConvEncoder
from representation.plots import save_clips
from representation.supervised import Classifier

WEIGHTS = "encoder.safetensors"


def clip_data(job: TrainingJob, split: str, runs: int, clips: int) -> Arrays:
    """Return obs (K, T, H, W) uint8 and label (K,) of clips of so many runs at the job's scale."""
    recording = record(RecordingConfig(split=split, runs=job.scaled(runs, least=6)), job.cache)
    cut = cut_clips(recording, ClipConfig(clips=job.scaled(clips, least=24)), seed=recording.config.seeds.start)
    return {"obs": render_clips(cut), "label": cut.labels}


def last_frame(data: Arrays) -> Arrays:
    """Return the same clips as single frames, (K, 1, H, W)."""
    return {"obs": data["obs"][:, -1:], "label": data["label"]}


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
        single = self._train(job, "single frame", last_frame(train), last_frame(validation))
        probabilities, label = video.predict(test["obs"]), test["label"]
        named = {
            "clip": probabilities.argmax(1),
            "single frame": single.predict(last_frame(test)["obs"]).argmax(1),
            "majority class": np.full_like(label, np.bincount(train["label"]).argmax()),
        }
        path = job.folder / "conv-manoeuvre.png"
        shown = np.array([_typical(probabilities[:, k], label == k) for k in np.unique(label)])
        save_clips(test["obs"][shown], probabilities[shown], label[shown], MANOEUVRES, path)
        return ExperimentResult(self._metrics(named, label), [self._plot(path)], [WEIGHTS])

    def _train(self, job: TrainingJob, title: str, train: Arrays, validation: Arrays) -> Classifier:
        torch.manual_seed(0)
        encoder = ConvEncoder(spaces.Box(0, 255, train["obs"].shape[1:], np.uint8), 64)
        model = Classifier(encoder, len(MANOEUVRES))
        result = job.fit(title.replace(" ", "-"), model, train, validation, self.config)
        encoder.summary = result.summary(self.name)
        return model

    def _plot(self, path: Path) -> Plot:
        return Plot(path.name, "A held-out clip of each manoeuvre, with the median probability of the true class.")

    def _metrics(self, named: dict[str, NDArray[np.int64]], label: NDArray[np.int64]) -> list[Metric]:
        count = len(MANOEUVRES)
        f1 = {name: macro_f1(guess, label, count) for name, guess in named.items()}
        right = {name: accuracy(guess, label) for name, guess in named.items()}
        notes = []
        for title in ("clip", "single frame"):
            by_class = zip(MANOEUVRES, class_f1(confusion(named[title], label, count)), strict=True)
            notes.append(f"F1 of the {title}: " + ", ".join(f"{name} {value:.3f}" for name, value in by_class))
        note = f"{label.size:,} clips of held-out runs; " + "; ".join(notes)
        return [
            Metric("macro-F1 of the manoeuvre in a clip", f1.pop("clip"), f1, note=note),
            Metric("accuracy of the manoeuvre in a clip", right.pop("clip"), right),
        ]


def _typical(probability: NDArray[np.floating], some: NDArray[np.bool_]) -> int:
    """Return the index of the clip with the median probability among some clips."""
    rows = np.flatnonzero(some)
    return int(rows[probability[rows].argsort(kind="stable")[rows.size // 2]])
