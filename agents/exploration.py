"""Epsilon-greedy exploration per env, for value-based algorithms: ours, SB3's and sb3-contrib's."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def explore(greedy: NDArray[np.int64], epsilon: float, num_actions: int) -> NDArray[np.int64]:
    """Return actions (B,): each env's greedy action, or with probability `epsilon` a random one."""
    random = np.random.random(greedy.shape) < epsilon
    return np.where(random, np.random.randint(num_actions, size=greedy.shape), greedy)


class PerEnvExploration:
    """Base of a value-based algorithm that explores in each env independently; SB3 decides once for all envs."""

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
