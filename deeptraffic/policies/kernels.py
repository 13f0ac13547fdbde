"""Compiled kernels of the layers. Each works on the scratch buffer `s` at offsets that its row `op` of the table holds.

Sums start at 0.0 and take their inputs in index order, the bias last. Where a layer has many outputs the loop over the
outputs is the inner one and weights are stored input by input: each output still adds up in its own order, but a vector
unit adds several at once. Nothing here reorders a sum, skips a zero or fuses a multiplication with an addition.

Columns of the table (`network.py` fills them): CODE, the layer's kind; INPUT and OUTPUT, where they start in `s`, and
their sizes; WEIGHTS, where the layer's start in `w`; SECOND, where a second input starts; STATE, where the layer's
starts in the agent's memory; WORK, room in `s` for intermediate results; and A to G, the operands that its class gives
(`Layer.operands` in `layer.py`), which each kernel names in its first line.
"""

import math

import numpy as np

from deeptraffic.policies.exponential import erf, exp, power, sigmoid, tanh, tanh_convnetjs
from deeptraffic.policies.gaps import gap_features
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.rules import FULL_SPEED

CODE, INPUT, INPUT_SIZE, OUTPUT, OUTPUT_SIZE, WEIGHTS, SECOND, STATE, WORK, A, B, C, D, E, F, G = range(16)
COLUMNS = 16


# --- arranging values ---------------------------------------------------------------------------------------------


@compiled
def copy_columns(op: np.ndarray, s: np.ndarray) -> None:
    """Rows of `count` values, which lie `in_step` apart in the input and `out_step` in the output."""
    rows, count, in_step, out_step = op[A], op[B], op[C], op[D]
    for k in range(rows):
        x, y = op[INPUT] + k * in_step, op[OUTPUT] + k * out_step
        for i in range(count):
            s[y + i] = s[x + i]


@compiled
def transpose(op: np.ndarray, s: np.ndarray) -> None:
    """(rows, columns) to (columns, rows)."""
    rows, columns = op[A], op[B]
    for i in range(rows):
        for j in range(columns):
            s[op[OUTPUT] + j * rows + i] = s[op[INPUT] + i * columns + j]


@compiled
def add(op: np.ndarray, s: np.ndarray) -> None:
    """Output plus first input, into the output."""
    for i in range(op[OUTPUT_SIZE]):
        s[op[OUTPUT] + i] += s[op[INPUT] + i]


# --- weighted sums ------------------------------------------------------------------------------------------------


@compiled
def add_products(x: np.ndarray, weight: np.ndarray, y: np.ndarray) -> None:
    """y[o] += weight[i * O + o] * x[i] for each i in turn; x (I,), y (O,), weight (I * O,).

    Four inputs a pass: y is loaded and stored a quarter as often, and each y[o] still adds up in the order of i.
    """
    outputs = y.size
    fours = x.size // 4 * 4
    for i in range(0, fours, 4):
        a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
        at = i * outputs
        first, second = weight[at : at + outputs], weight[at + outputs : at + 2 * outputs]
        third, fourth = weight[at + 2 * outputs : at + 3 * outputs], weight[at + 3 * outputs : at + 4 * outputs]
        for o in range(outputs):
            y[o] = (((y[o] + a * first[o]) + b * second[o]) + c * third[o]) + d * fourth[o]
    for i in range(fours, x.size):
        a = x[i]
        row = weight[i * outputs : (i + 1) * outputs]
        for o in range(outputs):
            y[o] += a * row[o]


@compiled
def matmul(x: np.ndarray, y: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> None:
    """y[o] = sum over i of weight[i * O + o] * x[i], + bias[o]; x (I,), y (O,), weight (I * O,), bias (O,) or (0,)."""
    for o in range(y.size):
        y[o] = 0.0
    add_products(x, weight, y)
    for o in range(bias.size):
        y[o] += bias[o]


@compiled
def dense(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """Weights: weight, then bias if there is one."""
    tokens, inputs, outputs, has_bias = op[A], op[B], op[C], op[D]
    end = op[WEIGHTS] + inputs * outputs
    weight, bias = w[op[WEIGHTS] : end], w[end : end + (outputs if has_bias else 0)]
    for k in range(tokens):
        x, y = op[INPUT] + k * inputs, op[OUTPUT] + k * outputs
        matmul(s[x : x + inputs], s[y : y + outputs], weight, bias)


@compiled
def conv2d(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """Weights: stride (2), padding (2), whether there is a bias (1), weight, bias."""
    rows, columns, channels, filters = op[A], op[B], op[C], op[D]
    kernel_rows, kernel_columns, out_columns = op[E], op[F], op[G]
    place = op[WEIGHTS]
    stride_y, stride_x, pad_y, pad_x = int(w[place]), int(w[place + 1]), int(w[place + 2]), int(w[place + 3])
    has_bias = w[place + 4] != 0.0
    weight = place + 5
    bias = weight + kernel_rows * kernel_columns * channels * filters
    for window in range(op[OUTPUT_SIZE] // filters):
        top, left = window // out_columns * stride_y - pad_y, window % out_columns * stride_x - pad_x
        result = s[op[OUTPUT] + window * filters : op[OUTPUT] + (window + 1) * filters]
        for o in range(filters):
            result[o] = 0.0
        begin, end = max(0, -left), min(kernel_columns, columns - left)  # the window's columns on the image
        for i in range(max(0, -top), min(kernel_rows, rows - top)):
            x = op[INPUT] + ((top + i) * columns + left) * channels  # of the window's first column, on it or not
            at = weight + i * kernel_columns * channels * filters
            if begin < end:
                pixels = s[x + begin * channels : x + end * channels]
                add_products(pixels, w[at + begin * channels * filters : at + end * channels * filters], result)
        if has_bias:
            for o in range(filters):
                result[o] += w[bias + o]


@compiled
def maxpool(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """Weights: stride (2), padding (2), floor (1)."""
    rows, columns, channels = op[A], op[B], op[C]
    kernel_rows, kernel_columns, out_columns = op[D], op[E], op[F]
    place = op[WEIGHTS]
    stride_y, stride_x, pad_y, pad_x = int(w[place]), int(w[place + 1]), int(w[place + 2]), int(w[place + 3])
    for window in range(op[OUTPUT_SIZE] // channels):
        top, left = window // out_columns * stride_y - pad_y, window % out_columns * stride_x - pad_x
        for c in range(channels):
            largest = w[place + 4]
            for i in range(max(0, -top), min(kernel_rows, rows - top)):
                for j in range(max(0, -left), min(kernel_columns, columns - left)):
                    x = s[op[INPUT] + ((top + i) * columns + left + j) * channels + c]
                    if x > largest:
                        largest = x
            s[op[OUTPUT] + window * channels + c] = largest


# --- normalising --------------------------------------------------------------------------------------------------


@compiled
def scale(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """x * factor + offset with `pairs` of them in turn; weights: all factors, then all offsets."""
    pairs = op[A]
    for i in range(op[INPUT_SIZE]):
        k = op[WEIGHTS] + i % pairs
        s[op[OUTPUT] + i] = s[op[INPUT] + i] * w[k] + w[k + pairs]


@compiled
def clip(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """Weights: low, high."""
    low, high = w[op[WEIGHTS]], w[op[WEIGHTS] + 1]
    for i in range(op[INPUT_SIZE]):
        x = s[op[INPUT] + i]
        s[op[OUTPUT] + i] = low if x < low else (high if x > high else x)


@compiled
def layer_norm(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """Weights: epsilon, weight, bias."""
    tokens, n = op[A], op[B]
    weight, bias = op[WEIGHTS] + 1, op[WEIGHTS] + 1 + n
    for k in range(tokens):
        x, y = op[INPUT] + k * n, op[OUTPUT] + k * n
        total = 0.0
        for i in range(n):
            total += s[x + i]
        mean = total / n
        total = 0.0
        for i in range(n):
            total += (s[x + i] - mean) * (s[x + i] - mean)
        deviation = math.sqrt(total / n + w[op[WEIGHTS]])
        for i in range(n):
            s[y + i] = (s[x + i] - mean) / deviation * w[weight + i] + w[bias + i]


@compiled
def lrn(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """Weights: k, alpha, beta."""
    tokens, depths, neighbours = op[A], op[B], op[C]
    reach = neighbours // 2
    k, alpha, beta = w[op[WEIGHTS]], w[op[WEIGHTS] + 1], w[op[WEIGHTS] + 2]
    for token in range(tokens):
        x = op[INPUT] + token * depths
        for i in range(depths):
            total = 0.0
            for j in range(max(0, i - reach), min(i + reach, depths - 1) + 1):
                total += s[x + j] * s[x + j]
            s[op[OUTPUT] + token * depths + i] = s[x + i] / power(k + alpha / neighbours * total, beta)


# --- nonlinearities -----------------------------------------------------------------------------------------------


@compiled
def relu(op: np.ndarray, s: np.ndarray) -> None:
    """0 where x < 0."""
    for i in range(op[INPUT_SIZE]):
        x = s[op[INPUT] + i]
        s[op[OUTPUT] + i] = 0.0 if x < 0.0 else x


@compiled
def leaky_relu(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """Weight: slope."""
    for i in range(op[INPUT_SIZE]):
        x = s[op[INPUT] + i]
        s[op[OUTPUT] + i] = w[op[WEIGHTS]] * x if x < 0.0 else x


@compiled
def elu(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """Weight: alpha."""
    for i in range(op[INPUT_SIZE]):
        x = s[op[INPUT] + i]
        s[op[OUTPUT] + i] = w[op[WEIGHTS]] * (exp(x) - 1.0) if x < 0.0 else x


@compiled
def tanh_layer(op: np.ndarray, s: np.ndarray) -> None:
    """tanh, in ConvNetJS's form where that is asked for."""
    is_convnetjs = op[A]
    for i in range(op[INPUT_SIZE]):
        x = s[op[INPUT] + i]
        s[op[OUTPUT] + i] = tanh_convnetjs(x) if is_convnetjs == 1 else tanh(x)


@compiled
def sigmoid_layer(op: np.ndarray, s: np.ndarray) -> None:
    """1 / (1 + exp(-x))."""
    for i in range(op[INPUT_SIZE]):
        s[op[OUTPUT] + i] = sigmoid(s[op[INPUT] + i])


@compiled
def gelu(op: np.ndarray, s: np.ndarray) -> None:
    """GELU, or its tanh approximation."""
    is_approximate = op[A]
    for i in range(op[INPUT_SIZE]):
        x = s[op[INPUT] + i]
        smooth = math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)
        gate = tanh(smooth) if is_approximate == 1 else erf(x / math.sqrt(2.0))
        s[op[OUTPUT] + i] = 0.5 * x * (1.0 + gate)


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
    """Softmax of each token."""
    tokens, n = op[A], op[B]
    for k in range(tokens):
        softmax_at(s, op[INPUT] + k * n, op[OUTPUT] + k * n, n)


@compiled
def maxout(op: np.ndarray, s: np.ndarray) -> None:
    """Largest of each group; a last incomplete group is left out."""
    tokens, features, group = op[A], op[B], op[C]
    groups = features // group
    for k in range(tokens):
        for g in range(groups):
            x = op[INPUT] + k * features + g * group
            largest = s[x]
            for i in range(1, group):
                if s[x + i] > largest:
                    largest = s[x + i]
            s[op[OUTPUT] + k * groups + g] = largest


@compiled
def dropout(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """Weight: factor."""
    for i in range(op[INPUT_SIZE]):
        s[op[OUTPUT] + i] = s[op[INPUT] + i] * w[op[WEIGHTS]]


# --- memory -------------------------------------------------------------------------------------------------------


@compiled
def _gate_sums(op: np.ndarray, s: np.ndarray, w: np.ndarray, memory: np.ndarray, gates: int) -> None:
    """Input sums to WORK, hidden sums behind them. Weights: weight_input, weight_hidden, bias_input, bias_hidden."""
    x, hidden = s[op[INPUT] : op[INPUT] + op[INPUT_SIZE]], s[op[OUTPUT] : op[OUTPUT] + op[OUTPUT_SIZE]]
    rows = gates * hidden.size
    weight_hidden = op[WEIGHTS] + x.size * rows
    bias = weight_hidden + hidden.size * rows
    matmul(x, s[op[WORK] : op[WORK] + rows], w[op[WEIGHTS] : weight_hidden], w[bias : bias + rows])
    for i in range(hidden.size):
        hidden[i] = memory[op[STATE] + i]
    sums = s[op[WORK] + rows : op[WORK] + 2 * rows]
    matmul(hidden, sums, w[weight_hidden:bias], w[bias + rows : bias + 2 * rows])


@compiled
def rnn(op: np.ndarray, s: np.ndarray, w: np.ndarray, memory: np.ndarray) -> None:
    """h' = tanh(i + h)."""
    _gate_sums(op, s, w, memory, 1)
    n, i, h = op[OUTPUT_SIZE], op[WORK], op[WORK] + op[OUTPUT_SIZE]
    for k in range(n):
        value = tanh(s[i + k] + s[h + k])
        memory[op[STATE] + k] = value
        s[op[OUTPUT] + k] = value


@compiled
def gru(op: np.ndarray, s: np.ndarray, w: np.ndarray, memory: np.ndarray) -> None:
    """Gates r, z, n."""
    _gate_sums(op, s, w, memory, 3)
    n, i, h = op[OUTPUT_SIZE], op[WORK], op[WORK] + 3 * op[OUTPUT_SIZE]
    for k in range(n):
        r = sigmoid(s[i + k] + s[h + k])
        z = sigmoid(s[i + n + k] + s[h + n + k])
        candidate = tanh(s[i + 2 * n + k] + r * s[h + 2 * n + k])
        value = (1.0 - z) * candidate + z * memory[op[STATE] + k]
        memory[op[STATE] + k] = value
        s[op[OUTPUT] + k] = value


@compiled
def lstm(op: np.ndarray, s: np.ndarray, w: np.ndarray, memory: np.ndarray) -> None:
    """Gates i, f, g, o; memory: h, then c."""
    _gate_sums(op, s, w, memory, 4)
    n, i, h = op[OUTPUT_SIZE], op[WORK], op[WORK] + 4 * op[OUTPUT_SIZE]
    for k in range(n):
        enter = sigmoid(s[i + k] + s[h + k])
        forget = sigmoid(s[i + n + k] + s[h + n + k])
        candidate = tanh(s[i + 2 * n + k] + s[h + 2 * n + k])
        out = sigmoid(s[i + 3 * n + k] + s[h + 3 * n + k])
        cell = forget * memory[op[STATE] + n + k] + enter * candidate
        memory[op[STATE] + n + k] = cell
        value = out * tanh(cell)
        memory[op[STATE] + k] = value
        s[op[OUTPUT] + k] = value


# --- sets of vehicles, heads, features ----------------------------------------------------------------------------


@compiled
def attention(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """Weights: weight_in, bias_in, weight_out, bias_out."""
    tokens, d, heads = op[A], op[B], op[C]
    width = d // heads
    qkv = op[WORK]
    mixed = qkv + 3 * tokens * d
    scores = mixed + tokens * d
    bias_in = op[WEIGHTS] + 3 * d * d
    weight_out = bias_in + 3 * d
    bias_out = weight_out + d * d
    for k in range(tokens):
        x, y = op[INPUT] + k * d, qkv + 3 * k * d
        matmul(s[x : x + d], s[y : y + 3 * d], w[op[WEIGHTS] : bias_in], w[bias_in:weight_out])
    for k in range(tokens):
        for head in range(heads):
            attend(op, s, qkv + 3 * k * d + head * width, qkv + head * width, scores, mixed + k * d + head * width)
        x, y = mixed + k * d, op[OUTPUT] + k * d
        matmul(s[x : x + d], s[y : y + d], w[weight_out:bias_out], w[bias_out : bias_out + d])


@compiled
def attend(op: np.ndarray, s: np.ndarray, query: int, first: int, scores: int, out: int) -> None:
    """One token's query against the keys of the tokens shown by the mask, in one head."""
    tokens, d, heads, has_mask = op[A], op[B], op[C], op[D]
    width = d // heads
    for i in range(width):
        s[out + i] = 0.0
    shown = 0
    for k in range(tokens):
        if is_shown(op, s, has_mask, k):
            total = 0.0
            for i in range(width):
                total += s[query + i] * s[first + 3 * k * d + d + i]
            s[scores + shown] = total / math.sqrt(width)
            shown += 1
    if shown == 0:
        return
    softmax_at(s, scores, scores, shown)
    shown = 0
    for k in range(tokens):
        if is_shown(op, s, has_mask, k):
            for i in range(width):
                s[out + i] += s[scores + shown] * s[first + 3 * k * d + 2 * d + i]
            shown += 1


@compiled
def is_shown(op: np.ndarray, s: np.ndarray, has_mask: int, k: int) -> bool:
    """Whether token k takes part: there is no mask, or its entry is above 0."""
    return has_mask == 0 or s[op[SECOND] + k] > 0.0


@compiled
def set_pool(op: np.ndarray, s: np.ndarray) -> None:
    """Mean (mode 0), max (1) or sum (2) over the tokens."""
    tokens, d, mode, has_mask = op[A], op[B], op[C], op[D]
    shown = 0
    for i in range(d):
        s[op[OUTPUT] + i] = 0.0
    for k in range(tokens):
        if is_shown(op, s, has_mask, k):
            for i in range(d):
                x = s[op[INPUT] + k * d + i]
                if mode != 1:
                    s[op[OUTPUT] + i] += x
                elif shown == 0 or x > s[op[OUTPUT] + i]:
                    s[op[OUTPUT] + i] = x
            shown += 1
    if mode == 0 and shown > 0:
        for i in range(d):
            s[op[OUTPUT] + i] /= shown


@compiled
def dueling(op: np.ndarray, s: np.ndarray) -> None:
    """First input the value, second the M advantages."""
    total = 0.0
    for i in range(op[OUTPUT_SIZE]):
        total += s[op[SECOND] + i]
    mean = total / op[OUTPUT_SIZE]
    for i in range(op[OUTPUT_SIZE]):
        s[op[OUTPUT] + i] = s[op[INPUT]] + (s[op[SECOND] + i] - mean)


@compiled
def gaps(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """Lane-gap features of a sensor's cells; weight: empty."""
    lanes_side, patches_ahead, patches_behind = op[A], op[B], op[C]
    cells, features = s[op[INPUT] : op[INPUT] + op[INPUT_SIZE]], s[op[OUTPUT] : op[OUTPUT] + op[OUTPUT_SIZE]]
    gap_features(cells, lanes_side, patches_ahead, patches_behind, w[op[WEIGHTS]], features)


@compiled
def cells(op: np.ndarray, s: np.ndarray, w: np.ndarray) -> None:
    """Sensor's cells of predictions (rows, columns, 2); weight: empty."""
    rows, columns, lanes_side, patches_ahead, patches_behind, own_row, has_scores = (
        op[A],
        op[B],
        op[C],
        op[D],
        op[E],
        op[F],
        op[G],
    )
    length, lanes, scale = patches_ahead + patches_behind, 2 * lanes_side + 1, FULL_SPEED / w[op[WEIGHTS]]
    own = columns // 2
    if has_scores:
        own = 0
        for x in range(1, columns):
            if s[op[SECOND] + x] > s[op[SECOND] + own]:
                own = x
    for r in range(length):
        row = own_row - patches_ahead + r
        for lane in range(lanes):
            is_inside = 0 <= row < rows and 0 <= own - lanes_side + lane < columns
            s[op[OUTPUT] + r * lanes + lane] = 1.0 if is_inside else 0.0
    for lane in range(lanes):
        x = own - lanes_side + lane
        start = 0
        while 0 <= x < columns and start < rows:
            total, stop = 0.0, start
            while stop < rows and s[op[INPUT] + 2 * (stop * columns + x)] > 0.0:
                total += s[op[INPUT] + 2 * (stop * columns + x) + 1]
                stop += 1
            if stop > start:
                speed = min(max(total / (stop - start), 0.0), 1.0) * scale
                first = own_row - patches_ahead
                for r in range(max(0, start - first), min(length, stop - first)):
                    s[op[OUTPUT] + r * lanes + lane] = speed
            start = stop + 1
