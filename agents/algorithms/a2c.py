"""Advantage actor-critic, Stable-Baselines3's A2C.

Source: Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning", arXiv:1602.01783; synchronous.
"""

from dataclasses import dataclass
from typing import Any

from stable_baselines3 import A2C

from agents.config import NetworkConfig
from agents.registry import PROBABILITIES, Entry
from agents.sb3 import SB3Algorithm
from agents.sb3_network import actor_weights
from deeptraffic.settings import integer, real


@dataclass(frozen=True)
class A2CConfig(NetworkConfig):
    """Hyperparameters of A2C.

    n_steps: decisions of each env between two updates
    gae_lambda: weight of longer returns (Schulman et al. 2015, arXiv:1506.02438)
    ent_coef, vf_coef: weights of the entropy and of the value loss
    """

    n_steps: int = integer(5, 1, 4096)
    gae_lambda: float = real(0.9, 0.0, 1.0)
    ent_coef: float = real(0.01, 0.0, 1.0)
    vf_coef: float = real(0.5, 0.0, 10.0)


def make(agent: A2CConfig, env: Any, common: dict[str, Any]) -> A2C:
    """Return a new model."""
    return A2C(
        env=env,
        n_steps=agent.n_steps,
        gae_lambda=agent.gae_lambda,
        ent_coef=agent.ent_coef,
        vf_coef=agent.vf_coef,
        **common,
    )


ENTRY = Entry("a2c", "policy-based", "advantage actor-critic", PROBABILITIES)
ALGORITHM = SB3Algorithm(
    config=A2CConfig,
    make=make,
    weights=actor_weights,
    defaults={"learning_rate": 2e-3, "learning_rate_end": 2e-4, "num_envs": 64},
)
