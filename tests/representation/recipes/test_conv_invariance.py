"""The recipe of invariance, as small as it gets: what it leaves behind."""

from pathlib import Path

from representation.catalog import find_recipe
from representation.recipe import Job, run_recipe
from representation.recipes.conv_invariance import CONV, FLAT, MLP
from representation.registry import load_encoder


def test_it_leaves_figures_a_picture_and_an_encoder(tmp_path: Path) -> None:
    outcome = run_recipe(find_recipe("conv-invariance"), Job(tmp_path, 0.02, {"epochs": 1}))
    change, counted = outcome.figures
    assert change.beats_baselines  # by how it is built, however little it has learned
    assert set(change.baselines) == {FLAT, MLP}
    assert CONV in counted.note
    assert 5_000 < (tmp_path / outcome.pictures[0].file).stat().st_size < 60_000
    assert load_encoder(tmp_path / outcome.weights[0]).observed == {"kind": "grid"}
