"""Layers of a policy file: what every agent of this package needs, and no more.

Each class documents its arithmetic. Sums run in index order from 0.0, the bias comes last, everything is float64. Names
and semantics follow PyTorch, except that images are (H, W, C); layers of the original game's library (ConvNetJS) differ
where their docstring says so. Layers that know the road are in `sensor_layers.py`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from deeptraffic.policies.layer import BIG, LOWEST, MAX_AXIS, Layer, Shape, Tensors, expect_axes, size
from deeptraffic.policies.sensor_layers import SENSOR_LAYERS
from deeptraffic.settings import REQUIRED, boolean, choice, integer, integers, real

# --- arranging values ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Reshape(Layer):
    """The same values in another shape."""

    kind: ClassVar[str] = "reshape"
    shape: tuple[int, ...] = integers(REQUIRED, 1, MAX_AXIS, 1, 3)

    def output_shape(self, shapes: list[Shape]) -> Shape:
        if size(self.shape) != size(shapes[0]):
            raise ValueError(f"reshape to {self.shape} needs {size(self.shape)} values, not {size(shapes[0])}")
        return self.shape


@dataclass(frozen=True, kw_only=True)
class Flatten(Layer):
    """Any shape to a vector; order "chw" reads an image channel by channel, as PyTorch's flatten does."""

    kind: ClassVar[str] = "flatten"
    order: Literal["hwc", "chw"] = choice("hwc", "hwc", "chw")

    def output_shape(self, shapes: list[Shape]) -> Shape:
        if self.order == "chw":
            expect_axes(self, shapes[0], (3,))
        return (size(shapes[0]),)


@dataclass(frozen=True, kw_only=True)
class Concat(Layer):
    """Values one behind the other along their last axis."""

    kind: ClassVar[str] = "concat"
    arity: ClassVar[tuple[int, int]] = (1, 64)

    def output_shape(self, shapes: list[Shape]) -> Shape:
        if len({shape[:-1] for shape in shapes}) != 1:
            raise ValueError(f"concat of shapes {shapes}: all axes but the last must agree")
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))


@dataclass(frozen=True, kw_only=True)
class Add(Layer):
    """Sum of values of one shape, in the order of the inputs."""

    kind: ClassVar[str] = "add"
    arity: ClassVar[tuple[int, int]] = (2, 64)

    def output_shape(self, shapes: list[Shape]) -> Shape:
        if len(set(shapes)) != 1:
            raise ValueError(f"add of shapes {shapes}: they must be equal")
        return shapes[0]


@dataclass(frozen=True, kw_only=True)
class Slice(Layer):
    """Entries start..stop-1 of the last axis."""

    kind: ClassVar[str] = "slice"
    start: int = integer(REQUIRED, 0, MAX_AXIS)
    stop: int = integer(REQUIRED, 1, MAX_AXIS)

    def output_shape(self, shapes: list[Shape]) -> Shape:
        if not self.start < self.stop <= shapes[0][-1]:
            raise ValueError(f"slice {self.start}..{self.stop} of a last axis of {shapes[0][-1]} entries")
        return (*shapes[0][:-1], self.stop - self.start)


# --- weighted sums ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Dense(Layer):
    """Along the last axis: y[o] = sum over i of weight[o, i] * x[i], + bias[o]."""

    kind: ClassVar[str] = "dense"
    outputs: int = integer(REQUIRED, 1, MAX_AXIS)
    bias: bool = boolean(True)

    def output_shape(self, shapes: list[Shape]) -> Shape:
        return (*shapes[0][:-1], self.outputs)

    def tensor_shapes(self, shapes: list[Shape]) -> dict[str, Shape]:
        weight: dict[str, Shape] = {"weight": (self.outputs, shapes[0][-1])}
        return weight | {"bias": (self.outputs,)} if self.bias else weight

    def operations(self, shapes: list[Shape]) -> int:
        return size(shapes[0]) * self.outputs

    def operands(self, shapes: list[Shape]) -> tuple[int, ...]:
        return (*super().operands(shapes), self.outputs, int(self.bias))

    def weights(self, tensors: Tensors) -> list[Any]:
        return [tensors["weight"].T, *([tensors["bias"]] if self.bias else [])]


@dataclass(frozen=True, kw_only=True)
class Conv2d(Layer):
    """Cross-correlation of an image; the window starts at out * stride - padding, cells outside are skipped.

    Sums run over window rows, then columns, then channels. weight (filters, kh, kw, C), bias (filters,).
    """

    kind: ClassVar[str] = "conv2d"
    filters: int = integer(REQUIRED, 1, 4096)
    kernel: tuple[int, ...] = integers(REQUIRED, 1, 256, 2, 2)
    stride: tuple[int, ...] = integers((1, 1), 1, 256, 2, 2)
    padding: tuple[int, ...] = integers((0, 0), 0, 256, 2, 2)
    bias: bool = boolean(True)

    def output_shape(self, shapes: list[Shape]) -> Shape:
        expect_axes(self, shapes[0], (3,))
        return (*windows(self, shapes[0]), self.filters)

    def tensor_shapes(self, shapes: list[Shape]) -> dict[str, Shape]:
        weight = {"weight": (self.filters, *self.kernel, shapes[0][2])}
        return weight | {"bias": (self.filters,)} if self.bias else weight

    def operations(self, shapes: list[Shape]) -> int:
        return size(self.output_shape(shapes)) * size(self.kernel) * shapes[0][2]

    def operands(self, shapes: list[Shape]) -> tuple[int, ...]:
        return (*shapes[0], self.filters, *self.kernel, self.output_shape(shapes)[1])

    def weights(self, tensors: Tensors) -> list[Any]:
        window = [*self.stride, *self.padding, float(self.bias)]
        weight = np.transpose(tensors["weight"], (1, 2, 3, 0))
        return [window, weight, *([tensors["bias"]] if self.bias else [])]


@dataclass(frozen=True, kw_only=True)
class MaxPool(Layer):
    """Largest value of each window and channel, at least `floor`; cells outside are skipped (ConvNetJS: -99999)."""

    kind: ClassVar[str] = "maxpool"
    kernel: tuple[int, ...] = integers(REQUIRED, 1, 256, 2, 2)
    stride: tuple[int, ...] = integers(REQUIRED, 1, 256, 2, 2)
    padding: tuple[int, ...] = integers((0, 0), 0, 256, 2, 2)
    floor: float = real(LOWEST, LOWEST, BIG)

    def output_shape(self, shapes: list[Shape]) -> Shape:
        expect_axes(self, shapes[0], (3,))
        return (*windows(self, shapes[0]), shapes[0][2])

    def operations(self, shapes: list[Shape]) -> int:
        return size(self.output_shape(shapes)) * size(self.kernel)

    def operands(self, shapes: list[Shape]) -> tuple[int, ...]:
        return (*shapes[0], *self.kernel, self.output_shape(shapes)[1])

    def weights(self, tensors: Tensors) -> list[Any]:
        return [[*self.stride, *self.padding, self.floor]]


def windows(layer: Conv2d | MaxPool, shape: Shape) -> tuple[int, int]:
    """Rows and columns of windows: floor((n + 2 * padding - kernel) / stride) + 1; ValueError if none fits."""
    rows, columns = (
        (n + 2 * p - k) // s + 1
        for n, k, s, p in zip(shape[:2], layer.kernel, layer.stride, layer.padding, strict=True)
    )
    if rows < 1 or columns < 1:
        raise ValueError(f"{layer.kind}: a window of {layer.kernel} does not fit into {shape[:2]} cells")
    if any(2 * p > k for p, k in zip(layer.padding, layer.kernel, strict=True)) and layer.kind == "maxpool":
        raise ValueError(f"maxpool: padding {layer.padding} is more than half of the window {layer.kernel}")
    return rows, columns


# --- normalising --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Scale(Layer):
    """x * factor + offset, one pair for "all" or one per entry of the last axis ("feature"); a folded batch norm."""

    kind: ClassVar[str] = "scale"
    per: Literal["all", "feature"] = choice("feature", "all", "feature")

    def tensor_shapes(self, shapes: list[Shape]) -> dict[str, Shape]:
        shape = (1,) if self.per == "all" else shapes[0][-1:]
        return {"factor": shape, "offset": shape}

    def operands(self, shapes: list[Shape]) -> tuple[int, ...]:
        return (1 if self.per == "all" else shapes[0][-1],)

    def weights(self, tensors: Tensors) -> list[Any]:
        return [tensors["factor"], tensors["offset"]]


@dataclass(frozen=True, kw_only=True)
class Clip(Layer):
    """Values below `low` become low, above `high` high."""

    kind: ClassVar[str] = "clip"
    low: float = real(REQUIRED, -BIG, BIG)
    high: float = real(REQUIRED, -BIG, BIG)

    def output_shape(self, shapes: list[Shape]) -> Shape:
        if self.low > self.high:
            raise ValueError(f"clip: low {self.low} is above high {self.high}")
        return shapes[0]

    def weights(self, tensors: Tensors) -> list[Any]:
        return [[self.low, self.high]]


@dataclass(frozen=True, kw_only=True)
class LayerNorm(Layer):
    """Along the last axis: (x - mean) / sqrt(variance + epsilon) * weight + bias (Ba et al. 2016, arXiv:1607.06450)."""

    kind: ClassVar[str] = "layer_norm"
    epsilon: float = real(1e-5, 0.0, 1.0)

    def tensor_shapes(self, shapes: list[Shape]) -> dict[str, Shape]:
        return {"weight": shapes[0][-1:], "bias": shapes[0][-1:]}

    def weights(self, tensors: Tensors) -> list[Any]:
        return [[self.epsilon], tensors["weight"], tensors["bias"]]


@dataclass(frozen=True, kw_only=True)
class Lrn(Layer):
    """ConvNetJS's response normalisation: x / (k + alpha / n * sum of squares over n neighbouring depths) ** beta."""

    kind: ClassVar[str] = "lrn"
    n: int = integer(REQUIRED, 1, 4097)
    k: float = real(REQUIRED, -BIG, BIG)
    alpha: float = real(REQUIRED, -BIG, BIG)
    beta: float = real(REQUIRED, -BIG, BIG)

    def operations(self, shapes: list[Shape]) -> int:
        return size(shapes[0]) * self.n

    def operands(self, shapes: list[Shape]) -> tuple[int, ...]:
        return (*super().operands(shapes), self.n)

    def weights(self, tensors: Tensors) -> list[Any]:
        return [[self.k, self.alpha, self.beta]]


# --- nonlinearities -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Relu(Layer):
    """0 where x < 0, else x."""

    kind: ClassVar[str] = "relu"


@dataclass(frozen=True, kw_only=True)
class LeakyRelu(Layer):
    """slope * x where x < 0, else x."""

    kind: ClassVar[str] = "leaky_relu"
    slope: float = real(0.01, -1e3, 1e3)

    def weights(self, tensors: Tensors) -> list[Any]:
        return [[self.slope]]


@dataclass(frozen=True, kw_only=True)
class Elu(Layer):
    """alpha * (exp(x) - 1) where x < 0, else x."""

    kind: ClassVar[str] = "elu"
    alpha: float = real(1.0, -1e3, 1e3)

    def weights(self, tensors: Tensors) -> list[Any]:
        return [[self.alpha]]


@dataclass(frozen=True, kw_only=True)
class Tanh(Layer):
    """tanh; form "convnetjs" is (y - 1) / (y + 1) with y = exp(2 x), which is NaN once y overflows (x > 354.89)."""

    kind: ClassVar[str] = "tanh"
    form: Literal["standard", "convnetjs"] = choice("standard", "standard", "convnetjs")

    def operands(self, shapes: list[Shape]) -> tuple[int, ...]:
        return (int(self.form == "convnetjs"),)


@dataclass(frozen=True, kw_only=True)
class Sigmoid(Layer):
    """1 / (1 + exp(-x))."""

    kind: ClassVar[str] = "sigmoid"


@dataclass(frozen=True, kw_only=True)
class Gelu(Layer):
    """0.5 x (1 + erf(x / sqrt 2)), or its tanh approximation (Hendrycks and Gimpel 2016, arXiv:1606.08415)."""

    kind: ClassVar[str] = "gelu"
    approximate: Literal["none", "tanh"] = choice("none", "none", "tanh")

    def operands(self, shapes: list[Shape]) -> tuple[int, ...]:
        return (int(self.approximate == "tanh"),)


@dataclass(frozen=True, kw_only=True)
class Softmax(Layer):
    """Along the last axis: exp(x - max) over the sum of these."""

    kind: ClassVar[str] = "softmax"


@dataclass(frozen=True, kw_only=True)
class Maxout(Layer):
    """Along the last axis: the largest of each consecutive group (Goodfellow et al. 2013, arXiv:1302.4389)."""

    kind: ClassVar[str] = "maxout"
    group: int = integer(REQUIRED, 1, MAX_AXIS)

    def output_shape(self, shapes: list[Shape]) -> Shape:
        if shapes[0][-1] < self.group:
            raise ValueError(f"maxout: {shapes[0][-1]} entries do not fill one group of {self.group}")
        return (*shapes[0][:-1], shapes[0][-1] // self.group)

    def operations(self, shapes: list[Shape]) -> int:
        return size(shapes[0])

    def operands(self, shapes: list[Shape]) -> tuple[int, ...]:
        return (*super().operands(shapes), self.group)


@dataclass(frozen=True, kw_only=True)
class Dropout(Layer):
    """x * factor: ConvNetJS multiplies by drop_prob at test time (PyTorch's dropout does nothing, so is no layer)."""

    kind: ClassVar[str] = "dropout"
    factor: float = real(REQUIRED, 0.0, 1.0)

    def weights(self, tensors: Tensors) -> list[Any]:
        return [[self.factor]]


# --- memory -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Recurrent(Layer):
    """A cell whose state lives with the vehicle: zero when its memory is cleared, updated once per decision."""

    gates: ClassVar[int]
    hidden: int = integer(REQUIRED, 1, 4096)

    def output_shape(self, shapes: list[Shape]) -> Shape:
        expect_axes(self, shapes[0], (1,))
        return (self.hidden,)

    def tensor_shapes(self, shapes: list[Shape]) -> dict[str, Shape]:
        rows = self.gates * self.hidden
        return {
            "weight_input": (rows, shapes[0][0]),
            "weight_hidden": (rows, self.hidden),
            "bias_input": (rows,),
            "bias_hidden": (rows,),
        }

    def operations(self, shapes: list[Shape]) -> int:
        return self.gates * self.hidden * (shapes[0][0] + self.hidden)

    def memory(self, shapes: list[Shape]) -> int:
        return self.hidden

    def work(self, shapes: list[Shape]) -> int:
        return 2 * self.gates * self.hidden

    def weights(self, tensors: Tensors) -> list[Any]:
        names = ("weight_input", "weight_hidden", "bias_input", "bias_hidden")
        return [tensors[name].T for name in names]


@dataclass(frozen=True, kw_only=True)
class Rnn(_Recurrent):
    """h' = tanh((W_i x + b_i) + (W_h h + b_h)) (Elman 1990); the output is h'."""

    kind: ClassVar[str] = "rnn"
    gates: ClassVar[int] = 1


@dataclass(frozen=True, kw_only=True)
class Gru(_Recurrent):
    """Gates r, z, n in PyTorch's order: n = tanh(i_n + r * h_n), h' = (1 - z) * n + z * h (Cho et al. 2014)."""

    kind: ClassVar[str] = "gru"
    gates: ClassVar[int] = 3


@dataclass(frozen=True, kw_only=True)
class Lstm(_Recurrent):
    """Gates i, f, g, o in PyTorch's order: c' = f * c + i * g, h' = o * tanh(c') (Hochreiter and Schmidhuber 1997)."""

    kind: ClassVar[str] = "lstm"
    gates: ClassVar[int] = 4

    def memory(self, shapes: list[Shape]) -> int:
        return 2 * self.hidden


# --- sets of vehicles, heads ---------------------------------------------------------------------------------------


def expect_mask(layer: Layer, shapes: list[Shape]) -> None:
    """Raise ValueError unless the first input is a set (K, D) and the second, if any, has K entries."""
    expect_axes(layer, shapes[0], (2,))
    if len(shapes) == 2 and size(shapes[1]) != shapes[0][0]:
        raise ValueError(f"{layer.kind}: {shapes[0][0]} tokens need a mask of as many entries, not shape {shapes[1]}")


@dataclass(frozen=True, kw_only=True)
class Attention(Layer):
    """Self-attention over a set (K, D), softmax(q k / sqrt(D / heads)) v (Vaswani 2017, arXiv:1706.03762, eq. 1).

    A second input of K entries is the mask: only tokens whose entry is above 0 are attended to (none: the sum is 0).
    weight_in (3 D, D) and bias_in (3 D,) hold q, k, v one below the other; weight_out (D, D), bias_out (D,).
    """

    kind: ClassVar[str] = "attention"
    arity: ClassVar[tuple[int, int]] = (1, 2)
    heads: int = integer(1, 1, 256)

    def output_shape(self, shapes: list[Shape]) -> Shape:
        expect_mask(self, shapes)
        if shapes[0][1] % self.heads:
            raise ValueError(f"attention: {shapes[0][1]} features do not divide into {self.heads} heads")
        return shapes[0]

    def tensor_shapes(self, shapes: list[Shape]) -> dict[str, Shape]:
        d = shapes[0][1]
        return {"weight_in": (3 * d, d), "bias_in": (3 * d,), "weight_out": (d, d), "bias_out": (d,)}

    def operations(self, shapes: list[Shape]) -> int:
        k, d = shapes[0]
        return 4 * k * d * d + 2 * k * k * d

    def work(self, shapes: list[Shape]) -> int:
        k, d = shapes[0]
        return 4 * k * d + k

    def operands(self, shapes: list[Shape]) -> tuple[int, ...]:
        return (*shapes[0], self.heads, int(len(shapes) > 1))

    def weights(self, tensors: Tensors) -> list[Any]:
        return [tensors[name].T for name in ("weight_in", "bias_in", "weight_out", "bias_out")]


@dataclass(frozen=True, kw_only=True)
class SetPool(Layer):
    """A set (K, D) to one vector (D,): max, sum or mean over the tokens that the mask (second input) shows; none: 0."""

    kind: ClassVar[str] = "set_pool"
    arity: ClassVar[tuple[int, int]] = (1, 2)
    mode: Literal["mean", "max", "sum"] = choice("mean", "mean", "max", "sum")

    def output_shape(self, shapes: list[Shape]) -> Shape:
        expect_mask(self, shapes)
        return shapes[0][1:]

    def operations(self, shapes: list[Shape]) -> int:
        return size(shapes[0])

    def operands(self, shapes: list[Shape]) -> tuple[int, ...]:
        return (*shapes[0], ("mean", "max", "sum").index(self.mode), int(len(shapes) > 1))


@dataclass(frozen=True, kw_only=True)
class Dueling(Layer):
    """Inputs value (1,), advantages (n,): value + (advantage - mean advantage) (Wang 2016, arXiv:1511.06581, eq. 9)."""

    kind: ClassVar[str] = "dueling"
    arity: ClassVar[tuple[int, int]] = (2, 2)

    def output_shape(self, shapes: list[Shape]) -> Shape:
        if size(shapes[0]) != 1:
            raise ValueError(f"dueling: the first input must be the state's value, shape (1,), got {shapes[0]}")
        expect_axes(self, shapes[1], (1,))
        return shapes[1]


def _leaves(kind: type[Layer]) -> list[type[Layer]]:
    below = [leaf for child in kind.__subclasses__() for leaf in _leaves(child)]
    return below or [kind]


LAYER_KINDS: dict[str, type[Layer]] = {kind.kind: kind for kind in (*_leaves(Layer), *SENSOR_LAYERS)}
