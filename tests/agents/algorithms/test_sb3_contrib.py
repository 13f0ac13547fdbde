"""sb3-contrib's algorithms: exports decide as the network does, masks hold, recurrent states are per agent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from agents.config import TrainConfig
from agents.loader import load_policy
from agents.sb3 import make_model, make_policy, make_vec_env, network_weights
from agents.trainer import train
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018, Sensor

Config = Callable[..., TrainConfig]


@pytest.mark.parametrize("algo", ["qrdqn", "maskable_ppo", "reinforce"])
def test_the_exported_network_decides_as_the_algorithm(algo: str, small_config: Config) -> None:
    config = small_config(algo)
    model = make_model(config, make_vec_env(config))
    model.learn(128)
    sim = Simulator(RULES_2018, 64)
    sim.reset_open(range(64))
    sim.step(sim.idle, periods=5)
    policy: Any = make_policy(model, config, "mine")
    policy.reset(sim.env_indices)
    cells = sim.sense(Sensor())
    gaps = np.stack([policy.network.assemble().run(row) for row in cells])
    assert gaps.shape == (64, 5)
    from deeptraffic.envs.observations import Observer, make_observation

    obs = Observer(RULES_2018, make_observation("gaps"), 64).observe(sim)
    decided = model.policy.predict(obs, deterministic=True)[0]
    assert np.array_equal(policy.act(cells, sim.env_indices), decided)


def test_masked_ppo_never_explores_an_action_without_an_effect(small_config: Config) -> None:
    config = small_config("maskable_ppo")
    env = make_vec_env(config)
    model = make_model(config, env)
    step, useless = env.step_async, []

    def watch(actions: Any) -> None:
        masks = env.action_masks()
        useless.append(masks[np.arange(len(actions)), actions] == 0)
        step(actions)

    env.step_async = watch  # type: ignore[method-assign]
    model.learn(256)
    assert len(useless) >= 32
    assert not np.any(useless)


def test_recurrent_states_are_kept_per_agent(small_config: Config, tmp_path: Path, quiet: Console) -> None:
    train(small_config("recurrent_ppo"), tmp_path, quiet)
    policy: Any = load_policy(tmp_path)
    random = np.random.default_rng(0)
    before, now = random.random((2, 3, 42)).astype(np.float32)
    rows = np.array([0, 5, 2])
    policy.reset(rows)
    policy.act(before, rows)
    together = [part[:, rows].copy() for part in policy.memory.parts]
    for k, row in enumerate(rows):
        alone: Any = load_policy(tmp_path)
        alone.reset(np.array([row]))
        alone.act(before[k : k + 1], np.array([row]))
        assert all(
            np.allclose(a[:, row], b[:, k], atol=1e-6) for a, b in zip(alone.memory.parts, together, strict=True)
        )
    assert np.abs(together[0]).sum() > 0
    policy.reset(rows)
    policy.act(now, rows)
    fresh = [part[:, rows].copy() for part in policy.memory.parts]
    policy.act(now, rows)
    assert not np.allclose(policy.memory.parts[0][:, rows], fresh[0])


def test_a_recurrent_driver_is_scored_the_same_each_time(small_config: Config, tmp_path: Path, quiet: Console) -> None:
    train(small_config("recurrent_ppo"), tmp_path, quiet)
    policy = load_policy(tmp_path)
    first, again = (evaluate_open(policy, runs=6).run_scores.tolist() for _ in range(2))
    assert first == again


def test_mean_quantiles_are_the_action_values(small_config: Config) -> None:
    config = small_config("qrdqn")
    model: Any = make_model(config, make_vec_env(config))
    obs = torch.rand(7, 42)
    with torch.no_grad():
        expected = model.policy.quantile_net(obs).mean(1).numpy()
    weights = network_weights(model, config)
    hidden = np.maximum(obs.numpy() @ weights["0.weight"].T + weights["0.bias"], 0.0)
    assert np.allclose(hidden @ weights["1.weight"].T + weights["1.bias"], expected, atol=1e-5)
