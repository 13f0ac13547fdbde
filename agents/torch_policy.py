"""Policy of any torch network, for images, vehicle lists and recurrent networks, which no policy file holds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy

from agents.algorithm import Notes
from agents.config import TrainConfig
from deeptraffic.policies.base import Policy
from deeptraffic.sim.state import I64


class TorchPolicy(Policy):
    """Takes the network's most likely action.

    config: of the run that trained the network; notes: short facts about the network
    observation: the `Observation` that it reads
    """

    def __init__(self, config: TrainConfig, network: BasePolicy, label: str, notes: Notes) -> None:
        self.network, self.label, self.notes = network, label, notes
        self.rules, self.other_agents = config.road.rules, config.road.other_agents
        self.observation = config.observation
        self.memory: tuple[NDArray[np.float32], ...] = ()  # (layers, agents, units) each
        self.is_new = np.ones(0, np.bool_)  # (agents,) whether nothing was observed yet

    def reset(self, rows: I64) -> None:
        """Empty the memories of these agents."""
        self._grow(int(rows.max(initial=-1)) + 1)
        self.is_new[rows] = True

    def act(self, obs: NDArray[Any] | dict[str, NDArray[Any]], rows: I64) -> I64:
        """Return the actions (B,) for observations (B, ...) of kind `observation`."""
        self._grow(int(rows.max(initial=-1)) + 1)
        memory = tuple(part[:, rows] for part in self.memory) or None  # (layers, B, units) each
        actions, after = self.network.predict(obs, memory, self.is_new[rows], deterministic=True)
        self._remember(rows, after)
        return np.asarray(actions, np.int64)

    def _remember(self, rows: I64, after: tuple[NDArray[np.float32], ...] | None) -> None:
        """Keep the hidden state and the cell of a recurrent network."""
        if after is None:
            return
        if not self.memory:
            self.memory = tuple(np.zeros((len(part), self.is_new.size, part.shape[2]), np.float32) for part in after)
        for kept, part in zip(self.memory, after, strict=True):
            kept[:, rows] = part
        self.is_new[rows] = False

    def _grow(self, agents: int) -> None:
        """Have at least so many agents of memory; new ones are empty."""
        missing = agents - self.is_new.size
        if missing > 0:
            self.is_new = np.concatenate([self.is_new, np.ones(missing, np.bool_)])
            self.memory = tuple(np.pad(part, ((0, 0), (0, missing), (0, 0))) for part in self.memory)
