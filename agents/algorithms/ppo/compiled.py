"""PPO compiled beside the simulator: Stable-Baselines3's algorithm, see `agents.algorithms.ppo.torch_learner`."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.algorithms.ppo.config import PPOConfig
from agents.compiled.learner import CompiledLearner
from agents.compiled.model import Model, Updates, draw_orthogonal_weights, improve
from agents.compiled.network import TILE
from agents.compiled.rollout import collect
from agents.config import TrainConfig
from deeptraffic.sim.compiled import learner_compiled
from deeptraffic.sim.rules import Action
from deeptraffic.sim.state import I64

F32 = NDArray[np.float32]
ADAM_EPSILON = 1e-5
ACTIONS = len(Action)


class PPOSamples(NamedTuple):
    """M decisions to learn from.

    obs: (M, D) float32; actions: (M,) int64 taken; log_probs: (M,) float32 of these when they were taken
    advantages: (M,) float32; returns: (M,) float32 targets of the critic
    """

    obs: F32
    actions: I64
    log_probs: F32
    advantages: F32
    returns: F32


class PPOObjective(NamedTuple):
    """Hyperparameters of the loss, see `PPOConfig`."""

    clip_range: float
    ent_coef: float
    vf_coef: float


class CompiledPPO(CompiledLearner):
    """Proximal policy optimisation of an actor and a critic, the two branches of one network.

    A layer shared by all lanes is also shared by both, as in torch.
    """

    def __init__(self, config: TrainConfig) -> None:
        agent = config.agent
        assert isinstance(agent, PPOConfig)
        super().__init__(config, agent.n_steps, (ACTIONS, 1))
        self.agent = agent
        draw_orthogonal_weights(self.model, np.random.default_rng(config.seed), (0.01, 1.0))

    def round(self, remaining: float) -> dict[str, float]:
        """Play a rollout, and improve the actor and the critic by it."""
        agent, rollout = self.agent, self.rollout
        collect(self.envs, self.model, rollout)
        rewards = rollout.rewards(self.config.envs.reward)
        values = rollout.values, rollout.ended, rollout.end_values
        advantages = gae_advantages(rewards, *values, agent.gamma, agent.gae_lambda)
        samples = PPOSamples(
            obs=rollout.obs.reshape(-1, rollout.obs.shape[2]),
            actions=rollout.actions.ravel(),
            log_probs=log_probabilities(rollout.outputs.reshape(-1, ACTIONS), rollout.actions.ravel()),
            advantages=advantages.ravel(),
            returns=(advantages + rollout.values[:, :-1]).ravel(),
        )
        rate, random = self.learning_rate(remaining), self.envs.state.random[:1]
        updates = Updates(agent.n_epochs, agent.batch_size, rate, agent.max_grad_norm, ADAM_EPSILON, False)
        objective = PPOObjective(agent.clip_range, agent.ent_coef, agent.vf_coef)
        losses = improve(self.model, samples, self.order, random, updates, add_gradient, objective)
        return dict(zip(("policy_gradient_loss", "value_loss", "entropy_loss"), losses, strict=True))


@learner_compiled
def gae_advantages(
    rewards: F32, values: F32, ended: NDArray[np.bool_], end_values: F32, gamma: float, lambda_: float
) -> F32:
    """Return the generalised advantages (B, T) of a rollout (Schulman et al. 2015, arXiv:1506.02438).

    rewards, ended, end_values: (B, T); values: (B, T + 1), see `agents.compiled.rollout.Rollout`
    """
    advantages = np.empty_like(rewards)
    for b in range(rewards.shape[0]):
        following = 0.0
        for t in range(rewards.shape[1] - 1, -1, -1):
            value = end_values[b, t] if ended[b, t] else values[b, t + 1]
            if ended[b, t]:
                following = 0.0
            following = rewards[b, t] + gamma * value - values[b, t] + gamma * lambda_ * following
            advantages[b, t] = following
    return advantages


@learner_compiled
def log_probabilities(logits: F32, actions: I64) -> F32:
    """Return the logarithms (M,) of the probabilities of actions (M,), given logits (M, A)."""
    found = np.empty(actions.size, np.float32)
    for m in range(actions.size):
        found[m] = logits[m, actions[m]] - log_sum_exp(logits[m])
    return found


@learner_compiled
def log_sum_exp(logits: F32) -> float:
    """Return the logarithm of the sum of exponentials of logits (A,)."""
    top, total = logits[0], 0.0
    for a in range(1, logits.size):
        top = max(top, logits[a])
    for a in range(logits.size):
        total += math.exp(logits[a] - top)
    return top + math.log(total)


@learner_compiled
def spread(advantages: F32, batch: I64) -> tuple[float, float]:
    """Return mean and standard deviation, with SB3's 1e-8 added, of a batch of advantages; (0, 1) of a single one."""
    if batch.size < 2:
        return 0.0, 1.0
    total = 0.0
    for m in batch:
        total += advantages[m]
    mean, squares = total / batch.size, 0.0
    for m in batch:
        squares += (advantages[m] - mean) ** 2
    return mean, math.sqrt(squares / (batch.size - 1)) + 1e-8


@learner_compiled
def add_gradient(model: Model, samples: PPOSamples, batch: I64, objective: PPOObjective) -> tuple[float, float, float]:
    """Add the gradient of the clipped objective, the squared error of values and the entropy; return these losses."""
    share, (mean, deviation) = 1.0 / batch.size, spread(samples.advantages, batch)
    policy, value_loss, entropy_loss, probabilities = 0.0, 0.0, 0.0, np.empty(ACTIONS)
    for begin in range(0, batch.size, TILE):
        picks = batch[begin : begin + TILE]
        outputs, deltas = model.functions.predict(model.net, model.tape, samples.obs, picks)
        for s in range(picks.size):
            m = picks[s]
            logits, taken = outputs[:ACTIONS, s], samples.actions[m]
            total, negative_entropy = log_sum_exp(logits), 0.0
            for a in range(ACTIONS):
                probabilities[a] = math.exp(logits[a] - total)
                negative_entropy += probabilities[a] * (logits[a] - total)
            ratio = math.exp(logits[taken] - total - samples.log_probs[m])
            advantage = (samples.advantages[m] - mean) / deviation
            clipped = min(max(ratio, 1.0 - objective.clip_range), 1.0 + objective.clip_range)
            policy -= share * min(advantage * ratio, advantage * clipped)
            entropy_loss += share * negative_entropy
            slope = advantage * ratio if advantage * ratio <= advantage * clipped else 0.0
            for a in range(ACTIONS):
                by_taken = (1.0 if a == taken else 0.0) - probabilities[a]
                by_entropy = probabilities[a] * (logits[a] - total - negative_entropy)
                deltas[a, s] = share * (objective.ent_coef * by_entropy - slope * by_taken)
            error = outputs[ACTIONS, s] - samples.returns[m]
            value_loss += share * error * error
            deltas[ACTIONS, s] = objective.vf_coef * 2.0 * share * error
        model.functions.backward(model.net, model.tape, picks.size)
    return policy, value_loss, entropy_loss
