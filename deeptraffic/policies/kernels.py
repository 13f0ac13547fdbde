"""The compiled layers. Each reads and writes the scratch buffer `s` at offsets that its row `op` of the table holds.

Sums start at 0.0 and take their inputs in index order, the bias last. Where a layer has many outputs the loop over the
outputs is the inner one and weights are stored input by input: each output still adds up in its own order, but a vector
unit adds several at once. Nothing here reorders a sum, skips a zero or fuses a multiplication with an addition.

Columns of the table (`network.py` fills them): CODE the layer kind, X and N offset and count of the first input, Y and
M of the output, W the layer's place in the weights, U the second input, H the vehicle's memory, T room for intermediate
results, then A..F, whole numbers of the layer's own.
"""

import math

import numpy as np

from deeptraffic.policies.exponential import erf, exp, sigmoid, tanh, tanh_convnetjs
from deeptraffic.policies.gaps import gap_features
from deeptraffic.sim.compiled import compiled

CODE, X, N, Y, M, W, U, H, T, A, B, C, D, E, F, G = range(16)
COLUMNS = 16


# --- arranging values ---------------------------------------------------------------------------------------------


@compiled
def copy_columns(op: np.ndarray, s: np.ndarray) -> None:
    """A rows of B numbers, apart by C in the input and by D in the output (concat, slice, flatten)."""
    for k in range(op[A]):
        x, y = op[X] + k * op[C], op[Y] + k * op[D]
        for i in range(op[B]):
            s[y + i] = s[x + i]


@compiled
def transpose(op: np.ndarray, s: np.ndarray) -> None:
    """(A, B) to (B, A)."""
    for i in range(op[A]):
        for j in range(op[B]):
            s[op[Y] + j * op[A] + i] = s[op[X] + i * op[B] + j]


@compiled
def add(op: np.ndarray, s: np.ndarray) -> None:
    """Output plus first input, into the output."""
    for i in range(op[M]):
        s[op[Y] + i] += s[op[X] + i]


# --- weighted sums ------------------------------------------------------------------------------------------------


@compiled
def matmul(s: np.ndarray, x: int, y: int, w: np.ndarray, weight: int, bias: int, inputs: int, outputs: int) -> None:
    """y[o] = sum over i of w[weight + i * outputs + o] * s[x + i], + w[bias + o] if bias >= 0."""
    result = s[y : y + outputs]
    for o in range(outputs):
        result[o] = 0.0
    for i in range(inputs):
        xi = s[x + i]
        row = w[weight + i * outputs : weight + (i + 1) * outputs]
        for o in range(outputs):
            result[o] += xi * row[o]
    if bias >= 0:
        row = w[bias : bias + outputs]
        for o in range(outputs):
            result[o] += row[o]


@compiled
def dense(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """A tokens of B inputs to C outputs; D says whether a bias follows the weights."""
    bias = op[W] + op[B] * op[C] if op[D] else -1
    for k in range(op[A]):
        matmul(s, op[X] + k * op[B], op[Y] + k * op[C], w, op[W], bias, op[B], op[C])


@compiled
def conv2d(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """Image and window sizes, strides and paddings come first in the weights' integer table: see `_window`."""
    rows, columns, channels, filters = op[A], op[B], op[C], op[D]
    kh, kw, out_columns = op[E], op[F], op[G]
    place = op[W]
    sh, sw, ph, pw = int(w[place]), int(w[place + 1]), int(w[place + 2]), int(w[place + 3])
    has_bias = w[place + 4] != 0.0
    weight = place + 5
    bias = weight + kh * kw * channels * filters
    for window in range(op[M] // filters):
        top, left = window // out_columns * sh - ph, window % out_columns * sw - pw
        result = s[op[Y] + window * filters : op[Y] + (window + 1) * filters]
        for o in range(filters):
            result[o] = 0.0
        for i in range(max(0, -top), min(kh, rows - top)):
            for j in range(max(0, -left), min(kw, columns - left)):
                for c in range(channels):
                    x = s[op[X] + ((top + i) * columns + left + j) * channels + c]
                    at = weight + ((i * kw + j) * channels + c) * filters
                    row = w[at : at + filters]
                    for o in range(filters):
                        result[o] += x * row[o]
        if has_bias:
            for o in range(filters):
                result[o] += w[bias + o]


@compiled
def maxpool(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """As conv2d, with the largest value; the fifth number of the window is the floor."""
    rows, columns, channels = op[A], op[B], op[C]
    kh, kw, out_columns = op[E], op[F], op[G]
    place = op[W]
    sh, sw, ph, pw = int(w[place]), int(w[place + 1]), int(w[place + 2]), int(w[place + 3])
    for window in range(op[M] // channels):
        top, left = window // out_columns * sh - ph, window % out_columns * sw - pw
        for c in range(channels):
            largest = w[place + 4]
            for i in range(max(0, -top), min(kh, rows - top)):
                for j in range(max(0, -left), min(kw, columns - left)):
                    x = s[op[X] + ((top + i) * columns + left + j) * channels + c]
                    if x > largest:
                        largest = x
            s[op[Y] + window * channels + c] = largest


# --- normalising --------------------------------------------------------------------------------------------------


@compiled
def scale(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """x * factor + offset with A pairs in turn: all factors, then all offsets."""
    for i in range(op[N]):
        k = op[W] + i % op[A]
        s[op[Y] + i] = s[op[X] + i] * w[k] + w[k + op[A]]


@compiled
def clip(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """Weights: low, high."""
    low, high = w[op[W]], w[op[W] + 1]
    for i in range(op[N]):
        x = s[op[X] + i]
        s[op[Y] + i] = low if x < low else (high if x > high else x)


@compiled
def layer_norm(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """A tokens of B features; weights: epsilon, weight, bias."""
    n = op[B]
    weight, bias = op[W] + 1, op[W] + 1 + n
    for k in range(op[A]):
        x, y = op[X] + k * n, op[Y] + k * n
        total = 0.0
        for i in range(n):
            total += s[x + i]
        mean = total / n
        total = 0.0
        for i in range(n):
            total += (s[x + i] - mean) * (s[x + i] - mean)
        spread = math.sqrt(total / n + w[op[W]])
        for i in range(n):
            s[y + i] = (s[x + i] - mean) / spread * w[weight + i] + w[bias + i]


@compiled
def lrn(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """A tokens of B depths, C neighbours; weights: k, alpha, beta."""
    depths, reach = op[B], op[C] // 2
    k, alpha, beta = w[op[W]], w[op[W] + 1], w[op[W] + 2]
    for token in range(op[A]):
        x = op[X] + token * depths
        for i in range(depths):
            total = 0.0
            for j in range(max(0, i - reach), min(i + reach, depths - 1) + 1):
                total += s[x + j] * s[x + j]
            s[op[Y] + token * depths + i] = s[x + i] / (k + alpha / op[C] * total) ** beta


# --- nonlinearities -----------------------------------------------------------------------------------------------


@compiled
def relu(op: np.ndarray, s: np.ndarray) -> None:
    """0 where x < 0."""
    for i in range(op[N]):
        x = s[op[X] + i]
        s[op[Y] + i] = 0.0 if x < 0.0 else x


@compiled
def leaky_relu(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """Weight: slope."""
    for i in range(op[N]):
        x = s[op[X] + i]
        s[op[Y] + i] = w[op[W]] * x if x < 0.0 else x


@compiled
def elu(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """Weight: alpha."""
    for i in range(op[N]):
        x = s[op[X] + i]
        s[op[Y] + i] = w[op[W]] * (exp(x) - 1.0) if x < 0.0 else x


@compiled
def tanh_layer(op: np.ndarray, s: np.ndarray) -> None:
    """A = 1: ConvNetJS's form."""
    for i in range(op[N]):
        x = s[op[X] + i]
        s[op[Y] + i] = tanh_convnetjs(x) if op[A] == 1 else tanh(x)


@compiled
def sigmoid_layer(op: np.ndarray, s: np.ndarray) -> None:
    """1 / (1 + exp(-x))."""
    for i in range(op[N]):
        s[op[Y] + i] = sigmoid(s[op[X] + i])


@compiled
def gelu(op: np.ndarray, s: np.ndarray) -> None:
    """A = 1: the tanh approximation."""
    for i in range(op[N]):
        x = s[op[X] + i]
        smooth = math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)
        gate = tanh(smooth) if op[A] == 1 else erf(x / math.sqrt(2.0))
        s[op[Y] + i] = 0.5 * x * (1.0 + gate)


@compiled
def softmax_at(s: np.ndarray, x: int, y: int, n: int) -> None:
    """Softmax of s[x : x + n] into s[y : y + n]."""
    largest = s[x]
    for i in range(1, n):
        if s[x + i] > largest:
            largest = s[x + i]
    total = 0.0
    for i in range(n):
        e = exp(s[x + i] - largest)
        total += e
        s[y + i] = e
    for i in range(n):
        s[y + i] /= total


@compiled
def softmax(op: np.ndarray, s: np.ndarray) -> None:
    """A tokens of B features."""
    for k in range(op[A]):
        softmax_at(s, op[X] + k * op[B], op[Y] + k * op[B], op[B])


@compiled
def maxout(op: np.ndarray, s: np.ndarray) -> None:
    """A tokens of B features in groups of C; a last incomplete group is left out."""
    groups = op[B] // op[C]
    for k in range(op[A]):
        for g in range(groups):
            x = op[X] + k * op[B] + g * op[C]
            largest = s[x]
            for i in range(1, op[C]):
                if s[x + i] > largest:
                    largest = s[x + i]
            s[op[Y] + k * groups + g] = largest


@compiled
def dropout(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """Weight: factor."""
    for i in range(op[N]):
        s[op[Y] + i] = s[op[X] + i] * w[op[W]]


# --- memory -------------------------------------------------------------------------------------------------------


@compiled
def _gate_sums(op: np.ndarray, s: np.ndarray, w: np.ndarray, memory: np.ndarray, gates: int) -> None:
    """Input sums to T, hidden sums behind them. Weights: weight_input, weight_hidden, bias_input, bias_hidden."""
    hidden = op[M]
    rows = gates * hidden
    weight_hidden = op[W] + op[N] * rows
    bias = weight_hidden + hidden * rows
    matmul(s, op[X], op[T], w, op[W], bias, op[N], rows)
    for i in range(hidden):
        s[op[Y] + i] = memory[op[H] + i]
    matmul(s, op[Y], op[T] + rows, w, weight_hidden, bias + rows, hidden, rows)


@compiled
def rnn(op: np.ndarray, s: np.ndarray, w: np.ndarray, memory: np.ndarray) -> None:
    """h' = tanh(i + h)."""
    _gate_sums(op, s, w, memory, 1)
    n, i, h = op[M], op[T], op[T] + op[M]
    for k in range(n):
        value = tanh(s[i + k] + s[h + k])
        memory[op[H] + k] = value
        s[op[Y] + k] = value


@compiled
def gru(op: np.ndarray, s: np.ndarray, w: np.ndarray, memory: np.ndarray) -> None:
    """Gates r, z, n."""
    _gate_sums(op, s, w, memory, 3)
    n, i, h = op[M], op[T], op[T] + 3 * op[M]
    for k in range(n):
        r = sigmoid(s[i + k] + s[h + k])
        z = sigmoid(s[i + n + k] + s[h + n + k])
        candidate = tanh(s[i + 2 * n + k] + r * s[h + 2 * n + k])
        value = (1.0 - z) * candidate + z * memory[op[H] + k]
        memory[op[H] + k] = value
        s[op[Y] + k] = value


@compiled
def lstm(op: np.ndarray, s: np.ndarray, w: np.ndarray, memory: np.ndarray) -> None:
    """Gates i, f, g, o; memory: h, then c."""
    _gate_sums(op, s, w, memory, 4)
    n, i, h = op[M], op[T], op[T] + 4 * op[M]
    for k in range(n):
        enter = sigmoid(s[i + k] + s[h + k])
        forget = sigmoid(s[i + n + k] + s[h + n + k])
        candidate = tanh(s[i + 2 * n + k] + s[h + 2 * n + k])
        out = sigmoid(s[i + 3 * n + k] + s[h + 3 * n + k])
        cell = forget * memory[op[H] + n + k] + enter * candidate
        memory[op[H] + n + k] = cell
        value = out * tanh(cell)
        memory[op[H] + k] = value
        s[op[Y] + k] = value


# --- sets of vehicles, heads, features ----------------------------------------------------------------------------


@compiled
def attention(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """A tokens of B features, C heads, D = 1: with mask. Weights: weight_in, bias_in, weight_out, bias_out."""
    tokens, d, heads = op[A], op[B], op[C]
    width = d // heads
    qkv = op[T]
    mixed = qkv + 3 * tokens * d
    scores = mixed + tokens * d
    bias_in = op[W] + 3 * d * d
    weight_out = bias_in + 3 * d
    for k in range(tokens):
        matmul(s, op[X] + k * d, qkv + 3 * k * d, w, op[W], bias_in, d, 3 * d)
    for k in range(tokens):
        for head in range(heads):
            attend(op, s, qkv + 3 * k * d + head * width, qkv + head * width, scores, mixed + k * d + head * width)
        matmul(s, mixed + k * d, op[Y] + k * d, w, weight_out, weight_out + d * d, d, d)


@compiled
def attend(op: np.ndarray, s: np.ndarray, query: int, first: int, scores: int, out: int) -> None:
    """One token's query against the keys of the tokens shown by the mask, in one head."""
    d, width = op[B], op[B] // op[C]
    for i in range(width):
        s[out + i] = 0.0
    shown = 0
    for k in range(op[A]):
        if is_shown(op, s, k):
            total = 0.0
            for i in range(width):
                total += s[query + i] * s[first + 3 * k * d + d + i]
            s[scores + shown] = total / math.sqrt(width)
            shown += 1
    if shown == 0:
        return
    softmax_at(s, scores, scores, shown)
    shown = 0
    for k in range(op[A]):
        if is_shown(op, s, k):
            for i in range(width):
                s[out + i] += s[scores + shown] * s[first + 3 * k * d + 2 * d + i]
            shown += 1


@compiled
def is_shown(op: np.ndarray, s: np.ndarray, k: int) -> bool:
    """Whether token k takes part: there is no mask (D = 0), or its entry is above 0."""
    return op[D] == 0 or s[op[U] + k] > 0.0


@compiled
def set_pool(op: np.ndarray, s: np.ndarray) -> None:
    """A tokens of B features, C: 0 mean, 1 max, 2 sum, D = 1: with mask."""
    shown = 0
    for i in range(op[B]):
        s[op[Y] + i] = 0.0
    for k in range(op[A]):
        if is_shown(op, s, k):
            for i in range(op[B]):
                x = s[op[X] + k * op[B] + i]
                if op[C] != 1:
                    s[op[Y] + i] += x
                elif shown == 0 or x > s[op[Y] + i]:
                    s[op[Y] + i] = x
            shown += 1
    if op[C] == 0 and shown > 0:
        for i in range(op[B]):
            s[op[Y] + i] /= shown


@compiled
def dueling(op: np.ndarray, s: np.ndarray) -> None:
    """First input the value, second the M advantages."""
    total = 0.0
    for i in range(op[M]):
        total += s[op[U] + i]
    mean = total / op[M]
    for i in range(op[M]):
        s[op[Y] + i] = s[op[X]] + (s[op[U] + i] - mean)


@compiled
def gaps(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """Sensor A, B, C; weight: empty."""
    gap_features(s[op[X] : op[X] + op[N]], op[A], op[B], op[C], w[op[W]], s[op[Y] : op[Y] + op[M]])
