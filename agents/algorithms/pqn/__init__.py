"""Parallelised Q-network, compiled beside the simulator where it can be, else in torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.algorithm import Learner
from agents.algorithms.pqn.compiled import CompiledPQN
from agents.algorithms.pqn.config import PQNConfig
from agents.algorithms.pqn.torch_learner import make, weights
from agents.sb3 import SB3Algorithm
from deeptraffic.policies.base import Policy

if TYPE_CHECKING:
    from agents.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class PQNAlgorithm(SB3Algorithm):
    """PQN, compiled for dense layers on the CPU."""

    def learner(self, config: "TrainConfig", init_policy: Policy | None, is_new: bool) -> Learner:
        """Return a learner for a run; see `Algorithm.learner`."""
        agent = config.agent
        assert isinstance(agent, PQNConfig)
        return CompiledPQN(config) if agent.is_compiled(config) else super().learner(config, init_policy, is_new)


ALGORITHM = PQNAlgorithm(config=PQNConfig, make=make, weights=weights, defaults={"num_envs": 128})
