"""Write a network as a file that the original game loads, drives with and evaluates.

    >>> text = write_convnetjs(network, Sensor(3, 50, 10), label="mine")
    >>> read_convnetjs(text, "mine").policy()              # acts as it will in the original game

The original knows dense layers with relu, tanh, sigmoid and maxout. What else is linear is folded into the next
layer: scales, small convolutions, slices, concatenations and dueling heads; lane gaps become a dense layer with relu.
Sums are then taken in another order, so check the file by its own decisions: import it again and compare.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.policies import layers as v
from deeptraffic.policies.gaps import GAP_FEATURES, SAFETY_AHEAD
from deeptraffic.policies.layer import Layer
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import ACTIONS, input_size
from deeptraffic.policies.sensor_layers import Gaps
from deeptraffic.sim.rules import FULL_SPEED, VEHICLE_CELLS, Sensor

MAX_WEIGHTS = 2_000_000  # about 16 bytes each in the file
EMPTY = 100.0  # the published game's rule set
CLOSED = 60.0  # what a gate adds per missing free cell: more than any value that it lets through
SLOWEST_FREE = 0.05  # an occupied cell reads at most 2 * 2.02 / 100
INSTEAD = "train a network of dense layers with relu (`--encoder` none), or evaluate the policy file here"

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Stage:
    """A dense layer and what follows it: relu, tanh, sigmoid, maxout:GROUP, dropout:FACTOR or nothing."""

    weight: Matrix  # (outputs, inputs)
    bias: Matrix  # (outputs,)
    activation: str


@dataclass(frozen=True)
class Affine:
    """A value as matrix @ (outputs of the last stage) + offset; matrix None is that output itself."""

    stage: int
    matrix: Matrix | None
    offset: Matrix


def write_convnetjs(
    network: Network,
    sensor: Sensor,
    temporal_window: int = 0,
    other_agents: int = 0,
    label: str = "policy",
    epsilon: float = 0.0,
    random_actions: Sequence[float] = (),
) -> str:
    """Return the text of a complete original file; ValueError, with what to do instead, where none can be written.

    epsilon, random_actions: with which the game acts at random while it evaluates the file, as `NetworkPolicy` does
    """
    if network.inputs != input_size(sensor, temporal_window) or network.outputs != ACTIONS:
        raise ValueError(
            f"a network of {network.inputs} inputs and {network.outputs} outputs does not fit a sensor of "
            f"{sensor.size} cells with temporal window {temporal_window} and {ACTIONS} actions"
        )
    stages = dense_stages(network)
    weights = {"layers": _layer_records(network.inputs, stages)}
    random = [f"opt.epsilon_test_time = {float(epsilon)!r};"]
    if random_actions:
        random.append(f"opt.random_action_distribution = {[float(p) for p in random_actions]};")
    settings = _settings(stages, sensor, temporal_window, other_agents, label, random)
    return f"{settings}\n/*###########*/\nif (brain) {{\nbrain.value_net.fromJSON({json.dumps(weights)});\n}}\n"


def dense_stages(network: Network) -> list[Stage]:
    """Return the network as dense layers, the last without activation."""
    return _Unroller(network).unroll()


class _Unroller:
    def __init__(self, network: Network) -> None:
        self.network = network
        self.shapes = network.shapes()
        self.stages: list[Stage] = []
        self.width = network.inputs  # outputs of the last stage
        self.values = [Affine(0, None, np.zeros(network.inputs))]

    def unroll(self) -> list[Stage]:
        for number, layer in enumerate(self.network.layers, start=1):
            given = [self.values[i] for i in self.network.sources(number)]
            if any(value.stage != len(self.stages) for value in given):
                raise ValueError(
                    f"layer {number} ({layer.kind}) reads a value from before an activation, which dense layers in "
                    f"a row cannot pass on; {INSTEAD}"
                )
            self.values.append(self.add(number, layer, given))
        self.finish(self.values[-1], "")
        return self.stages

    def add(self, number: int, layer: Layer, given: list[Affine]) -> Affine:
        x = given[0]
        match layer:
            case v.Reshape() | v.Flatten(order="hwc"):
                return x
            case v.Relu() | v.Sigmoid() | v.Tanh():
                return self.finish(x, layer.kind)
            case v.Maxout():
                return self.finish(x, f"maxout:{layer.group}")
            case v.Dropout():
                return self.apply(x, np.eye(self.size(x)) * layer.factor, 0.0)
            case Gaps():
                return self.gaps(layer, x)
        matrix, offset = self.linear(number, layer)
        if len(given) == 1:
            return self.apply(x, matrix, offset)
        stacked = np.concatenate([self.as_matrix(value) for value in given])
        offsets = np.concatenate([value.offset for value in given])
        return Affine(x.stage, matrix @ stacked, matrix @ offsets + offset)

    def linear(self, number: int, layer: Layer) -> tuple[Matrix, Matrix | float]:
        """A linear layer as (matrix, offset) on its inputs, one behind the other."""
        shapes = [self.shapes[i] for i in self.network.sources(number)]
        sizes = [int(np.prod(shape)) for shape in shapes]
        t = {name.split(".")[1]: x for name, x in self.network.tensors.items() if name.split(".")[0] == str(number)}
        places = np.arange(sum(sizes))
        match layer:
            case v.Dense():
                bias = np.asarray(t["bias"], float) if layer.bias else np.zeros(layer.outputs)
                tokens = sizes[0] // shapes[0][-1]
                weight = np.asarray(t["weight"], float)
                return (weight, bias) if tokens == 1 else (np.kron(np.eye(tokens), weight), np.tile(bias, tokens))
            case v.Scale():
                repeat = sizes[0] // t["factor"].size
                return np.diag(np.tile(t["factor"].astype(float), repeat)), np.tile(t["offset"].astype(float), repeat)
            case v.Conv2d():
                return self.convolution(number, layer, t)
            case v.Flatten():
                return np.eye(sizes[0])[places.reshape(shapes[0]).transpose(2, 0, 1).ravel()], 0.0
            case v.Slice():
                return np.eye(sizes[0])[places.reshape(shapes[0])[..., layer.start : layer.stop].ravel()], 0.0
            case v.Concat():
                ends = np.cumsum(sizes)
                parts = [places[end - n : end].reshape(s) for end, n, s in zip(ends, sizes, shapes, strict=True)]
                return np.eye(sum(sizes))[np.concatenate(parts, axis=-1).ravel()], 0.0
            case v.Add():
                return np.concatenate([np.eye(sizes[0])] * len(sizes), axis=1), 0.0
            case v.Dueling():
                n = sizes[1]
                return np.concatenate([np.ones((n, 1)), np.eye(n) - 1.0 / n], axis=1), 0.0
        raise ValueError(f"layer {number} ({layer.kind}) has no counterpart in the original game; {INSTEAD}")

    def convolution(self, number: int, layer: v.Conv2d, t: dict[str, Any]) -> tuple[Matrix, Matrix]:
        """The convolution as one matrix over rows, columns, channels."""
        (rows, columns, channels), (out_rows, out_columns, filters) = (
            self.shapes[self.network.sources(number)[0]],
            self.shapes[number],
        )
        self.check_weights(rows * columns * channels * out_rows * out_columns * filters)
        matrix = np.zeros((out_rows, out_columns, filters, rows, columns, channels))
        for i in range(out_rows):
            for j in range(out_columns):
                for a in range(layer.kernel[0]):
                    for b in range(layer.kernel[1]):
                        y, x = i * layer.stride[0] + a - layer.padding[0], j * layer.stride[1] + b - layer.padding[1]
                        if 0 <= y < rows and 0 <= x < columns:
                            matrix[i, j, :, y, x, :] += t["weight"][:, a, b, :]
        bias = np.tile(t["bias"].astype(float), out_rows * out_columns) if layer.bias else 0.0
        offset = np.zeros(out_rows * out_columns * filters) + bias
        return matrix.reshape(out_rows * out_columns * filters, -1), offset

    def gaps(self, layer: Gaps, x: Affine) -> Affine:
        """Lane gaps as one dense layer with relu, whose outputs the features are sums of."""
        if layer.empty != EMPTY:
            raise ValueError(
                f"gaps under the rule set of 2017 (empty={layer.empty}); the published game is that of 2018"
            )
        units, features, constant = _gap_units(layer)
        self.finish(self.apply(x, units[:, :-1], units[:, -1]), "relu")
        return Affine(len(self.stages), features, constant)

    def apply(self, x: Affine, matrix: Matrix, offset: Matrix | float) -> Affine:
        if x.matrix is None:
            return Affine(x.stage, matrix, np.zeros(len(matrix)) + offset)
        return Affine(x.stage, matrix @ x.matrix, matrix @ x.offset + offset)

    def as_matrix(self, x: Affine) -> Matrix:
        return np.eye(self.width) if x.matrix is None else x.matrix

    def size(self, x: Affine) -> int:
        return self.width if x.matrix is None else len(x.matrix)

    def finish(self, x: Affine, activation: str) -> Affine:
        """Make a value the output of a new stage."""
        matrix = self.as_matrix(x)
        self.check_weights(sum(stage.weight.size for stage in self.stages) + matrix.size)
        self.stages.append(Stage(matrix, x.offset, activation))
        group = int(activation.split(":")[1]) if activation.startswith("maxout") else 1
        self.width = len(matrix) // group
        return Affine(len(self.stages), None, np.zeros(self.width))

    def check_weights(self, count: int) -> None:
        if count > MAX_WEIGHTS:
            raise ValueError(
                f"as dense layers the network has {count} weights, a file of about {count * 16 // 1_000_000} MB; at "
                f"most {MAX_WEIGHTS} are written: see less far (patches_ahead) or take smaller layers"
            )


def _gap_units(layer: Gaps) -> tuple[Matrix, Matrix, Matrix]:
    """The gap features of `gaps.py` as constant + features @ relu(units @ (cells, 1)).

    With c = 1 in a free cell and c <= SLOWEST_FREE in an occupied one, `1 + 2 (sum of c - k)` is 1 if k cells are free
    and below 0 otherwise; a speed passes a gate that CLOSED shuts; a free cell's own 1 is taken out by a second unit.
    """
    columns, rows = 2 * layer.lanes_side + 1, layer.patches_ahead + layer.patches_behind
    speed = EMPTY / FULL_SPEED
    units: list[Matrix] = []
    terms: list[tuple[int, int, float]] = []  # feature, unit, factor

    def unit(cells: dict[int, float], offset: float, feature: int, factor: float) -> None:
        row = np.zeros(columns * rows + 1)
        for cell, weight in cells.items():
            row[cell] = weight
        row[-1] = offset
        terms.append((feature, len(units), factor))
        units.append(row)

    def all_free(cells: list[int], feature: int, factor: float) -> None:
        unit(dict.fromkeys(cells, 2.0), 1.0 - 2.0 * len(cells), feature, factor)

    def first(cells: list[int], distance: int, of: int) -> None:
        for n in range(1, len(cells) + 1):
            gate, cell = dict.fromkeys(cells[: n - 1], CLOSED), cells[n - 1]
            shut = -CLOSED * (n - 1)
            steep = speed / (1.0 - SLOWEST_FREE)
            all_free(cells[:n], distance, 1.0 / of)
            unit(gate | {cell: speed}, shut, distance + 1, 1.0)
            unit(gate | {cell: steep}, shut - steep * SLOWEST_FREE, distance + 1, -1.0)

    constant = np.zeros(columns * GAP_FEATURES)
    for s in range(columns):
        own, at = s == layer.lanes_side, s * GAP_FEATURES
        lane = [k * columns + s for k in range(rows)]
        ahead = lane[: layer.patches_ahead][::-1]
        first(ahead, at, max(layer.patches_ahead, 1))
        if ahead:
            all_free(ahead, at + 1, 1.0)
        else:
            constant[at + 1] = 1.0
        first(lane[layer.patches_ahead + (VEHICLE_CELLS if own else 0) :], at + 2, max(layer.patches_behind, 1))
        last = layer.patches_ahead + (0 if own else VEHICLE_CELLS)
        safety = lane[max(0, layer.patches_ahead - SAFETY_AHEAD) : last]
        if safety:
            all_free(safety, at + 4, 1.0)
        else:
            constant[at + 4] = 1.0
        constant[at + 5] = 1.0
        unit(dict.fromkeys(lane, -1.0), 1.0, at + 5, -1.0)  # min(1, sum) = 1 - relu(1 - sum)
    features = np.zeros((columns * GAP_FEATURES, len(units)))
    for feature, index, factor in terms:
        features[feature, index] = factor
    return np.array(units), features, constant


# --- text ---------------------------------------------------------------------------------------------------------


def _vol(values: Matrix) -> dict[str, Any]:
    numbers = (int(x) if x == int(x) and abs(x) < 1e15 else float(x) for x in values)
    return {"sx": 1, "sy": 1, "depth": len(values), "w": {str(i): x for i, x in enumerate(numbers)}}


def _layer_records(inputs: int, stages: list[Stage]) -> list[dict[str, Any]]:
    """The library's JSON of the network."""

    def layer(kind: str, depth: int, **more: Any) -> dict[str, Any]:
        return {"out_depth": depth, "out_sx": 1, "out_sy": 1, "layer_type": kind, **more}

    records = [layer("input", inputs)]
    for stage in stages:
        outputs, given = stage.weight.shape
        filters, biases = [_vol(row) for row in stage.weight], _vol(stage.bias)
        decay = {"l1_decay_mul": 0, "l2_decay_mul": 1}
        records.append(layer("fc", outputs, num_inputs=given, **decay, filters=filters, biases=biases))
        kind, _, group = stage.activation.partition(":")
        if kind == "maxout":
            records.append(layer(kind, outputs // int(group), group_size=int(group)))
        elif kind:
            records.append(layer(kind, outputs))
    records.append(layer("regression", ACTIONS, num_inputs=ACTIONS))
    return records


def _settings(
    stages: list[Stage], sensor: Sensor, window: int, other_agents: int, label: str, random: list[str]
) -> str:
    name = "".join(c if c.isprintable() and c not in "<>*/\\" else " " for c in label)[:80]
    hidden = []
    for stage in stages[:-1]:
        kind, _, group = stage.activation.partition(":")
        more = f", group_size: {group}" if group else ""
        neurons = len(stage.weight)
        hidden.append(f"layer_defs.push({{ type: 'fc', num_neurons: {neurons}, activation: '{kind}'{more} }});")
    return f"""// {name}
lanesSide = {sensor.lanes_side};
patchesAhead = {sensor.patches_ahead};
patchesBehind = {sensor.patches_behind};
trainIterations = 10000;
otherAgents = {other_agents};

var num_inputs = (lanesSide * 2 + 1) * (patchesAhead + patchesBehind);
var num_actions = {ACTIONS};
var temporal_window = {window};
var network_size = num_inputs * temporal_window + num_actions * temporal_window + num_inputs;

var layer_defs = [];
layer_defs.push({{ type: 'input', out_sx: 1, out_sy: 1, out_depth: network_size }});
{chr(10).join(hidden)}
layer_defs.push({{ type: 'regression', num_neurons: num_actions }});

var tdtrainer_options = {{ learning_rate: 0.001, momentum: 0.0, batch_size: 64, l2_decay: 0.01 }};

var opt = {{}};
opt.temporal_window = temporal_window;
opt.experience_size = 3000;
opt.start_learn_threshold = 500;
opt.gamma = 0.9;
opt.learning_steps_total = 10000;
opt.learning_steps_burnin = 1000;
opt.epsilon_min = 0.0;
{chr(10).join(random)}
opt.layer_defs = layer_defs;
opt.tdtrainer_options = tdtrainer_options;

brain = new deepqlearn.Brain(num_inputs, num_actions, opt);

learn = function (state, lastReward) {{
    brain.backward(lastReward);
    var action = brain.forward(state);

    draw_net();
    draw_stats();

    return action;
}}
"""
