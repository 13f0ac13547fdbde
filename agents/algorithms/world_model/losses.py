"""Targets and losses of the world model for a batch of replayed segments.

Value targets are Retrace's (Munos et al. 2016, arXiv:1606.02647, eq. 4): returns over the segment,
with traces cut where the policy would now decide otherwise. The policy's target is a softmax of action values, in part
imagined one decision ahead (after Danihelka et al. 2022, "Policy improvement by planning with Gumbel", and Abdolmaleki
et al. 2018, MPO, arXiv:1806.06920). Targets have no gradient.

Letters in shapes: T decisions of a segment, B segments, A actions, D latent features, E critics.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from agents.algorithms.world_model.config import WorldModelConfig
from agents.algorithms.world_model.networks import WorldModel
from agents.algorithms.world_model.replay_buffer import Segments

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class WorldModelTargets:
    """Targets of the heads, for the states 0..T - 1 of each segment.

    latents: (T + 1, B, D) of the observations, by the target network
    returns: (T, B); policy: (T, B, A) probabilities
    """

    latents: Tensor
    returns: Tensor
    policy: Tensor


def retrace(rewards: Tensor, taken: Tensor, expected: Tensor, traces: Tensor, gamma: float) -> Tensor:
    """Return the value targets (T, B) of the decisions of a segment.

    rewards (T, B); taken (T, B): present values of the decisions; expected (T + 1, B): of the states, under the policy
    traces (T, B): trace coefficient of decision t, 0 where it belongs to another episode

    y[t] = r[t] + gamma * (expected[t + 1] + traces[t + 1] * (y[t + 1] - taken[t + 1])), the segment's last without
    the second term.
    """
    targets = torch.empty_like(rewards)
    error = torch.zeros_like(rewards[0])
    for t in range(len(rewards) - 1, -1, -1):
        targets[t] = rewards[t] + gamma * (expected[t + 1] + error)
        error = traces[t] * (targets[t] - taken[t])
    return targets


def softmax_policy(values: Tensor, temperature: float) -> Tensor:
    """Return the probabilities (..., A) of a softmax of action values (..., A)."""
    return torch.softmax(values / temperature, -1)


def imagined_values(model: WorldModel, latents: Tensor, config: WorldModelConfig) -> Tensor:
    """Return action values (B, A): the target critics', mixed with what the model imagines one decision ahead."""
    values = model.target_values(latents)
    if config.imagination == 0.0:
        return values
    after = model.imagine_all(latents)  # (B, A, D)
    following = model.target_values(after.flatten(0, 1)).view(*after.shape[:2], -1)  # (B, A, A)
    state_values = (softmax_policy(following, config.temperature) * following).sum(-1)  # (B, A)
    imagined = model.reward_head(latents) + config.gamma * state_values
    return torch.lerp(values, imagined, config.imagination)


@torch.no_grad()
def make_targets(model: WorldModel, segments: Segments, config: WorldModelConfig) -> WorldModelTargets:
    """Return the targets of a batch of segments."""
    steps, batch = segments.rewards.shape
    latents = torch.stack([model.target_encode(obs) for obs in segments.obs])  # (T + 1, B, D)
    values = imagined_values(model, latents.flatten(0, 1), config).view(steps + 1, batch, -1)  # (T + 1, B, A)
    policy = softmax_policy(values, config.temperature)
    expected = (policy * values).sum(-1)  # (T + 1, B)
    chosen = segments.actions[..., None]
    taken = values[:-1].gather(2, chosen)[..., 0]  # (T, B)
    prob = policy[:-1].gather(2, chosen)[..., 0]
    traces = config.gae_lambda * (prob / segments.probs).clamp(max=1.0) * segments.valid
    returns = retrace(segments.rewards, taken, expected, traces, config.gamma)
    return WorldModelTargets(latents, returns, policy[:-1])


def model_losses(model: WorldModel, segments: Segments, targets: WorldModelTargets) -> Losses:
    """Return the loss of every head, each a mean over decisions: imagined from the segment's first observation on."""
    latents = [model.encode_stored(segments.obs[0])]  # (B, D)
    for actions in segments.actions:
        latents.append(model.imagine(latents[-1], actions))
    states, after = torch.cat(latents[:-1]), torch.cat(latents[1:])  # (T * B, D)
    chosen, returns = segments.actions.reshape(-1, 1), targets.returns.flatten()
    reward = model.reward_head(states).gather(1, chosen)[:, 0]  # (T * B,)
    values = model.values(states).gather(2, chosen.expand(len(model.critics), -1, -1))[..., 0]  # (E, T * B)
    log_probs = torch.log_softmax(model.policy_head(states), 1)  # (T * B, A)
    obs = torch.cat([model.flat(part) for part in segments.obs])  # ((T + 1) * B, N)
    errors = {
        "reward": (reward - segments.rewards.flatten()).square(),
        "value": (values - returns).square().sum(0),
        "policy": -(targets.policy.flatten(0, 1) * log_probs).sum(1),
        "consistency": _row_error(after, targets.latents[1:].flatten(0, 1)),
        "decoder": _row_error(model.decoder(torch.cat(latents)), obs),
    }
    valid = segments.valid.flatten()
    observed = torch.cat([torch.ones_like(segments.valid[0]), valid])
    weights = {name: observed if name == "decoder" else valid for name in errors}
    return {name: (error * weights[name]).sum() / weights[name].sum().clamp(min=1.0) for name, error in errors.items()}


def total_loss(losses: Losses, config: WorldModelConfig) -> Tensor:
    """Return the losses' weighted sum."""
    return torch.stack([getattr(config, f"{name}_coef") * loss for name, loss in losses.items()]).sum()


def _row_error(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean squared error of each row, (B,)."""
    return nn.functional.mse_loss(found, wanted, reduction="none").mean(1)
