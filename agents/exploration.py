"""Exploration with a coin for each game, for the value-based algorithms of SB3 and sb3-contrib."""

from typing import Any

import numpy as np

from deeptraffic.sim.rules import Action


class PerGameExploration:
    """Put before DQN or QR-DQN: tosses an exploration coin for each game, where the original tosses one for all."""

    policy: Any
    exploration_rate: float

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return (actions, state); unless deterministic, each is random with probability `exploration_rate`."""
        actions, state = self.policy.predict(observation, state, episode_start, deterministic=True)
        if not deterministic:
            random = np.random.random(actions.shape) < self.exploration_rate
            actions = np.where(random, np.random.randint(len(Action), size=actions.shape), actions)
        return actions, state
