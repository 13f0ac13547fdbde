"""The Stable-Baselines3 environment: equal to single games in a DummyVecEnv, and learners run on it."""

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from deeptraffic.envs.gym_env import DeepTrafficEnv
from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv
from deeptraffic.sim.rules import Action

SMALL = {"kind": "vector", "lanes_side": 1, "patches_ahead": 6, "patches_behind": 3}
OPTIONS: dict[str, dict[str, Any]] = {
    "2018": {},
    "2017": {"rules": 2017},
    "three others": {"other_agents": 3, "observation": SMALL},
    "temporal window": {"observation": {**SMALL, "temporal_window": 2}},
    "dict of arrays": {"observation": "kinematics"},
    "passed": {"observation": "gaps", "reward": "passed"},
}


def drawn_actions(steps: int, num_envs: int) -> np.ndarray:
    return np.random.default_rng(5).integers(len(Action), size=(steps, num_envs))


def monitored_games(num_envs: int, **options: Any) -> DummyVecEnv:
    return DummyVecEnv([lambda: Monitor(DeepTrafficEnv(**options))] * num_envs)


def assert_same_obs(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for name in a:
            assert_same_obs(a[name], b[name])
    else:
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


# --- equal to single games ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIONS)
def test_equals_monitored_single_games_step_by_step(name: str) -> None:
    options = {"max_steps": 3, **OPTIONS[name]}
    native, single = DeepTrafficVecEnv(4, **options), monitored_games(4, **options)
    for venv in (native, single):
        venv.seed(3)
    assert_same_obs(single.reset(), native.reset())
    for actions in drawn_actions(8, 4):
        obs, rewards, dones, infos = native.step(actions)
        expected_obs, expected_rewards, expected_dones, expected_infos = single.step(actions)
        assert_same_obs(expected_obs, obs)
        assert rewards.dtype == np.float32
        np.testing.assert_array_equal(expected_rewards, rewards)
        np.testing.assert_array_equal(expected_dones, dones)
        for done, info, expected in zip(dones, infos, expected_infos, strict=True):
            assert_same_end(done, info, expected)


def assert_same_end(done: bool, info: dict[str, Any], expected: dict[str, Any]) -> None:
    if not done:
        assert info == {}
        return
    assert info.keys() == expected.keys()
    assert info["TimeLimit.truncated"] is True
    assert_same_obs(expected["terminal_observation"], info["terminal_observation"])
    for name in ("speed_mph", "passed", "lane", "frame", "blocked"):
        assert info[name] == expected[name]
        assert type(info[name]) is type(expected[name])
    assert info["episode"]["l"] == expected["episode"]["l"]
    assert info["episode"]["r"] == pytest.approx(expected["episode"]["r"], abs=1e-6)  # Monitor rounds


def test_statistics_hold_the_mean_speed_of_the_episode() -> None:
    venv = DeepTrafficVecEnv(2, reward="speed", max_steps=6, observation=SMALL)
    venv.reset()
    for actions in drawn_actions(6, 2):
        _, _, _, infos = venv.step(actions)
    for info in infos:  # the reward is the period's mean speed / 80 mph
        assert info["episode"]["mean_mph"] == pytest.approx(80 * info["episode"]["r"] / 6)


def test_seed_numbers_the_open_runs_and_holds_for_one_reset() -> None:
    venv = DeepTrafficVecEnv(3)
    assert venv.seed(7) == [7, 8, 9]
    first, second = venv.reset(), venv.reset()
    assert not np.array_equal(first, second)
    venv.seed(8)
    np.testing.assert_array_equal(venv.reset()[:2], first[1:])


def test_options_choose_official_runs_game_by_game() -> None:
    venv, single = DeepTrafficVecEnv(3), monitored_games(3)
    for each in (venv, single):
        each.seed(1)
        each.set_options([{"official_run": 1}, {}, {"official_run": 1}])
    obs = venv.reset()
    np.testing.assert_array_equal(obs, single.reset())
    np.testing.assert_array_equal(obs[0], obs[2])
    with pytest.raises(ValueError, match="reset option must be one of 'official_run', got 'run'"):
        venv.set_options({"run": 1})
        venv.reset()


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    runs = []
    for threads in (1, 3):
        venv = DeepTrafficVecEnv(70, observation=SMALL, max_steps=3, threads=threads, stagger=True)
        venv.seed(2)
        runs.append([venv.reset(), *(venv.step(actions)[0] for actions in drawn_actions(7, 70))])
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_staggered_games_do_not_end_in_the_same_step() -> None:
    venv = DeepTrafficVecEnv(10, observation=SMALL, max_steps=5, stagger=True)
    venv.reset()
    ends = [int(venv.step(np.zeros(10, np.int64))[2].sum()) for _ in range(15)]
    assert ends == [2] * 15


def test_returned_arrays_are_never_written_again() -> None:
    venv = DeepTrafficVecEnv(4, observation=SMALL, max_steps=2)
    returned = [venv.reset()]
    copies = [returned[0].copy()]
    for actions in drawn_actions(5, 4):
        step = venv.step(actions)
        returned.extend([*step[:3], *(info["terminal_observation"] for info in step[3] if info)])
        copies.extend(copy.deepcopy(returned[len(copies) :]))
    for original, as_returned in zip(copies, returned, strict=True):
        np.testing.assert_array_equal(original, as_returned)


def test_a_pickled_environment_goes_on_as_the_original_does() -> None:
    venv = DeepTrafficVecEnv(20, observation=SMALL, max_steps=3, threads=2)
    venv.reset()
    venv.step(np.ones(20, np.int64))
    twin = pickle.loads(pickle.dumps(venv))
    for actions in drawn_actions(6, 20):
        for one, other in zip(venv.step(actions)[:3], twin.step(actions)[:3], strict=True):
            np.testing.assert_array_equal(one, other)


# --- what is asked of single games ----------------------------------------------------------------------------------


def test_attributes_are_shared_or_a_games_own() -> None:
    venv = DeepTrafficVecEnv(3, observation=SMALL, max_steps=9)
    venv.reset()
    assert venv.get_attr("max_steps") == [9, 9, 9]
    assert venv.get_attr("render_mode", indices=[0, 2]) == [None, None]
    venv.step(np.array([3, 0, 4]))
    assert venv.get_attr("lane") == venv.batch.sim.state.lane[:, 0].tolist()
    assert venv.get_attr("frame", indices=1) == [30]
    assert venv.has_attr("speed_mph")
    assert not venv.has_attr("colour")
    venv.set_attr("colour", "red", indices=[1])
    assert venv.get_attr("colour") == [None, "red", None]
    with pytest.raises(AttributeError, match="make a new DeepTrafficVecEnv"):
        venv.set_attr("max_steps", 5)
    with pytest.raises(IndexError, match="env index must be in .* got 3"):
        venv.get_attr("lane", indices=3)


def test_single_games_answer_methods_and_count_as_monitored() -> None:
    venv, single = DeepTrafficVecEnv(5), monitored_games(5)
    for each in (venv, single):
        each.seed(0)
        each.reset()
    assert is_masking_supported(venv)
    np.testing.assert_array_equal(get_action_masks(venv), get_action_masks(single))
    assert venv.env_method("action_masks", indices=2)[0].shape == (len(Action),)
    assert venv.env_is_wrapped(Monitor) == [True] * 5
    assert venv.env_is_wrapped(DummyVecEnv, indices=[0]) == [False]
    with pytest.raises(AttributeError, match="choose one of action_masks, render"):
        venv.env_method("honk")


def test_render_tiles_the_pictures_of_all_games() -> None:
    venv = DeepTrafficVecEnv(4, render_mode="rgb_array", observation=SMALL)
    venv.reset()
    pictures = venv.get_images()
    height, width, _ = pictures[0].shape  # type: ignore[union-attr]
    picture = venv.render()
    assert picture is not None
    assert picture.shape == (2 * height, 2 * width, 3)


# --- learners -------------------------------------------------------------------------------------------------------


def test_ppo_learns_two_updates_and_logs_whole_episodes() -> None:
    venv = DeepTrafficVecEnv(16, observation=SMALL, max_steps=4, stagger=True)
    model = PPO("MlpPolicy", venv, n_steps=8, batch_size=64, n_epochs=1, seed=0, device="cpu").learn(2 * 16 * 8)
    assert model.num_timesteps == 256
    assert {"r", "l", "t", "mean_mph"} == set(model.ep_info_buffer[-1])  # type: ignore[index]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning would say that a Monitor is missing
        evaluate_policy(model, DeepTrafficVecEnv(2, observation=SMALL, max_steps=4), n_eval_episodes=2)


def test_ppo_from_the_same_seed_learns_the_same() -> None:
    weights = []
    for _ in range(2):
        venv = DeepTrafficVecEnv(8, observation=SMALL, max_steps=4)
        model = PPO("MlpPolicy", venv, n_steps=8, batch_size=64, n_epochs=1, seed=3, device="cpu").learn(128)
        weights.append(model.policy.action_net.weight.detach().numpy())
    np.testing.assert_array_equal(*weights)


def test_maskable_ppo_and_dqn_learn() -> None:
    venv = DeepTrafficVecEnv(8, observation=SMALL, max_steps=4)
    MaskablePPO("MlpPolicy", venv, n_steps=8, batch_size=64, n_epochs=1, device="cpu").learn(2 * 8 * 8)
    model = DQN("MlpPolicy", venv, learning_starts=32, buffer_size=1000, device="cpu").learn(128)
    assert model.replay_buffer is not None
    assert model.replay_buffer.timeouts[3].all()  # type: ignore[attr-defined]


def test_observations_can_be_normalised() -> None:
    venv = VecNormalize(DeepTrafficVecEnv(6, observation="gaps", max_steps=2))
    venv.reset()
    venv.step(np.zeros(6, np.int64))
    obs, _, dones, infos = venv.step(np.zeros(6, np.int64))
    assert dones.all()
    assert np.isfinite(obs).all()
    assert infos[0]["terminal_observation"].shape == obs[0].shape


# --- errors that teach ----------------------------------------------------------------------------------------------


def test_steps_are_refused_before_a_reset_and_without_actions() -> None:
    venv = DeepTrafficVecEnv(2, observation=SMALL)
    with pytest.raises(ResetNeeded, match="call reset"):
        venv.step(np.zeros(2, np.int64))
    venv.reset()
    with pytest.raises(RuntimeError, match="call step_async"):
        venv.step_wait()
    with pytest.raises(ValueError, match="action of env 1 .* got 7"):
        venv.step(np.array([0, 7]))


def test_a_window_for_many_games_is_refused() -> None:
    with pytest.raises(ValueError, match="render_mode must be 'rgb_array' or None"):
        DeepTrafficVecEnv(2, render_mode="human")
