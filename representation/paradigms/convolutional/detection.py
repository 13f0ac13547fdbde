"""Vehicle detection: from two camera frames to the cells of the simulator's grid, by a fully convolutional network.

The output for a cell depends on the pixels around that cell, with the same weights everywhere. Source: Long, Shelhamer
and Darrell 2015, "Fully convolutional networks", arXiv:1411.4038, section 3; predictions per cell: Redmon et al. 2016,
"You only look once", arXiv:1506.02640, section 2.

    >>> detector = GridDetector(rows=70, lanes=7)
    >>> detections = detector.detect(frames)               # frames (N, 2, 3, 140, 32) uint8
    >>> cells = sensor_cells(whole_vehicles(detections), Sensor(), RULES_2018)    # (N, 420), as the contest's sensor

Letters in shapes: N scenes, B of a minibatch, T frames, H x W pixels, R rows and L lanes of the road's grid.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deeptraffic.sim.rules import CELL_LENGTH, FULL_SPEED, Rules, Sensor
from deeptraffic.sim.state import PAD
from representation.fit import Batch, Trainable

ROW_PIXELS, LANE_PIXELS = 2, 4  # of a cell; a shoulder of half a lane lies on either side
OUTPUTS = 3  # logits of a vehicle and of the ego vehicle; speed / full speed
CHUNK = 512

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Detections:
    """Content of every cell of the road.

    occupied: (N, R, L) whether a vehicle marks the cell, the ego vehicle included
    own: (N, R, L) whether the ego vehicle does
    speed: (N, R, L) [px/frame] of that vehicle, undefined in a free cell
    """

    occupied: Bools
    own: Bools
    speed: NDArray[np.floating]


def image_size(rows: int, lanes: int) -> tuple[int, int]:
    """Return (H, W) of the frames for a grid of R x L cells."""
    return rows * ROW_PIXELS, (lanes + 1) * LANE_PIXELS


class GridDetector(Trainable):
    """From T frames, the last one the present, to the content of each cell.

    Args:
        rows, lanes: R, L
        frames: T
        width: channels of the layers
    """

    def __init__(self, rows: int = 70, lanes: int = 7, frames: int = 2, width: int = 24) -> None:
        super().__init__()
        self.shape, self.frames = (rows, lanes), frames
        self.pixels = nn.Sequential(
            nn.Conv2d(3 * frames, width // 2, 3, padding=1),  # (B, w/2, 2R, 4L)
            nn.ReLU(),
            nn.Conv2d(width // 2, width, 3, (ROW_PIXELS, 2), 1),  # (B, w, R, 2L)
            nn.ReLU(),
        )
        self.cells = nn.Sequential(
            nn.Conv2d(width, width, 5, padding=2),  # (B, w, R, 2L)
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, (3, 2), (1, 2), (1, 0)),  # (B, 2w, R, L)
            nn.ReLU(),
            nn.Conv2d(2 * width, OUTPUTS, 1),  # (B, 3, R, L)
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits of car and ego car, and speed / full speed, (B, 3, R, L), for (B, T, 3, H, W) uint8."""
        size = image_size(*self.shape)
        assert frames.shape[1:] == (self.frames, 3, *size), f"{tuple(frames.shape)} is not (B, T, 3, {size})"
        channels = frames.flatten(1, 2).float() / 255.0 - 0.5  # (B, 3T, H, W)
        road = channels[..., LANE_PIXELS // 2 : -LANE_PIXELS // 2]  # without the shoulders, (B, 3T, 2R, 4L)
        return self.cells(self.pixels(road))

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (cross-entropies of both marks + squared error of cars' speeds, what it is made of).

        Batch: frames; occupied, own (B, R, L) bool; speed (B, R, L) [px/frame].
        """
        out = self(batch["frames"])
        occupied = batch["occupied"].float()
        marks = functional.binary_cross_entropy_with_logits(out[:, 0], occupied)
        own = functional.binary_cross_entropy_with_logits(out[:, 1], batch["own"].float())
        error = occupied * (out[:, 2] - batch["speed"] / FULL_SPEED).pow(2)
        speed = error.sum() / occupied.sum().clamp(min=1.0)
        return marks + own + speed, {"marks": marks, "own": own, "speed": speed}

    def detect(self, frames: NDArray[np.uint8]) -> Detections:
        """Return the detections in (N, T, 3, H, W) frames."""
        self.eval()
        pieces = []
        with torch.no_grad():
            for start in range(0, len(frames), CHUNK):
                pieces.append(self(torch.from_numpy(frames[start : start + CHUNK])).numpy())
        out = np.concatenate(pieces)
        return Detections(out[:, 0] > 0, out[:, 1] > 0, FULL_SPEED * out[:, 2])


def true_cells(states: NDArray[Any]) -> Detections:
    """Return the simulator's own marks in states (N,) at a decision."""
    marks = states["cells"][:, :, PAD:-PAD].transpose(0, 2, 1)  # (N, R, L) vehicle + 1
    speeds = np.take_along_axis(states["map_speed"], marks.reshape(len(marks), -1).astype(np.int64), 1)
    return Detections(marks > 0, marks == 1, speeds.reshape(marks.shape))


# --- the contest's sensor --------------------------------------------------------------------------------


def own_lanes(seen: Detections) -> NDArray[np.int64]:
    """Return the ego lane, (N,): the one with most of the ego cells."""
    return seen.own.sum(1).argmax(1)


def whole_vehicles(seen: Detections) -> Detections:
    """Return detections with one speed along each run of occupied cells of a lane: the mean of theirs.

    A policy that tells vehicles apart by their speeds then sees one vehicle per run; touching vehicles are merged.
    """
    occupied = np.moveaxis(seen.occupied, 1, 2)  # (N, L, R): the cells of a run lie together
    starts = occupied.copy()
    starts[..., 1:] &= ~occupied[..., :-1]
    run = np.maximum(starts.ravel().cumsum() - 1, 0)  # which run a cell belongs to, if it is occupied
    weight = occupied.ravel().astype(np.float64)
    sums = np.bincount(run, weight * np.moveaxis(seen.speed, 1, 2).ravel())
    means = sums / np.maximum(np.bincount(run, weight), 1.0)
    speed = (weight * means[run]).reshape(occupied.shape)
    return replace(seen, speed=np.moveaxis(speed, 2, 1))


def sensor_cells(seen: Detections, sensor: Sensor, rules: Rules) -> NDArray[np.float64]:
    """Return the reading of the contest's sensor, (N, sensor.size): free 1, off the road 0, a vehicle its speed."""
    count, rows, lanes = seen.occupied.shape
    ego_row = math.floor(rules.ego_y / CELL_LENGTH)  # the ego car keeps near there
    reading = np.where(seen.occupied, np.clip(seen.speed, 0.0, FULL_SPEED) / rules.empty, 1.0)
    wide = np.zeros((count, sensor.length, lanes + 2 * sensor.lanes_side))
    first = ego_row - sensor.patches_ahead
    shown = range(max(first, 0), min(first + sensor.length, rows))
    wide[:, shown.start - first : shown.stop - first, sensor.lanes_side : sensor.lanes_side + lanes] = reading[
        :, shown.start : shown.stop
    ]
    columns = own_lanes(seen)[:, None] + np.arange(sensor.columns)  # in the grid with a margin on either side
    return np.take_along_axis(wide, columns[:, None, :], 2).reshape(count, -1)
