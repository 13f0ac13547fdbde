"""Conservative Q-learning for discrete actions: double Q-learning, and a penalty on actions that the data lack.

    $ deeptraffic train cql --dataset deeptraffic/medium-v0

    loss = mean (Q(s, a) - r - gamma Q'(s', argmax Q(s', .)))^2 / 2 + alpha mean (logsumexp Q(s, .) - Q(s, a))

where Q' is a running mean of Q. Nothing terminates, so every transition bootstraps.

Sources: Kumar, Zhou, Tucker and Levine 2020, "Conservative Q-Learning for Offline Reinforcement Learning",
arXiv:2006.04779, equation 4 (CQL(H)); van Hasselt, Guez and Silver 2016, arXiv:1509.06461.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from agents.datasets.offline import DEFAULTS, PRESETS, Minibatch, OfflineAlgorithm, OfflineConfig, OfflineLearner
from agents.registry import RETURNS, Entry
from deeptraffic.settings import real


@dataclass(frozen=True)
class CQLConfig(OfflineConfig):
    """Hyperparameters of conservative Q-learning.

    gamma: discount per decision
    alpha: weight of the penalty; 0 is plain double Q-learning
    tau: by which the target network follows after each gradient step
    """

    gamma: float = real(0.9, 0.0, 1.0)
    alpha: float = real(0.1, 0.0, 1e6)
    tau: float = real(0.005, 1e-6, 1.0)


def loss(learner: OfflineLearner, batch: Minibatch) -> Tensor:
    """Return the loss, and let the target network follow."""
    agent = learner.agent
    assert isinstance(agent, CQLConfig)
    with torch.no_grad():
        for slow, fast in zip(learner.target.parameters(), learner.acting.parameters(), strict=True):
            slow.lerp_(fast, agent.tau)
        best = learner.acting(batch.next_obs).argmax(1, keepdim=True)
        targets = batch.rewards + agent.gamma * learner.target(batch.next_obs).gather(1, best).squeeze(1)
    values = learner.acting(batch.obs)  # (N, A)
    taken = values.gather(1, batch.actions[:, None]).squeeze(1)
    return 0.5 * functional.mse_loss(taken, targets) + agent.alpha * (values.logsumexp(1) - taken).mean()


ENTRY = Entry("cql", "offline", "conservative Q-learning from a data set", RETURNS)
ALGORITHM = OfflineAlgorithm(config=CQLConfig, loss=loss, defaults=DEFAULTS, presets=PRESETS)
