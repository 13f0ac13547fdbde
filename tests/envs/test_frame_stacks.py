"""Stacks of frames: equal to Gymnasium's in every environment, exact in copies and restored states."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import FrameStackObservation

from deeptraffic.envs.aec_env import DeepTrafficAECEnv
from deeptraffic.envs.gym_env import DeepTrafficEnv
from deeptraffic.envs.observations import make_observation
from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv
from deeptraffic.envs.vector_env import DeepTrafficVectorEnv

FRAMES: dict[str, dict[str, Any]] = {
    "colour": {"kind": "pixels", "height": 20, "width": 24},
    "grey": {"kind": "pixels", "height": 20, "width": 24, "grey": True},
    "grid": {"kind": "grid", "patches_ahead": 10, "patches_behind": 2},
}
SHAPES = {"colour": (20, 24, 9), "grey": (20, 24, 3), "grid": (12, 12, 7)}
WINDOW = 2


def stacked(name: str) -> dict[str, Any]:
    return {**FRAMES[name], "temporal_window": WINDOW}


def some_actions(steps: int, num_envs: int = 1) -> np.ndarray:
    return np.random.default_rng(5).integers(5, size=(steps, num_envs))


def along_channels(stack: np.ndarray, name: str) -> np.ndarray:
    """Gymnasium's stack (T + 1, *frame) with its frames side by side on the axis of channels."""
    return np.concatenate(list(stack), 0 if name == "grid" else -1)


@pytest.mark.parametrize("name", FRAMES)
def test_a_stack_is_gymnasiums_on_the_axis_of_channels_oldest_first(name: str) -> None:
    env = DeepTrafficEnv(observation=stacked(name))
    reference = FrameStackObservation(DeepTrafficEnv(observation=FRAMES[name]), WINDOW + 1, padding_type="reset")
    assert env.observation_space.shape == SHAPES[name]
    assert env.observation_space.dtype == (np.float32 if name == "grid" else np.uint8)
    for seed in (3, 4):
        pairs = [(env.reset(seed=seed)[0], reference.reset(seed=seed)[0])]
        pairs += [(env.step(int(a[0]))[0], reference.step(int(a[0]))[0]) for a in some_actions(6)]
        for found, expected in pairs:
            assert env.observation_space.contains(found)
            np.testing.assert_array_equal(found, along_channels(expected, name))
    frames = np.split(found, WINDOW + 1, 0 if name == "grid" else -1)
    assert len({frame.tobytes() for frame in frames}) == WINDOW + 1


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("name", FRAMES)
def test_vector_envs_stack_as_single_ones_through_every_reset(name: str, mode: AutoresetMode) -> None:
    options = {"observation": stacked(name), "max_steps": 3}
    pair: list[Any] = [
        SyncVectorEnv([lambda: DeepTrafficEnv(**options)] * 3, autoreset_mode=mode),
        DeepTrafficVectorEnv(3, **options, autoreset_mode=mode),
    ]
    first = [envs.reset(seed=1)[0] for envs in pair]
    np.testing.assert_array_equal(*first)
    for k, actions in enumerate(some_actions(9, 3)):
        obs = [envs.step(actions) for envs in pair]
        np.testing.assert_array_equal(obs[0][0], obs[1][0], err_msg=str(k))
        if mode is AutoresetMode.SAME_STEP and obs[0][3].any():
            for expected, found in zip(obs[0][4]["final_obs"], obs[1][4]["final_obs"], strict=True):
                np.testing.assert_array_equal(expected, found)
        if mode is AutoresetMode.DISABLED and obs[0][3].any():
            again = [envs.reset(options={"reset_mask": obs[0][3].copy()})[0] for envs in pair]
            np.testing.assert_array_equal(*again)


@pytest.mark.parametrize("name", FRAMES)
def test_sb3_envs_stack_as_gymnasiums_and_end_an_episode_with_its_own_frames(name: str) -> None:
    sb3 = DeepTrafficVecEnv(40, observation=stacked(name), max_steps=3, threads=3)
    envs = DeepTrafficVectorEnv(
        40, observation=stacked(name), max_steps=3, threads=1, autoreset_mode=AutoresetMode.SAME_STEP
    )
    sb3.seed(7)
    np.testing.assert_array_equal(sb3.reset(), envs.reset(seed=7)[0])
    for actions in some_actions(7, 40):
        obs, _, dones, infos = sb3.step(actions)
        expected, _, _, truncations, more = envs.step(actions)
        np.testing.assert_array_equal(obs, expected)
        np.testing.assert_array_equal(dones, truncations)
        for env in np.flatnonzero(dones):
            np.testing.assert_array_equal(infos[env]["terminal_observation"], more["final_obs"][env])


def test_each_agent_of_the_aec_env_stacks_its_own_turns() -> None:
    env = DeepTrafficAECEnv(other_agents=2, observation=stacked("grid"))
    env.reset(seed=0)
    seen: dict[str, list[np.ndarray]] = {name: [] for name in env.agents}
    for _ in range(12):
        name = env.agent_selection
        seen[name].append(env.observe(name))
        env.step(int(len(seen[name]) % 5))
    for name, stacks in seen.items():
        frames = [np.split(stack, WINDOW + 1) for stack in stacks]
        assert all((frame == frames[0][-1]).all() for frame in frames[0]), name  # the first frame, three times
        for before, after in zip(frames, frames[1:], strict=False):
            np.testing.assert_array_equal(before[1:], after[:-1])
        assert len({frame[-1].tobytes() for frame in frames}) == len(frames)


@pytest.mark.parametrize("name", FRAMES)
def test_copies_and_restored_states_go_on_with_the_same_frames(name: str) -> None:
    envs = DeepTrafficVecEnv(5, observation=stacked(name), max_steps=4)
    envs.seed(2)
    envs.reset()
    for actions in some_actions(6, 5):
        envs.step(actions)
    restored = DeepTrafficVecEnv(5, observation=stacked(name), max_steps=4)
    restored.set_state(envs.get_state())
    twins = [restored, copy.deepcopy(envs), pickle.loads(pickle.dumps(envs))]
    for actions in some_actions(9, 5):
        expected = envs.step(actions)[0]
        for twin in twins:
            np.testing.assert_array_equal(twin.step(actions)[0], expected)


def test_observations_are_new_arrays_that_later_steps_leave_alone() -> None:
    env = DeepTrafficEnv(observation=stacked("grey"))
    first, _ = env.reset(seed=0)
    kept = first.copy()
    env.step(1)
    np.testing.assert_array_equal(first, kept)
    first[:] = 0
    np.testing.assert_array_equal(env.step(1)[0][..., 0], kept[..., -1])


def test_a_mirrored_stack_has_every_frame_mirrored() -> None:
    one, stack = make_observation("grid"), make_observation("grid", temporal_window=1)
    order, size = one.mirror(), 4 * 60 * 7
    assert order is not None
    np.testing.assert_array_equal(stack.mirror(), np.concatenate([order, order + size]))
