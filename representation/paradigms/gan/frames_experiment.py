"""Experiments with GANs for camera frames: image-to-image translation, and training data for perception."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deeptraffic.figure import BLUE, GREY, empty_figure, save_figure, style_axes
from deeptraffic.render.styles import STYLE_SETS
from deeptraffic.sim.rules import Rules
from representation.data.frames import label_maps, paint_frames
from representation.data.labels import SCENES, scene_class
from representation.data.rasters import decode_rasters, settle
from representation.data.recording import RecordingConfig, observe, record
from representation.data.sensor_noise import SensorNoise
from representation.encoder import Encoder
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob, run_experiment
from representation.fit import FitConfig
from representation.metrics import macro_f1
from representation.paradigms.convolutional.model import ConvEncoder
from representation.paradigms.encoder_decoder.segmentation import SegmentationNet, mean_iou
from representation.paradigms.gan.experiment import SceneGan
from representation.paradigms.gan.metrics import two_sample_accuracy
from representation.paradigms.gan.model import DiscriminatorEncoder, SceneGAN, load_gan
from representation.paradigms.gan.pix2pix import (
    Pix2Pix,
    flat_colours,
    load_pix2pix,
    mixed_styles,
    paint_flat,
    pure_styles,
)
from representation.plots import REPORT_DPI
from representation.supervised import Classifier

SIZE = (64, 32)  # [pixels] of a frame
STYLES = STYLE_SETS["train"]
GRID: dict[str, Any] = {"kind": "grid", "patches_ahead": 30, "patches_behind": 10}
SEEDS = (0, 1, 2)

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class FrameData:
    """Frames in the training styles, with their states and labels.

    states: (N,); maps: (N, H, W) classes of pixels; style: (N,) style indices; frames: (N, 3, H, W)
    label: (N,) class of the scene
    """

    rules: Rules
    states: NDArray[Any]
    maps: U8
    style: I64
    frames: U8
    label: I64


def some_states(job: TrainingJob, split: str, count: int) -> tuple[Rules, NDArray[Any]]:
    """Return (rules, (N,) states) at the job's scale, six from each run."""
    runs = job.scaled(count // 6, least=12)
    recording = record(RecordingConfig(split=split, runs=runs, decisions=48), job.cache)
    return recording.rules, recording.states[:, 8::8].reshape(-1)


def frame_data(job: TrainingJob, split: str, count: int, seed: int) -> FrameData:
    """Return so many frames at the job's scale, each in a random training style."""
    rules, states = some_states(job, split, count)
    style = np.random.default_rng(seed).integers(len(STYLES), size=len(states))
    frames = np.empty((len(states), 3, *SIZE), np.uint8)
    for k, name in enumerate(STYLES):
        frames[style == k] = paint_frames(rules, states[style == k], *SIZE, name, seed=seed + k)
    return FrameData(rules, states, label_maps(rules, states, *SIZE), style, frames, scene_class(rules, states))


class LabelsToFrames(Experiment):
    """Renders label maps in any of eight styles, and in mixtures of them."""

    name, paradigm = "pix2pix", "generative adversarial network"
    summary = "Translates label maps (road, lane mark, shoulder, vehicle, ego) to camera frames in eight styles."
    source = "Isola et al. 2017, arXiv:1611.07004, equation 4 and section 3.2"
    weights = "pix2pix.safetensors"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, segment the generated frames with a network, and compare them with real ones by a two-sample test."""
        train, validation, test = (
            frame_data(job, split, count, seed)
            for split, count, seed in (("train", 1600, 0), ("validation", 160, 100), ("test", 800, 200))
        )
        torch.manual_seed(0)
        net = Pix2Pix(len(STYLES), width=16)
        config = FitConfig(epochs=10, batch_size=16, learning_rate=2e-3, learning_rate_end=2e-4, beta1=0.5, patience=0)
        arrays = [{"labels": d.maps, "style": d.style, "frame": d.frames} for d in (train, validation)]
        result = job.fit("pix2pix", net, arrays[0], arrays[1], replace(config, max_grad_norm=1e3))
        net.save(job.folder / self.weights, result.summary(self.name))
        colours = flat_colours(train.maps, train.frames, train.style, len(STYLES))
        painted = {
            "pix2pix": net.paint(test.maps, pure_styles(test.style, len(STYLES))),
            "one colour per class": paint_flat(test.maps, test.style, colours),
        }
        metrics = self._metrics(job, painted, train, test, validation)
        plot = self._plot(job, net, painted, test)
        return ExperimentResult(metrics, [plot], [self.weights])

    def _metrics(
        self, job: TrainingJob, painted: Mapping[str, U8], train: FrameData, test: FrameData, validation: FrameData
    ) -> list[Metric]:
        torch.manual_seed(1)
        segmenter = SegmentationNet(width=8)
        arrays = [{"frame": d.frames, "labels": d.maps} for d in (train, validation)]
        job.fit("segmentation", segmenter, arrays[0], arrays[1], FitConfig(epochs=5, batch_size=16, learning_rate=4e-3))
        read = {name: mean_iou(segmenter.predict(frames), test.maps) for name, frames in painted.items()}
        real = mean_iou(segmenter.predict(test.frames), test.maps)
        distinguished = {
            name: two_sample_accuracy(_signed(test.frames), _signed(frames)) for name, frames in painted.items()
        }
        note = f"{len(test.maps):,} held-out label maps"
        return [
            Metric(
                "mIoU of a segmentation network on generated frames",
                read.pop("pix2pix"),
                read,
                note=f"{note}; on real frames of the same scenes {real:.3f}",
            ),
            Metric(
                "two-sample accuracy, real or generated frames",
                distinguished.pop("pix2pix"),
                distinguished,
                higher_is_better=False,
                note=f"{note}; 0.5 is chance level",
            ),
        ]

    def _plot(self, job: TrainingJob, net: Pix2Pix, painted: Mapping[str, U8], test: FrameData) -> Plot:
        shown = [int(np.flatnonzero(test.style == k)[0]) for k in range(0, len(STYLES), 3) if (test.style == k).any()]
        palette = np.array([(90, 90, 90), (250, 250, 250), (60, 140, 60), (240, 200, 40), (220, 40, 40)], np.uint8)
        between = net.paint(test.maps[shown], mixed_styles(len(shown), len(STYLES), seed=1))
        lines = {
            "what is where": palette[test.maps[shown]].transpose(0, 3, 1, 2),
            "real frame": test.frames[shown],
            "pix2pix": painted["pix2pix"][shown],
            "one colour\nper class": painted["one colour per class"][shown],
            "pix2pix,\nmixed styles": between,
        }
        figure = empty_figure((0.8 * len(shown) + 1.4, 1.5 * len(lines)))
        for k, (axes, frames) in enumerate(
            zip(figure.subplots(len(lines), len(shown), squeeze=False), lines.values(), strict=True)
        ):
            for column, one in enumerate(axes):
                one.imshow(frames[column].transpose(1, 2, 0), interpolation="nearest", aspect="auto")
                one.set_xticks([])
                one.set_yticks([])
                if not k:
                    one.set_title(STYLES[test.style[shown[column]]], fontsize=8)
            axes[0].set_ylabel(list(lines)[k], fontsize=8)
        save_figure(figure, job.folder / "pix2pix.png", 56, colours=64)  # noise makes large files
        return Plot(
            "pix2pix.png",
            "Held-out label maps rendered in three of the eight training styles, and in mixtures of styles.",
        )


class GanPerception(Experiment):
    """Perception trained with and without generated scenes and frames."""

    name, paradigm = "gan-perception", "generative adversarial network"
    summary = "Classifies scenes from few labels, with and without the data and features of GANs."
    source = "Radford et al. 2015, arXiv:1511.06434, section 5.1; Shrivastava et al. 2017, arXiv:1612.07828"
    weights = "encoder.safetensors"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Compare on frames of unseen styles and under sensor noise, then the discriminator's features on grids."""
        frames = self._frames(job)
        grids = self._grids(job)
        draw_scores(job.folder / "gan-perception.png", {"frames": frames, "grids": grids})
        metrics = [*_as_metrics(frames, "with generated data"), *_as_metrics(grids, "discriminator's features")]
        caption = "Macro-F1 of the scene's class on held-out runs, with and without the GAN: mean and range of 3 seeds."
        return ExperimentResult(metrics, [Plot("gan-perception.png", caption)], [self.weights])

    # --- frames -------------------------------------------------------------------------------------------------------

    def _frames(self, job: TrainingJob) -> dict[str, dict[str, list[float]]]:
        """Return macro-F1 by condition, then by way of training, of each seed."""
        real, validation = frame_data(job, "train", 1200, 0), frame_data(job, "validation", 600, 100)
        held_out = {"obs": validation.frames, "label": validation.label}
        alone: dict[str, NDArray[Any]] = {"obs": real.frames, "label": real.label}
        painted = {"obs": self._restyled(job, real), "label": real.label}
        states, label = drawn_states(job, 2 * len(real.label))
        drawn = {"obs": self._painted(job, real.rules, states), "label": label}
        together = {name: np.concatenate([part[name] for part in (alone, painted, drawn)]) for name in alone}
        repeats = len(together["label"]) // len(alone["label"])
        more = {name: np.concatenate([array] * repeats) for name, array in alone.items()}  # as many steps
        rules, states = some_states(job, "test", 1800)
        tests = frames_by_condition(rules, states)
        out: dict[str, dict[str, list[float]]] = {name: {} for name in tests}
        for way, arrays in (("real data only", more), ("with generated data", together)):
            for seed in SEEDS:
                model = _classifier(ConvEncoder(spaces.Box(0, 255, (3, *SIZE), np.uint8), channels=(16, 32, 32)), seed)
                job.fit(f"{way} {seed}".replace(" ", "-"), model, arrays, held_out, _few(seed))
                for name, obs in tests.items():
                    out[name].setdefault(way, []).append(_score(model, obs, scene_class(rules, states)))
        model.encoder.save(job.folder / self.weights)
        return out

    def _restyled(self, job: TrainingJob, real: FrameData) -> U8:
        """Return the real scenes again, in mixtures of the styles."""
        return _painter(job).paint(real.maps, mixed_styles(len(real.maps), len(STYLES), seed=11), seed=11)

    def _painted(self, job: TrainingJob, rules: Rules, states: NDArray[Any]) -> U8:
        """Return generated scenes: half rendered in a training style, half by pix2pix."""
        half = len(states) // 2
        seen = paint_frames(rules, states[:half], *SIZE, "train", seed=12)
        maps = label_maps(rules, states[half:], *SIZE)
        return np.concatenate([seen, _painter(job).paint(maps, mixed_styles(len(maps), len(STYLES), seed=13))])

    # --- grids --------------------------------------------------------------------------------------------------------

    def _grids(self, job: TrainingJob) -> dict[str, dict[str, list[float]]]:
        """Return macro-F1 by condition, then by encoder, of each seed; frozen features are read by a linear model."""
        rules, states = some_states(job, "train", 9000)
        grids = observe(rules, states, GRID)
        gan = self._grid_gan(job, grids)
        count = job.scaled(600, least=60)
        few, few_label = grids[:count], scene_class(rules, states[:count])
        pairs = [some_states(job, split, size) for split, size in (("validation", 600), ("test", 1800))]
        (held_out, held_out_label), (test, label) = ((observe(rules, s, GRID), scene_class(rules, s)) for _, s in pairs)
        noisy = SensorNoise().corrupt(torch.from_numpy(test), torch.Generator().manual_seed(5)).numpy()
        tests = {"clean grid": test, "sensor noise": noisy}
        out: dict[str, dict[str, list[float]]] = {name: {} for name in tests}
        for seed in SEEDS:
            torch.manual_seed(seed)
            model = _classifier(_new_discriminator(grids), seed)
            frozen = {
                "same encoder, random": _new_discriminator(grids),
                "discriminator's features": gan.discriminator.encoder,
            }
            readers = {way: _linear_reader(encoder, few, few_label, seed) for way, encoder in frozen.items()}
            pair = [{"obs": few, "label": few_label}, {"obs": held_out, "label": held_out_label}]
            job.fit(f"grid-supervised-{seed}", model, pair[0], pair[1], _few(seed, 30))
            for condition, obs in tests.items():
                named = {way: reader.predict(frozen[way].encode(obs)) for way, reader in readers.items()}
                named["same encoder, trained on labels"] = model.predict(obs).argmax(1)
                for way, guess in named.items():
                    out[condition].setdefault(way, []).append(macro_f1(guess, label, len(SCENES)))
        return out

    def _grid_gan(self, job: TrainingJob, grids: F32) -> SceneGAN:
        """Return a GAN of observed grids, whose discriminator is the encoder in question."""
        torch.manual_seed(0)
        gan = SceneGAN(grids.shape[1:], width=16)
        config = FitConfig(epochs=4, batch_size=64, learning_rate=6e-4, beta1=0.0, max_grad_norm=1e3, patience=0)
        job.fit("grid-gan", gan, {"image": grids}, {"image": grids[:256]}, config)
        encoder = gan.discriminator.encoder
        encoder.observed = dict(GRID)
        encoder.summary = {"experiment": self.name, "role": "discriminator of observed grids"}
        encoder.save(job.folder / "discriminator.safetensors")
        return gan


# --- generated data ---------------------------------------------------------------------------------------------------


def made_before(job: TrainingJob, experiment: Experiment, weights: str) -> Path:
    """Return the weights of another experiment, from the folder beside the job's; trained now if they are missing."""
    folder = job.folder.parent / experiment.name
    if not (folder / weights).exists():
        run_experiment(experiment, replace(job, folder=folder))
    return folder / weights


def drawn_states(job: TrainingJob, count: int) -> tuple[NDArray[Any], I64]:
    """Return (states at the ego car's first decision (count,), their classes), drawn by the GAN of scenes."""
    gan = load_gan(made_before(job, SceneGan(), SceneGan.weights))
    rules = RecordingConfig().road.build()
    states = settle(rules, decode_rasters(rules, gan.sample(count, seed=10)).states)
    return states, scene_class(rules, states)


def _painter(job: TrainingJob) -> Pix2Pix:
    return load_pix2pix(made_before(job, LabelsToFrames(), LabelsToFrames.weights))


# --- tests ------------------------------------------------------------------------------------------------------------


def frames_by_condition(rules: Rules, states: NDArray[Any]) -> dict[str, U8]:
    """Return frames of states by condition: known styles, unseen ones, and unseen ones under sensor noise."""
    unseen = paint_frames(rules, states, *SIZE, "unseen", seed=301)
    random = np.random.default_rng(302)
    noisy = unseen + 30.0 * random.standard_normal(unseen.shape, np.float32)
    return {
        "known styles": paint_frames(rules, states, *SIZE, "train", seed=300),
        "unseen styles": unseen,
        "unseen styles, noise": np.clip(noisy, 0, 255).astype(np.uint8),
    }


def draw_scores(path: Path, parts: Mapping[str, Mapping[str, Mapping[str, list[float]]]]) -> None:
    """Draw the mean and the range of each way under each condition."""
    figure = empty_figure((9.0, 3.6))
    for axes, (name, conditions) in zip(figure.subplots(1, len(parts)), parts.items(), strict=True):
        style_axes(axes, name)
        ways = list(next(iter(conditions.values())))
        for k, way in enumerate(ways):
            values = np.array([conditions[condition][way] for condition in conditions])  # (conditions, seeds)
            places = np.arange(len(values)) + 0.8 * (k + 0.5) / len(ways) - 0.4
            spread = np.abs(np.stack([values.min(1), values.max(1)]) - values.mean(1))
            colour = BLUE if k == len(ways) - 1 else (GREY, "#b5b5b5")[k % 2]
            axes.bar(places, values.mean(1), 0.75 / len(ways), yerr=spread, color=colour, label=way, capsize=3)
        axes.set_xticks(range(len(conditions)), [condition.replace(", ", ",\n") for condition in conditions])
        axes.set_ylim(0, 1.25)
        axes.set_yticks(np.linspace(0, 1, 6))
        axes.set_ylabel("macro-F1 of the scene's class")
        axes.legend(frameon=False, fontsize=8, loc="upper right")
    save_figure(figure, path, REPORT_DPI)


# --- inside -----------------------------------------------------------------------------------------------------------


def _signed(frames: U8) -> F32:
    return frames.astype(np.float32) / 127.5 - 1.0


def _classifier(encoder: Encoder, seed: int) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(encoder, len(SCENES))


def _new_discriminator(grids: F32) -> DiscriminatorEncoder:
    return DiscriminatorEncoder(spaces.Box(0.0, 1.0, grids.shape[1:], np.float32), width=16)


def _linear_reader(encoder: Encoder, obs: F32, label: I64, seed: int) -> Any:
    """Return a linear model of an encoder's features, on nine tenths of the examples, which the seed draws."""
    kept = np.random.default_rng(seed).permutation(len(obs))[: len(obs) * 9 // 10]
    reader = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    return reader.fit(encoder.encode(obs[kept]), label[kept])


def _few(seed: int, epochs: int = 10) -> FitConfig:
    return FitConfig(epochs=epochs, batch_size=64, learning_rate=2e-3, learning_rate_end=2e-4, patience=0, seed=seed)


def _score(model: Classifier, obs: NDArray[Any], label: I64) -> float:
    return macro_f1(model.predict(obs).argmax(1), label, len(SCENES))


def _as_metrics(scores: Mapping[str, Mapping[str, list[float]]], way: str) -> list[Metric]:
    """One figure per condition: the way in question beside the others."""
    out = []
    for condition, ways in scores.items():
        means = {name: float(np.mean(values)) for name, values in ways.items()}
        seeds = ", ".join(f"{value:.3f}" for value in ways[way])
        out.append(Metric(f"macro-F1, {condition}: {way}", means.pop(way), means, note=f"3 seeds: {seeds}"))
    return out
