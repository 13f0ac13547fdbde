"""Warm start: new networks that are initialised from a policy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from agents.config import TrainConfig
from agents.loader import load_policy
from agents.run import configure
from agents.sb3 import make_model, make_policy, make_vec_env
from agents.settings import build_config
from agents.trainer import train
from agents.warm_start import init_settings, network_policy
from deeptraffic.policies.file import pack_policy, read_policy, write_policy
from deeptraffic.policies.layers import Dense, Elu, Relu
from deeptraffic.policies.network import Network
from deeptraffic.settings import parse_setting
from deeptraffic.sim.rules import Sensor

Config = Callable[..., TrainConfig]


@pytest.fixture
def trained(tmp_path: Path, small_config: Config, quiet: Console) -> Path:
    folder = tmp_path / "first"
    train(small_config("pqn", layer_norm=False, hidden=[16, 8], lanes_side=2), folder, quiet)
    return folder


def policy_file(path: Path, activation: Any = Relu, bias: bool = True) -> Path:
    """A file of a random network 42-7-5 on the vector."""
    random, sensor = np.random.default_rng(0), Sensor(3, 5, 1)
    tensors = {"1.weight": random.normal(size=(7, 42)), "3.weight": random.normal(size=(5, 7))}
    tensors |= {"1.bias": random.normal(size=7), "3.bias": random.normal(size=5)} if bias else {}
    layers = (Dense(outputs=7, bias=bias), activation(), Dense(outputs=5, bias=bias))
    network = Network(42, layers, {name: tensor.astype(np.float32) for name, tensor in tensors.items()})
    write_policy(path, pack_policy(network, sensor, label="mine", author="me"))
    return path


@pytest.mark.parametrize("algo", ["ppo", "team_ppo"])
def test_a_new_agent_acts_as_the_run_it_is_initialised_from(trained: Path, small_config: Config, algo: str) -> None:
    init_policy = network_policy(load_policy(trained), "trained")
    settings = init_settings(init_policy)
    assert settings["agent.hidden"] == [16, 8] and settings["agent.activation"] == "relu"
    config = small_config(algo, **{k: v for k, v in settings.items() if k != "agent.hidden"}, hidden=[16, 8])
    model = make_model(config, make_vec_env(config), init_policy)
    new_policy = make_policy(model, config, "new")
    sensor = config.observation.sensor
    assert sensor.lanes_side == 2
    cells = np.random.default_rng(1).choice([0.0, 0.02, 0.04, 1.0], size=(200, sensor.size))
    expected = load_policy(trained).act(cells, np.arange(200))
    np.testing.assert_array_equal(new_policy.act(cells, np.arange(200)), expected)
    state = model.policy.state_dict()
    for name, tensor in state.items():
        if name.startswith("mlp_extractor.policy_net"):
            torch.testing.assert_close(state[name.replace("policy_net", "value_net")], tensor)


def test_a_layer_shared_by_lanes_is_initialised_too(tmp_path: Path, small_config: Config, quiet: Console) -> None:
    settings = {"kind": "vector", "dtype": "float32", "lane_units": 4, "hidden": [8], "activation": "relu"}
    train(small_config("pqn", layer_norm=False, **settings), tmp_path / "first", quiet)
    init_policy = network_policy(load_policy(tmp_path / "first"), "first")
    found = init_settings(init_policy)
    assert (found["agent.lane_units"], found["agent.hidden"], found["observation.kind"]) == (4, [8], "vector")
    config = small_config("team_ppo", init_gain=25.0, **settings)
    model = make_model(config, make_vec_env(config), init_policy)
    new_policy = make_policy(model, config, "new")
    cells = np.random.default_rng(1).choice([0.0, 0.02, 0.04, 1.0], size=(200, 420))
    expected = load_policy(tmp_path / "first")
    np.testing.assert_array_equal(new_policy.act(cells, np.arange(200)), expected.act(cells, np.arange(200)))
    np.testing.assert_allclose(logits(new_policy, cells), 25.0 * logits(expected, cells), rtol=1e-3, atol=1e-3)


def logits(policy: Any, cells: Any) -> Any:
    """Outputs of a policy's network for cells (B, D)."""
    program = policy.network.assemble()
    return np.array([program.run(row) for row in cells])


def test_the_command_initialises_from_a_policy_file(tmp_path: Path, quiet: Console) -> None:
    file = policy_file(tmp_path / "mine.safetensors")
    small = ["num_envs=4", "n_steps=4", "batch_size=8", "total_timesteps=16", "evaluation_runs=0", "critic_warmup=1000"]
    start = init_settings(network_policy(load_policy(file), "file"))
    given = {"init": str(file), **start, **dict(parse_setting(setting) for setting in small)}
    train(configure("ppo", tmp_path / "run", settings=given), tmp_path / "run", quiet)
    cells = np.random.default_rng(1).choice([0.0, 0.02, 0.04, 1.0], size=(200, 42))
    file.unlink()  # a run that has started no longer needs it
    again = train(configure("ppo", tmp_path / "run", settings=["total_timesteps=48"]), tmp_path / "run", quiet)
    assert again.decisions == 48
    rows = np.arange(200)
    expected = policy_file(tmp_path / "same.safetensors")
    new_policy = read_policy(expected).policy()
    new_policy.reset(rows)
    np.testing.assert_array_equal(load_policy(tmp_path / "run").act(cells, rows), new_policy.act(cells, rows))


def test_the_critic_learns_alone_at_first(small_config: Config) -> None:
    def weights(model: Any, part: str) -> list[torch.Tensor]:
        return [tensor.clone() for name, tensor in model.policy.named_parameters() if part in name]

    config = small_config("team_ppo", critic_warmup=2 * 192)  # rounds of 8 decisions of 3 agents in 8 envs
    model = make_model(config, make_vec_env(config))
    actor, critic = (weights(model, part) for part in ("policy_net", "value_net"))
    model.learn(2 * 192)
    assert all(torch.equal(a, b) for a, b in zip(actor, weights(model, "policy_net"), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(critic, weights(model, "value_net"), strict=True))
    model.learn(192, reset_num_timesteps=False)
    assert not any(torch.equal(a, b) for a, b in zip(actor, weights(model, "policy_net"), strict=True))


STUDENTS: list[dict[str, Any]] = [
    {"encoder.name": "dense", "encoder.features_dim": 8},
    {"kind": "vector", "lane_units": 4},
    {},
    {"kind": "pixels", "height": 32, "width": 16, "grey": True, "temporal_window": 1, "encoder.name": "conv"},
    {"kind": "kinematics", "encoder.name": "attention"},
]


def distilled(folder: Path, quiet: Console, **settings: Any) -> Any:
    small = {"num_envs": 8, "max_steps": 9, "total_timesteps": 144, "hidden": [16, 8], "evaluation_runs": 0}
    train(build_config("distil", settings=small | settings), folder, quiet)
    return load_policy(folder)


@pytest.mark.parametrize("settings", STUDENTS, ids=["encoder", "lanes", "plain", "pixels", "dict"])
def test_a_new_agent_acts_as_the_student_it_is_initialised_from(
    tmp_path: Path, quiet: Console, settings: dict[str, Any]
) -> None:
    student = network_policy(distilled(tmp_path, quiet, **settings), "student")
    config = build_config("ppo", settings={**init_settings(student), "num_envs": 4, "n_steps": 8, "batch_size": 32})
    model = make_model(config, make_vec_env(config), student)
    env = make_vec_env(config)
    obs = env.reset()
    for _ in range(20):
        logits, _ = student.student.decide(obs, np.full(4, -1), torch.zeros(4, 0))  # type: ignore[union-attr]
        actions, _ = model.predict(obs, deterministic=True)
        np.testing.assert_array_equal(actions, logits.argmax(1))
        obs, *_ = env.step(actions)


def test_a_student_with_memory_is_refused(tmp_path: Path, quiet: Console) -> None:
    for name, settings in {"gru": {"memory": "gru"}, "last": {"last_action": True}}.items():
        student = network_policy(distilled(tmp_path / name, quiet, **settings), "student")
        with pytest.raises(ValueError, match="reads a state or its last action"):
            init_settings(student)


def test_an_encoder_is_initialised_from_a_run_of_distil_alone(tmp_path: Path) -> None:
    init_policy = network_policy(load_policy(policy_file(tmp_path / "mine.safetensors")), "mine")
    settings = init_settings(init_policy) | {"encoder.name": "dense"}
    config = build_config("ppo", settings=settings)
    with pytest.raises(ValueError, match="'mine' has no encoder; leave encoder out, or name a run of distil"):
        make_model(config, make_vec_env(config), init_policy)


@pytest.mark.parametrize(
    ("file", "hidden", "words"),
    [
        ({}, [8], r"shapes .*\(7, 42\).*, but the new network has .*\(8, 42\)"),
        ({"activation": Elu}, [7], r"layer 2 \(elu\) is neither"),
        ({"bias": False}, [7], r"layer 1 \(dense\) is neither"),
    ],
)
def test_a_network_of_another_kind_is_refused(
    tmp_path: Path, file: dict[str, Any], hidden: list[int], words: str
) -> None:
    path = policy_file(tmp_path / "mine.safetensors", **file)
    with pytest.raises(ValueError, match=words):
        init_policy = network_policy(load_policy(path), "mine")
        config = build_config("ppo", settings=init_settings(init_policy) | {"agent.hidden": hidden})
        make_model(config, make_vec_env(config), init_policy)


def test_what_cannot_be_initialised_from_is_named(tmp_path: Path, small_config: Config) -> None:
    with pytest.raises(ValueError, match="ppo, team_ppo, expert_iteration can be initialised"):
        small_config("a2c", init="runs/first")
    with pytest.raises(ValueError, match="nothing.safetensors"):
        load_policy(tmp_path / "nothing.safetensors")
    with pytest.raises(ValueError, match="init='gap' is no network"):
        network_policy(load_policy("gap"), "gap")
