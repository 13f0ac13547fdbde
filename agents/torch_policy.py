"""A trained network of any shape as a driver, through torch: for pictures and vehicle lists, where dense layers end."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.config import TrainConfig
from agents.export import Weights
from agents.sb3 import make_games, make_model
from deeptraffic.sim.state import I64


class TorchPolicy:
    """Drives by the network's most likely action; arguments and attributes as `agents.export.TrainedPolicy`."""

    def __init__(self, config: TrainConfig, weights: Weights, label: str, notes: dict[str, str]) -> None:
        self.config, self.label, self.notes = config, label, notes
        self.rules, self.other_agents = config.road.rules, config.road.other_agents
        self.observation = config.observation
        self.access = "contest" if config.observation.contest else "open"
        random = torch.get_rng_state(), np.random.get_state()  # making a model seeds them
        self.network = make_model(config, make_games(config), is_new=False).policy
        torch.set_rng_state(random[0])
        np.random.set_state(random[1])
        self.network.load_state_dict({name.removeprefix("policy."): torch.from_numpy(w) for name, w in weights.items()})

    def reset(self, rows: I64) -> None:
        """There is no memory."""

    def act(self, obs: NDArray[Any] | dict[str, NDArray[Any]], rows: I64) -> I64:
        """Return the actions (B,) for observations (B, ...) of kind `observation`."""
        actions, _ = self.network.predict(obs, deterministic=True)
        return np.asarray(actions, np.int64)
