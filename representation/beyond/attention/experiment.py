"""Experiments on attention over a set of vehicles, and on multimodal observations."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.figure import GREY, INK, ORANGE, empty_figure, save_figure, style_axes
from representation.beyond.attention.model import AttentionEncoder
from representation.beyond.combined.model import CombinedEncoder
from representation.data.labels import FAR, free_ahead
from representation.data.recording import RecordingConfig, observe, record
from representation.encoder import Encoder, to_tensors
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import FitConfig
from representation.metrics import accuracy, rmse
from representation.paradigms.feedforward.model import DenseEncoder
from representation.plots import REPORT_DPI, draw_bars
from representation.supervised import Classifier, Regressor

WEIGHTS = "encoder.safetensors"
NEAREST = 12  # vehicles that are listed
NEAR = 150.0  # [px] ahead
EVERY = 4  # of the decisions of a run one in so many is taken: neighbours are alike
SIDES = ("left", "own", "right")

Observations = dict[str, NDArray[Any]]


def vehicle_scenes(job: TrainingJob, split: str, runs: int, shuffled: bool) -> tuple[Observations, NDArray[np.int64]]:
    """Return vehicles (N, 12, 6), nearest first or shuffled, with mask and ego car; which lanes are taken ahead (N,).

    The class index has three bits: whether a car is near ahead in the lane to the left, in the own, to the right.
    """
    recording = record(RecordingConfig(split=split, runs=job.scaled(runs, least=8)), job.cache)
    states = recording.states[:, ::EVERY].reshape(-1)
    obs = observe(recording.rules, states, {"kind": "kinematics", "nearest": NEAREST})
    if shuffled:
        random = np.random.default_rng(len(states))
        order = random.permuted(np.tile(np.arange(NEAREST), (len(states), 1)), axis=1)
        obs["vehicles"] = np.take_along_axis(obs["vehicles"], order[..., None], 1)
        obs["mask"] = np.take_along_axis(obs["mask"], order, 1)
    free = np.pad(free_ahead(recording.rules, states), ((0, 0), (1, 1)), constant_values=FAR)
    lanes = states["lane"][:, :1].astype(np.int64) + np.arange(3)  # left, own, right of the padded lanes
    taken = np.take_along_axis(free, lanes, 1) < NEAR  # (N, 3)
    return obs, taken @ np.array([4, 2, 1])


def space_like(obs: Observations) -> spaces.Dict:
    """Return a space for observations like these."""
    return spaces.Dict(
        {name: spaces.Box(-np.inf, np.inf, part.shape[1:], np.float32) for name, part in sorted(obs.items())}
    )


class AttentionLanes(Experiment):
    """Classification of the occupied lanes ahead from an unordered set of vehicles."""

    name, paradigm = "attention-lanes", "beyond"
    summary = (
        "Classifies, from an unordered set of vehicles, which of the left, ego and right lanes are occupied ahead."
    )
    source = "Vaswani et al. 2017, arXiv:1706.03762, equation 1; Zaheer et al. 2017, arXiv:1703.06114"
    config = FitConfig(epochs=10, batch_size=32, learning_rate=3e-3, learning_rate_end=2e-4, patience=0)

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train on shuffled lists; dense layers also on lists that are nearest first, which helps them alone."""
        scores: dict[str, float] = {}
        ways: dict[str, tuple[type[Encoder], bool]] = {
            "attention": (AttentionEncoder, True),
            "dense, shuffled": (DenseEncoder, True),
            "dense, nearest first": (DenseEncoder, False),
        }
        for name, (kind, shuffled) in ways.items():
            sets = [
                vehicle_scenes(job, split, runs, shuffled)
                for split, runs in (("train", 400), ("validation", 80), ("test", 200))
            ]
            torch.manual_seed(0)
            encoder = kind(space_like(sets[0][0]), 32)
            model = Classifier(encoder, 2 ** len(SIDES))
            train, validation = ({"obs": obs, "label": label} for obs, label in sets[:2])
            job.fit(name.replace(", ", "-").replace(" ", "-"), model, train, validation, self.config)
            obs, label = sets[2]
            scores[name] = accuracy(model.predict(obs).argmax(1), label)  # type: ignore[arg-type]
            if isinstance(encoder, AttentionEncoder):
                encoder.observed = {"kind": "kinematics", "nearest": NEAREST}
                encoder.save(job.folder / WEIGHTS)
                self._draw(job, encoder, obs)
                majority = np.bincount(train["label"]).argmax()  # type: ignore[arg-type]
                scores["majority class"] = accuracy(np.full_like(label, majority), label)
        baselines = {name: score for name, score in scores.items() if name != "attention"}
        note = "all three lanes must be correct"
        metrics = [Metric("accuracy of the occupied lanes ahead", scores["attention"], baselines, note=note)]
        caption = (
            "Attention of the ego car (orange) in three held-out scenes: the darker a vehicle, the higher its weight "
            "in the last layer. Ahead is up."
        )
        return ExperimentResult(metrics, [Plot("attention-lanes.png", caption)], [WEIGHTS])

    def _draw(self, job: TrainingJob, encoder: AttentionEncoder, obs: Observations) -> None:
        places = np.linspace(0, len(obs["mask"]) - 1, 5).astype(np.int64)[1:4]
        weights = encoder.weights_of(to_tensors(obs, places)).numpy()
        figure = empty_figure((7.0, 3.6))
        for axes, place, weight in zip(figure.subplots(1, 3), places, weights, strict=True):
            ahead, right = obs["vehicles"][place, :, 0] * 70.0, obs["vehicles"][place, :, 1] * 7.0
            there = obs["mask"][place] > 0
            shade = weight[there] / weight.max()
            axes.scatter(
                right[there], ahead[there], s=130, marker="s", c=shade, cmap="Greys", vmin=-0.1, edgecolors=GREY
            )
            axes.scatter([0], [0], s=130, marker="s", color=ORANGE)
            axes.set_xlim(-6.5, 6.5)
            axes.set_ylim(-20, 55)
            axes.set_xlabel("lanes to the right", color=INK)
        figure.axes[0].set_ylabel("cells ahead", color=INK)
        save_figure(figure, job.folder / "attention-lanes.png", REPORT_DPI)


class CombinedSpeed(Experiment):
    """Speed prediction from a grid without speeds and the ego car's state: together, and each alone."""

    name, paradigm = "combined-speed", "beyond"
    summary = "Predicts the mean speed over the next five decisions from a grid of the road and the ego car's state."
    source = "Ngiam et al. 2011, Multimodal deep learning, ICML, section 3"
    config = FitConfig(epochs=8, batch_size=64, learning_rate=2e-3, learning_rate_end=2e-4, patience=0)
    horizon = 5  # [decisions]

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train on both modalities and on each alone; measure on held-out runs."""
        sets = [self._examples(job, split, runs) for split, runs in (("train", 500), ("validation", 80), ("test", 200))]
        senses = {"both": ("instruments", "road"), "road alone": ("road",), "ego state alone": ("instruments",)}
        errors: dict[str, float] = {}
        for name, parts in senses.items():
            chosen = [({part: obs[part] for part in parts}, target) for obs, target in sets]
            torch.manual_seed(0)
            encoder = CombinedEncoder(space_like(chosen[0][0]), 64)
            model = Regressor(encoder, float(sets[0][1].mean()), float(sets[0][1].std()))
            train, validation = ({"obs": obs, "target": target} for obs, target in chosen[:2])
            job.fit(name.replace(" ", "-"), model, train, validation, self.config)
            errors[name] = rmse(model.predict(chosen[2][0]), chosen[2][1])  # type: ignore[arg-type]
            if name == "both":
                encoder.save(job.folder / WEIGHTS)
        errors["the mean"] = rmse(np.full_like(sets[2][1], sets[0][1].mean()), sets[2][1])
        figure = empty_figure((7.0, 2.8))
        axes = figure.add_subplot()
        style_axes(axes, "Two senses, and each alone")
        draw_bars(axes, errors, "both", "RMSE of the mean speed of the next five decisions [mph], lower is better")
        save_figure(figure, job.folder / "combined-speed.png", REPORT_DPI)
        baselines = {name: error for name, error in errors.items() if name != "both"}
        result = Metric("RMSE of the next five decisions' mean speed", errors["both"], baselines, "mph", False)
        caption = "Errors with a grid of the road without speeds and the ego car's state, together and each alone."
        return ExperimentResult([result], [Plot("combined-speed.png", caption)], [WEIGHTS])

    def _examples(self, job: TrainingJob, split: str, runs: int) -> tuple[Observations, NDArray[np.float32]]:
        recording = record(RecordingConfig(split=split, runs=job.scaled(runs, least=8)), job.cache)
        count = recording.speeds.shape[1] - self.horizon + 1
        states = recording.states[:, :count:EVERY]
        ahead = np.mean([recording.speeds[:, k : k + count] for k in range(self.horizon)], axis=0)[:, ::EVERY]
        flat = states.reshape(-1)
        road = observe(recording.rules, flat, {"kind": "grid", "patches_ahead": 24, "patches_behind": 8})
        own = observe(recording.rules, flat, {"kind": "kinematics", "nearest": 1})["ego"]
        return {"road": road[:, [0, 2, 3]], "instruments": own}, ahead.ravel().astype(np.float32)
