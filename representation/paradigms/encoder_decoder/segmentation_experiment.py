"""Experiment on semantic segmentation of frames, in styles seen in training and in unseen ones."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier

from deeptraffic.figure import GREY, empty_figure
from representation.data.frames import CLASSES, draw_cameras, label_maps, paint_frames
from representation.data.recording import Recording
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import FitConfig
from representation.metrics import confusion
from representation.paradigms.encoder_decoder.segmentation import (
    SegmentationNet,
    class_iou,
    mean_iou,
    standardised,
)
from representation.plots import add_legend_below, save_confusion, save_plot

HEIGHT, WIDTH = 96, 40  # [pixels]
WEIGHTS = "segmentation.safetensors"
PIXELS_OF_TREE = 150_000  # pixels that the baseline learns from
CLASS_COLOURS = np.array([(70, 74, 82), (240, 240, 240), (168, 189, 158), (60, 140, 255), (213, 94, 0)], np.uint8)
LECTURE = "the lecture's own tutorial reached pixel accuracy 0.8995 and mIoU 0.5276 on real video, another task"

U8 = NDArray[np.uint8]
Frames = dict[str, U8]


def framed(recording: Recording, styles: str, seed: int, count: int) -> Frames:
    """Return frames (B, 3, H, W) and labels (B, H, W) of evenly spaced states under a shaking camera."""
    states = recording.states.reshape(-1)
    states = states[np.linspace(0, len(states) - 1, count).astype(int)]
    cameras = draw_cameras(states.shape, seed)
    return {
        "frame": paint_frames(recording.rules, states, HEIGHT, WIDTH, styles, seed, cameras=cameras),
        "labels": label_maps(recording.rules, states, HEIGHT, WIDTH, cameras=cameras),
    }


def joined(*sets: Frames) -> Frames:
    """Return sets of frames as one."""
    return {name: np.concatenate([frames[name] for frames in sets]) for name in sets[0]}


class PixelTree:
    """Baseline: a decision tree on the colour and position of each pixel alone."""

    def __init__(self, frames: Frames, seed: int = 0) -> None:
        rows, labels = self._rows(frames["frame"]), frames["labels"].ravel()
        chosen = np.random.default_rng(seed).choice(len(rows), min(PIXELS_OF_TREE, len(rows)), replace=False)
        self.tree = DecisionTreeClassifier(min_samples_leaf=20, random_state=seed).fit(rows[chosen], labels[chosen])

    def predict(self, frames: U8) -> U8:
        """Return labels (B, H, W) for frames (B, 3, H, W)."""
        return self.tree.predict(self._rows(frames)).reshape(len(frames), *frames.shape[2:]).astype(np.uint8)

    def _rows(self, frames: U8) -> NDArray[np.float32]:
        colours = standardised(torch.from_numpy(frames)).numpy().transpose(0, 2, 3, 1)  # (B, H, W, 3)
        places = np.broadcast_to(np.moveaxis(np.indices(frames.shape[2:]), 0, -1), (*colours.shape[:3], 2))
        return np.concatenate([colours, places], -1).reshape(-1, 5).astype(np.float32)


class Segmentation(Experiment):
    """A small U-Net, trained on eight styles and tested on three others."""

    name, paradigm = "segmentation", "encoder-decoder"
    summary = "Labels every pixel of a frame: road, lane mark, shoulder, vehicle or ego."
    source = "Ronneberger, Fischer and Brox 2015, arXiv:1505.04597, figure 1"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train on rough and clean frames, and measure both."""
        train, validation, test = (
            job.record(split, runs, least=6, decisions=40)
            for split, runs in (("train", 100), ("validation", 20), ("test", 40))
        )
        count = job.scaled(1600, least=200)
        learned = joined(framed(train, "train", 1, count * 3 // 4), framed(train, "clean", 2, count // 4))
        watched = joined(framed(validation, "train", 3, count // 14), framed(validation, "clean", 4, count // 28))
        config = FitConfig(epochs=14, batch_size=16, learning_rate=8e-3, learning_rate_end=2e-4)
        net = job.train(lambda: SegmentationNet(width=8), learned, watched, config, WEIGHTS)
        tree = PixelTree(learned)
        sets = {name: framed(test, name, 5, job.scaled(300, least=40)) for name in ("clean", "unseen")}
        named = {name: net.predict(frames["frame"]) for name, frames in sets.items()}
        by_tree = {name: tree.predict(frames["frame"]) for name, frames in sets.items()}
        return ExperimentResult(_metrics(sets, named, by_tree), _draw(job.folder, sets, named), [WEIGHTS])


def _metrics(sets: Mapping[str, Frames], named: Mapping[str, U8], by_tree: Mapping[str, U8]) -> list[Metric]:
    metrics, goals = [], {"clean": 0.95, "unseen": 0.85}
    words = {"clean": "clean frames", "unseen": "unseen styles"}
    for name, frames in sets.items():
        true = frames["labels"]
        other = {"colour and position of each pixel (tree)": mean_iou(by_tree[name], true)}
        note = f"{len(true)} frames of held-out runs, {words[name]}"
        metrics.append(Metric(f"mIoU, {words[name]}", mean_iou(named[name], true), other, goal=goals[name], note=note))
    for name, frames in sets.items():
        other = {"colour and position of each pixel (tree)": float(np.mean(by_tree[name] == frames["labels"]))}
        value = float(np.mean(named[name] == frames["labels"]))
        metrics.append(Metric(f"pixel accuracy, {words[name]}", value, other, note=LECTURE))
    for name, frames in sets.items():
        own, other_iou = (class_iou(_table(pixels, frames["labels"])) for pixels in (named[name], by_tree[name]))
        for k, thing in enumerate(CLASSES):
            metrics.append(Metric(f"IoU of {thing}, {words[name]}", float(own[k]), {"tree": float(other_iou[k])}))
    return metrics


def _table(named: U8, true: U8) -> NDArray[np.int64]:
    return confusion(named.astype(np.int64), true.astype(np.int64), len(CLASSES))


# --- plots ---------------------------------------------------------------------------------------------------------


def _draw(folder: Path, sets: Mapping[str, Frames], named: Mapping[str, U8]) -> list[Plot]:
    draw_frames(folder / "segmentation.png", sets, named)
    table = _table(named["unseen"], sets["unseen"]["labels"])
    save_confusion(table, CLASSES, folder / "segmentation-confusion.png", "Pixels of unseen styles")
    return [
        Plot("segmentation.png", "Held-out frames, their true labels, the network's labels and its errors."),
        Plot("segmentation-confusion.png", "Confusion matrix of the pixels of unseen styles."),
    ]


def draw_frames(path: Path, sets: Mapping[str, Frames], named: Mapping[str, U8]) -> None:
    """Draw six frames, two clean and four of unseen styles: the frame, the truth, the answer, the errors."""
    shown = [("clean", 0), ("clean", 1), *(("unseen", k) for k in range(4))]
    figure = empty_figure((7.0, 6.0))
    axes = figure.subplots(1, len(shown))
    for at, (name, k) in zip(axes, shown, strict=True):
        frame, true, answer = sets[name]["frame"][k].transpose(1, 2, 0), sets[name]["labels"][k], named[name][k]
        wrong = np.where((true != answer)[..., None], np.uint8(255), (CLASS_COLOURS[true] * 0.25).astype(np.uint8))
        tiles = [frame, CLASS_COLOURS[true], CLASS_COLOURS[answer], wrong]
        white = np.full((4, WIDTH, 3), 255, np.uint8)
        stack = np.concatenate([part for tile in tiles for part in (tile[20:92], white)])  # the ego car's part
        at.imshow(stack, interpolation="nearest")
        at.set_title(name if name == "clean" else "unseen style", fontsize=8)
        at.set_xticks([])
        at.set_yticks([36 + 76 * k for k in range(4)], ["frame", "truth", "network", "errors\n(white)"])
        at.tick_params(length=0, labelleft=at is axes[0])
        at.spines[:].set_visible(False)
    add_class_legend(figure)
    save_plot(figure, path)


def add_class_legend(figure: Figure) -> None:
    """Add the legend of label maps below a figure."""
    patches = [
        Patch(facecolor=to_hex(colour / 255), edgecolor=GREY, label=name)
        for colour, name in zip(CLASS_COLOURS, CLASSES, strict=True)
    ]
    add_legend_below(figure, patches)
