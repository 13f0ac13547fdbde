"""Stable-Baselines3 models: their networks, exploration and export."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN

from agents.algorithms.dqn import PerEnvDQN
from agents.config import TrainConfig
from agents.export import TrainedPolicy
from agents.sb3 import make_model, make_policy, make_vec_env, network_kind, network_weights
from deeptraffic.evaluation.play import PolicyRunner
from deeptraffic.policies.file import pack_network_policy, read_policy, write_policy

Config = Callable[..., TrainConfig]


@pytest.mark.parametrize("algo", ["ppo", "a2c", "dqn"])
@pytest.mark.parametrize("settings", [{}, {"kind": "vector"}, {"hidden": []}], ids=["gaps", "vector", "linear"])
def test_the_compiled_policy_acts_as_the_network_does(
    small_config: Config, algo: str, settings: dict[str, Any]
) -> None:
    config = small_config(algo, num_envs=64, **settings)
    env = make_vec_env(config)
    model = make_model(config, env)
    for weight in model.policy.parameters():
        torch.nn.init.normal_(weight, std=0.3)  # a new network prefers one action everywhere
    policy = make_policy(model, config, "new")
    assert isinstance(policy, TrainedPolicy)
    obs = env.reset()
    cells = env.batch.sim.sense(config.observation.sensor)
    expected = model.predict(obs, deterministic=True)[0]
    np.testing.assert_array_equal(policy.act(cells, np.arange(64)), expected)
    assert len(set(expected.tolist())) > 1


@pytest.mark.parametrize("algo", ["reinforce", "a2c", "ppo", "maskable_ppo", "dqn", "qrdqn", "pqn"])
def test_every_algorithm_exports_a_layer_shared_by_lanes(small_config: Config, algo: str) -> None:
    config = small_config(algo, num_envs=64, kind="vector", dtype="float32", lane_units=3)
    env = make_vec_env(config)
    model = make_model(config, env)
    for weight in model.policy.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    policy = make_policy(model, config, "new")
    obs: Any = env.reset()
    cells = env.batch.sim.sense(config.observation.sensor)
    np.testing.assert_array_equal(policy.act(cells, np.arange(64)), model.predict(obs, deterministic=True)[0])


@pytest.mark.parametrize(
    ("kind", "settings"), [("kinematics", {}), ("pixels", {}), ("grid", {}), ("gaps_ego", {"temporal_window": 1})]
)
def test_a_policy_is_made_for_any_observation(small_config: Config, kind: str, settings: dict[str, Any]) -> None:
    config = small_config("ppo", num_envs=4, batch_size=16, kind=kind, **settings)
    env = make_vec_env(config)
    model = make_model(config, env)
    policy = make_policy(model, config, kind)
    obs = env.reset()
    np.testing.assert_array_equal(policy.act(obs, np.arange(4)), model.predict(obs, deterministic=True)[0])
    assert policy.observation.kind == kind


@pytest.mark.parametrize("algo", ["ppo", "a2c", "dqn", "qrdqn", "recurrent_ppo"])
def test_a_whole_network_tells_the_values_of_its_choice(small_config: Config, algo: str) -> None:
    config = small_config(algo, num_envs=64, kind="grid", **{"encoder.name": "conv", "total_timesteps": 64})
    env = make_vec_env(config)
    model = make_model(config, env)
    policy = make_policy(model, config, "new")
    actions = policy.act(env.reset(), np.arange(64))
    if algo == "recurrent_ppo":
        assert policy.values is None
    else:
        assert policy.values is not None and policy.values.shape == (64, 5)
        np.testing.assert_array_equal(policy.values.argmax(1), actions)


SEEN: dict[str, dict[str, Any]] = {
    "frames": {"kind": "pixels", "height": 32, "width": 16, "temporal_window": 1, "encoder.name": "conv"},
    "set": {"kind": "kinematics", "encoder.name": "attention", "encoder.features_dim": 8},
    "gaps": {"kind": "gaps", "encoder.name": "dense"},
}


@pytest.mark.parametrize("algo", ["ppo", "dqn"])
@pytest.mark.parametrize("settings", SEEN.values(), ids=SEEN)
def test_a_network_behind_an_encoder_becomes_a_policy_file(
    small_config: Config, algo: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    config = small_config(algo, num_envs=64, **settings)
    env = make_vec_env(config)
    model = make_model(config, env)
    policy = make_policy(model, config, "new")
    network = policy.as_network()
    assert network is not None
    write_policy(tmp_path / "new.safetensors", pack_network_policy(network))
    file, sim = read_policy(tmp_path / "new.safetensors").policy(), env.batch.sim
    expected = policy.act(env.reset(), np.arange(64))
    actions = PolicyRunner(file, sim).decide(0)
    assert policy.values is not None and file.values is not None
    shift = policy.values - file.values  # an actor's logits are normalised by a constant
    np.testing.assert_allclose(shift, np.broadcast_to(shift[:, :1], shift.shape), atol=1e-4)
    lead = np.diff(np.sort(policy.values, 1)[:, -2:])[:, 0]
    np.testing.assert_array_equal(actions[lead > 1e-4], expected[lead > 1e-4])


def test_what_no_policy_file_holds_is_no_network(small_config: Config) -> None:
    for settings in ({"kind": "pixels"}, {"kind": "gaps", "temporal_window": 1, "encoder.name": "dense"}):
        config = small_config("ppo", num_envs=4, batch_size=16, **settings)
        assert make_policy(make_model(config, make_vec_env(config)), config, "new").as_network() is None


def test_each_env_explores_independently(small_config: Config) -> None:
    config = small_config("dqn", num_envs=200)
    model = make_model(config, make_vec_env(config))
    assert isinstance(model, PerEnvDQN) and isinstance(model, DQN)
    obs = np.tile(model.observation_space.sample(), (200, 1))
    greedy = model.predict(obs[:1], deterministic=True)[0][0]
    model.exploration_rate = 0.5
    np.random.seed(0)
    fraction = np.mean([(model.predict(obs)[0] != greedy).mean() for _ in range(50)])
    spread = np.std([(model.predict(obs)[0] != greedy).mean() for _ in range(50)])
    assert fraction == pytest.approx(0.5 * 0.8, abs=0.02)  # a fifth of the random actions are the greedy one
    assert spread == pytest.approx((0.4 * 0.6 / 200) ** 0.5, rel=0.4)  # one draw for all envs would give about 0.4
    model.exploration_rate = 0.0
    assert (model.predict(obs)[0] == greedy).all()


def test_the_learning_rate_falls_in_a_line(small_config: Config) -> None:
    config = small_config("ppo", learning_rate=0.01, learning_rate_end=0.001)
    model = make_model(config, make_vec_env(config))
    assert [model.lr_schedule(left) for left in (1.0, 0.5, 0.0)] == pytest.approx([0.01, 0.0055, 0.001])


def test_equal_seeds_make_equal_networks_and_envs(small_config: Config) -> None:
    first, same, other = (small_config("ppo", seed=seed) for seed in (5, 5, 6))
    made = [(make_vec_env(config), config) for config in (first, same, other)]
    obs = []
    weights = []
    for env, config in made:
        weights.append(network_weights(make_model(config, env), config)["0.weight"])
        obs.append(env.reset())
    np.testing.assert_array_equal(weights[0], weights[1])
    np.testing.assert_array_equal(obs[0], obs[1])
    assert (weights[0] != weights[2]).any() and (obs[0] != obs[2]).any()


def test_networks_fit_their_observations() -> None:
    assert network_kind(spaces.Box(0, 1, (42,))) == "MlpPolicy"
    assert network_kind(spaces.Box(0, 255, (84, 84, 3), np.uint8)) == "CnnPolicy"
    assert network_kind(spaces.Dict({"ego": spaces.Box(0, 1, (2,))})) == "MultiInputPolicy"
