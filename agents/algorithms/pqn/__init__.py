"""Parallelised Q-network, compiled beside the simulator where it can be, else in torch."""

from agents.algorithms.pqn.compiled import CompiledPQN
from agents.algorithms.pqn.config import PQNConfig
from agents.algorithms.pqn.torch_learner import make, weights
from agents.sb3 import SB3Algorithm

ALGORITHM = SB3Algorithm(config=PQNConfig, make=make, compiled=CompiledPQN, weights=weights, defaults={"num_envs": 128})
