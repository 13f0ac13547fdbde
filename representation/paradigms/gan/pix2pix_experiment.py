"""Experiment on image-to-image translation by a conditional GAN: label maps to camera frames."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deeptraffic.figure import empty_figure
from deeptraffic.render.styles import STYLE_SETS
from representation.data.frames import label_maps, paint_frames
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import FitConfig
from representation.paradigms.encoder_decoder.segmentation import SegmentationNet, mean_iou
from representation.paradigms.encoder_decoder.segmentation_experiment import CLASS_COLOURS, add_class_legend
from representation.paradigms.gan.metrics import Sample, two_sample_accuracy
from representation.paradigms.gan.pix2pix import Pix2Pix, flat_colours, mixed_styles, paint_flat, pure_styles
from representation.plots import save_plot

SIZE = (64, 32)  # [pixels] of a frame
STYLES = STYLE_SETS["train"]
PER_RUN = 6  # frames

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class FrameData:
    """Frames in the training styles.

    maps: (N, H, W) classes of pixels; style: (N,) style indices; frames: (N, 3, H, W); run: (N,) that each is from
    """

    maps: U8
    style: I64
    frames: U8
    run: I64


def frame_data(job: TrainingJob, split: str, count: int, seed: int) -> FrameData:
    """Return so many frames at the job's scale, six from each run, each in a random training style."""
    recording = job.record(split, count // PER_RUN, least=12, decisions=48)
    rules, states = recording.rules, recording.states[:, 8::8].reshape(-1)
    style = np.random.default_rng(seed).integers(len(STYLES), size=len(states))
    frames = np.empty((len(states), 3, *SIZE), np.uint8)
    for k, name in enumerate(STYLES):
        frames[style == k] = paint_frames(rules, states[style == k], *SIZE, name, seed=seed + k)
    return FrameData(label_maps(rules, states, *SIZE), style, frames, np.arange(len(states)) // PER_RUN)


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
            for split, count, seed in (("train", 800, 0), ("validation", 120, 100), ("test", 600, 200))
        )
        net = job.new(lambda: Pix2Pix(len(STYLES), width=16))
        config = FitConfig(epochs=8, batch_size=16, learning_rate=2e-3, learning_rate_end=2e-4, beta1=0.5, patience=0)
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
        segmenter = job.new(lambda: SegmentationNet(width=8))
        arrays = [{"frame": d.frames, "labels": d.maps} for d in (train, validation)]
        job.fit("segmentation", segmenter, arrays[0], arrays[1], FitConfig(epochs=5, batch_size=16, learning_rate=4e-3))
        read = {name: mean_iou(segmenter.predict(frames), test.maps) for name, frames in painted.items()}
        real = mean_iou(segmenter.predict(test.frames), test.maps)
        truth = Sample(signed(test.frames), test.run)
        distinguished = {
            name: two_sample_accuracy(truth, Sample(signed(frames), test.run)) for name, frames in painted.items()
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
        between = net.paint(test.maps[shown], mixed_styles(len(shown), len(STYLES), seed=1))
        lines = {
            "label map": CLASS_COLOURS[test.maps[shown]].transpose(0, 3, 1, 2),
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
        add_class_legend(figure)
        save_plot(figure, job.folder / "pix2pix.png", colours=64)  # noise makes large files
        return Plot(
            "pix2pix.png",
            "Held-out label maps rendered in three of the eight training styles, and in mixtures of styles.",
        )


def signed(frames: U8) -> NDArray[np.float32]:
    """Return frames with levels in -1..1."""
    return frames.astype(np.float32) / 127.5 - 1.0
