"""Encoders: one interface for every observation, weights that survive SB3, and pictures that are divided once."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.vec_env import VecFrameStack

from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv
from representation.data.frames import paint_frames
from representation.data.labels import SCENES, scene_class
from representation.data.recording import Recording
from representation.encoder import Encoder, channels_first, describe_space, space_of
from representation.fit import FitConfig, fit
from representation.registry import ENCODERS, encoder_class, load_encoder, make_encoder
from representation.supervised import Classifier

SPACES = ["vector", "gaps", "grid", "kinematics", "pixels", "two frames"]
SMALL_PPO: dict[str, Any] = {"n_steps": 8, "batch_size": 16, "n_epochs": 1, "device": "cpu", "seed": 1}


def games(observation: Any, num_envs: int = 4) -> DeepTrafficVecEnv:
    return DeepTrafficVecEnv(num_envs, observation=observation, max_steps=9)


def trained(encoder: Encoder) -> Encoder:
    """Weights unlike any initialisation."""
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.01)
    return encoder.mark_pretrained()


@pytest.fixture
def dense() -> Encoder:
    torch.manual_seed(0)
    return make_encoder("dense", games("gaps").observation_space, 16)


# --- composition --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observation", SPACES)
@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_reads_every_observation(name: str, observation: str, observations: dict[str, Any]) -> None:
    env = games(observations[observation])
    encoder, obs = make_encoder(name, env.observation_space, 12), env.reset()
    features = encoder.encode(obs)
    assert features.shape == (4, 12)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_passes_a_gradient_to_most_of_its_weights(name: str, observations: dict[str, Any]) -> None:
    kind = "kinematics" if name in ("attention", "combined") else "grid"
    env = games(observations[kind])
    torch.manual_seed(0)
    encoder, obs = make_encoder(name, env.observation_space, 12), env.reset()
    tensors = {k: torch.from_numpy(v) for k, v in obs.items()} if isinstance(obs, dict) else torch.from_numpy(obs)
    (encoder(tensors) * torch.randn(4, 12)).sum().backward()
    moved = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in encoder.parameters()]
    assert sum(moved) >= 0.7 * len(moved)


@pytest.mark.parametrize("observation", SPACES)
@pytest.mark.parametrize("name", ENCODERS)
def test_a_saved_encoder_comes_back_the_same(
    name: str, observation: str, observations: dict[str, Any], tmp_path: Path
) -> None:
    env = games(observations[observation])
    encoder = make_encoder(name, env.observation_space, 12)
    encoder.observed, encoder.summary = dict(observations[observation]), {"epochs": 3}
    encoder.save(tmp_path / "encoder.safetensors")
    again = load_encoder(tmp_path / "encoder.safetensors")
    obs = env.reset()
    assert np.array_equal(encoder.encode(obs), again.encode(obs))
    assert again.content() == encoder.content()
    assert (again.observed, again.summary) == (encoder.observed, encoder.summary)


def test_features_that_do_not_exist_are_refused_with_what_there_is(dense: Encoder) -> None:
    with pytest.raises(ValueError, match="there is no encoder 'resnet'; choose one of attention, .*dense"):
        make_encoder("resnet", dense.observation_space)
    with pytest.raises(ValueError, match="features_dim must be an integer in"):
        make_encoder("dense", dense.observation_space, 0)
    with pytest.raises(ValueError, match="cannot be made with"):
        make_encoder("dense", dense.observation_space, 16, colour="red")
    with pytest.raises(ValueError, match="cannot be the input of an encoder"):
        make_encoder("dense", spaces.Discrete(3))


def test_observations_of_another_shape_are_refused_with_both_shapes(dense: Encoder) -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 41\) are not \(B, 42\)"):
        dense.encode(np.zeros((2, 41)))


# --- normalisation and pictures -----------------------------------------------------------------------------------


def test_normalised_numbers_reach_the_network_with_mean_0_and_deviation_1(dense: Encoder) -> None:
    rows = np.random.default_rng(0).normal(3.0, 2.0, (500, 42))
    rows[:, 5] = 7.0  # never changes: it is centred, not blown up
    dense.fit_normalisation(rows)
    seen = dense._prepared(torch.from_numpy(rows))
    assert isinstance(seen, torch.Tensor)
    assert torch.allclose(seen.mean(0), torch.zeros(42), atol=1e-4)
    assert torch.allclose(seen[:, :5].std(0), torch.ones(5), atol=0.01)
    assert seen[:, 5].abs().max() < 1e-3


FRAMES = {"one": (3, 20, 16), "two": (2, 1, 20, 16), "grid": (4, 25, 7)}  # shapes of images, stacks and grids


def some_frames(kind: str, count: int = 300) -> Any:
    """Frames of a road that hardly changes: each pixel has a brightness of its own, and a little moves."""
    random = np.random.default_rng(0)
    levels = random.uniform(30, 220, FRAMES[kind]) + random.normal(0.0, 7.0, (count, *FRAMES[kind]))
    return (levels / 255).astype(np.float32) if kind == "grid" else levels.astype(np.uint8)


def space_for(kind: str) -> spaces.Box:
    if kind == "grid":
        return spaces.Box(0.0, 1.0, FRAMES[kind], np.float32)
    return spaces.Box(0, 255, FRAMES[kind], np.uint8)


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("name", ENCODERS)
def test_normalised_images_lose_their_mean_frame_and_are_divided_by_one_number(name: str, kind: str) -> None:
    frames = some_frames(kind)
    encoder = make_encoder(name, space_for(kind), 12).fit_normalisation(frames)
    seen = encoder._prepared(torch.from_numpy(frames))
    assert isinstance(seen, torch.Tensor)
    assert torch.allclose(seen.mean(0), torch.zeros(FRAMES[kind]), atol=1e-4)
    assert seen.std() == pytest.approx(1.0, abs=1e-3)
    assert encoder.scale.shape == ()
    assert float(encoder.scale) == pytest.approx(7 / 255, rel=0.02)
    assert encoder.offset.flatten().numpy() == pytest.approx((frames / 1.0).mean(0).ravel() / (255, 1)[kind == "grid"])
    assert np.array_equal(load_encoder(encoder.content()).encode(frames), encoder.encode(frames))


def test_images_are_normalised_alike_with_channels_first_or_last() -> None:
    frames = some_frames("one")
    encoder = make_encoder("dense", spaces.Box(0, 255, (20, 16, 3), np.uint8), 12)
    first = encoder.fit_normalisation(frames).digest()
    assert encoder.fit_normalisation(np.moveaxis(frames, 1, -1)).digest() == first


def test_parts_of_a_dict_are_normalised_each_by_itself() -> None:
    space = spaces.Dict({"image": space_for("one"), "lanes": spaces.Box(0.0, 9.0, (6,), np.float32)})
    lanes = np.random.default_rng(1).normal(3.0, 2.0, (300, 6)).astype(np.float32)
    obs = {"image": some_frames("one"), "lanes": lanes}
    encoder = make_encoder("combined", space, 12)
    before = encoder.encode(obs)
    encoder.fit_normalisation(obs)
    parts = encoder.encoders
    assert float(parts["image"].scale) == pytest.approx(7 / 255, rel=0.02)  # type: ignore[index, union-attr]
    assert parts["lanes"].offset.numpy() == pytest.approx(lanes.mean(0), rel=1e-5)  # type: ignore[index, union-attr]
    assert not np.allclose(encoder.encode(obs), before)
    with pytest.raises(ValueError, match="give no normalisation"):
        make_encoder("dense", space).fit_normalisation(obs)


def test_observations_of_another_shape_give_no_normalisation(dense: Encoder) -> None:
    with pytest.raises(ValueError, match=r"shape \(9, 41\) are not \(B, 42\)"):
        dense.fit_normalisation(np.zeros((9, 41)))


@pytest.mark.parametrize("trainable", [False, True])
def test_sb3_agents_keep_the_normalisation_of_images(trainable: bool) -> None:
    env = games({"kind": "pixels", "height": 24, "width": 20})
    encoder = trained(make_encoder("conv", env.observation_space, 12).fit_normalisation(env.reset()))
    model = PPO("CnnPolicy", env, policy_kwargs=encoder.policy_kwargs(trainable), **SMALL_PPO)
    obs = env.reset()
    assert np.array_equal(model.policy.features_extractor.encode(obs), encoder.encode(obs))
    model.learn(64)
    used = model.policy.features_extractor
    assert torch.equal(used.offset, encoder.offset)
    assert torch.equal(used.scale, encoder.scale)
    assert (used.digest() == encoder.digest()) == (not trainable)


def test_normalised_frames_are_learned_from_where_raw_ones_stand_still(driving: Recording) -> None:
    states = driving.states[:, 1::2].ravel()
    frames, label = paint_frames(driving.rules, states, 64, 32, "train", seed=1), scene_class(driving.rules, states)
    losses = {}
    for name in ("raw", "normalised"):
        torch.manual_seed(0)
        model = Classifier(make_encoder("conv", spaces.Box(0, 255, (3, 64, 32), np.uint8), 64), len(SCENES))
        if name == "normalised":
            model.encoder.fit_normalisation(frames)
        train = {"obs": frames, "label": label}
        fit(model, train, train, FitConfig(epochs=20, batch_size=64, learning_rate=2e-3, patience=0))
        with torch.no_grad():
            losses[name] = float(model.loss({"obs": torch.from_numpy(frames), "label": torch.from_numpy(label)})[0])
    assert losses["normalised"] < 0.5 * losses["raw"], losses


@pytest.mark.parametrize("stacked", [False, True], ids=["one", "stack"])
def test_pictures_are_divided_by_255_once_by_sb3_and_by_encode(stacked: bool) -> None:
    env: Any = games({"kind": "pixels", "height": 24, "width": 20})
    env = VecFrameStack(env, 3) if stacked else env
    model = PPO("CnnPolicy", env, policy_kwargs={"features_extractor_class": encoder_class("dense")}, **SMALL_PPO)
    frames = model.get_env().reset()  # type: ignore[union-attr]
    extractor = model.policy.features_extractor
    by_sb3 = model.policy.extract_features(torch.from_numpy(frames))
    assert frames.dtype == np.uint8 and frames.max() > 100
    assert np.array_equal(extractor.encode(frames), by_sb3.detach().numpy())
    seen = extractor._prepared(torch.from_numpy(frames))
    assert 0.3 < seen.max() <= 1.0


def test_a_window_of_pictures_that_sb3_does_not_divide_is_divided_by_the_encoder() -> None:
    space = spaces.Box(0, 255, (2, 3, 16, 16), np.uint8)
    encoder = make_encoder("dense", space)
    raw = np.full((1, 2, 3, 16, 16), 51, np.uint8)
    for given in (torch.from_numpy(raw), torch.from_numpy(raw).float()):
        assert torch.allclose(encoder._prepared(given), torch.tensor(0.2))


def test_pictures_are_taken_with_channels_first_or_last() -> None:
    env = games({"kind": "pixels", "height": 24, "width": 20})
    assert channels_first(env.observation_space).shape == (3, 24, 20)
    encoder, frames = make_encoder("dense", env.observation_space), env.reset()
    assert np.array_equal(encoder.encode(frames), encoder.encode(np.moveaxis(frames, -1, 1)))


# --- pretrained weights in agents ---------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [PPO, A2C, DQN])
def test_frozen_weights_are_the_same_bits_after_learning(algorithm: Any, dense: Encoder) -> None:
    trained(dense)
    settings = {PPO: SMALL_PPO, A2C: {"device": "cpu"}, DQN: {"learning_starts": 8, "device": "cpu"}}[algorithm]
    model = algorithm("MlpPolicy", games("gaps"), policy_kwargs=dense.policy_kwargs(), **settings)
    model.learn(96)
    used = model.policy.q_net.features_extractor if algorithm is DQN else model.policy.features_extractor
    assert used.digest() == dense.digest()
    assert used.is_frozen


def test_fine_tuned_weights_start_from_the_pretrained_ones_and_move(dense: Encoder) -> None:
    trained(dense)
    model = PPO("MlpPolicy", games("gaps"), policy_kwargs=dense.policy_kwargs(trainable=True), **SMALL_PPO)
    assert model.policy.features_extractor.digest() == dense.digest()
    model.learn(64)
    assert model.policy.features_extractor.digest() != dense.digest()


def test_an_encoder_that_is_not_pretrained_is_initialised_by_sb3_as_any_other(dense: Encoder) -> None:
    before = dense.digest()
    dense.apply(lambda module: torch.nn.init.zeros_(module.weight) if hasattr(module, "weight") else None)
    assert dense.digest() != before
    kwargs = {"features_extractor_class": encoder_class("dense")}
    model = PPO("MlpPolicy", games("gaps"), policy_kwargs=kwargs, **SMALL_PPO)
    weight = model.policy.features_extractor.layers[0].weight  # (128, 42): orthogonal with gain sqrt(2)
    assert torch.allclose(weight.T @ weight, 2.0 * torch.eye(42), atol=1e-4)


def test_overwritten_weights_are_found_at_first_use(dense: Encoder) -> None:
    trained(dense)
    with torch.no_grad():
        dense.layers[0].weight.mul_(0.5)  # type: ignore[operator, union-attr]
    with pytest.raises(RuntimeError, match="were overwritten before their first use"):
        dense.encode(np.zeros((1, 42), np.float32))


def test_a_saved_agent_brings_its_fine_tuned_encoder_back(dense: Encoder, tmp_path: Path) -> None:
    trained(dense)
    model = PPO("MlpPolicy", games("gaps"), policy_kwargs=dense.policy_kwargs(trainable=True), **SMALL_PPO)
    model.learn(64)
    model.save(tmp_path / "agent.zip")
    again = PPO.load(tmp_path / "agent.zip", device="cpu")
    obs = games("gaps").reset()
    assert np.array_equal(again.predict(obs, deterministic=True)[0], model.predict(obs, deterministic=True)[0])
    assert again.policy.features_extractor.digest() == model.policy.features_extractor.digest()


def test_a_frozen_encoder_stays_at_test_time(dense: Encoder) -> None:
    assert not dense.freeze().train().training
    assert not dense(torch.zeros(1, 42)).requires_grad


def test_an_encoder_for_other_observations_is_refused_with_what_it_saw(dense: Encoder) -> None:
    dense.observed = {"kind": "gaps"}
    with pytest.raises(ValueError, match=r"was trained on .*\[42\].*\{'kind': 'gaps'\}"):
        type(dense).pretrained(games("gaps_ego").observation_space, dense.content())


def test_spaces_are_described_by_shape_and_type() -> None:
    space = gym.make("DeepTraffic2018-v0", observation="kinematics").observation_space
    assert describe_space(space) == {
        "ego": {"shape": [5], "dtype": "float32"},
        "mask": {"shape": [8], "dtype": "float32"},
        "vehicles": {"shape": [8, 6], "dtype": "float32"},
    }


def test_spaces_are_rebuilt_from_their_description() -> None:
    space = space_of({"a": {"shape": [2, 3], "dtype": "float32"}, "b": {"shape": [3, 8, 8], "dtype": "uint8"}})
    assert isinstance(space, spaces.Dict)
    assert space["a"].shape == (2, 3)
    assert space["b"].dtype == np.uint8
