"""How much features change when all traffic is moved along the road: the invariance that convolutions promise.

A convolution of a moved picture is the moved convolution (it is equivariant), and the maximum or mean over all places
does not change at all (it is invariant): Goodfellow, Bengio and Courville 2016, "Deep Learning", sections 9.2 and 9.3.
A feed-forward network has other weights for every place and promises nothing.

    >>> moved = move_traffic(grids, 5)                     # five cells ahead, around the window's end
    >>> feature_change(encoder, grids, moved)              # 0 the same features, 1 as far as another scene's

Letters in shapes: N scenes, H rows and W columns of cells, D features.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.scene import OCCUPIED, SPEED
from representation.encoder import Encoder

F32 = NDArray[np.float32]


def move_traffic(grids: F32, cells: int) -> F32:
    """Return grids (N, 4, H, W) with all cars moved ahead, around the window's end; the road and its edges stay.

    The own car is the mark of channel `OWN`; as a car among others it moves with them.
    """
    moved = grids.copy()
    moved[:, [OCCUPIED, SPEED]] = np.roll(grids[:, [OCCUPIED, SPEED]], -cells, axis=2)
    return moved


def count_cells(grids: F32) -> F32:
    """Return how many cells of each grid (N, 4, H, W) are occupied, (N,): what moving traffic does not change."""
    return grids[:, OCCUPIED].sum((1, 2))


def feature_change(encoder: Encoder, scenes: NDArray[Any], changed: NDArray[Any]) -> float:
    """Return the mean distance of features of scenes (N, ...) before and after, in units of that of different scenes.

    0: the same features; 1: as far apart as the features of two scenes drawn at random.
    """
    before, after = encoder.encode(scenes), encoder.encode(changed)
    others = np.roll(before, len(before) // 2, axis=0)
    distance = np.linalg.norm(after - before, axis=1).mean()
    usual = np.linalg.norm(others - before, axis=1).mean()
    return float(distance / max(usual, 1e-12))
