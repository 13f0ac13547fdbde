"""A map of an encoder's features: scenes that it holds to be alike lie near each other.

    >>> places = plane_of(encoder.encode(obs))             # (N, 2), by t-SNE
    >>> save_map(places, [("Scene", scene_class(rules, states), SCENES)], "map.png")

Source: van der Maaten and Hinton 2008, "Visualizing data using t-SNE", Journal of Machine Learning Research 9.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeptraffic.figure import PALETTE, empty_figure, save_figure, style_axes

REPORT_DPI = 80
Labels = tuple[str, NDArray[np.int64], Sequence[str]]  # title, (N,) classes, their names


def plane_of(features: NDArray[np.float32], method: str = "tsne") -> NDArray[np.float32]:
    """Return places (N, 2) of features (N, D): by t-SNE (van der Maaten and Hinton 2008), or the first two of PCA."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if method not in ("tsne", "pca"):
        raise ValueError(f"there is no map {method!r}; choose tsne or pca")
    if method == "tsne" and len(features) > 10:
        perplexity = min(30.0, (len(features) - 1) / 3)
        return np.asarray(TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(features))
    return np.asarray(PCA(2, random_state=0).fit_transform(features), np.float32)


def save_map(places: NDArray[np.float32], labels: Sequence[Labels], path: str | Path) -> Path:
    """Draw one map of embeddings (N, 2) per label: (title, (N,) classes, their names)."""
    figure = empty_figure((4.4 * len(labels), 4.2))
    for axes, (title, classes, names) in zip(figure.subplots(1, len(labels), squeeze=False)[0], labels, strict=True):
        style_axes(axes, title)
        axes.grid(visible=False)
        axes.set_xticks([])
        axes.set_yticks([])
        for k, name in enumerate(names):
            here = places[classes == k]
            axes.scatter(here[:, 0], here[:, 1], s=5, color=PALETTE[k % len(PALETTE)], label=name, linewidths=0)
        axes.legend(frameon=False, fontsize=8, markerscale=2.5, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 0.0))
    return save_figure(figure, path, REPORT_DPI)
