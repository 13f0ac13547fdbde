"""The experiment of invariance, as small as it gets: what it leaves behind."""

from pathlib import Path

from representation.catalog import find_experiment
from representation.experiment import TrainingJob, run_experiment
from representation.paradigms.convolutional.invariance_experiment import CONV, FLAT, MLP
from representation.registry import load_encoder


def test_it_leaves_figures_a_picture_and_an_encoder(tmp_path: Path) -> None:
    outcome = run_experiment(find_experiment("conv-invariance"), TrainingJob(tmp_path, 0.02, {"epochs": 1}))
    change, counted = outcome.metrics
    assert change.beats_baselines  # by how it is built, however little it has learned
    assert set(change.baselines) == {FLAT, MLP}
    assert CONV in counted.note
    assert 5_000 < (tmp_path / outcome.plots[0].file).stat().st_size < 60_000
    assert load_encoder(tmp_path / outcome.weights[0]).observed == {"kind": "grid"}
