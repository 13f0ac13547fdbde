"""The compiled PPO against torch's arithmetic."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from torch import nn

from agents.algorithms.ppo.compiled import (
    CompiledPPO,
    PPOObjective,
    PPOSamples,
    add_actor_gradient,
    add_critic_gradient,
    gae_advantages,
    log_probabilities,
    spread,
)
from agents.compiled.network import CompiledNet, layer_params
from agents.config import TrainConfig

Config = Callable[..., TrainConfig]
OBJECTIVE = PPOObjective(4, 64, 1e-3, 0.5, 0.2, 0.03, 0.7)


def as_module(net: CompiledNet) -> nn.Sequential:
    """Return torch's network with the same weights."""
    layers: list[nn.Module] = []
    for parts in layer_params(net):
        layer = nn.Linear(parts["weight"].shape[1], parts["weight"].shape[0])
        layer.weight.data.copy_(torch.from_numpy(parts["weight"]))
        layer.bias.data.copy_(torch.from_numpy(parts["bias"]))
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def assert_gradient(found: np.ndarray, module: nn.Module) -> None:
    """Compare a flat gradient with that of torch."""
    expected = np.concatenate([p.grad.numpy().ravel() for p in module.parameters() if p.grad is not None])
    np.testing.assert_allclose(found, expected, atol=1e-5 * max(1.0, np.abs(expected).max()))


@pytest.fixture
def learner(small_config: Config) -> CompiledPPO:
    found = CompiledPPO(small_config("ppo", hidden=[16, 12]))
    for net in (found.actor.net, found.critic.net):
        net.params[:] += np.random.default_rng(1).normal(0.0, 0.3, net.params.size)
    return found


def samples_of(learner: CompiledPPO, count: int = 100) -> PPOSamples:
    rng = np.random.default_rng(2)
    obs = rng.normal(size=(count, 42)).astype(np.float32)
    actions = rng.integers(5, size=count)
    logits = as_module(learner.actor.net)(torch.from_numpy(obs)).detach().numpy()
    old = logits + rng.normal(0.0, 0.5, logits.shape).astype(np.float32)  # ratios on both sides of the clip range
    numbers = rng.normal(size=(2, count)).astype(np.float32)
    return PPOSamples(obs, actions, log_probabilities(old, actions), numbers[0], numbers[1])


def test_the_gradient_is_that_of_the_clipped_objective(learner: CompiledPPO) -> None:
    samples, picks = samples_of(learner), np.arange(100)
    mean, deviation = spread(samples.advantages, picks)
    policy, entropy_loss = add_actor_gradient(learner.actor, samples, picks, 0.01, mean, deviation, OBJECTIVE)
    actor = as_module(learner.actor.net)
    distribution = torch.distributions.Categorical(logits=actor(torch.from_numpy(samples.obs)))
    advantages = torch.from_numpy(samples.advantages)
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    ratio = torch.exp(distribution.log_prob(torch.from_numpy(samples.actions)) - torch.from_numpy(samples.log_probs))
    assert ((ratio < 0.8) | (ratio > 1.2)).sum() > 10
    expected = -torch.min(advantages * ratio, advantages * ratio.clamp(0.8, 1.2)).mean()
    expected_entropy = -distribution.entropy().mean()
    (expected + 0.03 * expected_entropy).backward()
    assert (policy, entropy_loss) == pytest.approx((expected.item(), expected_entropy.item()), abs=1e-5)
    assert_gradient(learner.actor.tape.gradient, actor)


def test_the_critics_gradient_is_that_of_the_squared_error(learner: CompiledPPO) -> None:
    samples = samples_of(learner)
    loss = add_critic_gradient(learner.critic, samples, np.arange(100), 0.01, 0.7)
    critic = as_module(learner.critic.net)
    values = critic(torch.from_numpy(samples.obs))[:, 0]
    expected = nn.functional.mse_loss(values, torch.from_numpy(samples.returns))
    (0.7 * expected).backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert_gradient(learner.critic.tape.gradient, critic)


@pytest.mark.parametrize("lambda_", [0.0, 0.9, 1.0])
def test_advantages_are_those_of_stable_baselines3(learner: CompiledPPO, lambda_: float) -> None:
    rng, steps, count = np.random.default_rng(3), 11, 7
    rewards, values = rng.normal(size=(steps, count)), rng.normal(size=(steps + 1, count))
    ended, end_values = rng.random((steps, count)) < 0.3, rng.normal(size=(steps, count))
    space = learner.config.observation.space(learner.config.road.build())
    buffer = RolloutBuffer(steps, space, spaces.Discrete(5), "cpu", lambda_, 0.9, count)
    starts = np.vstack([np.zeros((1, count), bool), ended])
    for t in range(steps):
        truncated = rewards[t] + 0.9 * end_values[t] * ended[t]  # as SB3 bootstraps what is truncated
        value, zero = torch.from_numpy(values[t]), torch.zeros(count)
        buffer.add(np.zeros((count, 42)), np.zeros((count, 1)), truncated, starts[t], value, zero)
    buffer.compute_returns_and_advantage(torch.from_numpy(values[-1]), starts[-1])
    given = (array.T.astype(np.float32) for array in (rewards, values))
    found = gae_advantages(*given, ended.T.copy(), end_values.T.astype(np.float32), 0.9, lambda_)
    np.testing.assert_allclose(found.T, buffer.advantages, atol=1e-5)


def test_hidden_layers_begin_orthogonal_and_the_heads_small(small_config: Config) -> None:
    learner = CompiledPPO(small_config("ppo", hidden=[64, 32]))
    for half, gain in ((learner.actor, 0.01), (learner.critic, 1.0)):
        first, second, head = (parts["weight"].astype(np.float64) for parts in layer_params(half.net))
        np.testing.assert_allclose(first.T @ first, 2.0 * np.eye(42), atol=1e-5)
        np.testing.assert_allclose(second @ second.T, 2.0 * np.eye(32), atol=1e-5)
        np.testing.assert_allclose(head @ head.T, gain**2 * np.eye(len(head)), atol=1e-5)
