"""Figure 5 of the DeepTraffic paper: trials in the space of their settings, brought to a plane by t-SNE.

Source: van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 9, 2008. Each setting is ranked first, so that
a logarithmic one weighs as much as any other; choices become one number each, 0 or 1.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

from agents.study.table import StudyTable
from deeptraffic.figure import empty_figure, style_axes
from deeptraffic.sim.state import F64

ABOUT_NETWORKS = ("layers", "units")


def draw_map(table: StudyTable) -> tuple[Figure, list[dict[str, Any]]]:
    """Return the figure, a panel for each study, and the places that it shows."""
    studies = table.studies()
    figure = empty_figure((5.2 * len(studies) + 0.6, 4.6))
    rows: list[dict[str, Any]] = []
    for axes, (name, study) in zip(figure.subplots(1, len(studies), squeeze=False)[0], studies.items(), strict=True):
        style_axes(axes, f"{name}: t-SNE (paper: fig. 5)")
        axes.grid(False)
        places, scores = embed(study), study.numbers("score")
        order = np.argsort(scores)  # the best are drawn last, on top
        shown = axes.scatter(
            *places[order].T, c=scores[order], cmap="viridis", s=34, edgecolors="white", linewidths=0.4
        )
        figure.colorbar(shown, ax=axes, label="score [mph]", shrink=0.85)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        numbers = study.numbers("number").astype(int)
        rows += [
            {"study": name, "number": int(n), "x": round(float(x), 3), "y": round(float(y), 3), "score": s}
            for n, (x, y), s in zip(numbers, places, scores, strict=True)
        ]
    return figure, rows


def embed(study: StudyTable) -> F64:
    """Return places in the plane, (trials, 2); on a circle where settings do not differ."""
    _, features = settings_matrix(study)
    if features.shape[1] < 1 or len(study) < 4:
        angles = np.linspace(0.0, 2.0 * np.pi, len(study), endpoint=False)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    perplexity = min(30.0, (len(study) - 1) / 3.0)
    start = "pca" if features.shape[1] > 1 else "random"
    return np.asarray(TSNE(perplexity=perplexity, init=start, random_state=0).fit_transform(features), np.float64)


def settings_matrix(study: StudyTable) -> tuple[list[str], F64]:
    """Return what varies between trials: (names, (trials, names) numbers from 0 to 1)."""
    names: list[str] = []
    columns: list[F64] = []
    for name in [*study.varied(), *(name for name in ABOUT_NETWORKS if len(set(study.texts(name))) > 1)]:
        if study.is_numeric(name):
            names.append(name)
            columns.append(_ranks(np.nan_to_num(study.numbers(name))))
            continue
        texts = study.texts(name)
        for text in sorted(set(texts))[1:]:  # one of the choices is told by the others
            names.append(f"{name}={text}")
            columns.append(np.array([float(text == other) for other in texts]))
    return names, np.stack(columns, axis=1) if columns else np.empty((len(study), 0))


def _ranks(values: F64) -> F64:
    """Ranks from 0 to 1; equal values share one."""
    distinct, places = np.unique(values, return_inverse=True)
    return places / max(1, distinct.size - 1)
