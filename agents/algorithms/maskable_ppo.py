"""PPO that masks actions without an effect, sb3-contrib's MaskablePPO.

Source: Huang and Ontanon 2020, "A Closer Look at Invalid Action Masking in Policy Gradient Algorithms",
arXiv:2006.14171. The masks are those of `deeptraffic.envs.masks`.
"""

from dataclasses import dataclass
from typing import Any

from sb3_contrib import MaskablePPO

from agents.algorithms.ppo.config import ClippedConfig
from agents.registry import PROBABILITIES, Entry
from agents.sb3 import SB3Algorithm
from agents.sb3_network import actor_weights


@dataclass(frozen=True)
class MaskablePPOConfig(ClippedConfig):
    """Hyperparameters of maskable PPO, see `ClippedConfig`."""


def make(agent: MaskablePPOConfig, env: Any, common: dict[str, Any]) -> MaskablePPO:
    """Return a new model."""
    return MaskablePPO(env=env, **common, **agent.settings())


ENTRY = Entry("maskable_ppo", "policy-based", "PPO that masks actions without effect", PROBABILITIES)
ALGORITHM = SB3Algorithm(config=MaskablePPOConfig, make=make, weights=actor_weights)
