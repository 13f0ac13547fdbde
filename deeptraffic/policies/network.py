"""Neural network of a fixed set of layers: checked as a whole, laid out in flat arrays, and run by compiled code.

    >>> network = Network(420, (Dense(outputs=24), Relu(), Dense(outputs=5)), tensors)
    >>> program = network.assemble()
    >>> program.run(obs)                    # (420,) float64 -> (5,) float64

`Program.net` is a few arrays, so that other compiled code can run the network inside its own loops: `forward` reads the
input from the start of the scratch buffer and leaves the output at `Net.out`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from deeptraffic.policies import kernels as k
from deeptraffic.policies import layers as v
from deeptraffic.policies.layer import MAX_VALUE, Layer, Shape, Tensors, size
from deeptraffic.policies.layers import LAYER_KINDS
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.state import F64, I64

MAX_LAYERS = 255
MAX_SCRATCH = 4_000_000  # [floats] all values and intermediate results of one decision
MAX_OPERATIONS = 50_000_000  # multiplications of one decision
MAX_MEMORY = 65_536  # [floats] per vehicle

COPY, TRANSPOSE, ADD = 0, 1, 2  # what `forward` does for concat, slice, flatten and add
CODES = {kind: code for code, kind in enumerate(LAYER_KINDS, start=3)}  # and for each other kind of layer


class Net(NamedTuple):
    """An assembled network as compiled code takes it.

    table: (K, 16) int64 one row per operation, columns as `kernels.py` names them
    weights: (W,) float64
    scratch: (S,) float64 the input first; intermediate values; the output at `out`
    out, outputs: where the output starts in scratch, and its size
    groups: for each of `GROUPS` 1 if the network has such layers, else None: code compiled for None leaves the group
        out, and compiles in a fraction of the time
    """

    table: I64
    weights: F64
    scratch: F64
    out: int
    outputs: int
    groups: tuple[int | None, ...]


class Program(NamedTuple):
    """An assembled network and its sizes.

    net: for compiled code
    inputs: size of the input
    memory: M, size of the state that recurrent layers keep per agent
    places: where each value starts in scratch, and its size: of the input, then of each layer's output
    """

    net: Net
    inputs: int
    memory: int
    places: tuple[tuple[int, int], ...]

    def run(self, x: F64, memory: F64 | None = None) -> F64:
        """Return the output (outputs,) for the input (inputs,); memory (M,) is read and updated, zeros if not given."""
        if x.shape != (self.inputs,):
            raise ValueError(f"an input of shape {x.shape} into a network of {self.inputs} inputs")
        self.net.scratch[: self.inputs] = x
        forward(self.net, np.zeros(self.memory) if memory is None else memory)
        return self.values()[-1]

    def values(self) -> list[F64]:
        """Return the values of the input and of every layer in the last forward pass."""
        return [self.net.scratch[at : at + size].copy() for at, size in self.places]


@dataclass(frozen=True)
class Network:
    """Layers over an input vector of `inputs` values; tensors are named `<index of the layer, from 1>.<name>`.

    Raises ValueError where shapes do not fit, a tensor is missing, superfluous, of another shape or not finite, or the
    network is too large to run.
    """

    inputs: int
    layers: tuple[Layer, ...]
    tensors: Tensors

    def __post_init__(self) -> None:
        if not 1 <= len(self.layers) <= MAX_LAYERS:
            raise ValueError(f"number of layers must be in [1, {MAX_LAYERS}], got {len(self.layers)}")
        if not 1 <= self.inputs <= MAX_VALUE:
            raise ValueError(f"inputs must be an integer in [1, {MAX_VALUE}], got {self.inputs}")
        self.check_size()
        self.check_tensors()

    def shapes(self) -> list[Shape]:
        """Shapes of all values: the input's, then each layer's output."""
        shapes: list[Shape] = [(self.inputs,)]
        for number, layer in enumerate(self.layers, start=1):
            given = [shapes[i] for i in self.sources(number)]
            low, high = layer.arity
            if not low <= len(given) <= high:
                raise ValueError(f"layer {number} ({layer.kind}) must have {low} to {high} inputs, got {len(given)}")
            try:
                shape = layer.output_shape(given)
            except ValueError as error:
                raise ValueError(f"layer {number}: {error}") from None
            if not 0 < size(shape) <= MAX_VALUE:
                raise ValueError(f"layer {number} ({layer.kind}) has {size(shape)} outputs, at most {MAX_VALUE}")
            shapes.append(shape)
        return shapes

    def sources(self, number: int) -> tuple[int, ...]:
        """Values that layer `number` (from 1) reads: 0 is the input, k layer k's output."""
        given = self.layers[number - 1].inputs
        inputs = given if len(given) > 0 else (number - 1,)
        if max(inputs) >= number:
            raise ValueError(f"layer {number} reads value {max(inputs)}, which does not exist before it")
        return inputs

    def given_shapes(self) -> list[list[Shape]]:
        """Shapes of the inputs of each layer."""
        shapes = self.shapes()
        return [[shapes[i] for i in self.sources(number)] for number in range(1, len(self.layers) + 1)]

    def tensor_shapes(self) -> dict[str, Shape]:
        """Names and shapes of the tensors that the layers need."""
        needed = {}
        for number, (layer, given) in enumerate(zip(self.layers, self.given_shapes(), strict=True), start=1):
            for name, shape in layer.tensor_shapes(given).items():
                needed[f"{number}.{name}"] = shape
        return needed

    @property
    def outputs(self) -> int:
        """Size of the output."""
        return size(self.shapes()[-1])

    @property
    def inputs_read(self) -> int:
        """Number of the first inputs that the layers read: fewer where the first takes a slice of them."""
        readers = [layer for number, layer in enumerate(self.layers, start=1) if 0 in self.sources(number)]
        return max((layer.stop if isinstance(layer, v.Slice) else self.inputs for layer in readers), default=0)

    @property
    def parameters(self) -> int:
        """Number of parameters of all layers."""
        return sum(size(shape) for shape in self.tensor_shapes().values())

    @property
    def multiplications(self) -> int:
        """Number of multiplications of one decision, about."""
        return sum(layer.operations(given) for layer, given in zip(self.layers, self.given_shapes(), strict=True))

    def check_size(self) -> None:
        """Raise ValueError if the network is too large to run."""
        shapes, given = self.shapes(), self.given_shapes()
        pairs = list(zip(self.layers, given, strict=True))
        limits = {
            "values of scratch": (sum(map(size, shapes)) + sum(layer.work(g) for layer, g in pairs), MAX_SCRATCH),
            "multiplications": (sum(layer.operations(g) for layer, g in pairs), MAX_OPERATIONS),
            "values of memory": (sum(layer.memory(g) for layer, g in pairs), MAX_MEMORY),
        }
        for what, (value, limit) in limits.items():
            if value > limit:
                raise ValueError(f"the network needs {value} {what}, at most {limit}: make its layers smaller")

    def check_tensors(self) -> None:
        """Raise ValueError for a tensor that is missing, superfluous, of another shape or not finite."""
        needed = self.tensor_shapes()
        for name, _ in needed.items():
            if name not in self.tensors:
                raise ValueError(f"tensor {name!r} is missing")
        for name, _ in self.tensors.items():
            if name not in needed:
                raise ValueError(f"tensor {name!r:.80} belongs to no layer")
        for name, shape in needed.items():
            if self.tensors[name].shape != shape:
                raise ValueError(f"tensor {name!r} has shape {self.tensors[name].shape}; its layer needs {shape}")
            if not all_finite(self.tensors[name]):
                raise ValueError(f"tensor {name!r} holds a value that is not finite")

    def assemble(self) -> Program:
        """Return the network as flat arrays."""
        assembler = Assembler(self)
        assembler.add_layers()
        weights = np.concatenate([np.empty(0), *assembler.weights]).astype(np.float64)
        table = np.array(assembler.rows, np.int64).reshape(-1, k.COLUMNS)
        at, outputs = assembler.at, size(assembler.shapes[-1])
        codes = set(table[:, k.CODE].tolist())
        groups = tuple(1 if codes & set(group) else None for group in GROUPS)
        net = Net(table, weights, np.zeros(assembler.scratch), at[-1], outputs, groups)
        return Program(net, self.inputs, assembler.memory, tuple(zip(at, map(size, assembler.shapes), strict=True)))


def all_finite(tensor: F64) -> bool:
    """Whether a tensor holds neither infinity nor NaN."""
    return bool(np.isfinite(tensor).all())


class Assembler:
    """Lays a network out in flat lists.

    rows: of the table; weights: of each operation, flat; scratch, memory: values that are needed
    at: where each value starts in scratch: the input, then each layer's output; shapes: of these values
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.rows: list[list[int]] = []
        self.weights: list[F64] = []
        self.used_weights = 0
        self.scratch = network.inputs
        self.memory = 0
        self.at: list[int] = [0]
        self.shapes = network.shapes()

    def add_layers(self) -> None:
        """Lay out every layer."""
        for number, layer in enumerate(self.network.layers, start=1):
            self.add_layer(number, layer)

    def add_layer(self, number: int, layer: Layer) -> None:
        """Lay out layer `number`, from 1."""
        sources = self.network.sources(number)
        given, shape = [self.shapes[i] for i in sources], self.shapes[number]
        if isinstance(layer, v.Reshape) or (isinstance(layer, v.Flatten) and layer.order == "hwc"):
            self.at.append(self.at[sources[0]])
            return
        place = self.reserve(size(shape))
        self.at.append(place)
        row = [0 for _ in range(0, k.COLUMNS)]
        row[k.INPUT], row[k.INPUT_SIZE] = self.at[sources[0]], size(given[0])
        row[k.OUTPUT], row[k.OUTPUT_SIZE] = place, size(shape)
        if isinstance(layer, v.Concat | v.Add | v.Slice | v.Flatten):
            self.arrange(layer, row, sources, given, shape)
            return
        row[k.SECOND] = self.at[sources[1]] if len(sources) > 1 else 0
        row[k.CODE], row[k.WEIGHTS], row[k.STATE] = CODES[layer.kind], self.used_weights, self.memory
        row[k.WORK] = self.reserve(layer.work(given))
        tensors = {name: self.network.tensors[f"{number}.{name}"] for name, _ in layer.tensor_shapes(given).items()}
        for i, operand in enumerate(layer.operands(given), start=k.A):
            row[i] = operand
        self.rows.append(row)
        self.memory += layer.memory(given)
        for part in layer.weights(tensors):
            flat = np.ravel(part)
            self.weights.append(flat)
            self.used_weights += len(flat)

    def arrange(self, layer: Layer, row: list[int], sources: tuple[int, ...], given: list[Shape], shape: Shape) -> None:
        """Lay out a layer that only moves or adds values, an operation for each of its inputs."""
        width, start = shape[-1], 0
        for i, (source, g) in enumerate(zip(sources, given, strict=True), start=0):
            step = row.copy()
            step[k.INPUT] = self.at[source]
            if isinstance(layer, v.Add) and i > 0:
                step[k.CODE] = ADD
            elif isinstance(layer, v.Flatten):
                step[k.CODE], step[k.A], step[k.B] = TRANSPOSE, g[0] * g[1], g[2]
            elif isinstance(layer, v.Slice):
                step[k.INPUT] += layer.start
                step[k.A], step[k.B], step[k.C], step[k.D] = size(shape) // width, width, g[-1], width
            else:
                step[k.OUTPUT] += start
                step[k.A], step[k.B], step[k.C], step[k.D] = size(g) // g[-1], g[-1], g[-1], width
                start += g[-1] if isinstance(layer, v.Concat) else 0
            self.rows.append(step)

    def reserve(self, count: int) -> int:
        """Return where so many further values of scratch start."""
        place = self.scratch
        self.scratch += count
        return place


DENSE, CONV2D, MAXPOOL, SCALE = (CODES[kind] for kind in ("dense", "conv2d", "maxpool", "scale"))
CLIP, LAYER_NORM, LRN, RELU = (CODES[kind] for kind in ("clip", "layer_norm", "lrn", "relu"))
LEAKY_RELU, ELU, TANH, SIGMOID = (CODES[kind] for kind in ("leaky_relu", "elu", "tanh", "sigmoid"))
GELU, SOFTMAX, MAXOUT, DROPOUT = (CODES[kind] for kind in ("gelu", "softmax", "maxout", "dropout"))
RNN, GRU, LSTM, ATTENTION = (CODES[kind] for kind in ("rnn", "gru", "lstm", "attention"))
SET_POOL, DUELING, GAPS, CELLS = (CODES[kind] for kind in ("set_pool", "dueling", "gaps", "cells"))
GROUPS = (  # kinds of layers that many networks do not have, see `Net.groups`; the others are in `forward` itself
    (LAYER_NORM, ADD),
    (CONV2D, TRANSPOSE),
    (MAXPOOL, LRN),
    (RNN, GRU, LSTM),
    (ATTENTION, SET_POOL, DUELING, CELLS),
    (SIGMOID, LEAKY_RELU, ELU, GELU, SOFTMAX, CLIP, MAXOUT, DROPOUT),
)
EVERY_GROUP = (1,) * len(GROUPS)


@compiled
def forward(net: Net, memory: F64) -> None:
    """Run a network: input at the start of its scratch; memory (M,) is one agent's."""
    scratch, weights, groups = net.scratch, net.weights, net.groups
    for i in range(net.table.shape[0]):
        op = net.table[i]
        code = op[k.CODE]
        if code == DENSE:
            k.dense(op, scratch, weights)
        elif code == RELU:
            k.relu(op, scratch)
        elif code == TANH:
            k.tanh_layer(op, scratch)
        elif code == SCALE:
            k.scale(op, scratch, weights)
        elif code == GAPS:
            k.gaps(op, scratch, weights)
        elif code == COPY:
            k.copy_columns(op, scratch)
        else:
            run_norm(groups[0], op, scratch, weights)
            run_convolution(groups[1], op, scratch, weights)
            run_pooling(groups[2], op, scratch, weights)
            run_recurrent(groups[3], op, scratch, weights, memory)
            run_set(groups[4], op, scratch, weights)
            run_activation(groups[5], op, scratch, weights)


# Each runs the operation if it is of its group; only of an argument does the compiler know that it is None.


@compiled
def run_norm(group: int | None, op: I64, s: F64, w: F64) -> None:
    """Layer norm and sums."""
    if group is not None:
        if op[k.CODE] == LAYER_NORM:
            k.layer_norm(op, s, w)
        elif op[k.CODE] == ADD:
            k.add(op, s)


@compiled
def run_convolution(group: int | None, op: I64, s: F64, w: F64) -> None:
    """Convolutions."""
    if group is not None:
        if op[k.CODE] == CONV2D:
            k.conv2d(op, s, w)
        elif op[k.CODE] == TRANSPOSE:
            k.transpose(op, s)


@compiled
def run_pooling(group: int | None, op: I64, s: F64, w: F64) -> None:
    """Layers of images beside convolutions."""
    if group is not None:
        if op[k.CODE] == MAXPOOL:
            k.maxpool(op, s, w)
        elif op[k.CODE] == LRN:
            k.lrn(op, s, w)


@compiled
def run_recurrent(group: int | None, op: I64, s: F64, w: F64, memory: F64) -> None:
    """Recurrent layers."""
    if group is not None:
        if op[k.CODE] == RNN:
            k.rnn(op, s, w, memory)
        elif op[k.CODE] == GRU:
            k.gru(op, s, w, memory)
        elif op[k.CODE] == LSTM:
            k.lstm(op, s, w, memory)


@compiled
def run_set(group: int | None, op: I64, s: F64, w: F64) -> None:
    """Layers of sets of vehicles, and heads."""
    if group is not None:
        if op[k.CODE] == ATTENTION:
            k.attention(op, s, w)
        elif op[k.CODE] == SET_POOL:
            k.set_pool(op, s)
        elif op[k.CODE] == DUELING:
            k.dueling(op, s)
        elif op[k.CODE] == CELLS:
            k.cells(op, s, w)


@compiled
def run_activation(group: int | None, op: I64, s: F64, w: F64) -> None:
    """Activations that are rare."""
    if group is not None:
        if op[k.CODE] == SIGMOID:
            k.sigmoid_layer(op, s)
        elif op[k.CODE] == LEAKY_RELU:
            k.leaky_relu(op, s, w)
        elif op[k.CODE] == ELU:
            k.elu(op, s, w)
        elif op[k.CODE] == GELU:
            k.gelu(op, s)
        elif op[k.CODE] == SOFTMAX:
            k.softmax(op, s)
        elif op[k.CODE] == CLIP:
            k.clip(op, s, w)
        elif op[k.CODE] == MAXOUT:
            k.maxout(op, s)
        elif op[k.CODE] == DROPOUT:
            k.dropout(op, s, w)
