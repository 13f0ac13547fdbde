"""Encoders in front of agents: by name or by weights, in every algorithm, resumed and read without the file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from agents.config import TrainConfig
from agents.loader import load_policy
from agents.perception import EncoderConfig, encoder_settings
from agents.run import RunFolder
from agents.sb3 import SB3Learner, centre_values, make_model, make_vec_env, sb3_algorithm, sb3_names
from agents.settings import build_config
from agents.trainer import train
from representation.encoder import Encoder
from representation.registry import ENCODERS, load_encoder, make_encoder

WITH_ENCODERS = [algo for algo in sb3_names() if algo != "expert_iteration"]  # that one has a network of its own


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A pretrained encoder of lane gaps."""
    torch.manual_seed(3)
    env = make_vec_env(build_config("ppo", settings={"num_envs": 1, "batch_size": 16}))
    encoder = make_encoder("dense", env.observation_space, 10, hidden=[12])
    encoder.observed = {"kind": "gaps"}
    encoder.save(tmp_path / "gaps.safetensors")
    return tmp_path / "gaps.safetensors"


def encoder_of(policy: Any) -> Encoder:
    for network in ("q_net", "quantile_net"):
        policy = getattr(policy, network, policy)
    return policy.features_extractor


@pytest.mark.parametrize("algo", WITH_ENCODERS)
def test_every_algorithm_trains_with_an_encoder_from_scratch(
    algo: str, small_config: Callable[..., TrainConfig], tmp_path: Path, quiet: Console
) -> None:
    config = small_config(algo, **{"encoder.name": "dense", "features_dim": 8, "total_timesteps": 128})
    result = train(config, tmp_path / "run", quiet)
    assert result.mean_mph is not None
    policy: Any = load_policy(tmp_path / "run")
    assert isinstance(encoder_of(policy.network), Encoder)


@pytest.mark.parametrize("algo", WITH_ENCODERS)
def test_new_encoders_of_images_lose_the_mean_frame(algo: str, small_config: Callable[..., TrainConfig]) -> None:
    kind = "grid" if algo == "team_ppo" else "pixels"
    config = small_config(algo, **{"encoder.name": "conv", "observation.kind": kind})
    env = make_vec_env(config)
    encoders = {part for part in make_model(config, env).policy.modules() if isinstance(part, Encoder)}
    frames = encoder_of(make_model(config, env).policy).aligned(env.reset())
    unit = 255.0 if frames.dtype == np.uint8 else 1.0
    assert encoders
    for encoder in encoders:  # of actor and critic, or of a network and its target
        np.testing.assert_allclose(encoder.offset, frames.mean(0) / unit, atol=1e-6)
    untrained = make_model(config, env, is_new=False)  # its weights will be restored
    assert not encoder_of(untrained.policy).offset.any()


def test_a_critic_behind_an_encoder_starts_at_the_value_of_the_mean_reward(
    small_config: Callable[..., TrainConfig],
) -> None:
    config = small_config("ppo", **{"encoder.name": "dense", "n_steps": 16, "total_timesteps": 128})
    model: Any = make_model(config, make_vec_env(config))
    torch.nn.init.zeros_(model.policy.value_net.weight)
    buffer = model.rollout_buffer
    buffer.reset()
    dones = np.arange(8) < 2
    buffer.rewards[:] = 1.5
    buffer.episode_starts[5, 3:] = 1.0
    centre_values(model, dones)
    value = 1.5 / (1.0 - model.gamma)
    assert model.policy.value_net.bias.item() == pytest.approx(value)
    np.testing.assert_allclose(buffer.returns, value, rtol=1e-6)  # an episode's end included: it was cut off
    np.testing.assert_allclose(buffer.advantages, 0.0, atol=1e-5)


@pytest.mark.parametrize(
    ("algo", "encoder", "is_centred"), [("ppo", "dense", True), ("ppo", "none", False), ("reinforce", "dense", False)]
)
def test_only_critics_that_share_an_encoder_are_centred(
    algo: str, encoder: str, is_centred: bool, small_config: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    centred: list[int] = []
    monkeypatch.setattr("agents.sb3.centre_values", lambda model, dones: centred.append(model.num_timesteps))
    config = small_config(algo, **{"encoder.name": encoder, "total_timesteps": 384, "n_steps": 16})
    env = make_vec_env(config)
    SB3Learner(config, sb3_algorithm(algo), env, make_model(config, env)).learn(384, lambda: None)
    assert centred == ([128] if is_centred else [])


@pytest.mark.parametrize("algo", ["ppo", "dqn"])
@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_is_trained_by_its_name(algo: str, name: str, small_config: Callable[..., TrainConfig]) -> None:
    kind = "kinematics" if name in ("attention", "combined") else "gaps"
    config = small_config(algo, **{"encoder.name": name, "observation.kind": kind, "total_timesteps": 128})
    model = make_model(config, make_vec_env(config))
    before = encoder_of(model.policy).digest()
    model.learn(128)
    assert encoder_of(model.policy).name == name
    assert encoder_of(model.policy).digest() != before


@pytest.mark.parametrize("algo", WITH_ENCODERS)
def test_frozen_weights_stay_and_fine_tuned_ones_move_in_every_algorithm(
    algo: str, small_config: Callable[..., TrainConfig], weights: Path
) -> None:
    for trainable in (False, True):
        settings = encoder_settings(weights) | {"encoder.trainable": trainable}
        config = small_config(algo, **settings, total_timesteps=256)
        model = make_model(config, make_vec_env(config))
        assert encoder_of(model.policy).digest() == load_encoder(weights).digest()
        model.learn(256)
        assert (encoder_of(model.policy).digest() != load_encoder(weights).digest()) == trainable


# parameters: fixtures of pytest
@pytest.mark.parametrize(("algo", "trainable"), [("ppo", True), ("world_model", False)])
def test_a_killed_run_with_a_pretrained_encoder_resumes_without_its_file(
    algo: str,
    trainable: bool,
    small_config: Callable[..., TrainConfig],
    weights: Path,
    tmp_path: Path,
    quiet: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = small_config(algo, **encoder_settings(weights), **{"encoder.trainable": trainable})
    train(config, tmp_path / "whole", quiet)

    def die(self: SB3Learner, dones: Any) -> None:
        if self.decisions > 200:
            raise OSError("killed")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="killed"):
        patch.setattr(SB3Learner, "count_speeds", die)
        train(config, tmp_path / "parts", quiet)
    weights.unlink()
    train(config, tmp_path / "parts", quiet)
    contents = [RunFolder(tmp_path / name).best_file.read_bytes() for name in ("whole", "parts")]
    assert contents[0] == contents[1]


def test_an_encoder_is_a_name_or_a_file_which_brings_its_observation(
    weights: Path, tmp_path: Path, quiet: Console
) -> None:
    small = {"num_envs": 8, "n_steps": 8, "batch_size": 32, "total_timesteps": 64, "evaluation_runs": 4}
    result = train(build_config("ppo", settings=encoder_settings(weights) | small), tmp_path / "file", quiet)
    config = RunFolder(result.folder).config()
    assert (config.encoder.name, config.encoder.features_dim, config.encoder.architecture["hidden"]) == (
        "dense",
        10,
        [12],
    )
    assert config.observation.kind == "gaps"
    assert load_policy(result.folder).act(np.zeros((2, 42), np.float32), np.arange(2)).shape == (2,)
    grid = encoder_settings("dense") | small | {"kind": "grid"}
    named = train(build_config("ppo", settings=grid), tmp_path / "name", quiet)
    assert RunFolder(named.folder).config().encoder == EncoderConfig("dense")


def test_a_run_of_distil_gives_its_students_encoder_and_observation(
    small_config: Callable[..., TrainConfig], tmp_path: Path, quiet: Console
) -> None:
    small = {"num_envs": 4, "max_steps": 5, "total_timesteps": 40, "evaluation_runs": 4, "teacher": "gap"}
    seen = {"kind": "pixels", "height": 35, "width": 21, "temporal_window": 1, "grey": True}
    architecture = {"encoder.architecture": {"channels": [4]}, "encoder.features_dim": 6}
    config = build_config("distil", settings=encoder_settings("conv") | architecture | small | seen)
    student: Any = load_policy(train(config, tmp_path / "student", quiet).folder)
    settings = encoder_settings(tmp_path / "student")
    model = make_model(*(lambda own: (own, make_vec_env(own)))(small_config("world_model", **settings)))
    assert encoder_of(model.policy).digest() == student.student.features.digest()
    assert encoder_of(model.policy).is_frozen and settings["observation.temporal_window"] == 1
    plain = build_config("distil", settings=small | {"kind": "gaps"})
    train(plain, tmp_path / "plain", quiet)
    with pytest.raises(ValueError, match="trained no encoder to start from; name a run of distil with --encoder"):
        encoder_settings(tmp_path / "plain")


def test_a_weights_file_that_changed_is_refused(small_config: Callable[..., TrainConfig], weights: Path) -> None:
    config = small_config("ppo", **encoder_settings(weights))
    make_encoder("dense", make_vec_env(config).observation_space, 10, hidden=[12]).save(weights)
    with pytest.raises(ValueError, match="has changed since this run began"):
        make_model(config, make_vec_env(config))


def test_impossible_encoders_are_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"encoder\.name='resnet' does not exist; choose one of none, .*dense"):
        build_config("ppo", settings={"encoder.name": "resnet"})
    with pytest.raises(ValueError, match=r"encoder\.features_dim=8 has no meaning without an encoder"):
        build_config("ppo", settings={"features_dim": 8})
    with pytest.raises(ValueError, match="there is no weights file"):
        encoder_settings("nowhere.safetensors")


def test_an_encoders_own_settings_survive_the_configurations_json() -> None:
    config = build_config("ppo", settings=["encoder.name=dense", 'encoder.architecture={"hidden": [9]}'])
    assert config.encoder.architecture == {"hidden": [9]}
    assert build_config("ppo", settings=config.to_json()) == config
