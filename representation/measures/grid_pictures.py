"""Grids (4, H, W) as pictures: the road from above, ahead to the right, cars in the colour of their speed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from deeptraffic.envs.scene import OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.figure import INK, empty_figure, save_figure

ROAD, BESIDE, OWN_CAR = (0.91, 0.91, 0.91), (0.66, 0.74, 0.62), (0.0, 0.0, 0.0)
SPEEDS = "plasma"  # a colour map that grey prints and colour-blind readers order the same way
FULL_SPEED_MPH = 80.0
REPORT_DPI = 80
Column = tuple[str, NDArray[np.float32] | Sequence[NDArray[np.float32]]]  # heading, grids from top to bottom


def grid_picture(grid: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (W, H, 3) RGB of one grid, its chances of being occupied as opacity."""
    occupied, off = np.clip(grid[OCCUPIED], 0, 1)[..., None], np.clip(grid[OFF_ROAD], 0, 1)[..., None]  # (H, W, 1)
    cars = colormaps[SPEEDS](np.clip(grid[SPEED], 0, 1))[..., :3]
    picture = occupied * cars + (1 - occupied) * (off * BESIDE + (1 - off) * np.array(ROAD))
    picture = np.where((grid[OWN] > 0.5)[..., None], OWN_CAR, picture)
    return picture[::-1].transpose(1, 0, 2).astype(np.float32)  # row 0, the farthest ahead, to the right


def save_grids(
    columns: Sequence[Column],
    path: str | Path,
    title: str,
    names: Sequence[str] = (),
) -> Path:
    """Draw columns of grids, (heading, grids) each, row by row; names: of the rows."""
    rows = max(len(grids) for _, grids in columns)
    figure = empty_figure((3.6 * len(columns) + 1.0, 0.55 * rows + 1.3))
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    axes = figure.subplots(rows, len(columns), squeeze=False)
    for column, (heading, grids) in enumerate(columns):
        for row in range(rows):
            _show(axes[row, column], grids[row] if row < len(grids) else None)
            if column == 0 and row < len(names):
                axes[row, 0].set_ylabel(names[row], rotation=0, ha="right", va="center", fontsize=9)
        axes[0, column].set_title(heading, fontsize=10, color=INK)
    scale = ScalarMappable(Normalize(0, FULL_SPEED_MPH), colormaps[SPEEDS])
    bar = figure.colorbar(scale, ax=axes[:, -1].tolist(), fraction=0.05, pad=0.02)
    bar.set_label("speed [mph]", fontsize=9)
    return save_figure(figure, path, REPORT_DPI)


def _show(axes: Axes, grid: NDArray[np.float32] | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if grid is not None:
        axes.imshow(grid_picture(grid), interpolation="nearest", aspect="auto")
