"""Runs small enough for tests: a few envs, a small network, updates every few dozen decisions."""

from collections.abc import Callable
from typing import Any

import pytest

from agents.config import TrainConfig
from agents.event_log import EventLog
from agents.settings import build_config

SMALL: dict[str, dict[str, Any]] = {
    "ppo": {"n_steps": 8, "batch_size": 32, "n_epochs": 2},
    "team_ppo": {"n_steps": 8, "batch_size": 32, "n_epochs": 2, "other_agents": 2},
    "expert_iteration": {"n_steps": 8, "batch_size": 32, "lane_units": 3, "depth": 2, "buffer_rounds": 2},
    "a2c": {"n_steps": 4},
    "pqn": {"n_steps": 8, "batch_size": 32, "n_epochs": 2},
    "reinforce": {"n_steps": 8},
    "world_model": {"learning_starts": 64, "batch_size": 16, "unroll_steps": 3, "updates_per_decision": 0.125},
    "maskable_ppo": {"n_steps": 8, "batch_size": 32, "n_epochs": 2},
    "recurrent_ppo": {"n_steps": 8, "batch_size": 32, "n_epochs": 2, "lstm_units": 8},
    "qrdqn": {
        "learning_starts": 64,
        "batch_size": 16,
        "buffer_size": 256,
        "target_update_interval": 48,
        "n_quantiles": 4,
    },
    "dqn": {"learning_starts": 64, "batch_size": 16, "buffer_size": 256, "target_update_interval": 48},
}


@pytest.fixture
def small_config() -> Callable[..., TrainConfig]:
    """Give a function (algo, **settings) -> a run of 384 decisions in 8 envs."""

    def build(algo: str, **settings: Any) -> TrainConfig:
        small = {"num_envs": 8, "max_steps": 9, "total_timesteps": 384, "hidden": [16], "seed": 3}
        often = {"evaluate_every": 128, "checkpoint_every": 128, "evaluation_runs": 4}
        return build_config(algo, settings=small | often | SMALL[algo] | settings)

    return build


@pytest.fixture(autouse=True)
def no_videos(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the videos out of the event logs: half of a small training; `test_event_log.py` has them."""
    if request.path.name != "test_event_log.py":
        add = EventLog.add_evaluation
        monkeypatch.setattr(
            EventLog, "add_evaluation", lambda log, policy, decisions, _: add(log, policy, decisions, False)
        )
