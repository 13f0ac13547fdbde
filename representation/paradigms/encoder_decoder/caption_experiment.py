"""Experiment on captioning: a sentence that describes the scene and the decision."""

from collections import Counter
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from deeptraffic.figure import empty_figure
from representation.data.captions import describe, sentence
from representation.data.recording import observe
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import FitConfig
from representation.paradigms.encoder_decoder.caption import SceneCaptioner, exact_match, slot_f1
from representation.plots import add_road_legend, draw_road, save_plot

WEIGHTS = "captioner.safetensors"
NEAREST_CHUNK = 256

CaptionData = dict[str, NDArray[Any]]


class Captioner(Experiment):
    """Captioning of a scene and a decision."""

    name, paradigm = "captioner", "encoder-decoder"
    summary = 'Describes the scene and the decision: "slow car two cells ahead, left lane free, changing left".'
    source = "Vinyals et al. 2015, arXiv:1411.4555, equations 10 to 12"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, and compare sentences of held-out runs with the reference sentences."""
        train, validation, test = (
            scenes(job, split, runs) for split, runs in (("train", 250), ("validation", 30), ("test", 60))
        )
        config = FitConfig(epochs=11, batch_size=64, learning_rate=2e-3, learning_rate_end=1e-4)
        captioner = job.train(SceneCaptioner, train, validation, config, WEIGHTS)
        written, true = captioner.caption(test["obs"], test["action"]), spelled(test)
        ways = {
            "most frequent sentence of the decision": most_frequent(train, test),
            "sentence of the nearest training scene": nearest(train, test),
        }
        draw_captions(job.folder / "captioner.png", test, written)
        image = Plot("captioner.png", "Scenes of held-out runs with the captioner's sentences.")
        return ExperimentResult(_metrics(written, true, ways), [image], [WEIGHTS])


def scenes(job: TrainingJob, split: str, runs: int) -> CaptionData:
    """Return grids (B, 4, H, W), decisions (B,) and the reference words (B, W) of `runs` runs of thirty decisions."""
    recording = job.record(split, runs, least=10, decisions=30)
    grids = observe(recording.rules, recording.states[:, :-1], "grid")
    grids = grids.reshape(-1, *grids.shape[2:])
    actions = recording.actions.ravel()
    return {"obs": grids, "action": actions, "words": describe(grids, actions)}


def spelled(rows: CaptionData) -> list[str]:
    """Return the reference sentences of scenes."""
    return [sentence(words) for words in rows["words"]]


def most_frequent(train: CaptionData, test: CaptionData) -> list[str]:
    """Return, for each test scene, the sentence that its decision had most often in training."""
    counts: dict[int, Counter[str]] = {}
    for action, text in zip(train["action"].tolist(), spelled(train), strict=True):
        counts.setdefault(action, Counter())[text] += 1
    return [counts[action].most_common(1)[0][0] if action in counts else "" for action in test["action"].tolist()]


def nearest(train: CaptionData, test: CaptionData) -> list[str]:
    """Return, for each test scene, the sentence of the training scene with the same decision and the nearest grid."""
    rows = torch.from_numpy(train["obs"].reshape(len(train["obs"]), -1))
    known, texts, out = torch.from_numpy(train["action"]), spelled(train), []
    for start in range(0, len(test["obs"]), NEAREST_CHUNK):
        piece = slice(start, start + NEAREST_CHUNK)
        asked = torch.from_numpy(test["obs"][piece]).flatten(1)
        distance = torch.cdist(asked, rows)  # (b, N)
        other = torch.from_numpy(test["action"][piece])[:, None] != known[None]
        out += [texts[k] for k in distance.masked_fill(other, torch.inf).argmin(1).tolist()]
    return out


def _metrics(written: list[str], true: list[str], ways: dict[str, list[str]]) -> list[Metric]:
    note = f"{len(true):,} scenes of held-out runs, {len(set(true))} different true sentences"
    exact = {name: exact_match(texts, true) for name, texts in ways.items()}
    own, beside = slot_f1(written, true), {name: slot_f1(texts, true)["all"] for name, texts in ways.items()}
    slots = "; ".join(f"{slot} {value:.3f}" for slot, value in own.items())
    return [
        Metric("exact match of sentences", exact_match(written, true), exact, note=note),
        Metric("slot F1, all", own["all"], beside, note=f"{slots}; the decision is given"),
    ]


def draw_captions(path: Path, rows: CaptionData, written: list[str], count: int = 6) -> None:
    """Draw scenes of different sentences, each grid over its sentence, a line for each clause."""
    firsts = list({text: k for k, text in reversed(list(enumerate(written)))}.values())
    chosen = sorted(firsts)[:: max(1, len(firsts) // count)][:count]
    figure = empty_figure((9.0, 4.2))
    for axes, k in zip(figure.subplots(1, len(chosen), squeeze=False)[0], chosen, strict=True):
        draw_road(axes, rows["obs"][k][:, 30:])
        axes.set_xlabel(written[k].replace(", ", ",\n"), fontsize=6.8)
    add_road_legend(figure)
    save_plot(figure, path)
