"""Interface of a layer of a policy file: parameters with limits, shapes, tensors, cost, and its kernel's operands.

A layer is one class (`layers.py`, `sensor_layers.py`). JSON form and schema (`manifest.py`), programs and the limits of
a network (`network.py`) are made from these classes. A new layer also needs a kernel (`kernels.py`), its line in
`forward` or in its group (`GROUPS` in `network.py`) and its row in FORMAT.md; tests fail where one is missing.

Shapes of values: (n,) a vector; (K, D) a set of K tokens; (H, W, C) an image, rows first, channels last. Values lie in
memory in that order, the last axis fastest.
"""

import math
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, ClassVar

from numpy.typing import NDArray

from deeptraffic.settings import check_value, integers

Shape = tuple[int, ...]
Tensors = dict[str, NDArray[Any]]

MAX_AXIS = 1 << 20  # entries along one axis
MAX_VALUE = 1 << 20  # size of one value
LOWEST = -1.7976931348623157e308  # the lowest finite float64
BIG = 1e300


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a network.

    inputs: the values it reads: 0 the network's input, k the output of layer k (from 1); empty: the value before
    """

    kind: ClassVar[str]
    arity: ClassVar[tuple[int, int]] = (1, 1)  # fewest and most inputs

    inputs: tuple[int, ...] = integers((), 0, 255, 0, 64)

    def __post_init__(self) -> None:
        for f in fields(self):
            value = check_value(f"{self.kind}.{f.name}", getattr(self, f.name), f.metadata["schema"])
            object.__setattr__(self, f.name, value)

    def output_shape(self, shapes: list[Shape]) -> Shape:
        """Shape of the output for inputs of these shapes; ValueError where they do not fit."""
        return shapes[0]

    def tensor_shapes(self, shapes: list[Shape]) -> dict[str, Shape]:
        """Names and shapes of the layer's tensors."""
        return {}

    def operations(self, shapes: list[Shape]) -> int:
        """Number of multiplications, about: what bounds the time of one decision."""
        return size(self.output_shape(shapes))

    def memory(self, shapes: list[Shape]) -> int:
        """Size of the state that the layer keeps per agent from one decision to the next."""
        return 0

    def work(self, shapes: list[Shape]) -> int:
        """Size of the intermediate results that the layer needs room for."""
        return 0

    def operands(self, shapes: list[Shape]) -> tuple[int, ...]:
        """Operands A, B, ... of the layer's kernel for inputs of these shapes."""
        return (size(shapes[0]) // shapes[0][-1], shapes[0][-1])

    def weights(self, tensors: Tensors) -> list[Any]:
        """Weights in the order in which the layer's kernel reads them."""
        return []

    def to_json(self) -> dict[str, Any]:
        """The layer as it stands in a manifest; parameters at their defaults are left out."""
        record: dict[str, Any] = {"type": self.kind}
        for f in fields(self):
            value = getattr(self, f.name)
            if value != f.default:
                record[f.name] = list(value) if isinstance(value, tuple) else value
        return record


def layer_from_json(record: Any, kinds: dict[str, type[Layer]], where: str) -> Layer:
    """Read one entry of a manifest's layer list; ValueError names the place and the error."""
    if not isinstance(record, dict):
        raise ValueError(f"{where} is {type(record).__name__}; a layer is an object with a type")
    kind = record.get("type")
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"{where}: unknown layer type {kind!r:.80}; this version knows {', '.join(sorted(kinds))}")
    known = {f.name: f for f in fields(kinds[kind])}
    check_keys(where, record, known, {"type"})
    parameters = {name: value for name, value in record.items() if name != "type"}
    try:
        return kinds[kind](**parameters)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def check_keys(where: str, record: dict[str, Any], known: dict[str, Field], also: set[str]) -> None:
    """Raise ValueError for a key that is unknown or one that is missing."""
    for name in record:
        if name not in known and name not in also:
            raise ValueError(f"{where}: unknown key {name!r:.80}; known are {', '.join([*also, *known])}")
    for name, f in known.items():
        if name not in record and f.default is MISSING and f.default_factory is MISSING:
            raise ValueError(f"{where}: {name} is missing")


def size(shape: Shape) -> int:
    """Return the number of entries of a value of this shape."""
    return math.prod(shape)


def expect_axes(layer: Layer, shape: Shape, axes: tuple[int, ...]) -> None:
    """Raise ValueError unless the number of axes is one of `axes`."""
    names = {1: "a vector (n,)", 2: "a set (K, D)", 3: "an image (H, W, C)"}
    if len(shape) not in axes:
        wanted = " or ".join(names[n] for n in axes)
        raise ValueError(f"{layer.kind} takes {wanted}, not shape {shape}; put a reshape or flatten before it")
