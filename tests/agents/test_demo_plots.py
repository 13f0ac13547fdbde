"""Figures are saved, whatever there is to draw."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agents.demo_plots import save_learning_curve, save_score_histogram
from deeptraffic.figure import format_count


def inked(path: Path) -> float:
    """Fraction of the figure that is not white."""
    with Image.open(path) as image:
        assert image.format == "PNG" and image.width >= 1000
        return float((np.asarray(image.convert("L")) < 250).mean())


def test_a_learning_curve_shows_all_series(tmp_path: Path) -> None:
    explored = [{"decisions": 100 * k, "train_mph": 50.0 + k} for k in range(10)]
    judged = [{"decisions": 300 * k, "tuning_mean_mph": 51.0 + k, "tuning_median_mph": 52.0 + k} for k in range(3)]
    empty = inked(save_learning_curve([], tmp_path / "empty.png", "Nothing yet"))
    some = inked(save_learning_curve(explored, tmp_path / "some.png", "Exploring"))
    everything = inked(save_learning_curve(explored + judged, tmp_path / "all.png", "All", [("idle", 51.57)]))
    assert 0.0 < empty < some < everything


@pytest.mark.parametrize("scores", [[51.57], [60.0, 60.0], list(np.linspace(40, 79, 500)), [-3.0, 80.0]])
def test_a_histogram_takes_any_scores(tmp_path: Path, scores: list[float]) -> None:
    path = save_score_histogram(np.array(scores), tmp_path / "h.png", "Scores", scores[0], [("idle", 51.57)])
    assert inked(path) > 0.02


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (250_000, "250k"), (1.5e6, "1.5M"), (2e9, "2G")])
def test_counts_are_written_short(value: float, text: str) -> None:
    assert format_count(value) == text
