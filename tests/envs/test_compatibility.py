"""The environment among Gymnasium's wrappers and tools and Stable-Baselines3's algorithms: used, not only checked."""

import warnings
from pathlib import Path
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


def video(folder: Path, env: gymnasium.Env, steps: int) -> tuple[int, float, float]:
    """Record `steps` steps with Gymnasium's own wrapper; return the video's images, seconds and images per second."""
    import imageio.v3 as imageio
    import imageio_ffmpeg

    recorded = wrappers.RecordVideo(env, str(folder))
    drive(recorded, steps)
    recorded.close()
    (path,) = folder.glob("*.mp4")
    return *imageio_ffmpeg.count_frames_and_secs(path), imageio.immeta(path)["fps"]


@pytest.mark.parametrize("mode, per_step", [("rgb_array", 1), ("rgb_array_list", 30)])
def test_gymnasium_records_a_video_in_real_time(tmp_path: Path, mode: str, per_step: int) -> None:
    images, seconds, fps = video(tmp_path / "videos", make(render_mode=mode, render_size=(80, 140)), 8)
    assert fps == 2 * per_step
    assert 8 * per_step + 1 <= images <= 8 * per_step + 2  # the start's image; moviepy may repeat the last
    assert abs(seconds - 8 * 30 / 60) <= 2.5 / fps


def test_recorded_list_holds_every_frame_once_and_in_order(tmp_path: Path) -> None:
    recorded = wrappers.RecordVideo(make(render_mode="rgb_array_list", render_size=(80, 140)), str(tmp_path / "videos"))
    drive(recorded, 3)
    frames = list(recorded.recorded_frames)
    assert len(recorded.render_history) == 4  # the wrapper would keep them for ever
    recorded.close()
    every = make(render_mode="rgb_array_list", render_size=(80, 140))
    drive(every, 3)
    np.testing.assert_array_equal(frames, every.render())


def test_list_holds_the_images_of_all_frames_since_it_was_last_asked() -> None:
    listed, single = make(render_mode="rgb_array_list"), make(render_mode="rgb_array")
    listed.reset(seed=0), single.reset(seed=0)
    (first,) = listed.render()
    np.testing.assert_array_equal(first, single.render())
    assert listed.render() == []
    for _ in range(2):
        listed.step(1), single.step(1)
    images = listed.render()
    assert len(images) == 60 and images[0].shape == (700, 400, 3)
    np.testing.assert_array_equal(images[-1], single.render())
    assert all((one != other).any() for one, other in zip(images, images[1:], strict=False))
    listed.step(1)
    listed.reset(seed=1)
    assert len(listed.render()) == 1


def test_saved_video_of_a_list_plays_in_real_time(tmp_path: Path) -> None:
    import imageio_ffmpeg
    from gymnasium.utils.save_video import save_video

    env = make(render_mode="rgb_array_list", render_size=(80, 140))
    drive(env, 4)
    save_video(env.render(), str(tmp_path), fps=env.metadata["render_fps"], episode_trigger=lambda episode: True)
    (path,) = tmp_path.glob("*.mp4")
    assert imageio_ffmpeg.count_frames_and_secs(path)[1] == pytest.approx(2.0, abs=2.5 / 60)


def test_videos_of_many_envs_play_in_real_time(tmp_path: Path) -> None:
    import imageio_ffmpeg
    from stable_baselines3.common.vec_env import VecVideoRecorder

    from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv

    options = {"render_mode": "rgb_array", "render_size": (80, 140), "observation": "gaps"}
    ours = VecVideoRecorder(DeepTrafficVecEnv(2, **options), str(tmp_path / "sb3"), lambda step: step == 0, 8)
    ours.reset()
    envs = wrappers.vector.RecordVideo(gymnasium.make_vec(NAME, 2, **options), str(tmp_path / "gym"))
    envs.reset(seed=0)
    for _ in range(9):
        ours.step(np.zeros(2, int)), envs.step(np.zeros(2, int))
    ours.close(), envs.close()
    seconds = {path.parent.name: imageio_ffmpeg.count_frames_and_secs(path)[1] for path in tmp_path.glob("*/*.mp4")}
    assert seconds == {"sb3": pytest.approx(9 / 2, abs=0.6), "gym": pytest.approx(10 / 2, abs=0.6)}


def test_windows_of_gymnasium_show_many_envs() -> None:
    envs = wrappers.vector.HumanRendering(gymnasium.make_vec(NAME, 2, render_mode="rgb_array", observation="gaps"))
    envs.reset(seed=0)
    envs.step(np.zeros(2, int))
    assert envs.window.get_size() == (400, 700)
    envs.close()


def test_wrappers_of_images_work() -> None:
    pixels = wrappers.AddRenderObservation(make(render_mode="rgb_array", render_size=(40, 70)), render_only=False)
    assert all(obs["pixels"].shape == (70, 40, 3) for obs in drive(pixels))
    collected = wrappers.RenderCollection(make(render_mode="rgb_array"))
    drive(collected, 3)
    assert [frame.shape for frame in collected.render()] == [(700, 400, 3)] * 4
    noisy = wrappers.AddWhiteNoise(make(render_mode="rgb_array"), 0.5)
    noisy.reset(seed=0)
    assert noisy.render().shape == (700, 400, 3)


def test_look_of_the_images_is_part_of_the_specification() -> None:
    env = make(render_mode="rgb_array", render_size=(120, 200), overlay="map", theme="light")
    again = gymnasium.make(EnvSpec.from_json(env.spec.to_json()))
    drive(env), drive(again)
    assert again.render().shape == (200, 120, 3)
    np.testing.assert_array_equal(env.render(), again.render())


def test_a_person_can_play(monkeypatch: pytest.MonkeyPatch) -> None:
    import pygame
    from gymnasium.utils.play import play

    pressed = iter([[], [pygame.K_UP], [pygame.K_LEFT], []])
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
        callback=lambda before, after, action, *rest: actions.append(int(action)),
    )
    assert actions == [0, 1, 3, 3]  # both keys are held down in the end


def test_every_key_and_every_pair_of_speed_and_lane_change_has_an_action() -> None:
    import pygame

    up, down, left, right = pygame.K_UP, pygame.K_DOWN, pygame.K_LEFT, pygame.K_RIGHT
    keys = make().get_wrapper_attr("get_keys_to_action")()
    assert {keys[(up,)], keys[(down,)], keys[(left,)], keys[(right,)]} == {1, 2, 3, 4}
    assert keys[(up, left)] == keys[(down, left)] == 3 and keys[(up, right)] == keys[(down, right)] == 4
    assert len(keys) == 8


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
