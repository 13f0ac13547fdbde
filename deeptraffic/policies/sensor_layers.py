"""Layers that know the road: features of the sensor's cells, and the sensor's cells of a perception network."""

from dataclasses import dataclass
from typing import Any, ClassVar

from deeptraffic.policies.gaps import GAP_FEATURES
from deeptraffic.policies.layer import Layer, Shape, Tensors, expect_axes, size
from deeptraffic.settings import REQUIRED, integer, real
from deeptraffic.sim.rules import MAX_LANES_SIDE, MAX_ROWS


@dataclass(frozen=True, kw_only=True)
class Gaps(Layer):
    """Lane-gap features (`gaps.py`) of a sensor's cells; `empty` is the rule set's reading of a free cell, 100 or 7."""

    kind: ClassVar[str] = "gaps"
    lanes_side: int = integer(REQUIRED, 0, MAX_LANES_SIDE)
    patches_ahead: int = integer(REQUIRED, 0, MAX_ROWS)
    patches_behind: int = integer(REQUIRED, 0, MAX_ROWS)
    empty: float = real(100.0, 1e-3, 1e6)

    def output_shape(self, shapes: list[Shape]) -> Shape:
        columns = 2 * self.lanes_side + 1
        cells = columns * (self.patches_ahead + self.patches_behind)
        if cells == 0 or shapes[0] != (cells,):
            raise ValueError(f"gaps of a sensor of {cells} cells on shape {shapes[0]}; slice the cells out before it")
        return (columns * GAP_FEATURES,)

    def operations(self, shapes: list[Shape]) -> int:
        return 3 * size(shapes[0])

    def operands(self, shapes: list[Shape]) -> tuple[int, ...]:
        return (self.lanes_side, self.patches_ahead, self.patches_behind)

    def weights(self, tensors: Tensors) -> list[Any]:
        return [[self.empty]]


@dataclass(frozen=True, kw_only=True)
class SensorCells(Layer):
    """The sensor's cells of a perception network's predictions: free 1, off the image 0, a vehicle its speed.

    The image (H, W, 2), a cell of the road for each pixel, holds whether a vehicle is there (above 0) and its speed [80
    mph]. A run of occupied cells along a column is one vehicle, with the mean of its cells' speeds, within 0..1. The
    own car is at row `row`, in the column of the first largest score (second input, W values), else in the middle one.
    """

    kind: ClassVar[str] = "cells"
    arity: ClassVar[tuple[int, int]] = (1, 2)
    lanes_side: int = integer(REQUIRED, 0, MAX_LANES_SIDE)
    patches_ahead: int = integer(REQUIRED, 0, MAX_ROWS)
    patches_behind: int = integer(REQUIRED, 0, MAX_ROWS)
    row: int = integer(REQUIRED, 0, MAX_ROWS)
    empty: float = real(100.0, 1e-3, 1e6)

    def output_shape(self, shapes: list[Shape]) -> Shape:
        expect_axes(self, shapes[0], (3,))
        if shapes[0][2] != 2:
            raise ValueError(f"cells: an image must have 2 channels, vehicle and speed, got {shapes[0][2]}")
        if len(shapes) == 2 and shapes[1] != shapes[0][1:2]:
            raise ValueError(f"cells: {shapes[0][1]} columns need as many scores, not shape {shapes[1]}")
        return ((2 * self.lanes_side + 1) * (self.patches_ahead + self.patches_behind),)

    def operations(self, shapes: list[Shape]) -> int:
        return 2 * size(shapes[0]) + size(self.output_shape(shapes))

    def operands(self, shapes: list[Shape]) -> tuple[int, ...]:
        sensor = (self.lanes_side, self.patches_ahead, self.patches_behind)
        return (shapes[0][0], shapes[0][1], *sensor, self.row, int(len(shapes) > 1))

    def weights(self, tensors: Tensors) -> list[Any]:
        return [[self.empty]]


SENSOR_LAYERS: tuple[type[Layer], ...] = (Gaps, SensorCells)
