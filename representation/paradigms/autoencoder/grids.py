"""Metrics of reconstructed grids (B, 4, H, W), and simple baselines: PCA and a median filter.

A reconstruction holds occupancy probabilities where the true grid has 0 and 1; a cell counts as occupied above a
threshold, which each method may choose on validation data (`best_threshold`).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter, uniform_filter
from sklearn.decomposition import PCA

from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.sim.rules import FULL_SPEED, FULL_SPEED_MPH

Grids = NDArray[np.float32]
THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)
FLOORS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)  # least occupancy by which PCA divides a speed
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


class GridPca:
    """Principal component analysis of grids (Pearson 1901): the best linear autoencoder of D values.

    Its reconstruction of a speed is the product of occupancy and speed, since free cells have speed 0. Divided by the
    reconstructed occupancy it is the speed of the car, as an autoencoder gives it; where that occupancy is below
    `floor`, the mean speed of training is better.

    Args:
        train: grids (N, 4, H, W) to fit; size: D, or as many as there are
    """

    def __init__(self, train: Grids, size: int) -> None:
        rows = _rows(train)
        self.pca = PCA(min(size, *rows.shape), svd_solver="randomized", random_state=0).fit(rows)
        self.mean_speed = float(train[:, SPEED][train[:, OCCUPIED] > 0.5].mean())
        self.floor = FLOORS[0]

    def tune(self, grids: Grids, truth: Grids) -> "GridPca":
        """Choose the floor with the least error of speeds on validation grids, and return itself."""

        def error(floor: float) -> float:
            self.floor = floor
            return speed_rmse(self.reconstruct(grids), truth)

        self.floor = min(FLOORS, key=error)
        return self

    def reconstruct(self, grids: Grids) -> Grids:
        """Return the reconstructions of grids, in their shape."""
        out = self.pca.inverse_transform(self.pca.transform(_rows(grids))).reshape(grids.shape).astype(np.float32)
        occupied = out[:, OCCUPIED]
        divided = out[:, SPEED] / np.maximum(occupied, self.floor)
        out[:, SPEED] = np.clip(np.where(occupied > self.floor, divided, self.mean_speed), 0.0, 1.0)
        return out


def _rows(grids: Grids) -> Grids:
    return grids.reshape(len(grids), -1)


def median_filtered(grids: Grids, size: tuple[int, int]) -> Grids:
    """Return grids filtered over size = (along, across) cells around, without what is known beyond the sensor.

    A cell is occupied where most cells around are; its speed is the mean of the occupied ones' around (0 if none).
    """
    window = (1, *size)
    marks = median_filter(grids[:, OCCUPIED], window, mode="constant")
    near = uniform_filter(grids[:, OCCUPIED], window, mode="constant")  # fraction of occupied cells around
    speeds = uniform_filter(grids[:, SPEED] * grids[:, OCCUPIED], window, mode="constant")
    out, own = grids.copy(), grids[:, OWN] > 0.5
    out[:, OCCUPIED] = np.where(own, grids[:, OCCUPIED], marks * (grids[:, OFF_ROAD] < 0.5))
    mean = np.divide(speeds, near, out=np.zeros_like(speeds), where=near > 1e-3)
    out[:, SPEED] = np.where(own, grids[:, SPEED], mean)
    return out


def grid_to_cells(grids: Grids, empty: float) -> NDArray[np.float64]:
    """Return the contest sensor's cells (B, H * W) of grids: free 1, off the road 0, a vehicle its speed.

    empty [px/frame]: reading of a free cell, `Rules.empty`
    """
    speed = grids[:, SPEED].astype(np.float64) * (FULL_SPEED / empty)
    cells = np.where(grids[:, OCCUPIED] > 0.5, speed, 1.0)
    return np.where(grids[:, OFF_ROAD] > 0.5, 0.0, cells).reshape(len(grids), -1)
