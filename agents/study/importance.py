"""Importance of settings: how they predict the score in a random forest, and a map of the trials by t-SNE.

Sources: Breiman, "Random Forests", Machine Learning 45, 2001, section 10 (permutation importance); van der Maaten and
Hinton, "Visualizing Data using t-SNE", JMLR 9, 2008 (figure 5 of the DeepTraffic paper).

Settings become features from 0 to 1: numbers are ranked, so that a logarithmic range weighs as much as any other, and
choices are one-hot. Importances are measured on trials held out from the forest, so that those of noise are around 0.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance
from sklearn.manifold import TSNE
from sklearn.model_selection import RepeatedKFold

from agents.study.table import StudyTable
from deeptraffic.figure import GREY, curve_style, empty_figure, style_axes
from deeptraffic.sim.state import F64

FOLDS, REPEATS, TREES, SHUFFLES = 5, 2, 60, 5
LEAST_TRIALS = 2 * FOLDS
OF_NETWORKS = ("layers", "units")


def draw_importances(table: StudyTable) -> tuple[Figure, list[dict[str, Any]]]:
    """Return the figure, a panel for each study, and the importances that it shows."""
    figure = empty_figure((5.6 * len(table.studies()), 4.6))
    rows: list[dict[str, Any]] = []
    for k, (axes, name, study) in enumerate(_panels(figure, table)):
        names, folds, explained = importances(study)
        if not len(folds):
            style_axes(axes, f"{name}: {len(study)} trials are too few")
            continue
        shares = folds / np.maximum(folds, 0.0).mean(axis=0).sum()  # of all importances that are above 0
        means, spread = shares.mean(axis=0), shares.std(axis=0)
        order = np.argsort(means)
        style_axes(axes, f"{name}: importance")
        axes.grid(axis="x", color="#dddddd", linewidth=0.7)
        bars = {"xerr": spread[order], "color": curve_style(k)["color"], "ecolor": GREY, "alpha": 0.85}
        axes.barh([names[j] for j in order], means[order], **bars)
        axes.axvline(0.0, color=GREY, linewidth=0.8)
        whole = f"all settings together explain {max(explained, 0.0):.0%} of the variance"
        axes.set_xlabel(f"share of the importance, standard deviation over folds\n({whole})")
        rows += [
            {"study": name, "setting": names[j], "share": round(means[j], 4), "sd": round(spread[j], 4)}
            for j in order[::-1]
        ]
    return figure, rows


def importances(study: StudyTable) -> tuple[list[str], F64, float]:
    """Return names, (folds, names) importances, and the fraction of variance that forests explain on held-out trials.

    There are no folds if there are too few trials.
    """
    names, features = settings_matrix(study)
    scores = study.numbers("score")
    if len(study) < LEAST_TRIALS or not names:
        return names, np.empty((0, len(names))), 0.0
    folds, explained = [], []
    for train, test in RepeatedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=0).split(features):
        forest = RandomForestRegressor(TREES, min_samples_leaf=3, random_state=0, n_jobs=1)
        forest.fit(features[train], scores[train])
        explained.append(forest.score(features[test], scores[test]))
        shuffled = permutation_importance(
            forest, features[test], scores[test], n_repeats=SHUFFLES, random_state=0, n_jobs=1
        )
        folds.append(shuffled.importances_mean)
    return names, np.array(folds), float(np.mean(explained))


def draw_map(table: StudyTable) -> tuple[Figure, list[dict[str, Any]]]:
    """Return the figure, a panel for each study, and the embeddings that it shows."""
    figure = empty_figure((5.2 * len(table.studies()) + 0.6, 4.6))
    rows: list[dict[str, Any]] = []
    everything = table.numbers("score")
    one_scale = Normalize(float(everything.min()), float(everything.max()))
    for axes, name, study in _panels(figure, table):
        style_axes(axes, f"{name}: t-SNE (paper: fig. 5)")
        axes.grid(False)
        places, scores = embed(study), study.numbers("score")
        order = np.argsort(scores)  # the best are drawn last, on top
        x, y = places[order].T
        dots = axes.scatter(
            x, y, c=scores[order], cmap="viridis", s=34, edgecolors="white", linewidths=0.4, norm=one_scale
        )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        numbers = study.numbers("number").astype(int)
        rows += [
            {"study": name, "number": int(n), "x": round(float(x), 3), "y": round(float(y), 3), "score": s}
            for n, (x, y), s in zip(numbers, places, scores, strict=True)
        ]
    figure.colorbar(dots, ax=figure.axes, label="score [mph]", shrink=0.85)
    return figure, rows


def embed(study: StudyTable) -> F64:
    """Return the trials' t-SNE embedding, (trials, 2); on a circle if no settings differ or trials are few."""
    _, features = settings_matrix(study)
    if features.shape[1] < 1 or len(study) < 4:
        angles = np.linspace(0.0, 2.0 * np.pi, len(study), endpoint=False)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    perplexity = min(30.0, (len(study) - 1) / 3.0)
    init = "pca" if features.shape[1] > 1 else "random"
    return np.asarray(TSNE(perplexity=perplexity, init=init, random_state=0).fit_transform(features), np.float64)


def settings_matrix(study: StudyTable) -> tuple[list[str], F64]:
    """Return the features of the settings that vary between trials: (names, (trials, names) from 0 to 1)."""
    names: list[str] = []
    columns: list[F64] = []
    for name in [*study.varied(), *(name for name in OF_NETWORKS if len(set(study.texts(name))) > 1)]:
        if study.is_numeric(name):
            names.append(name)
            columns.append(_ranks(np.nan_to_num(study.numbers(name))))
            continue
        texts = study.texts(name)
        for text in sorted(set(texts))[1:]:  # the first choice is where all columns are 0
            names.append(f"{name}={text}")
            columns.append(np.array([float(text == other) for other in texts]))
    return names, np.stack(columns, axis=1) if columns else np.empty((len(study), 0))


def _ranks(values: F64) -> F64:
    """Ranks from 0 to 1; equal values share one."""
    distinct, places = np.unique(values, return_inverse=True)
    return places / max(1, distinct.size - 1)


def _panels(figure: Figure, table: StudyTable) -> Iterator[tuple[Axes, str, StudyTable]]:
    """Yield axes side by side, with the study that each shows and its name."""
    studies = table.studies()
    panels = figure.subplots(1, len(studies), squeeze=False)[0]
    return ((axes, name, study) for axes, (name, study) in zip(panels, studies.items(), strict=True))
