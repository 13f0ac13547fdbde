"""Experiment on capsule networks against convolutions and dense layers of similar size."""

import torch
from gymnasium import spaces

from deeptraffic.figure import empty_figure, save_figure, style_axes
from representation.beyond.capsules.model import CapsuleEncoder
from representation.data.labels import SCENES, scene_class
from representation.data.recording import RecordingConfig, observe, record
from representation.encoder import Encoder
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Arrays, FitConfig
from representation.metrics import macro_f1
from representation.paradigms.convolutional.model import ConvEncoder
from representation.paradigms.feedforward.model import DenseEncoder
from representation.plots import REPORT_DPI, draw_bars
from representation.supervised import Classifier
from representation.weights import parameter_count

WEIGHTS = "encoder.safetensors"
EVERY = 6  # of the decisions of a run one in so many is taken: neighbours are alike
OBSERVATION = {"kind": "grid", "patches_ahead": 20, "patches_behind": 8}


class CapsuleScene(Experiment):
    """Scene classification from a grid: capsules, convolutions and dense layers on the same budget."""

    name, paradigm = "capsule-scene", "beyond"
    summary = (
        "Capsules against a convolutional network: the scene's class (free, following, boxed in, gaps) from a grid."
    )
    source = "Sabour, Frosst and Hinton 2017, arXiv:1710.09829, equations 1-2 and procedure 1"
    config = FitConfig(epochs=8, batch_size=64, learning_rate=2e-3, learning_rate_end=2e-4, patience=0)

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train all three on the same scenes for the same epochs; measure on held-out runs."""
        splits = (("train", 600), ("validation", 100), ("test", 300))
        train, validation, test = (self._scenes(job, split, runs) for split, runs in splits)
        space = spaces.Box(0.0, 1.0, test["obs"].shape[1:], train["obs"].dtype.type)
        kinds = {"capsules": CapsuleEncoder, "convolutions": ConvEncoder, "dense layers": DenseEncoder}
        scores, notes = {}, []
        for name, kind in kinds.items():
            torch.manual_seed(0)
            encoder: Encoder = kind(space, 64)
            model = Classifier(encoder, len(SCENES))
            result = job.fit(name.replace(" ", "-"), model, train, validation, self.config)
            scores[name] = macro_f1(model.predict(test["obs"]).argmax(1), test["label"], len(SCENES))
            notes.append(f"{name}: {parameter_count(encoder):,} parameters, {result.cpu_seconds:.0f} CPU s")
            if name == "capsules":
                encoder.observed = OBSERVATION
                encoder.summary = result.summary(self.name)
                encoder.save(job.folder / WEIGHTS)
        self._draw(job, scores)
        others = {name: score for name, score in scores.items() if name != "capsules"}
        figure = Metric("macro-F1 of the scene's class", scores["capsules"], others, note="; ".join(notes))
        caption = "Scene classification from a grid on held-out runs: capsules and the baselines."
        return ExperimentResult([figure], [Plot("capsule-scene.png", caption)], [WEIGHTS])

    def _scenes(self, job: TrainingJob, split: str, runs: int) -> Arrays:
        recording = record(RecordingConfig(split=split, runs=job.scaled(runs, least=8)), job.cache)
        states = recording.states[:, ::EVERY].reshape(-1)
        obs = observe(recording.rules, states, OBSERVATION)
        return {"obs": obs, "label": scene_class(recording.rules, states)}

    def _draw(self, job: TrainingJob, scores: dict[str, float]) -> None:
        figure = empty_figure((7.0, 2.6))
        axes = figure.add_subplot()
        style_axes(axes, "What kind of scene is this?")
        draw_bars(axes, scores, "capsules", "macro-F1 on held-out runs, higher is better", 1.1)
        save_figure(figure, job.folder / "capsule-scene.png", REPORT_DPI)
