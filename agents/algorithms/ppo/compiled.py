"""PPO compiled beside the simulator: Stable-Baselines3's algorithm, see `agents.algorithms.ppo.torch_learner`."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.algorithms.ppo.config import PPOConfig
from agents.compiled.learner import CompiledLearner
from agents.compiled.network import (
    OUTPUTS,
    TILE,
    TO,
    CompiledNet,
    Tape,
    backward,
    forward,
    initialise_orthogonal,
    load,
    network_weights,
    new_network,
    new_tape,
)
from agents.compiled.optimiser import Moments, adam_step, clip_together, new_moments
from agents.compiled.rollout import collect, new_rollout, shuffle
from agents.config import TrainConfig
from agents.export import Weights
from deeptraffic.sim.compiled import learner_compiled
from deeptraffic.sim.rules import Action
from deeptraffic.sim.state import I64

F32 = NDArray[np.float32]
ADAM_EPSILON = 1e-5


class Half(NamedTuple):
    """The actor or the critic, with its optimiser and its tape."""

    net: CompiledNet
    moments: Moments
    tape: Tape


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
    """Hyperparameters of an update, see `PPOConfig`."""

    n_epochs: int
    batch_size: int
    learning_rate: float
    max_grad_norm: float
    clip_range: float
    ent_coef: float
    vf_coef: float


class CompiledPPO(CompiledLearner):
    """Proximal policy optimisation of dense layers: an actor and a critic."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        agent = config.agent
        assert isinstance(agent, PPOConfig)
        self.agent = agent
        inputs, rng = (self.envs.state.obs.shape[1], *agent.hidden), np.random.default_rng(config.seed)
        self.actor, self.critic = (
            Half(net, new_moments(net), new_tape(net))
            for net in (new_network((*inputs, outputs), agent.activation, False) for outputs in (len(Action), 1))
        )
        initialise_orthogonal(self.actor.net, rng, math.sqrt(2.0), 0.01)
        initialise_orthogonal(self.critic.net, rng, math.sqrt(2.0), 1.0)
        self.rollout = new_rollout(self.envs, agent.n_steps, len(Action))
        self.order = np.arange(self.rollout.actions.size)

    def round(self, remaining: float) -> dict[str, float]:
        """Play a rollout, and improve the actor and the critic by it."""
        agent, rollout = self.agent, self.rollout
        collect(self.envs, self.actor.net, self.critic.net, rollout)
        rewards = rollout.rewards(self.config.envs.reward)
        values = rollout.values, rollout.ended, rollout.end_values
        advantages = gae_advantages(rewards, *values, agent.gamma, agent.gae_lambda)
        samples = PPOSamples(
            obs=rollout.obs.reshape(-1, rollout.obs.shape[2]),
            actions=rollout.actions.ravel(),
            log_probs=log_probabilities(rollout.outputs.reshape(-1, len(Action)), rollout.actions.ravel()),
            advantages=advantages.ravel(),
            returns=(advantages + rollout.values[:, :-1]).ravel(),
        )
        objective = PPOObjective(
            agent.n_epochs,
            agent.batch_size,
            self.learning_rate(remaining),
            agent.max_grad_norm,
            agent.clip_range,
            agent.ent_coef,
            agent.vf_coef,
        )
        losses = improve(self.actor, self.critic, samples, self.order, self.envs.state.random[:1], objective)
        return dict(zip(("policy_gradient_loss", "value_loss", "entropy_loss"), losses, strict=True))

    def weights(self) -> Weights:
        """Return the actor's weights."""
        return network_weights(self.actor.net)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the networks' and the optimisers' arrays."""
        halves = {"actor": self.actor, "critic": self.critic}
        parts = {name: {"params": half.net.params, **half.moments._asdict()} for name, half in halves.items()}
        named = {f"{name}.{part}": array for name, arrays in parts.items() for part, array in arrays.items()}
        return named | {"order": self.order}


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
def improve(
    actor: Half, critic: Half, samples: PPOSamples, order: I64, random: NDArray[np.uint64], objective: PPOObjective
) -> tuple[float, float, float]:
    """Take the gradient steps of a rollout; return the losses of the last batch: policy, value, entropy.

    order: (M,) a permutation, shuffled anew for each pass
    """
    policy, value, entropy = 0.0, 0.0, 0.0
    for _ in range(objective.n_epochs):
        shuffle(order, random)
        for first in range(0, order.size, objective.batch_size):
            batch = order[first : first + objective.batch_size]
            mean, deviation = spread(samples.advantages, batch)
            policy, value, entropy = 0.0, 0.0, 0.0
            for begin in range(0, batch.size, TILE):
                picks, share = batch[begin : begin + TILE], 1.0 / batch.size
                a, b = add_actor_gradient(actor, samples, picks, share, mean, deviation, objective)
                policy, entropy = policy + a, entropy + b
                value += add_critic_gradient(critic, samples, picks, share, objective.vf_coef)
            clip_together(actor.tape.gradient, critic.tape.gradient, objective.max_grad_norm)
            for half in (actor, critic):
                gradient, rate = half.tape.gradient, objective.learning_rate
                adam_step(half.net.params, gradient, half.moments, rate, ADAM_EPSILON, False)
    return policy, value, entropy


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


# parameters: of each batch, three numbers beside its samples
@learner_compiled
def add_actor_gradient(
    actor: Half,
    samples: PPOSamples,
    picks: I64,
    share: float,
    mean: float,
    deviation: float,
    objective: PPOObjective,
) -> tuple[float, float]:
    """Add the gradient of the clipped objective and of the entropy; return these losses' parts of the batch's mean.

    share: 1 / samples of the batch; mean, deviation: of its advantages
    """
    net, tape = actor.net, actor.tape
    load(tape, samples.obs, picks)
    forward(net, tape, picks.size)
    first, actions = net.layers[-1, TO], net.layers[-1, OUTPUTS]
    probabilities, policy, entropy_loss = np.empty(actions), 0.0, 0.0
    for s in range(picks.size):
        m = picks[s]
        logits = tape.values[first : first + actions, s]
        total, taken = log_sum_exp(logits), samples.actions[m]
        negative_entropy = 0.0
        for a in range(actions):
            probabilities[a] = math.exp(logits[a] - total)
            negative_entropy += probabilities[a] * (logits[a] - total)
        ratio = math.exp(logits[taken] - total - samples.log_probs[m])
        advantage = (samples.advantages[m] - mean) / deviation
        clipped = min(max(ratio, 1.0 - objective.clip_range), 1.0 + objective.clip_range)
        policy -= share * min(advantage * ratio, advantage * clipped)
        entropy_loss += share * negative_entropy
        slope = advantage * ratio if advantage * ratio <= advantage * clipped else 0.0
        for a in range(actions):
            by_taken = (1.0 if a == taken else 0.0) - probabilities[a]
            by_entropy = probabilities[a] * (logits[a] - total - negative_entropy)
            tape.deltas[first + a, s] = share * (objective.ent_coef * by_entropy - slope * by_taken)
    backward(net, tape, picks.size)
    return policy, entropy_loss


@learner_compiled
def add_critic_gradient(critic: Half, samples: PPOSamples, picks: I64, share: float, weight: float) -> float:
    """Add the gradient of the squared error of values times `weight`; return this loss's part of the batch's mean."""
    net, tape = critic.net, critic.tape
    load(tape, samples.obs, picks)
    forward(net, tape, picks.size)
    row, loss = net.layers[-1, TO], 0.0
    for s in range(picks.size):
        error = tape.values[row, s] - samples.returns[picks[s]]
        loss += share * error * error
        tape.deltas[row, s] = weight * 2.0 * share * error
    backward(net, tape, picks.size)
    return loss
