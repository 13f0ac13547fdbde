"""PQN compiled beside the simulator, see `agents.algorithms.pqn.torch_learner`: the same algorithm without torch."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.algorithms.pqn.config import PQNConfig
from agents.compiled.learner import CompiledLearner
from agents.compiled.network import (
    OUTPUTS,
    TILE,
    TO,
    CompiledNet,
    Tape,
    backward,
    forward,
    initialise,
    layer_params,
    load,
    network_weights,
    new_network,
    new_tape,
)
from agents.compiled.optimiser import Moments, adam_step, clip, new_moments
from agents.compiled.rollout import collect, new_rollout, shuffle
from agents.config import TrainConfig
from agents.export import Weights
from deeptraffic.sim.compiled import learner_compiled
from deeptraffic.sim.rules import Action
from deeptraffic.sim.state import I64

F32 = NDArray[np.float32]
ADAM_EPSILON = 1e-8


class CompiledPQN(CompiledLearner):
    """Parallelised Q-network of dense layers."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        agent = config.agent
        assert isinstance(agent, PQNConfig)
        self.agent = agent
        size = self.envs.state.obs.shape[1]
        self.net = new_network((size, *agent.hidden, len(Action)), agent.activation, agent.layer_norm)
        initialise(self.net, np.random.default_rng(config.seed))
        self.moments, self.tape = new_moments(self.net), new_tape(self.net)
        self.rollout = new_rollout(self.envs, agent.n_steps, len(Action))
        self.order = np.arange(self.rollout.actions.size)

    def round(self, remaining: float) -> dict[str, float]:
        """Play a rollout, and regress the network on its lambda returns."""
        agent, rollout = self.agent, self.rollout
        fallen = min(1.0, (1.0 - remaining) / agent.exploration_fraction)
        epsilon = agent.exploration_initial_eps
        epsilon += fallen * (agent.exploration_final_eps - agent.exploration_initial_eps)
        collect(self.envs, self.net, self.net, rollout, epsilon)
        rewards = rollout.rewards(self.config.envs.reward)
        if self.decisions == 0:
            self._centre_values(float(rewards.mean()))
        values = rollout.values, rollout.ended, rollout.end_values
        targets = lambda_returns(rewards, *values, agent.gamma, agent.q_lambda)
        settings = (agent.n_epochs, agent.batch_size, self.learning_rate(remaining), agent.max_grad_norm)
        samples = PQNSamples(rollout.obs.reshape(-1, rollout.obs.shape[2]), rollout.actions.ravel(), targets.ravel())
        loss = fit(self.net, self.moments, self.tape, samples, self.order, self.envs.state.random[:1], settings)
        return {"loss": loss, "mean_target": float(targets.mean()), "exploration_rate": epsilon}

    def _centre_values(self, mean_reward: float) -> None:
        """Add the value of the mean reward over an infinite horizon to all values of a new network.

        Gradient steps would take thousands of decisions to get there, and drown the differences between actions.
        """
        shift = np.float32(mean_reward / max(1.0 - self.agent.gamma, 1e-3))
        layer_params(self.net)[-1]["bias"] += shift
        self.rollout.values[:] += shift
        self.rollout.end_values[:] += shift

    def weights(self) -> Weights:
        """Return the Q-network's weights."""
        return network_weights(self.net)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the network's and the optimiser's arrays."""
        return {"params": self.net.params, **self.moments._asdict(), "order": self.order}


@learner_compiled
def lambda_returns(rewards: F32, values: F32, ended: Any, end_values: F32, gamma: float, lambda_: float) -> F32:
    """Return the targets (B, T) of a rollout, see the function of this name in `torch_learner`.

    rewards, ended, end_values: (B, T); values: (B, T + 1), see `agents.compiled.rollout.Rollout`
    """
    targets = np.empty_like(rewards)
    for b in range(rewards.shape[0]):
        following = 0.0
        for t in range(rewards.shape[1] - 1, -1, -1):
            value = end_values[b, t] if ended[b, t] else values[b, t + 1]
            if ended[b, t] or t == rewards.shape[1] - 1:
                following = value
            following = rewards[b, t] + gamma * (lambda_ * following + (1.0 - lambda_) * value)
            targets[b, t] = following
    return targets


class PQNSamples(NamedTuple):
    """M decisions to learn from.

    obs: (M, D) float32; actions: (M,) int64 taken; targets: (M,) float32 of their values
    """

    obs: F32
    actions: I64
    targets: F32


@learner_compiled
def fit(
    net: CompiledNet,
    moments: Moments,
    tape: Tape,
    samples: PQNSamples,
    order: I64,
    random: Any,
    settings: tuple[int, int, float, float],
) -> float:
    """Regress the values of actions taken on their targets; return the last batch's half mean squared error.

    order: (M,) a permutation, shuffled anew for each pass
    settings: passes, decisions of a batch, learning rate, gradient-norm clipping threshold
    """
    passes, size, rate, max_norm = settings
    loss = 0.0
    for _ in range(passes):
        shuffle(order, random)
        for first in range(0, order.size, size):
            count = min(size, order.size - first)
            loss = 0.0
            for begin in range(first, first + count, TILE):
                picks = order[begin : min(begin + TILE, first + count)]
                loss += add_gradient(net, tape, samples, picks, count)
            clip(tape.gradient, max_norm)
            adam_step(net.params, tape.gradient, moments, rate, ADAM_EPSILON, True)
    return loss


@learner_compiled
def add_gradient(net: CompiledNet, tape: Tape, samples: PQNSamples, picks: I64, count: int) -> float:
    """Add the gradient of half the squared errors of these samples / count; return that loss."""
    load(tape, samples.obs, picks)
    forward(net, tape, picks.size)
    last = net.layers[-1]
    values, deltas = tape.values[last[TO] :], tape.deltas[last[TO] :]
    deltas[: last[OUTPUTS], : picks.size] = np.float32(0.0)
    loss = 0.0
    for s in range(picks.size):
        action = samples.actions[picks[s]]
        error = values[action, s] - samples.targets[picks[s]]
        loss += 0.5 * error * error / count
        deltas[action, s] = error / count
    backward(net, tape, picks.size)
    return loss
