"""Experiments of GANs of roads, small: what they compare, and what they leave behind."""

from pathlib import Path

import numpy as np
import pytest

from representation.catalog import find_experiment
from representation.data.rasters import decode_rasters
from representation.experiment import ExperimentResult, TrainingJob, run_experiment
from representation.paradigms.gan.metrics import independent_scenes
from representation.paradigms.gan.model import SceneGAN
from representation.paradigms.gan.scenes import (
    MEASURES,
    RoadData,
    compare_sets,
    continued,
    one_per_run,
    road_data,
)
from representation.plots import scene_images


@pytest.fixture(scope="module")
def roads() -> RoadData:
    return road_data(TrainingJob(Path(), 0.1), "train", 100)


def test_roads_are_legal_and_carry_the_class_of_what_is_drawn(roads: RoadData) -> None:
    assert roads.rasters.shape == (610, 5, 20, 7)
    again = decode_rasters(roads.rules, roads.rasters)
    assert again.is_valid.all()
    np.testing.assert_array_equal(np.bincount(roads.label, minlength=5) > 0, np.ones(5, bool))
    assert len(roads.some(7).states) == 7


def test_held_out_roads_look_better_than_cells_drawn_independently(roads: RoadData) -> None:
    real = road_data(TrainingJob(Path(), 0.1), "validation", 100).some(300)
    sets = {
        "others": decode_rasters(roads.rules, roads.some(300, seed=4).rasters),
        "independent cells": decode_rasters(roads.rules, independent_scenes(roads.rasters, 300, seed=2)),
    }
    metrics = compare_sets(roads.rules, sets, roads, real, real)
    assert [metric.name for metric in metrics] == [measure[0] for measure in MEASURES]
    by_name = {metric.name: metric for metric in metrics}
    valid = by_name["fraction of valid scenes, before any repair"]
    assert valid.value > valid.baselines["independent cells"]
    assert by_name["distance to the training data, relative to held-out scenes"].value == 0.0  # they are copies


def test_independent_real_scenes_are_of_different_runs_and_seeds_have_their_own() -> None:
    job = TrainingJob(Path(), seed=3)
    some, more = one_per_run(job, "test", 30), one_per_run(job, "test", 60)
    other = one_per_run(TrainingJob(Path(), seed=4), "test", 30)
    assert some.rasters.shape == (30, 5, 20, 7)
    assert len(np.unique(more.rasters.reshape(60, -1), axis=0)) == 60
    assert not np.array_equal(some.rasters, other.rasters)


def test_a_scene_is_continued_second_by_second(roads: RoadData) -> None:
    states = continued(roads.rules, roads.states[:1], 4)
    assert states["frame"].tolist() == [0, 60, 120, 180]
    assert (np.ptp(states["y"], axis=0) > 10.0).any()
    assert len(np.unique(np.reshape(scene_images(roads.rules, states), (4, -1)), axis=0)) == 4


def small_run(name: str, folder: Path) -> ExperimentResult:
    return run_experiment(find_experiment(name), TrainingJob(folder, 0.05))


@pytest.mark.parametrize(("name", "classes"), [("scene-gan", 0), ("conditional-gan", 5)])
def test_an_experiment_leaves_figures_small_pictures_and_weights(name: str, classes: int, tmp_path: Path) -> None:
    outcome = small_run(name, tmp_path)
    assert all(metric.baselines for metric in outcome.metrics)
    for plot in outcome.plots:
        assert (tmp_path / plot.file).stat().st_size < 160_000
    assert SceneGAN.load(tmp_path / outcome.weights[0]).classes == classes
