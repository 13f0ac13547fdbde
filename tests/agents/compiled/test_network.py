"""The compiled network against torch: outputs, gradients and the steps of optimisers."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from agents.compiled.network import (
    CompiledNet,
    Tape,
    backward,
    branch_params,
    initialise,
    layer_params,
    layer_weights,
    new_network,
    new_tape,
    predict,
)
from agents.compiled.optimiser import adam_step, clip, new_moments

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}
NETWORKS = [
    ((42, 64, 64, 5), "relu", True),
    ((17, 31, 9, 5), "tanh", True),  # no size is a multiple of four
    ((42, 64, 5), "relu", False),
    ((6, 5), "tanh", True),  # nothing but the last layer, which is neither normalised nor activated
]


def pair(sizes: tuple[int, ...], activation: str, layer_norm: bool) -> tuple[CompiledNet, nn.Sequential]:
    """Return a compiled network and torch's with the same random weights."""
    net, rng = new_network([sizes], activation, layer_norm), np.random.default_rng(1)
    initialise(layer_params(net), rng)
    net.params[:] += rng.normal(0.0, 0.1, net.params.size)  # scales and shifts too
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes[:-1]):
        norm = [nn.LayerNorm(outputs)] if layer_norm else []
        layers += [nn.Linear(inputs, outputs), *norm, ACTIVATIONS[activation]()]
    model = nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))
    parts = [array for layer in layer_params(net) for array in layer.values()]
    for tensor, array in zip(model.parameters(), parts, strict=True):
        tensor.data.copy_(torch.from_numpy(array))
    return net, model


def run(net: CompiledNet, tape: Tape, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Compute the outputs (S, 5) of x (S, D), and the gradient for these derivatives of the loss (S, 5)."""
    found, deltas = predict(net, tape, x, np.arange(len(x)))
    deltas[:, : len(x)] = slope.T
    backward(net, tape, len(x))
    return found[:, : len(x)].T.copy()


@pytest.mark.parametrize(("sizes", "activation", "layer_norm"), NETWORKS)
@pytest.mark.parametrize("samples", [128, 37, 1])
def test_outputs_and_gradients_are_torchs(
    sizes: tuple[int, ...], activation: str, layer_norm: bool, samples: int
) -> None:
    net, model = pair(sizes, activation, layer_norm)
    rng, tape = np.random.default_rng(2), new_tape(net, True)
    x = rng.normal(size=(samples, sizes[0])).astype(np.float32)
    slope = rng.normal(size=(samples, 5)).astype(np.float32)
    found = run(net, tape, x, slope)
    expected = model(torch.from_numpy(x))
    (expected * torch.from_numpy(slope)).sum().backward()
    np.testing.assert_allclose(found, expected.detach(), atol=1e-5)
    gradients = [array for layer in layer_params(net, tape.gradient) for array in layer.values()]
    for array, tensor in zip(gradients, model.parameters(), strict=True):
        assert tensor.grad is not None
        scale = max(1.0, float(tensor.grad.abs().max()))
        np.testing.assert_allclose(array / scale, tensor.grad / scale, atol=1e-5)


@pytest.mark.parametrize("hidden", [(16, 12), ()])
@pytest.mark.parametrize("sparse", [False, True])
def test_two_branches_are_two_networks_with_the_same_inputs(hidden: tuple[int, ...], sparse: bool) -> None:
    rng = np.random.default_rng(6)
    both = new_network([(9, *hidden, 5), (9, *hidden, 1)], "relu", False)
    assert both.outputs == 6
    both.params[:] = rng.normal(0.0, 0.5, both.params.size)
    x, slope = rng.normal(size=(40, 9)).astype(np.float32), rng.normal(size=(40, 6)).astype(np.float32)
    x[:, 4] = 0.0
    tape = new_tape(both, True)
    found, deltas = predict(both, tape, x, np.arange(40))
    deltas[:, :40] = slope.T
    backward(both, tape, 40, sparse)
    by_inputs = np.zeros((9, 40), np.float32)
    for k, columns in enumerate((slice(0, 5), slice(5, 6))):
        alone = new_network([(9, *hidden, (5, 1)[k])], "relu", False)
        for one, other in zip(layer_params(alone), branch_params(both, k, 2), strict=True):
            for name, array in one.items():
                array[:] = other[name]
        own = new_tape(alone, True)
        expected, own_deltas = predict(alone, own, x, np.arange(40))
        own_deltas[:, :40] = slope[:, columns].T
        backward(alone, own, 40, sparse)
        by_inputs += own.deltas[:9, :40]
        np.testing.assert_array_equal(found[columns, :40], expected[:, :40])
        gradient = branch_params(both._replace(params=tape.gradient), k, 2)
        for one, other in zip(layer_params(alone, own.gradient), gradient, strict=True):
            for name, array in one.items():
                np.testing.assert_array_equal(other[name], array)
    if sparse:
        np.testing.assert_allclose(tape.deltas[:9, :40], by_inputs, atol=1e-6)


def test_gradients_of_batches_add_up() -> None:
    net, _ = pair((42, 64, 64, 5), "relu", True)
    rng, whole, parts = np.random.default_rng(3), new_tape(net, True), new_tape(net, True)
    x, slope = rng.normal(size=(90, 42)).astype(np.float32), rng.normal(size=(90, 5)).astype(np.float32)
    run(net, whole, x, slope)
    run(net, parts, x[:50], slope[:50])
    run(net, parts, x[50:], slope[50:])
    np.testing.assert_allclose(parts.gradient, whole.gradient, rtol=1e-4, atol=1e-4)


def test_a_sample_does_not_depend_on_those_beside_it() -> None:
    net, _ = pair((42, 64, 64, 5), "relu", True)
    x = np.random.default_rng(4).normal(size=(128, 42)).astype(np.float32)
    together = run(net, new_tape(net, True), x, np.zeros((128, 5), np.float32))
    for k in (0, 17, 127):
        np.testing.assert_array_equal(
            run(net, new_tape(net, True), x[k : k + 1], np.zeros((1, 5), np.float32))[0], together[k]
        )
    np.testing.assert_array_equal(run(net, new_tape(net, True), x[:45], np.zeros((45, 5), np.float32)), together[:45])


@pytest.mark.parametrize(
    ("make", "epsilon", "rectified"), [(torch.optim.RAdam, 1e-8, True), (torch.optim.Adam, 1e-5, False)]
)
def test_steps_are_those_of_torchs_optimisers(make: Any, epsilon: float, rectified: bool) -> None:
    net, model = pair((12, 16, 5), "relu", True)
    optimiser, moments, tape = make(model.parameters(), lr=1e-3, eps=epsilon), new_moments(net), new_tape(net, True)
    rng = np.random.default_rng(5)
    for _ in range(12):  # RAdam adapts from its sixth step on
        x = rng.normal(size=(20, 12)).astype(np.float32)
        slope = rng.normal(size=(20, 5)).astype(np.float32)
        run(net, tape, x, slope)
        optimiser.zero_grad()
        (model(torch.from_numpy(x)) * torch.from_numpy(slope)).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        clip(tape.gradient, 0.5)
        assert np.linalg.norm(tape.gradient) == pytest.approx(0.5, rel=1e-4)
        optimiser.step()
        adam_step(net.params, tape.gradient, moments, 1e-3, epsilon, rectified)
        assert not tape.gradient.any()
    expected = torch.cat([tensor.detach().ravel() for tensor in model.parameters()])
    np.testing.assert_allclose(net.params, expected, atol=2e-5)


def test_a_small_gradient_is_not_clipped() -> None:
    gradient = np.array([0.3, 0.4], np.float32)
    clip(gradient, 1.0)
    np.testing.assert_array_equal(gradient, np.array([0.3, 0.4], np.float32))


def test_initial_weights_are_drawn_as_torch_draws_them() -> None:
    net = new_network([(100, 64, 5)], "relu", True)
    initialise(layer_params(net), np.random.default_rng(0))
    weights = layer_weights(layer_params(net))
    assert set(weights) == {"0.weight", "0.bias", "0.norm_weight", "0.norm_bias", "1.weight", "1.bias"}
    assert 0.09 < np.abs(weights["0.weight"]).max() <= 0.1  # 1 / sqrt(100)
    assert weights["0.weight"].std() == pytest.approx(0.1 / np.sqrt(3.0), rel=0.05)
    assert (weights["0.norm_weight"] == 1.0).all() and (weights["0.norm_bias"] == 0.0).all()
