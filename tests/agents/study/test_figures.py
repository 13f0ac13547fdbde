import csv
from pathlib import Path

import numpy as np
import pytest

from agents.study import importance as study_importance
from agents.study.figures import FIGURES, bins, draw_figures
from agents.study.importance import embed, importances, settings_matrix
from agents.study.table import StudyTable


def small_study(trials: int = 24, name: str = "a") -> StudyTable:
    """Trials whose score is 60 mph, 10 more with gamma from 0 to 1, and noise of the other settings."""
    random = np.random.default_rng(5)
    rows = []
    for number in range(trials):
        gamma = random.uniform()
        row = {"study": name, "number": number, "state": "complete", "algorithm": "pqn", "score": 60 + 10 * gamma}
        row |= {"gamma": gamma, "lanes_side": random.integers(0, 4), "kind": ("gaps", "vector")[number % 2]}
        row |= {"parameters": random.integers(100, 10_000), "layers": random.integers(1, 4), "decisions": 20_000}
        row |= {"inputs": random.integers(5, 400), "units": random.integers(5, 50)}
        for count in (10, 100, 1000):
            row |= {f"first_{count}": 60 + random.normal() / count**0.5, f"spread_{count}": 1 / count**0.5}
        rows.append({column: str(value) for column, value in row.items()})
    return StudyTable(tuple(rows))


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the trees of a study's forests."""
    monkeypatch.setattr(study_importance, "TREES", 15)


def test_every_figure_comes_as_png_svg_and_the_data_it_shows(tmp_path: Path) -> None:
    table = StudyTable(small_study().rows + small_study(8, "b").rows)
    files = draw_figures(table, tmp_path)
    assert sorted(path.name for path in files) == sorted(
        f"{name}{e}" for name in FIGURES for e in (".png", ".svg", ".csv")
    )
    assert all(path.stat().st_size > 100 for path in files)
    with (tmp_path / "progress.csv").open() as file:
        progress = list(csv.DictReader(file))
    assert len(progress) == 32 and {row["study"] for row in progress} == {"a", "b"}
    best = [float(row["best"]) for row in progress if row["study"] == "a"]
    assert best == sorted(best) and best[-1] == max(float(row["score"]) for row in progress if row["study"] == "a")


def test_failed_trials_are_not_drawn(tmp_path: Path) -> None:
    few = StudyTable((*small_study(4).rows, {"study": "a", "number": "9", "state": "failed", "score": ""}))
    with pytest.raises(ValueError, match="4 trials with a score are too few to draw; let the sweep finish 5"):
        draw_figures(few, tmp_path)


def test_the_setting_that_matters_is_the_most_important() -> None:
    names, folds, explained = importances(small_study(60))
    assert names[int(np.argmax(folds.mean(axis=0)))] == "gamma" and explained > 0.5
    assert folds.mean(axis=0)[names.index("lanes_side")] < 0.1


def test_no_setting_is_more_important_than_all_together() -> None:
    _, rows = study_importance.draw_importances(small_study(60))
    shares = [row["share"] for row in rows]
    assert max(shares) <= 1.0 and sum(share for share in shares if share > 0) == pytest.approx(1.0, abs=0.01)


def test_the_panels_of_a_map_share_one_scale_of_colours() -> None:
    rows = [{**row, "score": str(float(row["score"]) - 20)} for row in small_study(8, "b").rows]
    figure, _ = study_importance.draw_map(StudyTable((*small_study().rows, *rows)))
    limits = {axes.collections[0].get_clim() for axes in figure.axes if axes.collections and axes.get_title(loc="left")}
    assert len(limits) == 1 and len(figure.axes) == 3, "two panels, one bar of colours"


def test_settings_become_numbers_from_0_to_1() -> None:
    names, features = settings_matrix(small_study())
    assert names == ["gamma", "lanes_side", "kind=vector", "layers", "units"]
    assert features.min() == 0 and features.max() == 1
    assert features[:, 2].tolist() == [0.0, 1.0] * 12


def test_trials_of_like_settings_lie_together() -> None:
    places = embed(small_study(40))
    _, features = settings_matrix(small_study(40))
    apart = np.linalg.norm(places[:, None] - places, axis=-1) + np.diag(np.full(40, np.inf))
    nearest = features[np.argmin(apart, axis=1)]
    random = np.random.default_rng(0).permutation(features)
    assert np.abs(features - nearest).mean() < 0.7 * np.abs(features - random).mean()


def test_many_values_are_shown_in_fifths_and_few_one_by_one() -> None:
    assert [mask.sum() for mask in bins(np.arange(100.0))] == [20] * 5
    assert [mask.sum() for mask in bins(np.array([0.0, 0, 1, 3]))] == [2, 1, 1]
