"""Recipes of GANs of roads, small: what they compare, and what they leave behind."""

from pathlib import Path

import numpy as np
import pytest

from representation.catalog import find_recipe
from representation.measures.gan_metrics import independent_scenes
from representation.paradigms.gan import ConditionalSceneGAN, load_gan
from representation.paradigms.legal import legal_scenes
from representation.recipe import Job, Outcome, run_recipe
from representation.recipes.gan import MEASURES, RoadData, compare_sets, road_data


@pytest.fixture(scope="module")
def roads() -> RoadData:
    return road_data(Job(Path(), 0.1), "train", 100)


def test_roads_are_legal_and_carry_the_class_of_what_is_drawn(roads: RoadData) -> None:
    assert roads.pictures.shape == (610, 5, 20, 7)
    again = legal_scenes(roads.rules, roads.pictures)
    assert again.is_legal.all()
    np.testing.assert_array_equal(np.bincount(roads.label, minlength=5) > 0, np.ones(5, bool))
    assert len(roads.some(7).states) == 7


def test_held_out_roads_look_better_than_cells_drawn_independently(roads: RoadData) -> None:
    real = road_data(Job(Path(), 0.1), "validation", 100).some(300)
    sets = {
        "others": legal_scenes(roads.rules, roads.some(300, seed=4).pictures),
        "cells drawn independently": legal_scenes(roads.rules, independent_scenes(roads.pictures, 300, seed=2)),
    }
    figures = compare_sets(roads.rules, sets, roads, real, "300 scenes")
    assert [figure.name for figure in figures] == [measure[0] for measure in MEASURES]
    by_name = {figure.name: figure for figure in figures}
    for name in (
        "legal scenes as drawn",
        "cars whose speed does not fit the road ahead",
        "difference in cars per scene",
    ):
        assert by_name[name].beats_baselines, by_name[name].sentence()
    assert by_name["distance to the training data, over that of held-out scenes"].value == 0.0  # they are copies


def small_run(name: str, folder: Path) -> Outcome:
    return run_recipe(find_recipe(name), Job(folder, 0.05))


@pytest.mark.parametrize(("name", "classes"), [("scene-gan", 0), ("conditional-gan", 5)])
def test_a_recipe_leaves_figures_small_pictures_and_weights(name: str, classes: int, tmp_path: Path) -> None:
    outcome = small_run(name, tmp_path)
    assert all(np.isfinite(figure.value) for figure in outcome.figures)
    assert all(figure.baselines for figure in outcome.figures)
    for picture in outcome.pictures:
        assert (tmp_path / picture.file).stat().st_size < 60_000
    gan = load_gan(tmp_path / outcome.weights[0])
    assert gan.classes == classes
    assert isinstance(gan, ConditionalSceneGAN) == bool(classes)
