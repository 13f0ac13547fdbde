"""The environment among Gymnasium's wrappers and tools and Stable-Baselines3's algorithms: used, not only checked."""

import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env as check_gymnasium_env

import deeptraffic  # noqa: F401  # registers the environments

KINDS = ("vector", "gaps", "grid", "gaps_ego", "kinematics", "pixels", "full")
NAME = "DeepTraffic2018-v0"


def drive(env: gymnasium.Env, steps: int = 5, seed: int = 0) -> list[Any]:
    seen = [env.reset(seed=seed)[0]]
    for action in range(steps):
        seen.append(env.step(action % 5)[0])
    return seen


def make(kind: str = "gaps", **options: Any) -> gymnasium.Env:
    return gymnasium.make(NAME, observation=kind, **options)


# --- Gymnasium ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["grid", "kinematics", "pixels"])
def test_gymnasium_checker_is_content_with_the_other_kinds(kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_gymnasium_env(make(kind).unwrapped, skip_render_check=True)


def test_gymnasium_checker_warns_of_nothing_but_unbounded_floats_in_the_full_state() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_gymnasium_env(make("full").unwrapped, skip_render_check=True)
    assert all("infinity" in str(warning.message) for warning in caught)


def test_frames_are_stacked_newest_last() -> None:
    plain = drive(make("grid"))
    stacked = drive(wrappers.FrameStackObservation(make("grid"), 3))
    np.testing.assert_array_equal(stacked[-1], plain[-3:])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_flattened(kind: str) -> None:
    env = wrappers.FlattenObservation(make(kind))
    assert all(env.observation_space.contains(obs) for obs in drive(env))


def test_episode_statistics_are_recorded() -> None:
    env = wrappers.RecordEpisodeStatistics(make(max_episode_steps=4))
    env.reset(seed=0)
    rewards = []
    for _ in range(4):
        *_, truncated, info = (step := env.step(1))
        rewards.append(step[1])
    assert truncated and info["episode"]["l"] == 4
    assert info["episode"]["r"] == pytest.approx(sum(rewards))


def test_episode_length_is_gymnasiums_to_set() -> None:
    assert gymnasium.spec(NAME).max_episode_steps == 67
    for limit, steps in ((None, 67), (5, 5), (80, 80)):
        env = make(max_episode_steps=limit)
        env.reset(seed=0)
        assert [env.step(0)[3] for _ in range(steps)] == [False] * (steps - 1) + [True]
    env = make(max_episode_steps=-1)
    env.reset(seed=0)
    assert not any(env.step(0)[3] for _ in range(100))


def test_other_wrappers_work() -> None:
    env = wrappers.NormalizeObservation(wrappers.NormalizeReward(wrappers.TimeAwareObservation(make())))
    assert np.isfinite(drive(env)[-1]).all()
    limited = wrappers.TimeLimit(make(), 3)
    limited.reset(seed=0)
    assert [limited.step(0)[3] for _ in range(3)] == [False, False, True]
    assert drive(wrappers.DtypeObservation(make("vector"), np.float32))[0].dtype == np.float32
    small = wrappers.GrayscaleObservation(make("pixels"))
    assert drive(small)[0].shape == (84, 84)


def test_video_is_recorded(tmp_path: Path) -> None:
    pytest.importorskip("moviepy", reason="Gymnasium's RecordVideo writes with moviepy")
    env = wrappers.RecordVideo(make(render_mode="rgb_array", max_episode_steps=3), str(tmp_path))
    env.reset(seed=0)
    while not env.step(1)[3]:
        pass
    env.close()
    assert [path.stat().st_size > 1000 for path in tmp_path.glob("*.mp4")] == [True]


def test_video_wrapper_captures_a_picture_per_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[int, int]] = []

    class Clip:
        """Stands in for moviepy's, which only encodes."""

        def __init__(self, frames: list[np.ndarray], fps: int) -> None:
            written.append((len(frames), fps))

        def write_videofile(self, path: str, logger: Any) -> None:
            Path(path).touch()

    for name in ("moviepy", "moviepy.video", "moviepy.video.io", "moviepy.video.io.ImageSequenceClip"):
        module = ModuleType(name)
        module.__dict__["ImageSequenceClip"] = Clip
        monkeypatch.setitem(sys.modules, name, module)
    env = wrappers.RecordVideo(make(render_mode="rgb_array"), str(tmp_path))
    drive(env, 3)
    assert {frame.shape for frame in env.recorded_frames} == {(700, 400, 3)}
    env.close()
    assert written == [(4, 2)]


def test_pictures_are_collected_as_a_list() -> None:
    env = make(render_mode="rgb_array_list")
    drive(env, 3)
    assert [frame.shape for frame in env.render()] == [(700, 400, 3)] * 4


def test_a_person_can_play(monkeypatch: pytest.MonkeyPatch) -> None:
    import pygame
    from gymnasium.utils.play import play

    pressed = iter([[], [pygame.K_UP], [], []])
    actions: list[int] = []

    def events() -> list[Any]:
        keys = next(pressed, None)
        if keys is None:
            return [pygame.event.Event(pygame.QUIT)]
        return [pygame.event.Event(pygame.KEYDOWN, key=key) for key in keys]

    monkeypatch.setattr(pygame.event, "get", events)
    monkeypatch.setattr(pygame.time, "Clock", lambda: type("Clock", (), {"tick": staticmethod(lambda fps: None)}))
    play(
        make(render_mode="rgb_array"),
        keys_to_action={(pygame.K_UP,): 1},
        noop=0,
        callback=lambda before, after, action, *rest: actions.append(int(action)),
    )
    assert actions[:2] == [0, 1]


def test_a_specification_survives_json() -> None:
    env = make({"kind": "gaps", "lanes_side": 1}, other_agents=2)
    again = gymnasium.make(EnvSpec.from_json(env.spec.to_json()))
    for first, second in zip(drive(env), drive(again), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("kind", ["vector", "kinematics"])
def test_vector_environments_of_gymnasium_hold_it(kind: str) -> None:
    single = drive(make(kind), seed=5)
    for mode in ("sync", "async"):
        envs = gymnasium.make_vec(NAME, 2, vectorization_mode=mode, observation=kind)
        seen = [envs.reset(seed=5)[0]]
        for action in range(5):
            seen.append(envs.step(np.full(2, action))[0])
        envs.close()
        for ours, theirs in zip(single, seen, strict=True):
            for name in ours if isinstance(ours, dict) else [...]:
                np.testing.assert_array_equal(ours[name], theirs[name][0])


# --- Stable-Baselines3 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_stable_baselines3_checker_is_content(kind: str) -> None:
    from stable_baselines3.common.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Shapes that a policy of one's own must take: channels of numbers, lists of vehicles.
        warnings.filterwarnings(
            "ignore", message=".*(is an image but|unconventional shape|minimal resolution|number of channels)"
        )
        check_env(make(kind, max_episode_steps=20).unwrapped, warn=True)


@pytest.mark.parametrize(
    ("kind", "policy"),
    [("gaps", "MlpPolicy"), ("vector", "MlpPolicy"), ("kinematics", "MultiInputPolicy"), ("pixels", "CnnPolicy")],
)
def test_stable_baselines3_learns_from_it(kind: str, policy: str) -> None:
    from stable_baselines3 import PPO

    model = PPO(policy, make(kind, max_episode_steps=10), n_steps=16, batch_size=16, n_epochs=1, device="cpu", seed=0)
    model.learn(32)
    action, _ = model.predict(model.env.reset())
    assert 0 <= action[0] < 5


def test_dqn_and_masked_ppo_learn_from_it() -> None:
    from sb3_contrib import MaskablePPO
    from stable_baselines3 import DQN

    DQN("MlpPolicy", make(max_episode_steps=10), learning_starts=10, device="cpu", seed=0).learn(30)
    env = make(max_episode_steps=10)
    masked = MaskablePPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, device="cpu", seed=0)
    masked.learn(32)
    obs, _ = env.reset(seed=0)
    for _ in range(20):
        masks = env.unwrapped.action_masks()
        action, _ = masked.predict(obs, action_masks=masks)
        assert masks[action]
        obs, _, _, _, info = env.step(action)
        assert not info["blocked"]
