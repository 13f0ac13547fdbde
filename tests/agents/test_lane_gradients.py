"""Gradient steps of expert iteration against torch."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.lane_gradients import GradientSteps, Loss
from agents.lane_network import CANDIDATES, VALUE_SCALE, LaneNetwork, LanePolicy, load_lane_network, split_cells
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018, Action, Sensor

SENSOR = Sensor(2, 12, 4)


def make_policy() -> LanePolicy:
    torch.manual_seed(0)
    space = spaces.Box(0.0, 1.0, (SENSOR.size,), np.float32)
    policy = LanePolicy(space, spaces.Discrete(5), lambda _: 0.0, [16], SENSOR, 6)
    policy.network.params[:] *= 3.0
    return policy


def real_cells(count: int) -> NDArray[np.float32]:
    sim = Simulator(RULES_2018, count, threads=1)
    sim.reset_open(range(count))
    for _ in range(5):
        sim.step(np.full(count, int(Action.ACCELERATE)))
    return sim.sense(SENSOR).astype(np.float32)


def test_gradient_steps_reduce_the_loss() -> None:
    cells, returns = real_cells(8), np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    steps = GradientSteps(make_policy(), Loss(4.0, 0.0, 1.0), 0.01, 1.0, 0.002)
    losses = [steps.step(cells, returns, None)[0] for _ in range(150)]
    assert losses[-1] < 0.5 * losses[0]


def torch_outputs(network: LaneNetwork, cells: Tensor, weights: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the advantages (N, K) and the values (N,) as torch computes them."""
    features = torch.relu(split_cells(cells, network.net.columns) @ weights["lanes.weight"].T + weights["lanes.bias"])
    hidden = torch.relu(features.flatten(1) @ weights["0.weight"].T + weights["0.bias"])
    advantages = hidden @ weights["1.weight"][CANDIDATES].T + weights["1.bias"][CANDIDATES]
    return advantages, VALUE_SCALE * (hidden @ weights["value.weight"].T + weights["value.bias"])[:, 0]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_gradient_step_is_torchs(monkeypatch: pytest.MonkeyPatch, threads: int, mirrored: bool) -> None:
    policy, cells, random = make_policy(), real_cells(200), np.random.default_rng(0)
    before, average = policy.network.weights(), policy.average.params.copy()
    returns = random.normal(size=(150, 3)).astype(np.float32)
    targets = random.normal(size=70).astype(np.float32)
    monkeypatch.setattr(np.random, "random", lambda: 0.0 if mirrored else 0.9)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    steps = GradientSteps(policy, Loss(4.0, 0.2, 0.3), 0.01, 0.5, 0.1)
    found = steps.step(cells[:150], returns, (cells[130:], targets))
    weights = {name: torch.tensor(array, requires_grad=True) for name, array in before.items()}
    inputs, expected = torch.from_numpy(cells), torch.from_numpy(returns)
    if mirrored:
        inputs = inputs.view(200, -1, policy.network.net.columns).flip(2).flatten(1)
        expected = expected[:, [0, 2, 1]]
    advantages, _ = torch_outputs(policy.network, inputs[:150], weights)
    _, values = torch_outputs(policy.network, inputs[130:], weights)
    centred = [x - x.mean(1, keepdim=True) for x in (advantages, expected)]
    loss = nn.functional.smooth_l1_loss(*centred, beta=0.3)
    value_loss = nn.functional.mse_loss(values, torch.from_numpy(targets))
    assert found == pytest.approx((loss.item(), value_loss.item()), rel=1e-4)
    optimiser = torch.optim.Adam(weights.values(), lr=0.01)
    (4.0 * loss + 0.2 * value_loss).backward()
    nn.utils.clip_grad_norm_(weights.values(), 0.5)
    mean = policy.moments.mean
    for name in weights:
        gradient = weights[name].grad
        assert gradient is not None and (name != "lanes.weight" or gradient.abs().max() > 1e-3)
    optimiser.step()
    after = load_lane_network({name: tensor.detach().numpy() for name, tensor in weights.items()}, SENSOR)
    expected_mean = load_lane_network({n: 0.1 * t.grad.numpy() for n, t in weights.items()}, SENSOR)  # type: ignore
    np.testing.assert_allclose(mean, expected_mean.params, atol=1e-6)
    moved = np.abs(expected_mean.params) > 1e-5  # of smaller gradients Adam's first step magnifies the rounding
    np.testing.assert_allclose(policy.network.params[moved], after.params[moved], atol=1e-5)
    mixed = average + 0.1 * (policy.network.params - average)
    np.testing.assert_allclose(policy.average.params, mixed, atol=1e-6)
