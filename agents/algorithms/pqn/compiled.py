"""PQN compiled beside the simulator, see `agents.algorithms.pqn.torch_learner`: the same algorithm without torch."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.algorithms.pqn.config import PQNConfig
from agents.compiled.learner import CompiledLearner
from agents.compiled.model import Model, Updates, draw_uniform_weights, improve
from agents.compiled.network import TILE, layer_params
from agents.compiled.rollout import collect
from agents.config import TrainConfig
from deeptraffic.sim.compiled import learner_compiled
from deeptraffic.sim.rules import Action
from deeptraffic.sim.state import I64

F32 = NDArray[np.float32]
ADAM_EPSILON = 1e-8


class CompiledPQN(CompiledLearner):
    """Parallelised Q-network."""

    def __init__(self, config: TrainConfig) -> None:
        agent = config.agent
        assert isinstance(agent, PQNConfig)
        super().__init__(config, agent.n_steps, (len(Action),), agent.layer_norm)
        self.agent = agent
        draw_uniform_weights(self.model, np.random.default_rng(config.seed))

    def round(self, remaining: float) -> dict[str, float]:
        """Play a rollout, and regress the network on its lambda returns."""
        agent, rollout = self.agent, self.rollout
        fallen = min(1.0, (1.0 - remaining) / agent.exploration_fraction)
        epsilon = agent.exploration_initial_eps
        epsilon += fallen * (agent.exploration_final_eps - agent.exploration_initial_eps)
        collect(self.envs, self.model, rollout, epsilon)
        rewards = rollout.rewards(self.config.envs.reward)
        if self.decisions == 0:
            self._centre_values(float(rewards.mean()))
        values = rollout.values, rollout.ended, rollout.end_values
        targets = lambda_returns(rewards, *values, agent.gamma, agent.q_lambda)
        rate, random = self.learning_rate(remaining), self.envs.state.random[:1]
        updates = Updates(agent.n_epochs, agent.batch_size, rate, agent.max_grad_norm, ADAM_EPSILON, True)
        samples = PQNSamples(rollout.obs.reshape(-1, rollout.obs.shape[2]), rollout.actions.ravel(), targets.ravel())
        loss = improve(self.model, samples, self.order, random, updates, add_gradient, ())
        return {"loss": loss, "mean_target": float(targets.mean()), "exploration_rate": epsilon}

    def _centre_values(self, mean_reward: float) -> None:
        """Add the value of the mean reward over an infinite horizon to all values of a new network.

        Gradient steps would take thousands of decisions to get there, and drown the differences between actions.
        """
        shift = np.float32(mean_reward / max(1.0 - self.agent.gamma, 1e-3))
        layer_params(self.model.dense)[-1]["bias"] += shift
        self.rollout.values[:] += shift
        self.rollout.end_values[:] += shift


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
def add_gradient(model: Model, samples: PQNSamples, batch: I64, loss: Any) -> float:
    """Add the gradient of half the mean squared error of the values of actions taken; return that loss."""
    total = 0.0
    for begin in range(0, batch.size, TILE):
        picks = batch[begin : begin + TILE]
        values, deltas = model.functions.predict(model.net, model.tape, samples.obs, picks)
        deltas[:, : picks.size] = np.float32(0.0)
        for s in range(picks.size):
            action = samples.actions[picks[s]]
            error = values[action, s] - samples.targets[picks[s]]
            total += 0.5 * error * error / batch.size
            deltas[action, s] = error / batch.size
        model.functions.backward(model.net, model.tape, picks.size)
    return total
