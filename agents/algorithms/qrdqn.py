"""Quantile-regression DQN, sb3-contrib's QRDQN: the distribution of returns in place of their mean.

Source: Dabney et al. 2018, "Distributional Reinforcement Learning with Quantile Regression", arXiv:1710.10044.
"""

from dataclasses import dataclass
from typing import Any

from sb3_contrib import QRDQN

from agents.algorithms.dqn import DEFAULTS, DQNConfig, restore, state
from agents.exploration import PerEnvExploration
from agents.export import Weights
from agents.registry import RETURNS, Entry
from agents.sb3 import SB3Algorithm
from agents.sb3_network import PARTS, dense_weights, lane_weights
from deeptraffic.settings import integer
from deeptraffic.sim.rules import Action


@dataclass(frozen=True)
class QRDQNConfig(DQNConfig):
    """Hyperparameters of QR-DQN, see `DQNConfig`.

    n_quantiles: quantiles of the return, for each action
    """

    n_quantiles: int = integer(25, 1, 1000)


class PerEnvQRDQN(PerEnvExploration, QRDQN):
    """QR-DQN that explores in each env independently."""


def make(agent: QRDQNConfig, env: Any, common: dict[str, Any]) -> PerEnvQRDQN:
    """Return a new model."""
    common["policy_kwargs"]["n_quantiles"] = agent.n_quantiles
    return PerEnvQRDQN(env=env, **common, **agent.settings(env.num_envs))


def weights(model: Any) -> Weights:
    """Return the layers of the quantile network, the last one giving the mean over quantiles: the action values.

    The last layer has n_quantiles x 5 outputs, actions innermost; a mean of linear outputs is linear.
    """
    found = dense_weights(model.quantile_net.quantile_net)
    head = len(found) // len(PARTS) - 1
    for part in PARTS:
        last = found[f"{head}.{part}"]
        found[f"{head}.{part}"] = last.reshape(model.quantile_net.n_quantiles, len(Action), *last.shape[1:]).mean(0)
    return found | lane_weights(model.quantile_net)


ENTRY = Entry("qrdqn", "value-based", "quantile-regression DQN", RETURNS)
ALGORITHM = SB3Algorithm(
    config=QRDQNConfig, make=make, weights=weights, defaults=DEFAULTS, state=state, restore=restore
)
