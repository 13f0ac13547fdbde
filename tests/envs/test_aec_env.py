"""The multi-agent environment: PettingZoo's own tests, turns, rewards, and equality with the single-agent one."""

import copy
import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
from pettingzoo.test import api_test, seed_test

from deeptraffic.envs.aec_env import DeepTrafficAECEnv
from deeptraffic.envs.gym_env import DeepTrafficEnv

SETTINGS: list[dict[str, Any]] = [
    {},
    {"other_agents": 10},
    {"other_agents": 0},
    {"observation": "grid", "reward": "speed"},
    {"observation": {"kind": "gaps", "temporal_window": 2}, "max_steps": 5},
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_pettingzoo_api_test_passes(settings: dict[str, Any]) -> None:
    api_test(DeepTrafficAECEnv(**settings), num_cycles=300)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_pettingzoo_seed_test_passes(settings: dict[str, Any]) -> None:
    seed_test(lambda: DeepTrafficAECEnv(**settings), num_cycles=100)


def choose(obs: np.ndarray) -> int:
    """Some policy that depends on every cell."""
    return int(np.abs(obs).sum() * 1e6) % 5


@pytest.mark.parametrize("others", [1, 4, 10])
def test_turns_equal_the_single_agent_environment_with_the_others_driven_alike(others: int) -> None:
    seen: list[np.ndarray] = []

    def other(obs: np.ndarray) -> int:
        seen.append(obs)
        return choose(obs)

    single = DeepTrafficEnv(other_agents=others, others=other)
    several = DeepTrafficAECEnv(other_agents=others)
    several.reset(seed=21)
    obs, info = single.reset(seed=21)
    reward, ego_turns = 0.0, 0
    for name in several.agent_iter(300):
        found, found_reward, _, truncated, found_info = several.last()
        if truncated:
            break
        if name == "car_0":
            np.testing.assert_array_equal(found, obs)
            assert found_reward == reward
            assert {key: found_info[key] for key in info} == info
            obs, reward, _, _, info = single.step(choose(obs))
            ego_turns += 1
        else:
            np.testing.assert_array_equal(found, seen.pop(0))
        several.step(choose(found))
    assert ego_turns >= 30
    assert several.possible_agents == [f"car_{i}" for i in range(min(others, 9) + 1)]


def test_agents_take_turns_three_frames_apart() -> None:
    env = DeepTrafficAECEnv(other_agents=10)
    env.reset(seed=0)
    turns = []
    for name in env.agent_iter(20):
        turns.append((name, env.infos[name]["frame"]))
        env.step(0)
    assert turns == [(f"car_{i}", 30 * period + 3 * i) for period in range(2) for i in range(10)]


def test_each_agent_is_truncated_at_its_own_turn_after_as_many_full_periods() -> None:
    env = DeepTrafficAECEnv(other_agents=2, max_steps=3)
    env.reset(seed=0)
    ends, decisions = {}, dict.fromkeys(env.possible_agents, 0)
    for name in env.agent_iter():
        *_, terminated, truncated, info = env.last()
        assert not terminated
        if truncated:
            ends[name] = info["frame"]
        else:
            decisions[name] += 1
        env.step(None if truncated else 1)
    assert ends == {"car_0": 90, "car_1": 93, "car_2": 96}
    assert decisions == {"car_0": 3, "car_1": 3, "car_2": 3}
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
        env.step(0)


@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_reward_of_another_agent_is_its_own_speed_over_its_period(render_mode: str | None) -> None:
    env = DeepTrafficAECEnv(other_agents=2, render_mode=render_mode)
    env.reset(seed=4)
    rewards = {name: [] for name in env.possible_agents}
    twin = DeepTrafficEnv(other_agents=2).sim
    twin.set_state(env.sim.get_state())
    total, expected = 0.0, []
    for name in env.agent_iter(24):
        rewards[name].append(env.last()[1])
        action = len(rewards[name]) % 5
        env.step(action)
        frame = twin.state.frame[0]
        while True:
            twin.step_frame(action)
            action = 0
            if twin.state.frame[0] > frame:
                total += twin.state.following_speed[0, 2] * twin.state.speed_factor[0, 2]
                frame = twin.state.frame[0]
            if twin.state.waiting[0] >= 0:
                break
        if twin.state.waiting[0] == 2:
            expected.append((total - 60) / 20)
            total = 0.0
    assert rewards["car_2"][0] == 0.0 and rewards["car_0"][0] == 0.0
    np.testing.assert_allclose(rewards["car_2"][1:], expected[1:8], rtol=1e-12)
    assert len(set(rewards["car_2"])) > 3


def test_observation_out_of_turn_is_that_of_the_latest_turn_and_a_copy() -> None:
    env = DeepTrafficAECEnv(other_agents=1, observation={"kind": "gaps", "temporal_window": 1})
    env.reset(seed=0)
    first = env.observe("car_0")
    env.step(3)
    np.testing.assert_array_equal(env.observe("car_0"), first)
    env.observe("car_0")[:] = 9
    np.testing.assert_array_equal(env.observe("car_0"), first)
    env.step(0)
    np.testing.assert_array_equal(env.observe("car_0")[42:84], first[:42])
    assert np.flatnonzero(env.observe("car_0")[84:]).tolist() == [3]


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
def test_copy_goes_on_as_the_original_does(clone: Any) -> None:
    env = DeepTrafficAECEnv(other_agents=3)
    env.reset(seed=2)
    for _ in range(10):
        env.step(1)
    twin = clone(env)
    for _ in range(10):
        env.step(4)
        twin.step(4)
        np.testing.assert_array_equal(env.last()[0], twin.last()[0])
        assert env.last()[1] == twin.last()[1]
        assert env.agent_selection == twin.agent_selection


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reward": "passed"}, "ego car alone"),
        ({"rules": 2017}, "2017 rules"),
        ({"observation": "pixels"}, "agent 1"),
        ({"render_mode": "ansi"}, "None, 'human', 'rgb_array'"),
    ],
)
def test_impossible_settings_are_refused_with_a_remedy(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeepTrafficAECEnv(**settings)


def test_bad_action_and_step_before_reset_are_refused() -> None:
    env = DeepTrafficAECEnv()
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
        env.step(0)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="3 left, 4 right"):
        env.step(9)


def test_picture_is_painted_of_a_running_game() -> None:
    env = DeepTrafficAECEnv(render_mode="rgb_array")
    env.reset(seed=0)
    env.step(1)
    assert env.render().shape == (700, 400, 3)
    env.close()
