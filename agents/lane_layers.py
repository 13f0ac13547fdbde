"""Layers of a policy file for the layer shared by all lanes (`agents.lane_network`); no torch is needed.

Letters in shapes: H rows of the sensor, U units.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.policies.layer import Layer
from deeptraffic.policies.layers import Conv2d, Flatten, Relu, Reshape
from deeptraffic.sim.rules import RULES_2018, Sensor

SPEED_GAIN = RULES_2018.empty / 4.0  # a cell's value times this is a car's speed in units of 80 mph

Weights = dict[str, NDArray[np.float32]]


def lane_layers(sensor: Sensor, weight: NDArray[Any], bias: NDArray[Any]) -> list[tuple[Layer, Weights]]:
    """Return the shared layer, weight (U, 2 H) and bias (U,), as layers of a policy file with their tensors."""
    rows, units = sensor.patches_ahead + sensor.patches_behind, len(bias)
    split = np.full((2, 1, 1, 1), SPEED_GAIN, np.float32)
    free_from = np.array([0.0, 1.0 - SPEED_GAIN], np.float32)
    speed, free = weight[:, :rows].astype(np.float64), weight[:, rows:].astype(np.float64)
    window = np.stack([speed, free - (SPEED_GAIN - 1.0) * speed], -1)[:, :, None, :]  # (U, H, 1, 2)
    return [
        (Reshape(shape=(rows, sensor.columns, 1)), {}),
        (Conv2d(filters=2, kernel=(1, 1)), {"weight": split, "bias": free_from}),
        (Relu(), {}),
        (Conv2d(filters=units, kernel=(rows, 1)), {"weight": window.astype(np.float32), "bias": bias}),
        (Relu(), {}),
        (Flatten(), {}),
    ]
