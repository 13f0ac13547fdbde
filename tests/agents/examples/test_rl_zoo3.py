"""Settings for RL Baselines3 Zoo: its keys are arguments of the algorithms, and their values those of `train`."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from stable_baselines3 import DQN, PPO

import agents.examples
from agents.settings import build_config
from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv

FOLDER = Path(agents.examples.__path__[0]) / "rl_zoo3"
OWN = {"n_envs", "n_timesteps", "policy", "env_kwargs", "learning_rate", "policy_kwargs"}


@pytest.mark.parametrize("kind", [PPO, DQN])
def test_a_model_is_made_of_the_settings(kind: Any) -> None:
    name = kind.__name__.lower()
    settings = yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))["DeepTraffic2018-v0"]
    config = build_config(name)
    env = DeepTrafficVecEnv(settings["n_envs"], **settings["env_kwargs"])
    given = {key: value for key, value in settings.items() if key not in OWN}
    model = kind(settings["policy"], env, device="cpu", **given)
    assert settings["learning_rate"] == f"lin_{config.agent.learning_rate:g}"
    assert settings["policy_kwargs"] == f"dict(net_arch={list(config.agent.hidden)})"
    assert model.gamma == config.agent.gamma and model.batch_size == config.agent.batch_size
    if kind is PPO:  # the rollouts are as large, of fewer envs: the zoo steps its envs one by one
        assert model.n_steps * model.n_envs == config.agent.n_steps * config.envs.num_envs
