"""The layers of a policy file once more, in plain NumPy and plain Python: what the compiled interpreter is tested on.

Written from FORMAT.md, for reading, not for speed. Sums run in index order, as the format demands, so that results of
layers without exp are equal to the last bit. Exponentials are NumPy's own, so that those are equal to 1e-12 only.

    value = run(network, x, memory)        # memory: {number of a layer: its state}, updated
"""

import math
from typing import Any

import numpy as np

from deeptraffic.policies import layers as v
from deeptraffic.policies.layer import Layer
from deeptraffic.policies.network import Network
from deeptraffic.policies.sensor_layers import Gaps, SensorCells

Array = np.ndarray
Memory = dict[int, Array]


def run(network: Network, x: Array, memory: Memory | None = None) -> Array:
    """Output (outputs,) of a network for an input (inputs,)."""
    values = [np.asarray(x, np.float64)]
    memory = {} if memory is None else memory
    for number, layer in enumerate(network.layers, start=1):
        given = [values[i] for i in layer.inputs or (number - 1,)]
        prefix = f"{number}."
        t = {
            name.removeprefix(prefix): np.asarray(tensor, np.float64)
            for name, tensor in network.tensors.items()
            if name.startswith(prefix)
        }
        values.append(np.asarray(apply(layer, given, t, memory, number)))
    return values[-1].ravel()


def apply(layer: Layer, given: list[Array], t: dict[str, Array], memory: Memory, number: int) -> Any:
    """Output of one layer."""
    x = given[0]
    if isinstance(layer, v.Rnn | v.Gru | v.Lstm):
        return recurrent(layer, x, t, memory, number)
    if isinstance(layer, v.Reshape | v.Flatten | v.Concat | v.Add | v.Slice):
        return arrange(layer, given)
    if isinstance(layer, v.Dense):
        return along(x, lambda row: weighted(t["weight"], row, t.get("bias")))
    if isinstance(layer, v.Conv2d | v.MaxPool):
        return windowed(layer, x, t)
    if isinstance(layer, v.Attention):
        return attention(x, given[1] if len(given) > 1 else np.ones(len(x)), layer.heads, t)
    if isinstance(layer, v.SetPool):
        return set_pool(x, given[1] if len(given) > 1 else np.ones(len(x)), layer.mode)
    if isinstance(layer, v.Dueling):
        return x.ravel()[0] + (given[1] - total(given[1]) / given[1].size)
    if isinstance(layer, Gaps):
        return gaps(layer, x)
    if isinstance(layer, SensorCells):
        return cells(layer, x, given[1] if len(given) > 1 else None)
    if isinstance(layer, v.LayerNorm | v.Lrn | v.Softmax | v.Maxout):
        return along(x, lambda row: across(layer, row, t))
    return pointwise(layer, x, t)


def along(x: Array, function: Any) -> Array:
    """A function of vectors along the last axis."""
    rows = [function(row) for row in x.reshape(-1, x.shape[-1])]
    return np.array(rows).reshape(*x.shape[:-1], -1)


def total(values: Any) -> float:
    """Sum in index order, from 0."""
    result = 0.0
    for value in values:
        result += float(value)
    return result


def weighted(weight: Array, x: Array, bias: Array | None = None) -> Array:
    """weight @ x, + bias, each sum in index order."""
    result = np.array([total(w * xi for w, xi in zip(row, x, strict=True)) for row in weight])
    return result if bias is None else result + bias


def arrange(layer: Layer, given: list[Array]) -> Array:
    """Layers that move numbers or add them."""
    x = given[0]
    if isinstance(layer, v.Reshape):
        return x.reshape(layer.shape)
    if isinstance(layer, v.Flatten):
        return x.transpose(2, 0, 1).ravel() if layer.order == "chw" else x.ravel()
    if isinstance(layer, v.Concat):
        return np.concatenate(given, axis=-1)
    if isinstance(layer, v.Slice):
        return x[..., layer.start : layer.stop]
    result = x
    for other in given[1:]:
        result = result + other
    return result


def windowed(layer: v.Conv2d | v.MaxPool, x: Array, t: dict[str, Array]) -> Array:
    """Convolution and pooling; cells outside the image are skipped."""
    (kh, kw), (sh, sw), (ph, pw) = layer.kernel, layer.stride, layer.padding
    rows, columns = (x.shape[0] + 2 * ph - kh) // sh + 1, (x.shape[1] + 2 * pw - kw) // sw + 1
    result = []
    for r in range(rows):
        for c in range(columns):
            cells = [(i, j, r * sh - ph + i, c * sw - pw + j) for i in range(kh) for j in range(kw)]
            inside = [(i, j, y, z) for i, j, y, z in cells if 0 <= y < x.shape[0] and 0 <= z < x.shape[1]]
            if isinstance(layer, v.MaxPool):
                result.append([max([layer.floor, *(x[y, z, k] for *_, y, z in inside)]) for k in range(x.shape[2])])
            else:
                seen = np.array([value for *_, y, z in inside for value in x[y, z]])
                weight = [[w for i, j, *_ in inside for w in kernel[i, j]] for kernel in t["weight"]]
                result.append(weighted(np.array(weight), seen, t.get("bias")))
    return np.array(result).reshape(rows, columns, -1)


def across(layer: Layer, row: Array, t: dict[str, Array]) -> Any:
    """Layers that look along the last axis."""
    if isinstance(layer, v.LayerNorm):
        mean = total(row) / row.size
        variance = total((row - mean) ** 2) / row.size
        return (row - mean) / math.sqrt(variance + layer.epsilon) * t["weight"] + t["bias"]
    if isinstance(layer, v.Lrn):
        reach = layer.n // 2
        squares = np.array([total(row[max(0, i - reach) : i + reach + 1] ** 2) for i in range(row.size)])
        return row / (layer.k + layer.alpha / layer.n * squares) ** layer.beta
    if isinstance(layer, v.Softmax):
        return softmax(row)
    assert isinstance(layer, v.Maxout)
    groups = row.size // layer.group
    return row[: groups * layer.group].reshape(groups, layer.group).max(axis=1)


def softmax(row: Array) -> Array:
    """exp(x - max) over the sum of these."""
    shares = np.exp(row - row.max())
    return shares / total(shares)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + np.exp(-x))


def pointwise(layer: Layer, x: Array, t: dict[str, Array]) -> Array:
    """Layers that look at each number alone."""
    match layer:
        case v.Scale():
            return x * t["factor"] + t["offset"]
        case v.Clip():
            return np.clip(x, layer.low, layer.high)
        case v.Relu():
            return np.where(x < 0, 0.0, x)
        case v.LeakyRelu():
            return np.where(x < 0, layer.slope * x, x)
        case v.Elu():
            return np.where(x < 0, layer.alpha * (np.exp(np.minimum(x, 0)) - 1), x)
        case v.Tanh():
            y = np.exp(2 * x)
            return (y - 1) / (y + 1) if layer.form == "convnetjs" else np.tanh(x)
        case v.Sigmoid():
            return sigmoid(x)
        case v.Gelu():
            inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
            errors = np.array([math.erf(value / math.sqrt(2)) for value in x.ravel()]).reshape(x.shape)
            return 0.5 * x * (1 + (np.tanh(inner) if layer.approximate == "tanh" else errors))
        case v.Dropout():
            return x * layer.factor
    raise AssertionError(f"the reference lacks {layer.kind}")


def recurrent(layer: v.Rnn | v.Gru | v.Lstm, x: Array, t: dict[str, Array], memory: Memory, number: int) -> Array:
    """SensorCells with a state, which PyTorch calls h, and c behind it for the LSTM."""
    n = layer.hidden
    state = memory.setdefault(number, np.zeros(2 * n))
    h, c = state[:n], state[n:]
    from_input = weighted(t["weight_input"], x, t["bias_input"]).reshape(-1, n)
    from_hidden = weighted(t["weight_hidden"], h, t["bias_hidden"]).reshape(-1, n)
    both = from_input + from_hidden
    if isinstance(layer, v.Rnn):
        new = np.tanh(both[0])
    elif isinstance(layer, v.Gru):
        r, z = sigmoid(both[0]), sigmoid(both[1])
        new = (1 - z) * np.tanh(from_input[2] + r * from_hidden[2]) + z * h
    else:
        c = sigmoid(both[1]) * c + sigmoid(both[0]) * np.tanh(both[2])
        new = sigmoid(both[3]) * np.tanh(c)
    memory[number] = np.concatenate([new, c])
    return new


def attention(x: Array, mask: Array, heads: int, t: dict[str, Array]) -> Array:
    """Every token looks at the tokens that the mask shows."""
    q, k, value = np.split(along(x, lambda row: weighted(t["weight_in"], row, t["bias_in"])), 3, axis=1)
    width, shown = x.shape[1] // heads, np.flatnonzero(mask.ravel() > 0)
    mixed = np.zeros(x.shape)
    for head in range(heads if shown.size else 0):
        part = slice(head * width, (head + 1) * width)
        for i in range(len(x)):
            scores = np.array([total(q[i, part] * k[j, part]) / math.sqrt(width) for j in shown])
            shares = softmax(scores)
            mixed[i, part] = [total(shares * value[shown, d]) for d in range(part.start, part.stop)]
    return along(mixed, lambda row: weighted(t["weight_out"], row, t["bias_out"]))


def set_pool(x: Array, mask: Array, mode: str) -> Array:
    """One vector from the tokens that the mask shows."""
    shown = x[mask.ravel() > 0]
    if not len(shown):
        return np.zeros(x.shape[1])
    if mode == "max":
        return shown.max(axis=0)
    sums = np.array([total(column) for column in shown.T])
    return sums if mode == "sum" else sums / len(shown)


def gaps(layer: Gaps, x: Array) -> Array:
    """Six features per lane, as `deeptraffic/policies/gaps.py` lists them."""
    cells = x.reshape(-1, 2 * layer.lanes_side + 1)
    ahead, behind, to_share = layer.patches_ahead, layer.patches_behind, layer.empty / 4.0
    features = []
    for lane, column in enumerate(cells.T):
        own = lane == layer.lanes_side
        front = column[:ahead][::-1]
        back = column[ahead + (4 if own else 0) :]
        near = column[max(0, ahead - 6) : ahead + (0 if own else 4)]
        hit = [int(np.argmax(part < 1)) if (part < 1).any() else None for part in (front, back)]
        free = [part.size if h is None else h for part, h in zip((front, back), hit, strict=True)]
        features += [
            free[0] / max(ahead, 1),
            1.0 if hit[0] is None else max(0.0, front[hit[0]]) * to_share,
            free[1] / max(behind, 1),
            0.0 if hit[1] is None else max(0.0, back[hit[1]]) * to_share,
            float((near >= 1).all()),
            min(1.0, total(column)),
        ]
    return np.array(features)


def cells(layer: SensorCells, x: Array, scores: Array | None) -> Array:
    """The sensor's cells of an image of predictions, a vehicle at a time."""
    rows, columns, _ = x.shape
    road = np.ones((rows, columns))
    for column in range(columns):
        where = [row for row in range(rows) if x[row, column, 0] > 0]
        for vehicle in np.split(where, np.flatnonzero(np.diff(where) > 1) + 1) if where else []:
            speed = total(x[row, column, 1] for row in vehicle) / len(vehicle)
            road[vehicle, column] = min(max(speed, 0.0), 1.0) * (4.0 / layer.empty)
    own = columns // 2 if scores is None else int(np.argmax(scores))
    window = np.zeros((layer.patches_ahead + layer.patches_behind, 2 * layer.lanes_side + 1))
    for (r, s), _ in np.ndenumerate(window):
        row, column = layer.row - layer.patches_ahead + r, own - layer.lanes_side + s
        if 0 <= row < rows and 0 <= column < columns:
            window[r, s] = road[row, column]
    return window.ravel()
