"""Exploration with a coin for each game, for the value-based algorithms: ours, SB3's and sb3-contrib's."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def explore(greedy: NDArray[np.int64], rate: float, num_actions: int) -> NDArray[np.int64]:
    """Return actions (B,): each game's own coin turns its greedy action into a random one with probability `rate`."""
    random = np.random.random(greedy.shape) < rate
    return np.where(random, np.random.randint(num_actions, size=greedy.shape), greedy)


class PerGameExploration:
    """Put before a value-based algorithm: tosses an exploration coin for each game, where SB3 tosses one for all."""

    policy: Any
    action_space: Any
    exploration_rate: Any

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
            actions = explore(actions, self.exploration_rate, int(self.action_space.n))
        return actions, state
