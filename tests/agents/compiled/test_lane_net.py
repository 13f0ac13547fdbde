"""The compiled network with a layer shared by all lanes against torch: outputs and gradients."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.compiled.lane_net import (
    LaneNet,
    backward_lanes,
    evaluate_cells,
    finish_gradient,
    forward_lanes,
    load_lanes,
    new_lane_net,
    new_lane_tape,
    prepare,
    shared_params,
)
from agents.compiled.network import layer_params, outputs
from agents.lane_network import split_cells

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}
COLUMNS, ROWS = 5, 14


def make_net(units: int, sizes: tuple[int, ...], activation: str) -> LaneNet:
    net = new_lane_net(COLUMNS, ROWS, units, [sizes], activation)
    net.dense.params[:] = np.random.default_rng(0).normal(0.0, 0.3, net.dense.params.size)
    for parts in layer_params(net.dense)[:-1]:
        parts["bias"][::3] = -50.0  # units that are 0 in all samples
    prepare(net)
    return net


def make_cells(count: int) -> NDArray[np.float32]:
    """Lanes of free road with some cars, lanes off the road, lanes that end, and noise."""
    rng = np.random.default_rng(1)
    cells = np.ones((count, ROWS, COLUMNS))
    cells = np.where(rng.random(cells.shape) < 0.1, rng.uniform(0.0, 0.04, cells.shape), cells)
    cells[: count // 2, :, 0] = 0.0
    cells[:, 2:6, 2], cells[:, 7:13, 2] = 0.03, 0.02  # vehicles, the second in six cells
    cells[:, :4, 3], cells[:, 3:, 4] = 0.0, 0.0
    cells[-1] = rng.uniform(-0.02, 1.02, (ROWS, COLUMNS))
    return cells.reshape(count, -1).astype(np.float32)


def by_torch(net: LaneNet, cells: NDArray[np.float32], activation: str, mirrored: bool) -> tuple[Tensor, list[Tensor]]:
    """Return the outputs (count, O), and the parameters in the order of `LaneNet`."""
    inputs = torch.from_numpy(cells)
    if mirrored:
        inputs = inputs.view(len(cells), ROWS, COLUMNS).flip(2).flatten(1)
    params = [torch.tensor(array, requires_grad=True) for array in shared_params(net)]
    x = torch.relu(split_cells(inputs, COLUMNS) @ params[0] + params[1]).flatten(1)
    layers = layer_params(net.dense)
    for k, parts in enumerate(layers):
        weight, bias = (torch.tensor(parts[name], requires_grad=True) for name in ("weight", "bias"))
        params += [weight, bias]
        x = nn.functional.linear(x, weight, bias)
        x = ACTIVATIONS[activation](x) if k < len(layers) - 1 else x
    return x, params


@pytest.mark.parametrize(
    ("units", "sizes", "activation"), [(8, (16, 8, 4), "relu"), (3, (7, 4), "tanh"), (5, (2,), "relu")]
)
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("samples", [128, 37, 1])
def test_outputs_and_gradients_are_torchs(
    units: int, sizes: tuple[int, ...], activation: str, mirrored: bool, samples: int
) -> None:
    net, cells = make_net(units, sizes, activation), make_cells(samples)
    tape, slope = new_lane_tape(net, True), np.random.default_rng(2).normal(size=(samples, sizes[-1]))
    for _ in range(2):  # gradients add up
        for s in range(samples):
            load_lanes(net, tape, s, cells[s], mirrored)
        forward_lanes(net, tape, samples)
        tape.dense.deltas[-sizes[-1] :, :samples] = slope.T
        backward_lanes(net, tape, samples)
    expected, params = by_torch(net, cells, activation, mirrored)
    np.testing.assert_allclose(
        outputs(net.dense, tape.dense)[0][:, :samples].T, expected.detach(), atol=1e-4, rtol=1e-5
    )
    (2.0 * expected * torch.tensor(slope, dtype=torch.float32)).sum().backward()
    gradient = torch.cat([p.grad.flatten() for p in params if p.grad is not None]).numpy()
    scale = max(1.0, float(np.abs(gradient).max()))
    np.testing.assert_allclose(finish_gradient(net, tape) / scale, gradient / scale, atol=1e-5)


def test_a_samples_outputs_do_not_depend_on_the_others() -> None:
    net, cells = make_net(8, (16, 4), "relu"), make_cells(200)
    together, alone = np.empty((200, 4), np.float32), np.empty((1, 4), np.float32)
    evaluate_cells(net, cells, together)
    for s in (0, 130, 199):
        evaluate_cells(net, cells[s : s + 1], alone)
        np.testing.assert_array_equal(alone[0], together[s])
