"""Recipes of autoencoders and of what comes after them: small runs leave figures, pictures and files behind."""

from pathlib import Path

import pytest

from representation.probe import observed_by
from representation.recipe import RESULT, Job, Outcome, Recipe, run_recipe
from representation.recipes import meta, multitask, transfer
from representation.recipes.autoencoder import AutoencoderRecipe, Denoising, Variational
from representation.registry import load_encoder


def run(recipe: Recipe, folder: Path, scale: float = 0.008) -> Outcome:
    """Run a recipe on very little, and check what every recipe leaves."""
    outcome = run_recipe(recipe, Job(folder, scale))
    assert (folder / RESULT).exists()
    for picture in outcome.pictures:
        assert (folder / picture.file).read_bytes().startswith(b"\x89PNG")
        assert (folder / picture.file).stat().st_size < 60_000
    assert observed_by(load_encoder(folder / outcome.weights[0]))
    return outcome


@pytest.mark.parametrize(
    ("recipe", "rivals"),
    [
        (AutoencoderRecipe(), {"PCA"}),
        (Denoising(), {"as the sensor says", "median filter 3 x 1", "PCA of the noisy grid"}),
        (Variational(), {"each cell by its frequency", "the same, own lane known"}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_an_autoencoder_is_measured_beside_its_rivals(recipe: Recipe, rivals: set[str], tmp_path: Path) -> None:
    outcome = run(recipe, tmp_path)
    assert set(outcome.figures[0].baselines) == rivals


def test_one_encoder_is_measured_beside_three(tmp_path: Path) -> None:
    figures = run(multitask.MultiTaskRecipe(), tmp_path).figures
    assert all(multitask.SEPARATE in figure.baselines for figure in figures)
    assert figures[-2].value < 0.4 * figures[-2].baselines[multitask.SEPARATE]  # numbers learned


@pytest.mark.slow  # other roads than the contest's are compiled anew
def test_adaptation_is_measured_beside_other_starts(tmp_path: Path) -> None:
    figures = run(meta.MetaLearning(), tmp_path).figures
    assert all(set(figure.baselines) == {meta.JOINT, meta.SCRATCH} for figure in figures)


@pytest.mark.slow  # as above
def test_every_move_is_measured_beside_training_from_scratch(tmp_path: Path) -> None:
    figures = run(transfer.TransferRecipe(), tmp_path).figures
    assert len(figures) == 6
    assert all("from scratch" in figure.baselines for figure in figures)
