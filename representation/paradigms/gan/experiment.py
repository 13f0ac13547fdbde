"""Experiment with a class-conditional generative adversarial network for road scenes."""

import numpy as np

from representation.data.labels import SCENES
from representation.data.rasters import CELL, decode_rasters
from representation.experiment import Experiment, ExperimentResult, TrainingJob
from representation.fit import FitConfig, FitResult
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
    """Class-conditional GAN of road scenes, which are projected to valid states that the simulator continues."""

    name, paradigm = "scene-gan", "generative adversarial network"
    summary = "Generates road scenes of a requested class from noise: free, following, boxed in, gap left, gap right."
    source = (
        "Radford et al. 2015, arXiv:1511.06434; Miyato et al. 2018, arXiv:1802.05957, equations 8, 16 and 17; "
        "Mirza and Osindero 2014, arXiv:1411.1784; Miyato and Koyama 2018, arXiv:1802.05637, equation 3"
    )
    weights = "scene-gan.safetensors"
    config = FitConfig(
        epochs=4, batch_size=64, learning_rate=5e-4, learning_rate_end=1e-4, beta1=0.0, max_grad_norm=1e3, patience=0
    )

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, compare drawn scenes with held-out ones beside independent cells, and draw."""
        train, validation = (road_data(job, split, runs) for split, runs in (("train", 150), ("validation", 40)))
        rules, count = train.rules, job.scaled(COMPARED, least=100)
        test, others = one_per_run(job, "test", count), one_per_run(job, "validation", count, first=1000)
        ego_row = int(rules.ego_y / CELL)
        gan = job.new(lambda: SceneGAN(train.rasters.shape[1:], 16, ego_row, len(SCENES)))
        self._fit(job, gan, train, validation.some(512))
        gan.save(job.folder / self.weights)
        sets = {
            "gan": decode_rasters(rules, gan.sample(count, 1, classes=test.label)),
            "independent cells": decode_rasters(rules, independent_scenes(train.rasters, count, seed=2)),
        }
        asked = np.arange(count) % len(SCENES)
        metrics = compare_sets(rules, sets, train, test, others, GOALS)
        metrics.append(class_metric(rules, decode_rasters(rules, gan.sample(count, 1, classes=asked)).states, asked))
        noise = np.random.default_rng(5).normal(size=(8, NOISE))
        lines = {name: decode_rasters(rules, gan.draw(noise, k)).states for k, name in enumerate(SCENES)}
        lines = {"held-out runs": test.some(8).states, **lines}
        caption = "Scenes of held-out runs, and eight noise vectors that are each generated as every class."
        plots = [
            draw_examples(job.folder / "scenes.png", rules, lines, caption),
            draw_future(job.folder / "continued.png", rules, sets["gan"].states[:1]),
        ]
        return ExperimentResult(metrics, plots, [self.weights])

    def _fit(self, job: TrainingJob, gan: SceneGAN, train: RoadData, validation: RoadData) -> FitResult:
        own, other = ({"image": data.rasters, "scene": data.label} for data in (train, validation))
        return job.fit("gan", gan, own, other, self.config)
