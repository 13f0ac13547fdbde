"""Metrics of reconstructed grids (B, 4, H, W), and simple baselines: PCA and a median filter.

A reconstruction holds occupancy probabilities where the true grid has 0 and 1; a cell counts as occupied above a
threshold, which each method may choose on validation data (`best_threshold`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.sim.rules import FULL_SPEED, FULL_SPEED_MPH

Grids = NDArray[np.float32]
THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)
FILTERS = ((3, 1), (5, 1), (7, 1), (3, 3))  # cells along and across the road that a median is taken of


def occupancy_iou(grids: Grids, truth: Grids, threshold: float = 0.5) -> float:
    """Return the intersection over union of the occupied cells of all grids, without the ego vehicle's cells."""
    guess, true = grids[:, OCCUPIED] > threshold, truth[:, OCCUPIED] > 0.5
    counted = truth[:, OWN] < 0.5
    return float((guess & true & counted).sum() / max(1, ((guess | true) & counted).sum()))


def best_threshold(grids: Grids, truth: Grids) -> float:
    """Return the threshold with the best intersection over union."""
    return max(THRESHOLDS, key=lambda threshold: occupancy_iou(grids, truth, threshold))


def speed_rmse(grids: Grids, truth: Grids) -> float:
    """Return the root mean square error of the speeds in truly occupied cells [mph]."""
    true = (truth[:, OCCUPIED] > 0.5) & (truth[:, OWN] < 0.5)
    error = (grids[:, SPEED] - truth[:, SPEED])[true]
    return FULL_SPEED_MPH * float(np.sqrt(np.mean(np.square(error, dtype=np.float64))))


@dataclass(frozen=True)
class Pca:
    """Principal component analysis: centre (n,), axes (D, n), of flattened observations (Pearson 1901)."""

    centre: Grids
    axes: Grids

    @classmethod
    def of(cls, observations: NDArray[np.float32], size: int) -> "Pca":
        """Return the first `size` principal components of observations (B, ...), or as many as there are."""
        from sklearn.decomposition import PCA

        rows = observations.reshape(len(observations), -1)
        size = min(size, *rows.shape)
        fitted = PCA(size, svd_solver="randomized", random_state=0).fit(rows)
        return cls(fitted.mean_.astype(np.float32), fitted.components_.astype(np.float32))

    def encode(self, observations: NDArray[np.float32]) -> Grids:
        """Return (B, D)."""
        return np.asarray((observations.reshape(len(observations), -1) - self.centre) @ self.axes.T, np.float32)

    def reconstruct(self, observations: NDArray[np.float32]) -> Grids:
        """Return the reconstructions of observations, in their shape."""
        return (self.encode(observations) @ self.axes + self.centre).reshape(observations.shape)


def median_filtered(grids: Grids, size: tuple[int, int]) -> Grids:
    """Return grids whose marks and speeds are medians over size = (along, across) cells around.

    A cell is occupied where most cells around are; its speed is the median of the occupied ones' around (0 if none).
    """
    marks = _windows(grids[:, OCCUPIED], size)  # (B, H, W, K)
    speeds = np.where(marks > 0.5, _windows(grids[:, SPEED], size), np.nan)
    out = grids.copy()
    out[:, OCCUPIED] = np.median(marks, -1) * (grids[:, OFF_ROAD] < 0.5)
    own = grids[:, OWN] > 0.5
    out[:, OCCUPIED][own] = grids[:, OCCUPIED][own]
    known = (marks > 0.5).any(-1)
    out[:, SPEED] = 0.0
    out[:, SPEED][known] = np.nanmedian(speeds[known], -1)
    out[:, SPEED][own] = grids[:, SPEED][own]
    return out


def _windows(planes: Grids, size: tuple[int, int]) -> Grids:
    """Return the neighbourhoods (B, H, W, K) of cells (B, H, W), padded with zeros."""
    along, across = size[0] // 2, size[1] // 2
    padded = np.pad(planes, ((0, 0), (along, along), (across, across)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, size, axis=(1, 2))  # (B, H, W, along, across)
    return seen.reshape(*planes.shape, -1)


def grid_to_cells(grids: Grids, empty: float) -> NDArray[np.float64]:
    """Return the contest sensor's cells (B, H * W) of grids: free 1, off the road 0, a vehicle its speed.

    empty [px/frame]: reading of a free cell, `Rules.empty`
    """
    speed = grids[:, SPEED].astype(np.float64) * (FULL_SPEED / empty)
    cells = np.where(grids[:, OCCUPIED] > 0.5, speed, 1.0)
    return np.where(grids[:, OFF_ROAD] > 0.5, 0.0, cells).reshape(len(grids), -1)
