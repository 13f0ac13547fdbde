"""Experiments with generative adversarial networks for road scenes, unconditional and class-conditional."""

from typing import ClassVar

import numpy as np

from representation.data.labels import SCENES
from representation.data.rasters import CELL, decode_rasters
from representation.experiment import Experiment, ExperimentResult, TrainingJob
from representation.fit import FitConfig
from representation.paradigms.gan.metrics import independent_scenes
from representation.paradigms.gan.model import NOISE, SceneGAN
from representation.paradigms.gan.scenes import (
    RoadData,
    class_metric,
    compare_sets,
    draw_examples,
    draw_future,
    one_per_run,
    road_data,
)

COMPARED = 1500  # scenes in each set that is compared
GOALS = (0.6,)  # of the two-sample accuracy


class SceneGan(Experiment):
    """GAN of road scenes, which are projected to valid states that the simulator continues."""

    name, paradigm = "scene-gan", "generative adversarial network"
    summary = "Generates road scenes from noise: position, lane, desired and actual speed of every car."
    source = "Radford et al. 2015, arXiv:1511.06434; Miyato et al. 2018, arXiv:1802.05957, equations 8, 16 and 17"
    classes: ClassVar[int] = 0
    config = FitConfig(
        epochs=5, batch_size=64, learning_rate=5e-4, learning_rate_end=1e-4, beta1=0.0, max_grad_norm=1e3, patience=0
    )

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, compare drawn scenes with held-out ones beside independent cells, and draw."""
        train, validation = (road_data(job, split, runs) for split, runs in (("train", 200), ("validation", 40)))
        rules, count = train.rules, job.scaled(COMPARED, least=100)
        test, others = one_per_run(job, "test", count), one_per_run(job, "validation", count, first=1000)
        arrays, held_out = self._arrays(train), self._arrays(validation.some(512))
        shape, ego_row, weights = train.rasters.shape[1:], int(rules.ego_y / CELL), f"{self.name}.safetensors"
        gan = job.train(lambda: SceneGAN(shape, 16, ego_row, self.classes), arrays, held_out, self.config, weights)
        drawn = {
            "gan": decode_rasters(rules, gan.sample(count, 1, test.label if self.classes else None)),
            "independent cells": decode_rasters(rules, independent_scenes(train.rasters, count, seed=2)),
        }
        metrics = compare_sets(rules, drawn, train, test, others, GOALS)
        lines = {"held-out runs": test.some(8).states, **{name: scenes.states[:8] for name, scenes in drawn.items()}}
        caption = "Road scenes from above: real, generated, and the baseline."
        if self.classes:
            asked = np.arange(count) % self.classes
            of_class = decode_rasters(rules, gan.sample(count, 1, asked))
            metrics.insert(0, class_metric(rules, of_class.states, asked))
            noise = np.random.default_rng(5).normal(size=(5, NOISE))
            lines = {name: decode_rasters(rules, gan.draw(noise, k)).states for k, name in enumerate(SCENES)}
            caption = "Five noise vectors, each generated as every class."
        plots = [
            draw_examples(job.folder / "scenes.png", rules, lines, caption),
            draw_future(job.folder / "continued.png", rules, drawn["gan"].states[:1]),
        ]
        return ExperimentResult(metrics, plots, [weights])

    def _arrays(self, data: RoadData) -> dict[str, np.ndarray]:
        return {"image": data.rasters} | ({"scene": data.label} if self.classes else {})


class ConditionalGan(SceneGan):
    """Class-conditional GAN of road scenes."""

    name = "conditional-gan"
    summary = "Generates road scenes of a requested class: free, following, boxed in, gap left, gap right."
    source = "Mirza and Osindero 2014, arXiv:1411.1784; Miyato and Koyama 2018, arXiv:1802.05637, equation 3"
    classes = len(SCENES)
