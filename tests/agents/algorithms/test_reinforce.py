"""REINFORCE: its rewards to go against brute force, its gradient against the formula, and learning."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.algorithms.reinforce import Reinforce


class Guess(gym.Env):
    """The number shown is the action that earns 1; every episode has five steps."""

    observation_space = spaces.Box(0.0, 1.0, (3,), np.float32)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._show(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        reward = float(action == self.number)
        return self._show(), reward, self.steps == 5, False, {}

    def _show(self) -> Any:
        self.number = int(self.np_random.integers(3))
        return np.eye(3, dtype=np.float32)[self.number]


def learner(**settings: Any) -> Reinforce:
    env = DummyVecEnv([Guess for _ in range(8)])
    env.seed(0)
    return Reinforce("MlpPolicy", env, n_steps=10, seed=0, device="cpu", **{"learning_rate": 0.02, **settings})


def test_rewards_to_go_are_the_discounted_sums_of_each_game() -> None:
    model = learner(gamma=0.5)
    seen: dict[str, Any] = {}

    def watch() -> None:
        buffer = model.rollout_buffer
        seen.update(rewards=buffer.rewards.copy(), starts=buffer.episode_starts.copy(), to_go=buffer.advantages.copy())

    model.train = watch  # type: ignore[method-assign]
    model.learn(80)
    for b in range(8):
        for t in range(10):
            expected, weight = 0.0, 1.0
            for later in range(t, 10):
                if later > t and seen["starts"][later, b]:
                    break
                expected += weight * seen["rewards"][later, b]
                weight *= 0.5
            assert abs(seen["to_go"][t, b] - expected) < 1e-6


def test_the_number_shown_is_learned_within_8000_decisions() -> None:
    model = learner(gamma=0.0)
    model.learn(8000)
    shown = np.eye(3, dtype=np.float32)
    assert model.predict(shown, deterministic=True)[0].tolist() == [0, 1, 2]


def test_with_the_numbers_hidden_nothing_is_learned() -> None:
    model = learner(gamma=0.0)
    collected = model.rollout_buffer.add
    model.rollout_buffer.add = lambda obs, *rest: collected(np.zeros_like(obs), *rest)  # type: ignore[method-assign]
    model.learn(8000)
    right = model.predict(np.eye(3, dtype=np.float32), deterministic=True)[0] == [0, 1, 2]
    assert right.sum() < 3


def test_the_value_is_0_and_stays_so() -> None:
    model = learner()
    model.learn(160)
    assert torch.count_nonzero(model.policy.predict_values(torch.rand(4, 3))) == 0
