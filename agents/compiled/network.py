"""Compiled network of dense layers: forward pass and gradients, in single precision.

A layer is dense, then optionally normalised (Ba et al. 2016, arXiv:1607.06450), then activated. Its weights are a part
of one array of all parameters; a table of layers says where. Samples are the inner loop of everything, at most `TILE`
at a time, so that a vector unit computes several of them at once and all values stay in the cache.

    >>> net = new_network(((42, 64, 64, 5),), activation="relu", layer_norm=True)
    >>> tape = new_tape(net, learns=False)
    >>> predict(net, tape, obs, np.arange(3))[0][:, :3]    # obs (B, 42) -> (5, 3) outputs

Actor and critic are two branches from the same inputs: ((42, 64, 64, 5), (42, 64, 64, 1)) has 6 outputs.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.export import Weights
from deeptraffic.sim.compiled import learner_compiled
from deeptraffic.sim.state import I64

F32 = NDArray[np.float32]

TILE = 128  # samples that are computed together
WHOLE = 64  # samples that fill the registers of any vector unit, unrolled four times
NORM_EPSILON = 1e-5  # torch's

# columns of the table of layers: sizes; whether it is normalised; activation; first of its weights (then come biases,
# scales and shifts) among the parameters; rows of its input, its normalised sums and its output among the values
INPUTS, OUTPUTS, NORM, ACTIVATION, WEIGHTS, FROM, SUMS, TO = range(8)
LINEAR, RELU, TANH = range(3)
ACTIVATIONS = {"relu": RELU, "tanh": TANH}


class CompiledNet(NamedTuple):
    """A network of L layers with P parameters.

    layers: (L, 8) int64, see above: the hidden layers of each branch in turn, then the last layer of each branch
    params: (P,) float32 per layer weights (outputs, inputs), biases, and if normalised scales and shifts
    outputs: O, of all branches together
    """

    layers: I64
    params: F32
    outputs: int


class Tape(NamedTuple):
    """Values and derivatives of up to `TILE` samples, R rows in all layers.

    values: (R, TILE) float32, the network's inputs in the first rows, its outputs in the last
    deltas: (R, TILE) float32 derivatives of the loss by the values
    rates: (L, TILE) float32 1 / standard deviation of each normalised layer
    gradient: (P,) float32 summed over samples
    """

    values: F32
    deltas: F32
    rates: F32
    gradient: F32


def new_network(branches: Sequence[tuple[int, ...]], activation: str, layer_norm: bool) -> CompiledNet:
    """Return a network of zeros.

    branches: of each, the numbers of inputs (of all branches the same ones), of each hidden layer's units, of outputs
    """
    rows, heads, place, row = [], [], 0, branches[0][0]
    for sizes in branches:
        source = 0
        for inputs, outputs in pairwise(sizes[:-1]):
            to = row + outputs if layer_norm else row
            rows.append([inputs, outputs, layer_norm, ACTIVATIONS[activation], place, source, row, to])
            place, row, source = place + outputs * (inputs + 1 + 2 * layer_norm), to + outputs, to
        heads.append((*sizes[-2:], source))
    for inputs, outputs, source in heads:
        rows.append([inputs, outputs, False, LINEAR, place, source, row, row])
        place, row = place + outputs * (inputs + 1), row + outputs
    return CompiledNet(np.array(rows, np.int64), np.zeros(place, np.float32), sum(sizes[-1] for sizes in branches))


@learner_compiled
def new_tape(net: CompiledNet, learns: bool) -> Tape:
    """Return a tape; learns: whether gradients will be computed on it."""
    last, layers = net.layers[-1], net.layers.shape[0]
    rows, kept = last[TO] + last[OUTPUTS], TILE if learns else 0
    return Tape(
        np.zeros((rows, TILE), np.float32),
        np.zeros((rows, kept), np.float32),
        np.zeros((layers, TILE), np.float32),
        np.zeros(net.params.size if learns else 0, np.float32),
    )


def layer_params(net: CompiledNet, params: F32 | None = None) -> list[dict[str, F32]]:
    """Return views of each layer's parts, "weight" and "bias", and of a normalised one "norm_weight" and "norm_bias".

    params: (P,) that they are views of; None for the network's own
    """
    flat, found = net.params if params is None else params, []
    for row in net.layers:
        inputs, outputs, at = row[INPUTS], row[OUTPUTS], row[WEIGHTS] + row[INPUTS] * row[OUTPUTS]
        names = ("bias", "norm_weight", "norm_bias") if row[NORM] else ("bias",)
        parts = {"weight": flat[row[WEIGHTS] : at].reshape(outputs, inputs)}
        found.append(parts | {name: flat[at + k * outputs : at + (k + 1) * outputs] for k, name in enumerate(names)})
    return found


def branch_params(net: CompiledNet, branch: int, branches: int) -> list[dict[str, F32]]:
    """Return the views of `layer_params` of one of so many branches with equally many layers."""
    parts = layer_params(net)
    hidden = len(parts) // branches - 1
    return [*parts[branch * hidden : (branch + 1) * hidden], parts[branches * hidden + branch]]


def initialise(layers: list[dict[str, F32]], rng: np.random.Generator) -> None:
    """Draw weights and biases uniformly in +-1 / sqrt(inputs), as torch does; scales are 1 and shifts 0."""
    for parts in layers:
        bound = 1.0 / math.sqrt(parts["weight"].shape[1])
        for name in ("weight", "bias"):
            parts[name][:] = rng.uniform(-bound, bound, parts[name].shape)
        if "norm_weight" in parts:
            parts["norm_weight"][:], parts["norm_bias"][:] = 1.0, 0.0


def initialise_orthogonal(layers: list[dict[str, F32]], rng: np.random.Generator, gains: Sequence[float]) -> None:
    """Draw orthogonal weights (Saxe et al. 2014, arXiv:1312.6120) times a gain of each layer; biases are 0."""
    for parts, gain in zip(layers, gains, strict=True):
        rows, columns = parts["weight"].shape
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        q *= np.sign(np.diag(r))
        parts["weight"][:] = gain * (q if rows >= columns else q.T)


def layer_weights(layers: list[dict[str, F32]]) -> Weights:
    """Return copies of parameters as `agents.export.to_network` reads them: `k.weight`, `k.bias`, `k.norm_*`."""
    return {f"{k}.{name}": array.copy() for k, parts in enumerate(layers) for name, array in parts.items()}


# --- forward ----------------------------------------------------------------------------------------------------------


@learner_compiled
def predict(net: CompiledNet, tape: Tape, x: F32, rows: I64) -> tuple[F32, F32]:
    """Return views of the outputs (O, S) of samples, rows of x (M, D), and of their derivatives, see `outputs`."""
    for s in range(rows.size):
        sample = x[rows[s]]
        for i in range(sample.size):
            tape.values[i, s] = sample[i]
    forward(net, tape, rows.size)
    return outputs(net, tape)


@learner_compiled
def outputs(net: CompiledNet, tape: Tape) -> tuple[F32, F32]:
    """Return views of the outputs (O, S) and of the derivatives of the loss by them, which `backward` starts from."""
    first = tape.values.shape[0] - net.outputs
    return tape.values[first:], tape.deltas[first:]


@learner_compiled
def forward(net: CompiledNet, tape: Tape, samples: int) -> None:
    """Compute all layers for the samples whose inputs are in the first rows of the tape's values.

    Those of a vector unit's whole registers are computed: it would round the odd ones at the end in another order, and
    a sample's outputs would depend on how many there are.
    """
    samples = min(TILE, (samples + WHOLE - 1) // WHOLE * WHOLE)
    for k in range(net.layers.shape[0]):
        layer, values = net.layers[k], tape.values
        inputs, outputs = layer[INPUTS], layer[OUTPUTS]
        bias = layer[WEIGHTS] + inputs * outputs
        weights = net.params[layer[WEIGHTS] : bias].reshape(outputs, inputs)
        sums, out = values[layer[SUMS] : layer[SUMS] + outputs], values[layer[TO] : layer[TO] + outputs]
        x = values[layer[FROM] : layer[FROM] + inputs]
        multiply(weights, net.params[bias:], x, nonzero_rows(x, samples), sums, samples)
        if layer[NORM]:
            normalise(net.params[bias + outputs :], sums, out, tape.rates[k], samples)
        activate(layer[ACTIVATION], out, samples)


@learner_compiled
def nonzero_rows(x: F32, samples: int) -> I64:
    """Return the indices of the rows of x (K, S) that are not 0 in all samples."""
    rows, count = np.empty(x.shape[0], np.int64), 0
    for k in range(x.shape[0]):
        for s in range(samples):
            if x[k, s] != np.float32(0.0):
                rows[count] = k
                count += 1
                break
    return rows[:count]


@learner_compiled
def multiply(weights: F32, bias: F32, x: F32, rows: I64, y: F32, samples: int) -> None:
    """Write weights (O, K) times x (K, S), plus bias (O,), to y (O, S): four outputs and four inputs at a time.

    rows: of x that are not 0. Each is added to the sum of those before it, so that leaving out others changes no bit.
    """
    outputs, whole = weights.shape[0], rows.size // 4 * 4
    for o in range(0, outputs - 3, 4):
        y0, y1, y2, y3 = y[o], y[o + 1], y[o + 2], y[o + 3]
        w0, w1, w2, w3 = weights[o], weights[o + 1], weights[o + 2], weights[o + 3]
        for s in range(samples):
            y0[s], y1[s], y2[s], y3[s] = bias[o], bias[o + 1], bias[o + 2], bias[o + 3]
        for j in range(0, whole, 4):
            k, m, n, q = rows[j], rows[j + 1], rows[j + 2], rows[j + 3]
            x0, x1, x2, x3 = x[k], x[m], x[n], x[q]
            a0, a1, a2, a3 = w0[k], w1[k], w2[k], w3[k]
            b0, b1, b2, b3 = w0[m], w1[m], w2[m], w3[m]
            c0, c1, c2, c3 = w0[n], w1[n], w2[n], w3[n]
            d0, d1, d2, d3 = w0[q], w1[q], w2[q], w3[q]
            for s in range(samples):
                t, u, v, w = x0[s], x1[s], x2[s], x3[s]
                y0[s] = (((y0[s] + a0 * t) + b0 * u) + c0 * v) + d0 * w
                y1[s] = (((y1[s] + a1 * t) + b1 * u) + c1 * v) + d1 * w
                y2[s] = (((y2[s] + a2 * t) + b2 * u) + c2 * v) + d2 * w
                y3[s] = (((y3[s] + a3 * t) + b3 * u) + c3 * v) + d3 * w
        for k in rows[whole:]:
            for p in range(o, o + 4):
                add_scaled(weights[p, k], x[k], y[p], samples)
    for o in range(outputs - outputs % 4, outputs):
        y[o, :samples] = bias[o]
        for k in rows:
            add_scaled(weights[o, k], x[k], y[o], samples)


@learner_compiled
def add_scaled(factor: float, x: F32, y: F32, samples: int) -> None:
    """Add factor * x to y, both (S,)."""
    for s in range(samples):
        y[s] += factor * x[s]


@learner_compiled
def normalise(scales: F32, x: F32, y: F32, rate: F32, samples: int) -> None:
    """Normalise each sample of x (O, S) in place; write scale * x + shift to y and 1 / deviation to rate (S,).

    scales: (O,) scales, then as many shifts
    """
    outputs = x.shape[0]
    mean, square = np.zeros(TILE, np.float32), np.zeros(TILE, np.float32)
    for o in range(outputs):
        for s in range(samples):
            mean[s] += x[o, s]
    share = np.float32(1.0) / np.float32(outputs)
    for s in range(samples):
        mean[s] *= share
    for o in range(outputs):
        for s in range(samples):
            x[o, s] -= mean[s]
            square[s] += x[o, s] * x[o, s]
    for s in range(samples):
        rate[s] = np.float32(1.0) / np.sqrt(square[s] * share + np.float32(NORM_EPSILON))
    for o in range(outputs):
        scale, shift = scales[o], scales[outputs + o]
        for s in range(samples):
            x[o, s] *= rate[s]
            y[o, s] = scale * x[o, s] + shift


@learner_compiled
def activate(kind: int, y: F32, samples: int) -> None:
    """Apply the activation to y (O, S) in place."""
    for o in range(y.shape[0]):
        if kind == RELU:
            for s in range(samples):
                y[o, s] = max(y[o, s], np.float32(0.0))
        elif kind == TANH:
            for s in range(samples):
                y[o, s] = tanh(y[o, s])


@learner_compiled
def tanh(x: np.float32) -> np.float32:
    """Return tanh to 4e-7 without a branch: a quotient of polynomials, within the +-7.9 where float32 reaches 1.

    Coefficients: the Eigen library's (Benoit Steiner 2014, `generic_fast_tanh_float`).
    """
    x = min(max(x, np.float32(-7.9)), np.float32(7.9))
    q = x * x
    p = np.float32(-2.76076847742355e-16)
    p = p * q + np.float32(2.00018790482477e-13)
    p = p * q + np.float32(-8.60467152213735e-11)
    p = p * q + np.float32(5.12229709037114e-08)
    p = p * q + np.float32(1.48572235717979e-05)
    p = p * q + np.float32(6.37261928875436e-04)
    p = p * q + np.float32(4.89352455891786e-03)
    d = np.float32(1.19825839466702e-06)
    d = d * q + np.float32(1.18534705686654e-04)
    d = d * q + np.float32(2.26843463243900e-03)
    d = d * q + np.float32(4.89352518554385e-03)
    return x * p / d


# --- gradients --------------------------------------------------------------------------------------------------------


@learner_compiled
def backward(net: CompiledNet, tape: Tape, samples: int, sparse: bool = False) -> None:
    """Add the gradients of the samples of the last `forward` to the tape's.

    sparse: also compute the derivatives by the inputs that are not 0, and leave out all rows of zeros
    """
    if sparse:
        tape.deltas[: net.layers[0, INPUTS], :samples] = np.float32(0.0)
    for k in range(net.layers.shape[0] - 1, -1, -1):
        layer, deltas = net.layers[k], tape.deltas
        inputs, outputs = layer[INPUTS], layer[OUTPUTS]
        bias = layer[WEIGHTS] + inputs * outputs
        weights, gradient = net.params[layer[WEIGHTS] : bias], tape.gradient
        out, sums = deltas[layer[TO] : layer[TO] + outputs], deltas[layer[SUMS] : layer[SUMS] + outputs]
        activate_backward(layer[ACTIVATION], tape.values[layer[TO] :], out, samples)
        if layer[NORM]:
            x, scales = tape.values[layer[SUMS] :], bias + outputs
            normalise_backward(net.params[scales:], x, tape.rates[k], out, sums, gradient[scales:], samples)
        x, below = tape.values[layer[FROM] : layer[FROM] + inputs], deltas[layer[FROM] : layer[FROM] + inputs]
        rows = nonzero_rows(sums, samples) if sparse else np.arange(outputs)
        columns = nonzero_rows(x, samples) if sparse else np.arange(inputs)
        add_products(sums, rows, x, columns, gradient[layer[WEIGHTS] : bias].reshape(outputs, inputs), samples)
        for o in rows:
            total = np.float32(0.0)
            for s in range(samples):
                total += sums[o, s]
            gradient[bias + o] += total
        if layer[FROM] > 0:
            below[:, :samples] = np.float32(0.0)
        if layer[FROM] > 0 or sparse:
            add_transposed(weights.reshape(outputs, inputs), sums, rows, below, columns, samples)


@learner_compiled
def activate_backward(kind: int, y: F32, delta: F32, samples: int) -> None:
    """Multiply delta (O, S) by the activation's derivative where its value is y."""
    for o in range(delta.shape[0]):
        if kind == RELU:
            for s in range(samples):
                delta[o, s] = delta[o, s] if y[o, s] > np.float32(0.0) else np.float32(0.0)
        elif kind == TANH:
            for s in range(samples):
                delta[o, s] *= np.float32(1.0) - y[o, s] * y[o, s]


@learner_compiled
def normalise_backward(scales: F32, x: F32, rate: F32, delta: F32, below: F32, gradient: F32, samples: int) -> None:
    """Write the derivatives by a normalisation's inputs to below (O, S), given those by its outputs, delta (O, S).

    x: (O, S) normalised values; gradient: of scales and shifts, which is added to
    """
    outputs = delta.shape[0]
    mean, product = np.zeros(TILE, np.float32), np.zeros(TILE, np.float32)
    for o in range(outputs):
        d, value, result, scale = delta[o], x[o], below[o], scales[o]
        by_scale, by_shift = np.float32(0.0), np.float32(0.0)
        for s in range(samples):
            by_scale += d[s] * value[s]
            by_shift += d[s]
        gradient[o] += by_scale
        gradient[outputs + o] += by_shift
        for s in range(samples):
            result[s] = scale * d[s]
        for s in range(samples):
            mean[s] += result[s]
        for s in range(samples):
            product[s] += result[s] * value[s]
    share = np.float32(1.0) / np.float32(outputs)
    for s in range(samples):
        mean[s] *= share
        product[s] *= share
    for o in range(outputs):
        value, result = x[o], below[o]
        for s in range(samples):
            result[s] = rate[s] * (result[s] - mean[s] - value[s] * product[s])


@learner_compiled
def add_products(delta: F32, rows: I64, x: F32, columns: I64, gradient: F32, samples: int) -> None:
    """Add delta (O, S) times x (K, S) transposed to gradient (O, K): four rows and two columns at a time.

    rows: of delta that are not 0; columns: of the gradient, whose x is not 0
    """
    for i in range(0, rows.size - 3, 4):
        o0, o1, o2, o3 = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        d0, d1, d2, d3 = delta[o0], delta[o1], delta[o2], delta[o3]
        for j in range(0, columns.size - 1, 2):
            k, m = columns[j], columns[j + 1]
            x0, x1 = x[k], x[m]
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = np.float32(0.0)
            for s in range(samples):
                a0 += d0[s] * x0[s]
                a1 += d1[s] * x0[s]
                a2 += d2[s] * x0[s]
                a3 += d3[s] * x0[s]
                b0 += d0[s] * x1[s]
                b1 += d1[s] * x1[s]
                b2 += d2[s] * x1[s]
                b3 += d3[s] * x1[s]
            gradient[o0, k] += a0
            gradient[o1, k] += a1
            gradient[o2, k] += a2
            gradient[o3, k] += a3
            gradient[o0, m] += b0
            gradient[o1, m] += b1
            gradient[o2, m] += b2
            gradient[o3, m] += b3
        if columns.size % 2:
            k = columns[-1]
            for p in rows[i : i + 4]:
                gradient[p, k] += dot(delta[p], x[k], samples)
    for o in rows[rows.size - rows.size % 4 :]:
        for k in columns:
            gradient[o, k] += dot(delta[o], x[k], samples)


@learner_compiled
def dot(x: F32, y: F32, samples: int) -> np.float32:
    """Return the sum of products of x and y, both (S,)."""
    total = np.float32(0.0)
    for s in range(samples):
        total += x[s] * y[s]
    return total


@learner_compiled
def add_transposed(weights: F32, delta: F32, rows: I64, below: F32, columns: I64, samples: int) -> None:
    """Add weights (O, K), transposed, times delta (O, S) to below (K, S): two outputs and four inputs at a time.

    rows: of delta that are not 0; columns: of the weights, whose rows of `below` are added to
    """
    for j in range(0, columns.size - 3, 4):
        k0, k1, k2, k3 = columns[j], columns[j + 1], columns[j + 2], columns[j + 3]
        y0, y1, y2, y3 = below[k0], below[k1], below[k2], below[k3]
        for i in range(0, rows.size - 1, 2):
            o, p = rows[i], rows[i + 1]
            d0, d1 = delta[o], delta[p]
            a0, a1, a2, a3 = weights[o, k0], weights[o, k1], weights[o, k2], weights[o, k3]
            b0, b1, b2, b3 = weights[p, k0], weights[p, k1], weights[p, k2], weights[p, k3]
            for s in range(samples):
                u, v = d0[s], d1[s]
                y0[s] += a0 * u + b0 * v
                y1[s] += a1 * u + b1 * v
                y2[s] += a2 * u + b2 * v
                y3[s] += a3 * u + b3 * v
        if rows.size % 2:
            o = rows[-1]
            for k in columns[j : j + 4]:
                add_scaled(weights[o, k], delta[o], below[k], samples)
    for k in columns[columns.size - columns.size % 4 :]:
        for o in rows:
            add_scaled(weights[o, k], delta[o], below[k], samples)
