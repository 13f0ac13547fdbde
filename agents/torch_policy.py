"""A trained network of any shape as a driver, through torch: for pictures and vehicle lists, where dense layers end."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.config import TrainConfig
from agents.export import Weights
from agents.sb3 import make_games, make_model
from deeptraffic.policies.base import Policy
from deeptraffic.sim.state import I64


class TorchPolicy(Policy):
    """Drives by the network's most likely action; arguments and attributes as `agents.export.TrainedPolicy`."""

    def __init__(self, config: TrainConfig, weights: Weights, label: str, notes: dict[str, str]) -> None:
        self.config, self.label, self.notes = config, label, notes
        self.rules, self.other_agents = config.road.rules, config.road.other_agents
        self.observation = config.observation
        random = torch.get_rng_state(), np.random.get_state()  # making a model seeds them
        self.network = make_model(config, make_games(config), is_new=False).policy
        torch.set_rng_state(random[0])
        np.random.set_state(random[1])
        self.memory: tuple[NDArray[np.float32], ...] = ()  # (layers, slots, units) each
        self.is_new = np.ones(0, np.bool_)  # (slots,) whether nothing was seen yet
        self.network.load_state_dict({name.removeprefix("policy."): torch.from_numpy(w) for name, w in weights.items()})

    def reset(self, rows: I64) -> None:
        """Empty the memories of these slots."""
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
        """Keep what recurrent networks remember, hidden state and cell."""
        if after is None:
            return
        if not self.memory:
            self.memory = tuple(np.zeros((len(part), self.is_new.size, part.shape[2]), np.float32) for part in after)
        for kept, part in zip(self.memory, after, strict=True):
            kept[:, rows] = part
        self.is_new[rows] = False

    def _grow(self, slots: int) -> None:
        """Have at least so many slots of memory; new ones are empty."""
        missing = slots - self.is_new.size
        if missing > 0:
            self.is_new = np.concatenate([self.is_new, np.ones(missing, np.bool_)])
            self.memory = tuple(np.pad(part, ((0, 0), (0, missing), (0, 0))) for part in self.memory)
