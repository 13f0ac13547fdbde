"""The compiled interpreter computes what the plain reference and PyTorch compute, and refuses what does not fit."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeptraffic.policies import layers as v
from deeptraffic.policies.layer import Layer
from deeptraffic.policies.network import CODES, Network
from deeptraffic.policies.sensor_layers import Gaps, SensorCells

spec = importlib.util.spec_from_file_location("policy_reference", Path(__file__).with_name("reference.py"))
assert spec is not None and spec.loader is not None
reference: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)

IMAGE = v.Reshape(shape=(5, 4, 3))
SET = v.Reshape(shape=(6, 8))
MASK = (v.Slice(start=0, stop=48), v.Reshape(shape=(6, 8)), v.Slice(start=48, stop=54, inputs=(0,)))
ROAD = v.Reshape(shape=(9, 4, 2))
SCORES = (v.Slice(start=0, stop=72), ROAD, v.Slice(start=72, stop=76, inputs=(0,)))
BEYOND = {"lanes_side": 3, "patches_ahead": 8, "patches_behind": 6, "row": 6, "empty": 7.0}  # the road on every side

EXACT: dict[str, tuple[int, tuple[Layer, ...]]] = {
    "dense": (7, (v.Dense(outputs=9),)),
    "dense without bias": (7, (v.Dense(outputs=3, bias=False),)),
    "dense of tokens": (48, (SET, v.Dense(outputs=5))),
    "flatten": (60, (IMAGE, v.Flatten())),
    "flatten by channels": (60, (IMAGE, v.Flatten(order="chw"))),
    "slice of tokens": (48, (SET, v.Slice(start=2, stop=7))),
    "concat": (48, (SET, v.Slice(start=1, stop=3), v.Dense(outputs=3, inputs=(1,)), v.Concat(inputs=(3, 2, 1)))),
    "add": (6, (v.Dense(outputs=6), v.Dense(outputs=6), v.Add(inputs=(0, 2, 1)))),
    "conv2d": (60, (IMAGE, v.Conv2d(filters=4, kernel=(3, 2)))),
    "conv2d, stride and padding": (60, (IMAGE, v.Conv2d(filters=4, kernel=(3, 3), stride=(2, 1), padding=(1, 2)))),
    "conv2d without bias": (60, (IMAGE, v.Conv2d(filters=2, kernel=(5, 4), bias=False))),
    "maxpool": (60, (IMAGE, v.MaxPool(kernel=(2, 3), stride=(2, 1)))),
    "maxpool, padding and floor": (60, (IMAGE, v.MaxPool(kernel=(2, 2), stride=(2, 2), padding=(1, 1), floor=0.1))),
    "scale": (60, (IMAGE, v.Scale())),
    "scale all": (60, (IMAGE, v.Scale(per="all"))),
    "clip": (20, (v.Clip(low=-0.5, high=0.75),)),
    "layer norm": (48, (SET, v.LayerNorm())),
    "relu": (20, (v.Relu(),)),
    "leaky relu": (20, (v.LeakyRelu(slope=0.2),)),
    "maxout": (49, (v.Maxout(group=4),)),
    "dropout": (20, (v.Dropout(factor=0.3),)),
    "set pool mean": (48, (SET, v.SetPool())),
    "set pool max": (54, (*MASK, v.SetPool(mode="max", inputs=(2, 3)))),
    "set pool sum": (54, (*MASK, v.SetPool(mode="sum", inputs=(2, 3)))),
    "dueling": (7, (v.Dense(outputs=1), v.Dense(outputs=5, inputs=(0,)), v.Dueling(inputs=(1, 2)))),
    "gaps": (60, (Gaps(lanes_side=1, patches_ahead=12, patches_behind=8),)),
    "gaps, short sensor": (9, (Gaps(lanes_side=1, patches_ahead=3, patches_behind=0, empty=7.0),)),
    "cells": (72, (ROAD, SensorCells(lanes_side=1, patches_ahead=5, patches_behind=3, row=5))),
    "cells around the largest score": (76, (*SCORES, SensorCells(**BEYOND, inputs=(2, 3)))),
}
CLOSE: dict[str, tuple[int, tuple[Layer, ...]]] = {
    "lrn": (60, (IMAGE, v.Lrn(n=3, k=2.0, alpha=0.5, beta=0.75))),
    "elu": (20, (v.Elu(alpha=1.3),)),
    "tanh": (20, (v.Tanh(),)),
    "tanh of the original": (20, (v.Tanh(form="convnetjs"),)),
    "sigmoid": (20, (v.Sigmoid(),)),
    "gelu": (20, (v.Gelu(),)),
    "gelu approximated": (20, (v.Gelu(approximate="tanh"),)),
    "softmax": (48, (SET, v.Softmax())),
    "rnn": (7, (v.Rnn(hidden=4),)),
    "gru": (7, (v.Gru(hidden=4), v.Gru(hidden=3))),
    "lstm": (7, (v.Lstm(hidden=4), v.Lstm(hidden=3))),
    "attention": (48, (SET, v.Attention(heads=2))),
    "attention with a mask": (54, (*MASK, v.Attention(heads=4, inputs=(2, 3)))),
}


def make(inputs: int, layers: tuple[Layer, ...], dtype: str = "float64") -> Network:
    """A network with random tensors."""
    random, shapes, tensors = np.random.default_rng(inputs), [(inputs,)], {}
    for number, layer in enumerate(layers, start=1):
        given: Any = [shapes[i] for i in layer.inputs or (number - 1,)]
        for name, shape in layer.tensor_shapes(given).items():
            tensors[f"{number}.{name}"] = random.normal(0.0, 0.5, shape).astype(dtype)
        shapes.append(layer.output_shape(given))  # type: ignore[arg-type]
    return Network(inputs, layers, tensors)


def inputs_of(network: Network, count: int = 6) -> np.ndarray:
    """Random inputs, some of their entries exactly 0 and 1 as free and closed cells are."""
    random = np.random.default_rng(0)
    x = random.normal(size=(count, network.inputs))
    x[random.random(x.shape) < 0.4] = 1.0
    x[random.random(x.shape) < 0.1] = 0.0
    return x


def outputs(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """What the interpreter and the reference give, one input after another with the memory kept."""
    program = network.assemble()
    memory, states = np.zeros(program.memory), {}
    pairs = [(program.run(x, memory), reference.run(network, x, states)) for x in inputs_of(network)]
    compiled, plain = zip(*pairs, strict=True)
    return np.array(compiled), np.array(plain)


@pytest.mark.parametrize("name", EXACT)
def test_layer_equals_the_plain_reference_bit_for_bit(name: str) -> None:
    compiled, plain = outputs(make(*EXACT[name]))
    np.testing.assert_array_equal(compiled, plain)
    assert np.ptp(compiled) > 0


@pytest.mark.parametrize("name", CLOSE)
def test_layer_with_exponentials_equals_the_plain_reference(name: str) -> None:
    compiled, plain = outputs(make(*CLOSE[name]))
    np.testing.assert_allclose(compiled, plain, rtol=0, atol=1e-12)
    assert np.ptp(compiled) > 0


def test_every_layer_has_a_test() -> None:
    tested = {layer.kind for _, layers in (EXACT | CLOSE).values() for layer in layers}
    assert tested == v.LAYER_KINDS.keys()
    assert CODES.keys() | {"reshape", "flatten", "concat", "add", "slice"} == v.LAYER_KINDS.keys()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_stored_numbers_are_computed_with_in_float64(dtype: str) -> None:
    compiled, plain = outputs(make(7, (v.Dense(outputs=30), v.Relu(), v.Dense(outputs=5)), dtype))
    np.testing.assert_array_equal(compiled, plain)


def test_a_set_without_shown_tokens_is_zero() -> None:
    network = make(54, (*MASK, v.Attention(inputs=(2, 3)), v.SetPool(mode="max", inputs=(4, 3))))
    x = inputs_of(network)[0]
    x[48:] = 0.0
    np.testing.assert_array_equal(network.assemble().run(x), np.zeros(8))


def test_no_numbers_are_lost_to_a_fused_multiplication() -> None:
    """(1 + e)(1 - e) rounds to 1 before 1 is taken off; a fused multiply-add would keep -e * e."""
    e = 2.0**-30
    network = Network(2, (v.Dense(outputs=1, bias=False),), {"1.weight": np.array([[-1.0, 1.0 - e]])})
    assert network.assemble().run(np.array([1.0, 1.0 + e])) == 0.0


# --- against PyTorch ----------------------------------------------------------------------------------------------


def torch_outputs(name: str, network: Network, x: np.ndarray) -> np.ndarray:
    """What PyTorch's own layers give, in float32."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    tensors = {key.split(".", 1)[1]: torch.from_numpy(t).float() for key, t in network.tensors.items()}
    inputs = torch.from_numpy(x).float()
    with torch.no_grad():
        if name in ("rnn", "gru", "lstm"):
            kind = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[name]
            cell = kind(network.inputs, network.outputs)
            names = {"weight_ih_l0": "weight_input", "weight_hh_l0": "weight_hidden"}
            names |= {"bias_ih_l0": "bias_input", "bias_hh_l0": "bias_hidden"}
            cell.load_state_dict({theirs: tensors[ours] for theirs, ours in names.items()})
            return cell(inputs[:, None])[0][:, 0].numpy()
        if name == "conv2d":
            image = inputs.reshape(-1, 5, 4, 3).permute(0, 3, 1, 2)
            weight = tensors["weight"].permute(0, 3, 1, 2)
            y = nn.functional.conv2d(image, weight, tensors["bias"], (2, 1), (1, 2))
            return nn.functional.max_pool2d(y, 2, 1).flatten(1).numpy()
        attention = nn.MultiheadAttention(8, 2, batch_first=True)
        names = {"in_proj_weight": "weight_in", "in_proj_bias": "bias_in"}
        names |= {"out_proj.weight": "weight_out", "out_proj.bias": "bias_out"}
        attention.load_state_dict({theirs: tensors[ours] for theirs, ours in names.items()})
        tokens, hidden = inputs[:, :48].reshape(-1, 6, 8), inputs[:, 48:] <= 0
        return attention(tokens, tokens, tokens, key_padding_mask=hidden)[0].flatten(1).numpy()


TORCH: dict[str, tuple[int, tuple[Layer, ...]]] = {
    "rnn": (7, (v.Rnn(hidden=5),)),
    "gru": (7, (v.Gru(hidden=5),)),
    "lstm": (7, (v.Lstm(hidden=5),)),
    "conv2d": (
        60,
        (
            IMAGE,
            v.Conv2d(filters=4, kernel=(3, 3), stride=(2, 1), padding=(1, 2)),
            v.MaxPool(kernel=(2, 2), stride=(1, 1)),
            v.Flatten(order="chw"),
        ),
    ),
    "attention": (54, (*MASK, v.Attention(heads=2, inputs=(2, 3)))),
}


@pytest.mark.parametrize("name", TORCH)
def test_layer_equals_pytorchs(name: str) -> None:
    network = make(*TORCH[name])
    program, x = network.assemble(), inputs_of(network)
    memory = np.zeros(program.memory)
    ours = np.array([program.run(row, memory) for row in x])
    np.testing.assert_allclose(ours, torch_outputs(name, network, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "tanh", "sigmoid", "gelu", "softmax"])
def test_activation_equals_pytorchs(activation: str) -> None:
    import torch

    x = np.concatenate([np.linspace(-30, 30, 301), [0.0, -0.0, 1e-9, -1e-9, 700.0, -700.0]])
    ours = Network(x.size, (v.LAYER_KINDS[activation](),), {}).assemble().run(x)
    function = getattr(torch.nn.functional, activation)
    inputs = torch.from_numpy(x)
    theirs = function(inputs, dim=0) if activation == "softmax" else function(inputs)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12, atol=1e-14)


# --- what does not fit --------------------------------------------------------------------------------------------

DENSE = v.Dense(outputs=5)
FAULTS: dict[str, tuple[int, tuple[Layer, ...], dict[str, Any], str]] = {
    "no layers": (2, (), {}, r"number of layers must be in \[1, 255\], got 0"),
    "no inputs": (0, (DENSE,), {}, r"inputs must be an integer in \[1, 1048576\], got 0"),
    "missing": (2, (DENSE,), {"1.weight": np.zeros((5, 2))}, "'1.bias' is missing"),
    "surplus": (2, (v.Relu(),), {"1.weight": np.zeros(2)}, "belongs to no layer"),
    "shape": (2, (v.Dense(outputs=5, bias=False),), {"1.weight": np.zeros((2, 5))}, r"needs \(5, 2\)"),
    "not finite": (1, (v.Dense(outputs=1, bias=False),), {"1.weight": np.array([[np.nan]])}, "not finite"),
    "forward reference": (2, (v.Add(inputs=(0, 1)),), {}, "reads value 1"),
    "add": (3, (v.Slice(start=0, stop=2), v.Add(inputs=(0, 1))), {}, "must be equal"),
    "arity": (2, (v.Add(),), {}, "must have 2 to 64 inputs, got 1"),
    "reshape": (6, (v.Reshape(shape=(4, 2)),), {}, "needs 8 values, not 6"),
    "conv of a vector": (6, (v.Conv2d(filters=1, kernel=(1, 1)),), {}, "put a reshape"),
    "window": (60, (IMAGE, v.Conv2d(filters=1, kernel=(6, 1))), {}, "does not fit"),
    "heads": (48, (SET, v.Attention(heads=3)), {}, "do not divide into 3 heads"),
    "multiplications": (10_000, (v.Dense(outputs=9_000),), {}, "90000000 multiplications, at most 50000000"),
    "memory": (1, tuple(v.Lstm(hidden=4096) for _ in range(9)), {}, "at most"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_named(fault: str) -> None:
    inputs, layers, tensors, named = FAULTS[fault]
    with pytest.raises(ValueError, match=named):
        Network(inputs, layers, tensors)


def test_an_input_of_another_size_is_named() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\) into a network of 2 inputs"):
        Network(2, (v.Relu(),), {}).assemble().run(np.zeros(3))
