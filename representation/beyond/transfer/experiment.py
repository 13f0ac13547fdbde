"""Transfer learning: pretrained encoders on a target task with few labels, against training from scratch.

    >>> few = labelled_scenes(config, observed).first(runs=3)
    >>> tuned = adapt(source, few, validation, FitConfig(), frozen=False)

Source: Yosinski et al. 2014, "How transferable are features in deep neural networks?", arXiv:1411.1792. Between kinds
of observation, where weights do not fit, the new encoder learns the old one's features from unlabelled pairs
(`Distillation`; Gupta, Hoffman and Malik 2016, "Cross modal distillation", arXiv:1507.00448).

Letters in shapes: N examples, B of a minibatch, D features.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from deeptraffic.figure import BLUE, GREEN, GREY, ORANGE, empty_figure, save_figure, style_axes
from deeptraffic.sim.rules import RoadConfig
from representation.data.labels import SCENES, scene_class
from representation.data.recording import RecordingConfig, observe, record
from representation.encoder import Encoder
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Batch, FitConfig, Trainable, fit
from representation.metrics import macro_f1
from representation.paradigms.convolutional.model import ConvEncoder
from representation.plots import REPORT_DPI
from representation.registry import load_encoder
from representation.supervised import Classifier


@dataclass(frozen=True)
class LabelledScenes:
    """Scenes and their classes. obs: (N, ...); label: (N,) int64; per_run: number of scenes of one run."""

    obs: NDArray[Any]
    label: NDArray[np.int64]
    per_run: int

    def first(self, runs: int) -> Self:
        """Return the scenes of the first runs."""
        return type(self)(self.obs[: runs * self.per_run], self.label[: runs * self.per_run], self.per_run)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the training data of `Classifier`."""
        return {"obs": self.obs, "label": self.label}


def labelled_scenes(config: RecordingConfig, observed: Mapping[str, Any], cache: Any = None) -> LabelledScenes:
    """Return recorded scenes as observations, with their classes."""
    recording = record(config, cache)
    states = recording.states[:, :-1].ravel()
    obs = observe(recording.rules, states, observed)
    return LabelledScenes(obs, scene_class(recording.rules, states), config.decisions)


def copy_of(encoder: Encoder) -> Encoder:
    """Return a copy of an encoder."""
    copied = load_encoder(encoder.content())
    copied.is_pretrained = False
    return copied


def adapt(
    start: Classifier, train: LabelledScenes, validation: LabelledScenes, config: FitConfig, frozen: bool = False
) -> Classifier:
    """Return a copy of a classifier of scenes, head included, trained on other scenes.

    frozen: whether the encoder keeps its weights, so that only the head is trained
    """
    model = Classifier(copy_of(start.encoder), len(SCENES))
    model.head.load_state_dict(start.head.state_dict())
    if frozen:
        model.encoder.freeze()
    fit(model, train.arrays(), validation.arrays(), config)
    return model


def compare_ways(
    pretrained: Classifier,
    fresh: Classifier,
    train: LabelledScenes,
    validation: LabelledScenes,
    runs: int,
    config: FitConfig,
) -> dict[str, Classifier]:
    """Return classifiers trained on the labels of the first `runs` runs, by method: fine-tuned, frozen, from scratch.

    fresh: untrained, of the same architecture; validation: of the target, for early stopping
    """
    few = train.first(runs)
    return {
        "fine-tuned": adapt(pretrained, few, validation, config),
        "frozen": adapt(pretrained, few, validation, config, frozen=True),
        "from scratch": adapt(fresh, few, validation, config),
    }


class Distillation(Trainable):
    """A student encoder that learns a teacher's features: minimise |student(obs) - teacher features|^2 / deviation^2.

    Args:
        student: of the new observations, with as many features as the teacher
        features: (N, D) of the teacher on training data, for the standardisation of each feature
    """

    deviation: Tensor

    def __init__(self, student: Encoder, features: NDArray[np.float32]) -> None:
        super().__init__()
        if features.shape[1:] != (student.features_dim,):
            raise ValueError(
                f"the teacher has {features.shape[1:]} features, the student {student.features_dim}; "
                "make a student with as many"
            )
        self.student = student
        self.register_buffer("deviation", torch.from_numpy(np.maximum(features.std(0), 1e-2)))

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (mean squared error in the features' deviations, {}) on obs (B, ...) and features (B, D)."""
        error = (self.student(batch["obs"]) - batch["features"]) / self.deviation  # (B, D)
        return error.pow(2).mean(), {}


GRID = {"kind": "grid", "patches_ahead": 30, "patches_behind": 10}
FRAMES = {"kind": "pixels", "height": 70, "width": 28}  # 10 px of road are one pixel, a lane four
GRID_SPACE = spaces.Box(0.0, 1.0, (4, 40, 7), np.float32)
FRAME_SPACE = spaces.Box(0, 255, (3, 70, 28), np.uint8)
DECISIONS = 12
SOURCE_RUNS, PAIRED_RUNS, VALIDATION_RUNS, TEST_RUNS = 600, 300, 40, 150
FEW = (3, 10, 40)  # runs with labels
WEIGHTS = "encoder.safetensors"
COLOURS = {"fine-tuned": BLUE, "frozen": GREEN, "from scratch": GREY, "not adapted": ORANGE}


@dataclass(frozen=True)
class Target:
    """Target of a transfer: training, validation and test scenes with their classes."""

    train: LabelledScenes
    validation: LabelledScenes
    test: LabelledScenes


Scores = dict[str, list[float]]  # way -> macro-F1 on test runs, one per amount of labels


class TransferExperiment(Experiment):
    """Transfer across rules, roads and modalities."""

    name, paradigm = "transfer", "beyond"
    summary = "Scene classification from few labels, with encoders from the 2017 rules, from 5 lanes and from grids."
    source = "Yosinski et al. 2014, arXiv:1411.1792; Gupta, Hoffman and Malik 2016, arXiv:1507.00448"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Learn each source, move to each target, and compare with training there from scratch."""
        contest = RoadConfig()
        grids, frames = self._target(job, GRID), self._target(job, FRAMES)
        moves: dict[str, Scores] = {}
        for title, road in {"2017 to 2018 rules": RoadConfig(rules=2017), "5 to 7 lanes": five_lanes()}.items():
            source = self._source(job, title, road)
            moves[title] = self._scores(job, source, grids, new_grid_encoder)
        teacher = self._source(job, "7 lanes", contest)
        student = self._student(job, teacher.encoder)
        student.save(job.folder / WEIGHTS)
        reader = Classifier(student, len(SCENES))
        reader.head.load_state_dict(teacher.head.state_dict())
        moves["grids to frames"] = self._scores(job, reader, frames, new_frame_encoder)
        save_moves(moves, self._amounts(job), job)
        caption = "Macro-F1 of the scene's class on held-out runs over the number of labelled runs of the target."
        return ExperimentResult(self._metrics(job, moves), [Plot("transfer.png", caption)], [WEIGHTS])

    def _amounts(self, job: TrainingJob) -> list[int]:
        return [job.scaled(runs, 1) for runs in FEW]

    def _target(self, job: TrainingJob, observed: Mapping[str, Any]) -> Target:
        sizes = {"train": FEW[-1], "validation": VALIDATION_RUNS, "test": TEST_RUNS}
        parts = (
            labelled_scenes(RecordingConfig(split=split, runs=job.scaled(runs, 4), decisions=DECISIONS), observed)
            for split, runs in sizes.items()
        )
        return Target(*parts)

    def _source(self, job: TrainingJob, title: str, road: RoadConfig) -> Classifier:
        """Return a classifier of scenes trained on a road with many labels."""
        parts = [
            labelled_scenes(
                RecordingConfig(split=split, runs=job.scaled(runs, 8), decisions=DECISIONS, road=road), GRID
            )
            for split, runs in (("train", SOURCE_RUNS), ("validation", VALIDATION_RUNS))
        ]
        model = Classifier(new_grid_encoder(), len(SCENES))
        training = FitConfig(epochs=12, batch_size=128, learning_rate=3e-3)
        job.fit(title.replace(" ", "-"), model, parts[0].arrays(), parts[1].arrays(), training)
        return model

    def _student(self, job: TrainingJob, teacher: Encoder) -> Encoder:
        """Return an encoder of frames distilled from the teacher's features on pairs of a frame and a grid."""
        sets, student, features = [], new_frame_encoder(), None
        for split, runs in (("train", PAIRED_RUNS), ("validation", VALIDATION_RUNS)):
            config = RecordingConfig(split=split, runs=job.scaled(runs, 8), decisions=DECISIONS, first=1000)
            recording = record(config, job.cache)
            states = recording.states[:, :-1].ravel()
            known = teacher.encode(observe(recording.rules, states, GRID))
            features = known if features is None else features
            sets.append({"obs": observe(recording.rules, states, FRAMES), "features": known})
        assert features is not None
        model = Distillation(student, features)
        config_of_fit = FitConfig(epochs=12, batch_size=128, learning_rate=3e-3)
        result = job.fit("grids-to-frames", model, sets[0], sets[1], config_of_fit)
        student.summary = result.summary(self.name)
        return student

    def _scores(self, job: TrainingJob, pretrained: Classifier, target: Target, fresh: Callable[[], Encoder]) -> Scores:
        scores: Scores = {"not adapted": [grade(pretrained, target.test)] * len(FEW)}
        config = FitConfig(epochs=job.scaled(30), batch_size=32, learning_rate=2e-3, patience=8)
        for runs in self._amounts(job):
            start = Classifier(fresh(), len(SCENES))
            ways = compare_ways(pretrained, start, target.train, target.validation, runs, config)
            for way, model in ways.items():
                scores.setdefault(way, []).append(grade(model, target.test))
        return scores

    def _metrics(self, job: TrainingJob, moves: Mapping[str, Scores]) -> list[Metric]:
        metrics = []
        for title, scores in moves.items():
            for place in (0, len(FEW) - 1):
                runs = self._amounts(job)[place]
                beside = {way: values[place] for way, values in scores.items() if way != "fine-tuned"}
                note = f"{runs * DECISIONS:,} scenes of {runs} runs with labels, same validation runs for all methods"
                name = f"{title}: macro-F1, fine-tuned on {runs} runs"
                metrics.append(Metric(name, scores["fine-tuned"][place], beside, note=note))
        return metrics


def grade(model: Classifier, test: LabelledScenes) -> float:
    """Return the macro-F1 of a classifier of scenes."""
    return macro_f1(model.predict(test.obs).argmax(1), test.label, len(SCENES))


def five_lanes() -> RoadConfig:
    """Return the contest's road with two lanes less, and vehicles in proportion."""
    return RoadConfig(lanes=5, vehicles=14)


def new_grid_encoder() -> Encoder:
    """Return an encoder of grids with fixed initial weights."""
    torch.manual_seed(0)
    encoder = ConvEncoder(GRID_SPACE, 64, channels=(8, 16))
    encoder.observed = dict(GRID)
    return encoder


def new_frame_encoder() -> Encoder:
    """Return an encoder of frames with fixed initial weights."""
    torch.manual_seed(0)
    encoder = ConvEncoder(FRAME_SPACE, 64, channels=(8, 16, 16))
    encoder.observed = dict(FRAMES)
    return encoder


def save_moves(moves: Mapping[str, Scores], amounts: list[int], job: TrainingJob) -> None:
    """Plot one panel per transfer: macro-F1 over labelled runs, one line per method."""
    figure = empty_figure((4.0 * len(moves), 3.4))
    for axes, (title, scores) in zip(figure.subplots(1, len(moves), sharey=True), moves.items(), strict=True):
        style_axes(axes, title)
        for way, values in scores.items():
            style = "--" if way == "not adapted" else "-"
            axes.plot(amounts, values, style, marker="o", ms=4, color=COLOURS[way], label=way)
        axes.set_xscale("log")
        axes.set_xticks(amounts, [str(runs) for runs in amounts])
        axes.minorticks_off()
        axes.set_xlabel("labelled runs of the target")
        axes.legend(frameon=False, fontsize=8)
    figure.axes[0].set_ylabel("macro-F1 of the scene")
    save_figure(figure, job.folder / "transfer.png", REPORT_DPI)
