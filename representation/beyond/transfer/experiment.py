"""Experiment on transfer learning: a classifier of scenes from the 2017 rules, adapted to those of 2018 by few labels.

Source: Yosinski et al. 2014, "How transferable are features in deep neural networks?", arXiv:1411.1792.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.figure import BLUE, GREEN, GREY, ORANGE, new_figure
from deeptraffic.sim.rules import RoadConfig
from representation.data.labels import SCENES, scene_class
from representation.data.recording import observe
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import FitConfig
from representation.metrics import macro_f1
from representation.paradigms.convolutional.model import ConvEncoder
from representation.plots import save_plot
from representation.registry import load_encoder
from representation.supervised import Classifier

OBSERVED = {"kind": "grid", "patches_ahead": 30, "patches_behind": 10}
SPACE = spaces.Box(0.0, 1.0, (4, 40, 7), np.float32)
DECISIONS = 12
FEW = (3, 10, 40)  # runs with labels
WEIGHTS = "encoder.safetensors"
COLOURS = {"fine-tuned": BLUE, "frozen": GREEN, "from scratch": GREY, "not adapted": ORANGE}

Scenes = dict[str, NDArray[Any]]


def labelled_scenes(job: TrainingJob, split: str, runs: int, road: RoadConfig | None = None) -> Scenes:
    """Return obs (N, 4, 40, 7) and label (N,) of so many runs of twelve decisions."""
    recording = job.record(split, runs, decisions=DECISIONS, road=road or RoadConfig())
    states = recording.states[:, :-1].ravel()
    return {
        "obs": observe(recording.rules, states, OBSERVED),
        "label": scene_class(recording.rules, states),
    }


def new_classifier() -> Classifier:
    """Return an untrained classifier of scenes."""
    encoder = ConvEncoder(SPACE, 64, channels=(8, 16))
    encoder.observed = dict(OBSERVED)
    return Classifier(encoder, len(SCENES))


def copy_of(model: Classifier, frozen: bool = False) -> Classifier:
    """Return a copy of a classifier; frozen: whether only its head can be trained."""
    encoder = load_encoder(model.encoder.content())
    encoder.is_pretrained = False
    copied = Classifier(encoder, len(SCENES))
    copied.head.load_state_dict(model.head.state_dict())
    if frozen:
        copied.encoder.freeze()
    return copied


class TransferExperiment(Experiment):
    """Transfer across rules, from few labels: fine-tuned, frozen, from scratch."""

    name, paradigm = "transfer", "beyond"
    summary = "Adapts a scene classifier from the 2017 to the 2018 rules with the labels of few runs."
    source = "Yosinski et al. 2014, arXiv:1411.1792"
    config = FitConfig(epochs=30, batch_size=32, learning_rate=2e-3, patience=8)

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train on the 2017 rules, then adapt to the 2018 rules in three ways, each with the best learning rate."""
        old = RoadConfig(rules=2017)
        source = job.new(new_classifier)
        many, watched = (labelled_scenes(job, *part, old) for part in (("train", 600), ("validation", 40)))
        result = job.fit("source", source, many, watched, FitConfig(epochs=12, batch_size=128, learning_rate=3e-3))
        source.encoder.summary = result.summary(self.name)
        source.encoder.save(job.folder / WEIGHTS)
        train, validation, test = (
            labelled_scenes(job, split, runs) for split, runs in (("train", FEW[-1]), ("validation", 40), ("test", 150))
        )
        makers = {
            "fine-tuned": lambda: copy_of(source),
            "frozen": lambda: copy_of(source, frozen=True),
            "from scratch": new_classifier,
        }
        amounts = [job.scaled(runs) for runs in FEW]
        scores: dict[str, list[float]] = {"not adapted": [grade(source, test)] * len(FEW)}
        for runs in amounts:
            few = {name: array[: runs * DECISIONS] for name, array in train.items()}
            for way, make in makers.items():
                model, _ = job.tune(f"{way.replace(' ', '-')}-{runs}", make, few, validation, self.config)
                scores.setdefault(way, []).append(grade(model, test))
        save_scores(scores, amounts, job)
        metrics = []
        for k in (0, len(FEW) - 1):
            beside = {way: values[k] for way, values in scores.items() if way != "fine-tuned"}
            metrics.append(Metric(f"macro-F1, fine-tuned on {amounts[k]} runs", scores["fine-tuned"][k], beside))
        caption = "Macro-F1 of the scene's class on held-out runs over the number of labelled runs of the target."
        return ExperimentResult(metrics, [Plot("transfer.png", caption)], [WEIGHTS])


def grade(model: Classifier, test: Scenes) -> float:
    """Return the macro-F1 of a classifier of scenes."""
    return macro_f1(model.predict(test["obs"]).argmax(1), test["label"], len(SCENES))


def save_scores(scores: Mapping[str, list[float]], amounts: list[int], job: TrainingJob) -> None:
    """Plot macro-F1 over labelled runs, one line per method."""
    figure, axes = new_figure("From the 2017 to the 2018 rules", (6.0, 3.4))
    for way, values in scores.items():
        style = "--" if way == "not adapted" else "-"
        axes.plot(amounts, values, style, marker="o", ms=4, color=COLOURS[way], label=way)
    axes.set_xscale("log")
    axes.set_xticks(amounts, [str(runs) for runs in amounts])
    axes.minorticks_off()
    axes.set_xlabel("labelled runs of the target")
    axes.set_ylabel("macro-F1 of the scene")
    axes.legend(frameon=False, fontsize=8)
    save_plot(figure, job.folder / "transfer.png")
