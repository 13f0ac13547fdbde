"""Experiment with the autoregressive model of road scenes: exact bits, and everything that the GAN is measured by."""

from pathlib import Path
from typing import Any

import numpy as np

from deeptraffic.sim.rules import RULES_2018
from representation.data.labels import SCENES
from representation.data.rasters import decode_rasters, settle
from representation.data.tokens import place_tokens, scene_tokens
from representation.experiment import Experiment, ExperimentResult, Metric, TrainingJob
from representation.fit import FitConfig
from representation.paradigms.gan.metrics import independent_scenes
from representation.paradigms.gan.scenes import (
    class_metric,
    compare_sets,
    continued,
    draw_examples,
    one_per_run,
    road_data,
)
from representation.paradigms.recurrent.ngram import counted_bits
from representation.paradigms.recurrent.scene_model import SceneModel
from representation.plots import save_roads, scene_images

WEIGHTS = "scene-model.safetensors"
COMPARED = 1500  # scenes in each set that is compared
GOALS = (0.55, 0.95)  # of two-sample accuracy and valid scenes
CLASS_GOAL = 0.9
CANDIDATES = 8  # drawn for each scene of a requested class


class SceneGeneration(Experiment):
    """Autoregressive model of single scenes, class first."""

    name, paradigm = "scene-model", "recurrent network"
    summary = "Generates road scenes car by car, with an exact probability, and of a requested class."
    source = "Graves 2013, arXiv:1308.0850, section 2; two-sample test: Lopez-Paz and Oquab 2017, arXiv:1610.06545"
    config = FitConfig(epochs=3, batch_size=48, learning_rate=8e-3, learning_rate_end=2e-4, patience=0)

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, measure bits per scene beside counting, compare drawn with held-out scenes, and draw."""
        train, validation = (road_data(job, split, runs, 6) for split, runs in (("train", 1200), ("validation", 120)))
        rules, count = train.rules, job.scaled(COMPARED, least=100)
        test, others = one_per_run(job, "test", count), one_per_run(job, "validation", count, first=1000)
        sets = [scene_tokens(rules, data.states) for data in (train, validation, test)]
        model = job.train(SceneModel, sets[0]._asdict(), sets[1]._asdict(), self.config, WEIGHTS)
        drawn = place_tokens(rules, model.sample(count, 1))
        independent = decode_rasters(rules, independent_scenes(train.rasters, count, seed=2))
        asked = np.arange(count) % len(SCENES)
        of_class = place_tokens(rules, model.sample(count, 2, asked, candidates=CANDIDATES))
        note = f"{count:,} scenes, one per run; positions in bins of 2.5 px, speed factors in 16"
        metrics = [
            Metric("bits per scene", float(model.bits(sets[2]).mean()), counted_bits(sets), "bit", False, note=note),
            *compare_sets(rules, {"model": drawn, "independent cells": independent}, train, test, others, goals=GOALS),
        ]
        metrics.insert(3, class_metric(rules, of_class.states, asked, CLASS_GOAL))
        shown = {"model": drawn.states, "independent cells": independent.states}
        lines = {"held-out runs": test.some(8).states, **{name: states[:8] for name, states in shown.items()}}
        caption = "Road scenes from above: of held-out runs, generated, and cells drawn independently."
        plots = [draw_examples(job.folder / "scenes.png", rules, lines, caption)]
        return ExperimentResult(metrics, plots, [WEIGHTS])


# --- for `deeptraffic imagine` ----------------------------------------------------------------------------------------


def save_scenes(model: SceneModel, path: Path, count: int = 8, scene: str | None = None, seed: int = 0) -> Path:
    """Draw scenes of recorded runs, generated ones (of a class), and how the simulator continues the first of these.

    Raises ValueError for a class that does not exist, or a model of traffic.
    """
    if model.follows:
        raise ValueError("this is a model of traffic, which needs a scene before; name the file of scene-model")
    if scene is not None and scene not in SCENES:
        raise ValueError(f"there is no class of scenes {scene!r}; choose one of {', '.join(SCENES)}")
    classes = None if scene is None else SCENES.index(scene)
    real: Any = one_per_run(TrainingJob(path.parent, seed=0), "validation", 40 * count if scene else count)
    states = real.states if classes is None else real.states[real.label == classes]
    drawn = place_tokens(
        RULES_2018, model.sample(count, seed, classes, candidates=CANDIDATES if scene else 1), seed
    ).states
    of_class = f", {scene}" if scene else ""
    lines = {f"recorded{of_class}": states[:count], f"generated{of_class}": drawn}
    images = {name: scene_images(RULES_2018, settle(RULES_2018, some)) for name, some in lines.items()}
    images["first, continued"] = scene_images(RULES_2018, continued(RULES_2018, drawn[:1], count))
    return save_roads(images, path)
