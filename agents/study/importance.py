"""Which settings matter: how much worse a forest predicts the score once a setting is shuffled.

Source: Breiman, "Random Forests", Machine Learning 45, 2001, section 10 (permutation importance). Each forest is asked
about trials that it was not grown on, so that a setting which only fits noise has an importance around 0.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance
from sklearn.model_selection import RepeatedKFold

from agents.study.table import StudyTable
from agents.study.tsne import settings_matrix
from deeptraffic.figure import GREY, PALETTE, empty_figure, style_axes
from deeptraffic.sim.state import F64

FOLDS, REPEATS, TREES, SHUFFLES = 5, 2, 60, 5
LEAST_TRIALS = 2 * FOLDS


def draw_importances(table: StudyTable) -> tuple[Figure, list[dict[str, Any]]]:
    """Return the figure, a panel for each study, and the importances that it shows."""
    studies = table.studies()
    figure = empty_figure((5.6 * len(studies), 4.6))
    rows: list[dict[str, Any]] = []
    pairs = zip(figure.subplots(1, len(studies), squeeze=False)[0], studies.items(), PALETTE, strict=False)
    for axes, (name, study), colour in pairs:
        names, folds, explained = importances(study)
        if not len(folds):
            style_axes(axes, f"{name}: {len(study)} trials are too few")
            continue
        means, spread = folds.mean(axis=0), folds.std(axis=0)
        order = np.argsort(means)
        style_axes(axes, f"{name}: importance")
        axes.grid(axis="x", color="#dddddd", linewidth=0.7)
        axes.barh([names[k] for k in order], means[order], xerr=spread[order], color=colour, ecolor=GREY, alpha=0.85)
        axes.axvline(0.0, color=GREY, linewidth=0.8)
        axes.set_xlabel(f"variance lost when shuffled (all explain {explained:.2f})")
        rows += [
            {"study": name, "setting": names[k], "importance": round(means[k], 4), "sd": round(spread[k], 4)}
            for k in order[::-1]
        ]
    return figure, rows


def importances(study: StudyTable) -> tuple[list[str], F64, float]:
    """Return names, (folds, names) importances, and the share of variance that forests explain on unseen trials.

    There are no folds where there are too few trials.
    """
    names, features = settings_matrix(study)
    scores = study.numbers("score")
    if len(study) < LEAST_TRIALS or not names:
        return names, np.empty((0, len(names))), 0.0
    found, explained = [], []
    for grown, asked in RepeatedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=0).split(features):
        forest = RandomForestRegressor(TREES, min_samples_leaf=3, random_state=0, n_jobs=1)
        forest.fit(features[grown], scores[grown])
        explained.append(forest.score(features[asked], scores[asked]))
        shuffled = permutation_importance(
            forest, features[asked], scores[asked], n_repeats=SHUFFLES, random_state=0, n_jobs=1
        )
        found.append(shuffled.importances_mean)
    return names, np.array(found), float(np.mean(explained))
