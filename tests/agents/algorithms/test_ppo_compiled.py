"""The compiled PPO against torch's arithmetic."""

from collections.abc import Callable
from typing import Any

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
    add_gradient,
    gae_advantages,
    log_probabilities,
)
from agents.compiled.model import lane_params
from agents.compiled.network import branch_params
from agents.config import TrainConfig
from agents.sb3 import make_model, make_vec_env

Config = Callable[..., TrainConfig]
OBJECTIVE = PPOObjective(0.2, 0.03, 0.7)
SETTINGS = [{"hidden": [16, 12]}, {"hidden": [16, 12], "kind": "vector", "lane_units": 6, "activation": "relu"}]


def make_pair(config: TrainConfig) -> tuple[CompiledPPO, Any]:
    """Return a compiled learner and SB3's policy with the same random weights."""
    learner, policy = CompiledPPO(config), make_model(config, make_vec_env(config)).policy
    learner.model.dense.params[:] += np.random.default_rng(1).normal(0.0, 0.3, learner.model.dense.params.size)
    learner.model.functions.prepare(learner.model.net)
    for parts, layer in zip(layers_of(learner), torch_layers(policy), strict=True):
        layer.weight.data.copy_(torch.from_numpy(parts["weight"].copy()))
        layer.bias.data.copy_(torch.from_numpy(parts["bias"]))
    return learner, policy


def layers_of(learner: CompiledPPO) -> list[dict[str, np.ndarray]]:
    """Return the parameters of the shared layer, if there is one, of the actor and of the critic."""
    branches = [branch_params(learner.model.dense, k, 2) for k in (0, 1)]
    return [*lane_params(learner.model), *branches[0], *branches[1]]


def torch_layers(policy: Any) -> list[nn.Linear]:
    """Return the same layers of SB3's policy."""
    trunks = policy.mlp_extractor
    modules = (policy.features_extractor, trunks.policy_net, policy.action_net, trunks.value_net, policy.value_net)
    return [layer for module in modules for layer in module.modules() if isinstance(layer, nn.Linear)]


def samples_of(learner: CompiledPPO, policy: Any, count: int = 300) -> PPOSamples:
    rng, obs = np.random.default_rng(2), learner.rollout.obs
    learner.round(1.0)  # real observations
    obs = obs.reshape(-1, obs.shape[2])[rng.integers(obs.shape[0] * obs.shape[1], size=count)].copy()
    actions = rng.integers(5, size=count)
    logits = policy.get_distribution(torch.from_numpy(obs)).distribution.logits.detach().numpy()
    old = logits + rng.normal(0.0, 0.5, logits.shape).astype(np.float32)  # ratios on both sides of the clip range
    numbers = rng.normal(size=(2, count)).astype(np.float32)
    return PPOSamples(obs, actions, log_probabilities(old, actions), numbers[0], numbers[1])


@pytest.mark.parametrize("settings", SETTINGS, ids=["dense", "lanes"])
def test_the_gradient_is_that_of_stable_baselines3s_loss(small_config: Config, settings: dict) -> None:
    config = small_config("ppo", learning_rate=1e-8, learning_rate_end=0.0, **settings)
    learner, policy = make_pair(config)
    samples, batch = samples_of(learner, policy), np.arange(20, 270)
    found = add_gradient(learner.model, samples, batch, OBJECTIVE)
    chosen = [torch.from_numpy(array[20:270]) for array in samples]
    obs, actions, old, advantages, returns = chosen
    values, log_probs, entropy = policy.evaluate_actions(obs, actions)
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    ratio = torch.exp(log_probs - old)
    assert ((ratio < 0.8) | (ratio > 1.2)).sum() > 10
    losses = (
        -torch.min(advantages * ratio, advantages * ratio.clamp(0.8, 1.2)).mean(),
        nn.functional.mse_loss(values[:, 0], returns),
        -entropy.mean(),
    )
    (losses[0] + 0.7 * losses[1] + 0.03 * losses[2]).backward()
    assert found == pytest.approx([loss.item() for loss in losses], rel=1e-5, abs=1e-5)
    model = learner.model
    gradient = model.functions.finish_gradient(model.net, model.tape)
    model.dense.params[:] = gradient  # so that its parts have names
    for parts, layer in zip(layers_of(learner), torch_layers(policy), strict=True):
        for name, array in parts.items():
            expected = getattr(layer, name).grad.numpy()
            np.testing.assert_allclose(array, expected, atol=1e-5 * max(1.0, np.abs(expected).max()))


@pytest.fixture
def learner(small_config: Config) -> CompiledPPO:
    return CompiledPPO(small_config("ppo"))


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
    learner = CompiledPPO(small_config("ppo", hidden=[64, 32], kind="vector", lane_units=8))
    (lanes,) = lane_params(learner.model)
    np.testing.assert_allclose(lanes["weight"] @ lanes["weight"].T, 2.0 * np.eye(8), atol=1e-5)
    for branch, gain in ((0, 0.01), (1, 1.0)):
        parts = branch_params(learner.model.dense, branch, 2)
        first, second, head = (part["weight"].astype(np.float64) for part in parts)
        np.testing.assert_allclose(first.T @ first, 2.0 * np.eye(first.shape[1]), atol=1e-5)
        np.testing.assert_allclose(second @ second.T, 2.0 * np.eye(32), atol=1e-5)
        np.testing.assert_allclose(head @ head.T, gain**2 * np.eye(len(head)), atol=1e-5)
