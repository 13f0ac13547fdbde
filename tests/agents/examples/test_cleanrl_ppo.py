"""PPO in CleanRL's style: its targets by hand, and that it learns."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.examples.cleanrl_ppo import CleanRLPPO, CleanRLSettings, main
from deeptraffic.evaluation.protocol import OFFICIAL, Protocol


class Matching:
    """B envs that show one of three symbols, and reward the action of that index; episodes of four decisions."""

    num_envs = 4
    single_observation_space, single_action_space = spaces.Box(0.0, 1.0, (3,)), spaces.Discrete(3)

    def reset(self, seed: int) -> tuple[Any, dict[str, Any]]:
        self.random, self.steps = np.random.default_rng(seed), 0
        return self.show(), {}

    def show(self) -> Any:
        self.symbols = self.random.integers(3, size=self.num_envs)
        return np.eye(3, dtype=np.float32)[self.symbols]

    def step(self, actions: Any) -> tuple[Any, ...]:
        rewards = (actions == self.symbols).astype(np.float64)
        self.steps += 1
        ended = np.full(self.num_envs, self.steps % 4 == 0)
        return self.show(), rewards, np.zeros(self.num_envs, bool), ended, {}


def test_it_learns_which_action_pays() -> None:
    learner = CleanRLPPO(Matching(), settings=CleanRLSettings(learning_rate=2.5e-3))
    assert learner.iterate() == 512
    assert learner.rewards.mean() < 0.5
    for _ in range(10):
        learner.iterate()
    assert learner.rewards.mean() > 0.85


def test_advantages_are_those_of_generalised_advantage_estimation() -> None:
    learner = CleanRLPPO(Matching(), settings=CleanRLSettings(num_steps=3, gamma=0.5, gae_lambda=0.5))
    learner.rewards[:, 0] = torch.tensor([1.0, 2.0, 4.0])
    learner.values[:, 0] = torch.tensor([1.0, 3.0, 5.0])
    learner.dones[:, 0] = torch.tensor([0.0, 0.0, 1.0])  # the second decision ended an episode
    learner.next_done[0] = 1.0
    returns, advantages = learner.targets()
    # 4 - 5 = -1; 2 - 3 = -1; 1 + 0.5 * 3 - 1 + 0.25 * -1 = 1.25
    assert advantages[:, 0].tolist() == pytest.approx([1.25, -1.0, -1.0])
    assert returns[:, 0].tolist() == pytest.approx([2.25, 2.0, 4.0])


def test_the_example_trains_and_ends_with_the_official_score(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(OFFICIAL, 2018, Protocol(runs=5, frames=2000, block=5))
    main(total_timesteps=600, num_envs=4)
    shown = capsys.readouterr().out
    assert "1,024 decisions, mean reward" in shown
    assert re.search(r"\d\d\.\d\d mph official after \d+ CPU seconds", shown)
