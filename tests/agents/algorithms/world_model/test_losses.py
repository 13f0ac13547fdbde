"""What the world model learns from: targets against arithmetic, and no gradient where none belongs."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from agents.algorithms.world_model.config import WorldModelConfig
from agents.algorithms.world_model.losses import (
    imagined_values,
    make_targets,
    model_losses,
    retrace,
    softmax_policy,
    total_loss,
)
from agents.algorithms.world_model.networks import WorldModel
from agents.algorithms.world_model.replay_buffer import SegmentReplayBuffer, Segments

CONFIG = WorldModelConfig(hidden=(8, 6), gamma=0.9, gae_lambda=0.7, temperature=0.5)


def small_model() -> WorldModel:
    torch.manual_seed(0)
    return WorldModel(spaces.Box(-9.0, 9.0, (3,)), spaces.Discrete(5), lambda _: 1e-3, [8, 6])


def drawn_segments(count: int = 40, decisions: int = 3, ends: tuple[int, ...] = ()) -> Segments:
    random = np.random.RandomState(0)
    memory = SegmentReplayBuffer(100, 4, spaces.Box(-9.0, 9.0, (3,), np.float32))
    for t in range(25):
        obs, ended = random.normal(size=(4, 3)).astype(np.float32), np.full(4, t in ends)
        memory.add(obs, random.randint(5, size=4), random.uniform(0.1, 1.0, 4), random.normal(size=4), ended)
    return memory.draw(count, decisions, random)


# --- targets ------------------------------------------------------------------------------------------------------


def brute_force_retrace(rewards: Any, taken: Any, expected: Any, traces: Any, t: int, gamma: float) -> float:
    """Munos et al. 2016, eq. 4: Q(x, a) + sum over s >= t of gamma^(s - t) (traces of t + 1..s) TD error of s."""
    total = taken[t]
    for s in range(t, len(rewards)):
        error = rewards[s] + gamma * expected[s + 1] - taken[s]
        total += gamma ** (s - t) * np.prod(traces[t + 1 : s + 1]) * error
    return total


def test_value_targets_are_retraces_sum_of_surprises() -> None:
    random = np.random.default_rng(2)
    rewards, taken, expected = random.normal(size=(6, 9)), random.normal(size=(6, 9)), random.normal(size=(7, 9))
    traces = random.uniform(size=(6, 9)) * (random.random((6, 9)) < 0.8)
    found = retrace(*(torch.from_numpy(part) for part in (rewards, taken, expected, traces)), 0.9)
    wanted = [
        [brute_force_retrace(rewards[:, b], taken[:, b], expected[:, b], traces[:, b], t, 0.9) for b in range(9)]
        for t in range(6)
    ]
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-12)


def test_value_targets_by_hand() -> None:
    rewards, taken = torch.tensor([[1.0], [2.0]]), torch.tensor([[5.0], [4.0]])
    expected = torch.tensor([[9.0], [10.0], [20.0]])
    found = retrace(rewards, taken, expected, torch.tensor([[1.0], [0.5]]), 0.5)
    # y1 = 2 + 0.5 * 20 = 12; y0 = 1 + 0.5 * (10 + 0.5 * (12 - 4)) = 8
    assert found.flatten().tolist() == [8.0, 12.0]


def test_the_softmax_policy_goes_by_the_difference_in_temperatures() -> None:
    chances = softmax_policy(torch.tensor([1.0, 1.5, 0.0, 0.0, 0.0]), 0.5)
    assert float(chances[1] / chances[0]) == pytest.approx(np.e)  # (1.5 - 1.0) / 0.5 = 1


@torch.no_grad()
def test_imagined_values_mix_critics_with_one_imagined_decision() -> None:
    model, latents = small_model(), torch.rand(3, 6)
    plain = imagined_values(model, latents, WorldModelConfig(imagination=0.0))
    torch.testing.assert_close(plain, model.target_values(latents))
    config = WorldModelConfig(imagination=0.25, gamma=0.9, temperature=0.5)
    mixed = imagined_values(model, latents, config)
    for b in range(3):
        for action in range(5):
            after = model.imagine(latents[b : b + 1], torch.tensor([action]))
            values = model.target_values(after)[0]
            chances = torch.exp(values / 0.5) / torch.exp(values / 0.5).sum()
            imagined = model.reward_head(latents[b])[action] + 0.9 * (chances * values).sum()
            torch.testing.assert_close(mixed[b, action], 0.75 * plain[b, action] + 0.25 * imagined)


def test_traces_are_cut_where_the_policy_would_decide_otherwise_and_at_an_episodes_end() -> None:
    model, segments = small_model(), drawn_segments(ends=(7, 15))
    targets = make_targets(model, segments, CONFIG)
    values = torch.stack([imagined_values(model, model.target_encode(obs), CONFIG) for obs in segments.obs])
    policy = softmax_policy(values, CONFIG.temperature).detach()
    expected = (policy * values).sum(-1)
    torch.testing.assert_close(targets.policy, policy[:-1])
    t, following = 1, 2
    for b in range(40):
        action = segments.actions[following, b]
        ratio = min(1.0, float(policy[following, b, action] / segments.probs[following, b]))
        trace = 0.7 * ratio * float(segments.valid[following, b])
        surprise = targets.returns[following, b] - values[following, b, action]
        wanted = segments.rewards[t, b] + 0.9 * (expected[following, b] + trace * surprise)
        torch.testing.assert_close(targets.returns[t, b], wanted)
    assert (segments.valid == 0).any()


# --- losses -------------------------------------------------------------------------------------------------------


def test_losses_are_what_the_heads_get_wrong() -> None:
    model, segments = small_model(), drawn_segments()
    targets = make_targets(model, segments, CONFIG)
    losses = model_losses(model, segments, targets)
    latent, parts = model.encode(segments.obs[0]), []
    for t, action in enumerate(segments.actions):
        rows = torch.arange(40)
        chances = torch.softmax(model.policy_head(latent), 1).log()
        after = model.imagine(latent, action)
        parts.append(
            {
                "reward": (model.reward_head(latent)[rows, action] - segments.rewards[t]) ** 2,
                "value": sum((critic(latent)[rows, action] - targets.returns[t]) ** 2 for critic in model.critics),
                "policy": -(targets.policy[t] * chances).sum(1),
                "consistency": ((after - targets.latents[t + 1]) ** 2).mean(1),
            }
        )
        latent = after
    for name in parts[0]:
        wanted = torch.stack([torch.as_tensor(part[name]) for part in parts]).mean()
        torch.testing.assert_close(losses[name], wanted)


def test_what_is_not_valid_has_no_weight() -> None:
    model, segments = small_model(), drawn_segments(ends=(7, 15))
    targets = make_targets(model, segments, CONFIG)
    loss = total_loss(model_losses(model, segments, targets), CONFIG)
    ended = segments.valid == 0
    rewards = torch.where(ended, torch.tensor(1e6), segments.rewards)
    obs = [segments.obs[0]] + [
        torch.where(end[:, None], 1e6, o) for end, o in zip(ended, segments.obs[1:], strict=True)
    ]
    spoilt = segments._replace(rewards=rewards, obs=obs)
    assert torch.equal(total_loss(model_losses(model, spoilt, targets), CONFIG), loss)
    assert ended.any()


def gradient(loss: Tensor, network: torch.nn.Module) -> float:
    network.zero_grad()
    loss.backward(retain_graph=True)
    return sum(float(weight.grad.abs().sum()) for weight in network.parameters() if weight.grad is not None)


def test_consistency_moves_what_imagines_and_never_what_is_to_be_imagined() -> None:
    model, segments = small_model(), drawn_segments()
    model.target.requires_grad_(True)  # so that a gradient into it would show
    losses = model_losses(model, segments, make_targets(model, segments, CONFIG))
    assert gradient(losses["consistency"], model.dynamics) > 0
    assert gradient(losses["consistency"], model.encoder) > 0
    for name, loss in losses.items():
        model.zero_grad()
        assert gradient(loss, model.target) == 0, name
    for head in (model.critics, model.policy_head, model.reward_head, model.decoder):
        model.zero_grad()
        assert gradient(losses["consistency"], head) == 0


def test_the_weights_of_the_losses_are_the_settings() -> None:
    losses = {name: torch.tensor(1.0) for name in ("reward", "value", "policy", "consistency", "decoder")}
    config = WorldModelConfig(
        reward_coef=1.0, value_coef=10.0, policy_coef=100.0, consistency_coef=0.0, decoder_coef=0.5
    )
    assert float(total_loss(losses, config)) == 111.5
