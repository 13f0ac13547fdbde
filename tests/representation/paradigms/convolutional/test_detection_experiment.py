"""The experiment of the detector, as small as it gets: its baseline, and what it leaves behind."""

from pathlib import Path

import numpy as np

from representation.catalog import find_experiment
from representation.experiment import TrainingJob, run_experiment
from representation.paradigms.convolutional.detection import GridDetector
from representation.paradigms.convolutional.detection_experiment import cell_contrast, cell_f1, record_scenes
from representation.perception import load_perception


def test_contrast_finds_most_cells_which_makes_it_a_baseline_to_beat() -> None:
    clean = {"kind": "pixels", "height": 70, "width": 28, "temporal_window": 1}
    data = record_scenes(TrainingJob(Path(), 0.1), "validation", 30, clean)
    contrast = cell_contrast(data.images)
    assert contrast.shape == data.cells.occupied.shape
    assert 0.9 < cell_f1(contrast > 20.0, data.cells.occupied) < 0.98


def test_f1_of_cells_counts_hits_and_both_mistakes() -> None:
    true, found = np.array([1, 1, 1, 0, 0], bool), np.array([1, 1, 0, 1, 0], bool)
    assert cell_f1(found, true) == 2 * 2 / (3 + 3)


def test_it_leaves_figures_a_picture_and_a_detector(tmp_path: Path) -> None:
    outcome = run_experiment(find_experiment("conv-detection"), TrainingJob(tmp_path, 0.01, settings={"epochs": 1}))
    assert [metric.name for metric in outcome.metrics[:2]] == [
        "F1 of occupied cells, seen styles",
        "F1 of occupied cells, unseen styles",
    ]
    assert "on true cells" in outcome.metrics[-1].note
    assert 5_000 < (tmp_path / outcome.plots[0].file).stat().st_size < 160_000
    assert isinstance(load_perception(tmp_path / outcome.weights[0]), GridDetector)
