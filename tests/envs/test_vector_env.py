"""The Gymnasium vector environment: equal to single games side by side, whatever B, the threads and the mode."""

import copy
import itertools
import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

import deeptraffic  # noqa: F401  # registers the environments
from deeptraffic.envs.gym_env import DeepTrafficEnv
from deeptraffic.envs.vector_env import DeepTrafficVectorEnv
from deeptraffic.policies.base import Policy
from deeptraffic.sim.rules import Action, RoadConfig, Sensor

MODES = tuple(AutoresetMode)
SMALL = {"kind": "vector", "lanes_side": 1, "patches_ahead": 6, "patches_behind": 3}


def turn_now_and_then(obs: np.ndarray) -> int:
    return int(obs.sum() * 1000) % len(Action)


class SlotDriver(Policy):
    """Decides by its slot and by how often that slot was asked since its reset."""

    label, observation = "slot driver", Sensor(0, 2, 0)

    def __init__(self) -> None:
        self.asked = np.zeros(100, np.int64)

    def reset(self, rows: np.ndarray) -> None:
        self.asked[rows] = 0

    def act(self, obs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        self.asked[rows] += 1
        return (self.asked[rows] + rows) % len(Action)


OPTIONS: dict[str, dict[str, Any]] = {
    "2018": {},
    "2017": {"rules": 2017},
    "three idle others": {"other_agents": 3},
    "three driven others": {"other_agents": 3, "others": turn_now_and_then, "observation": SMALL},
    "temporal window": {"observation": {**SMALL, "temporal_window": 2}},
    "gaps, passed": {"observation": "gaps", "reward": "passed"},
    "speed, float32": {"observation": {**SMALL, "dtype": "float32"}, "reward": "speed"},
    "research road": {"rules": RoadConfig(lanes=4, vehicles=10, decision_period=20), "observation": SMALL},
}


def assert_same(a: Any, b: Any, place: str = "") -> None:
    """Equal keys, and equal values of equal types, shapes and dtypes."""
    assert type(a) is type(b), (place, type(a), type(b))
    if isinstance(a, dict):
        assert a.keys() == b.keys(), (place, list(a), list(b))
        for key in a:
            assert_same(a[key], b[key], f"{place}/{key}")
    elif isinstance(a, tuple | list) or (isinstance(a, np.ndarray) and a.dtype == object):
        assert len(a) == len(b), place
        for k, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{place}/{k}")
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, (place, a.dtype, b.dtype)
        np.testing.assert_array_equal(a, b, err_msg=place)
    else:
        assert a == b, (place, a, b)


def drawn_actions(steps: int, num_envs: int) -> np.ndarray:
    return np.random.default_rng(5).integers(len(Action), size=(steps, num_envs))


def single_games(num_envs: int, mode: AutoresetMode = AutoresetMode.NEXT_STEP, **options: Any) -> SyncVectorEnv:
    return SyncVectorEnv([lambda: DeepTrafficEnv(**options)] * num_envs, autoreset_mode=mode)


def trajectory(envs: Any, steps: int = 8, seed: Any = 3) -> list[Any]:
    returned: list[Any] = [envs.reset(seed=seed)]
    for actions in drawn_actions(steps, envs.num_envs):
        returned.append(envs.step(actions))
        if envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED and returned[-1][3].any():
            returned.append(envs.reset(options={"reset_mask": returned[-1][3]}))
    return returned


# --- equal to single games ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("mode", MODES)
def test_equals_single_games_step_by_step(mode: AutoresetMode, name: str) -> None:
    options = {"max_steps": 3, **OPTIONS[name]}
    envs = DeepTrafficVectorEnv(4, **options, autoreset_mode=mode)
    single = single_games(4, mode, **options)
    assert_same(trajectory(single), trajectory(envs))
    assert_same(single.reset(seed=[None, 4, None, 9]), envs.reset(seed=[None, 4, None, 9]))
    assert_same([g.bit_generator.state for g in single.np_random], [g.bit_generator.state for g in envs.np_random])


@pytest.mark.parametrize("kind", ["grid", "gaps_ego", "kinematics", "pixels", "full"])
def test_every_observation_kind_equals_that_of_single_games(kind: str) -> None:
    options = {"max_steps": 2, "observation": kind}
    mode = AutoresetMode.SAME_STEP
    envs = DeepTrafficVectorEnv(3, **options, autoreset_mode=mode)
    assert_same(trajectory(single_games(3, mode, **options), 5), trajectory(envs, 5))


def test_games_that_end_at_different_steps_equal_single_games() -> None:
    for mode in MODES[:2]:
        pair = [single_games(3, mode, max_steps=4), DeepTrafficVectorEnv(3, max_steps=4, autoreset_mode=mode)]
        for envs in pair:
            envs.reset(seed=1)
            envs.step(np.array([1, 3, 4]))
        mask = np.array([True, False, True])
        results = [envs.reset(seed=20, options={"reset_mask": mask.copy()}) for envs in pair]
        assert_same(*results)
        for actions in drawn_actions(9, 3):
            assert_same(pair[0].step(actions), pair[1].step(actions))


def test_policy_objects_drive_the_others_with_a_memory_slot_per_agent_and_game() -> None:
    envs = DeepTrafficVectorEnv(3, other_agents=2, others=SlotDriver(), max_steps=2, observation=SMALL)
    for actions in ([1, 1, 1], [2, 2, 2], [0, 0, 0], [3, 4, 3]):
        if actions == [1, 1, 1]:
            envs.reset(seed=0)
        envs.step(np.array(actions))
    asked = envs.batch.others.policy.asked  # type: ignore[union-attr]
    np.testing.assert_array_equal(asked[:9].reshape(3, 3), [[0, 1, 1]] * 3)  # one step since the reset in step 3


def test_official_runs_chain_in_every_game_as_in_a_single_one() -> None:
    pair = [single_games(2, observation=SMALL), DeepTrafficVectorEnv(2, observation=SMALL)]
    for run in (1, 2, 3):
        results = [envs.reset(options={"official_run": run}) for envs in pair]
        assert_same(*results)
        for actions in drawn_actions(67 if run == 1 else 20, 2):
            assert_same(pair[0].step(actions), pair[1].step(actions))


def test_official_run_2_needs_run_1_before_it() -> None:
    envs = DeepTrafficVectorEnv(2, observation=SMALL)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="outside the official chain"):
        envs.reset(options={"official_run": 2})
    with pytest.raises(ValueError, match="official_run must be an integer of at least 1, got 0"):
        envs.reset(options={"official_run": 0})
    envs.reset(options={"official_run": 1})
    with pytest.raises(ValueError, match="resets after official run 1; play run 2 first"):
        envs.reset(options={"official_run": 3})
    envs.reset(seed=0, options={"reset_mask": np.array([False, True])})
    with pytest.raises(ValueError, match="env 1 resets outside the official chain"):
        envs.reset(options={"official_run": 2})


def test_action_masks_equal_those_of_single_games() -> None:
    envs, single = DeepTrafficVectorEnv(6), single_games(6)
    for each in (envs, single):
        each.reset(seed=0)
        each.step(np.full(6, int(Action.LEFT)))
    np.testing.assert_array_equal(envs.action_masks(), single.call("action_masks"))


# --- independence ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_results_do_not_depend_on_the_number_of_threads(mode: AutoresetMode) -> None:
    options = {"observation": SMALL, "max_steps": 3, "autoreset_mode": mode}
    first, *others = [trajectory(DeepTrafficVectorEnv(101, threads=n, **options)) for n in (1, 2, 5)]
    for other in others:
        assert_same(first, other)


def test_a_game_does_not_depend_on_the_games_beside_it() -> None:
    many = trajectory(DeepTrafficVectorEnv(30, observation=SMALL, max_steps=3), seed=list(range(30)))
    alone = DeepTrafficVectorEnv(1, observation=SMALL, max_steps=3)
    obs, _ = alone.reset(seed=17)
    np.testing.assert_array_equal(obs[0], many[0][0][17])
    for returned, actions in zip(many[1:], drawn_actions(8, 30), strict=True):
        obs, rewards, _, truncations, _ = alone.step(actions[17:18])
        np.testing.assert_array_equal(obs[0], returned[0][17])
        assert (rewards[0], truncations[0]) == (returned[1][17], returned[3][17])


def test_the_same_seed_gives_the_same_games_and_another_seed_others() -> None:
    envs = DeepTrafficVectorEnv(3, observation=SMALL, max_steps=2)
    first = trajectory(envs)
    assert_same(first, trajectory(envs))
    assert not np.array_equal(first[-1][0], trajectory(envs, seed=77)[-1][0])


def test_games_without_seeds_differ_from_each_other_and_from_the_runs_before() -> None:
    envs = DeepTrafficVectorEnv(20)
    observed = np.concatenate([envs.reset()[0], envs.reset()[0], DeepTrafficVectorEnv(20).reset()[0]])
    assert len(np.unique(observed, axis=0)) == 60


def test_a_copied_or_pickled_environment_goes_on_as_the_original_does() -> None:
    envs = DeepTrafficVectorEnv(20, observation={**SMALL, "temporal_window": 1}, max_steps=3, threads=2)
    envs.reset(seed=1)
    envs.step(np.ones(20, np.int64))
    twins = [copy.deepcopy(envs), pickle.loads(pickle.dumps(envs))]
    for actions in drawn_actions(6, 20):
        expected = envs.step(actions)
        for twin in twins:
            assert_same(expected, twin.step(actions))


def test_returned_arrays_are_never_written_again_and_actions_never() -> None:
    envs = DeepTrafficVectorEnv(4, observation=SMALL, max_steps=2, autoreset_mode="SameStep")
    returned = [envs.reset(seed=0)]
    copies = [copy.deepcopy(returned[0])]
    for actions in drawn_actions(6, 4):
        given = actions.copy()
        returned.append(envs.step(given))
        copies.append(copy.deepcopy(returned[-1]))
        np.testing.assert_array_equal(given, actions)
    assert_same(copies, returned)


# --- episode lengths ------------------------------------------------------------------------------------------------


def first_ends(envs: DeepTrafficVectorEnv, steps: int) -> list[list[int]]:
    ends: list[list[int]] = [[] for _ in range(envs.num_envs)]
    for step in range(1, steps + 1):
        for row in np.flatnonzero(envs.step(np.zeros(envs.num_envs, np.int64))[3]):
            ends[row].append(step)
    return ends


def test_staggered_games_end_evenly_spread_and_later_episodes_are_whole() -> None:
    options = {"observation": SMALL, "max_steps": 5, "autoreset_mode": AutoresetMode.SAME_STEP}
    envs = DeepTrafficVectorEnv(10, stagger=True, **options)
    envs.reset(seed=0)
    expected = [[first, first + 5] for first in (5, 5, 4, 4, 3, 3, 2, 2, 1, 1)]
    assert [ends[:2] for ends in first_ends(envs, 10)] == expected
    plain = DeepTrafficVectorEnv(10, **options)
    plain.reset(seed=0)
    assert first_ends(plain, 10) == [[5, 10]] * 10


def test_episodes_end_after_67_steps_unless_asked_otherwise() -> None:
    for limits, length in (({}, 67), ({"max_steps": 70, "max_episode_steps": 66}, 66), ({"max_steps": None}, None)):
        envs = DeepTrafficVectorEnv(1, observation=SMALL, **limits)
        envs.reset(seed=0)
        assert first_ends(envs, 68)[0] == ([length] if length else [])


# --- Gymnasium's own tools ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("year", "mode"), list(itertools.product((2017, 2018), ("NextStep", "SameStep"))))
def test_make_vec_makes_the_native_environment(year: int, mode: str) -> None:
    envs = gymnasium.make_vec(f"DeepTraffic{year}-v0", 3, observation="gaps", autoreset_mode=mode, max_episode_steps=2)
    assert isinstance(envs.unwrapped, DeepTrafficVectorEnv)
    assert envs.batch.rules.year == year  # type: ignore[attr-defined]
    assert envs.metadata["autoreset_mode"] is AutoresetMode(mode)
    obs, _ = envs.reset(seed=1)
    assert obs in envs.observation_space
    obs, _, _, truncations, _ = envs.step(envs.action_space.sample())
    assert not truncations.any()
    assert envs.step(envs.action_space.sample())[3].all()


def test_wrappers_collect_statistics_and_lists_of_infos() -> None:
    envs = RecordEpisodeStatistics(DeepTrafficVectorEnv(3, observation=SMALL, max_steps=2))
    envs.reset(seed=0)
    rewards = sum(envs.step(np.ones(3, np.int64))[1] for _ in range(1))
    _, last, _, _, infos = envs.step(np.ones(3, np.int64))
    np.testing.assert_allclose(infos["episode"]["r"], rewards + last)
    lists = DictInfoToList(DeepTrafficVectorEnv(3, observation=SMALL))
    assert {"speed_mph", "passed", "lane", "frame", "blocked"} <= set(lists.reset(seed=0)[1][2])


@pytest.mark.parametrize("kind", ["vector", "gaps"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_observations_have_the_asked_dtype_and_lie_in_the_space(kind: str, dtype: str) -> None:
    envs = DeepTrafficVectorEnv(5, observation={"kind": kind, "dtype": dtype})
    obs, _ = envs.reset(seed=0)
    assert obs.dtype == dtype
    assert obs in envs.observation_space
    assert obs[0] in envs.single_observation_space


def test_render_returns_a_picture_of_every_game() -> None:
    envs = DeepTrafficVectorEnv(5, observation=SMALL, render_mode="rgb_array")
    envs.reset(seed=0)
    before = envs.batch.sim.games.view(np.uint8).tobytes()
    pictures = envs.render()
    assert pictures is not None
    assert len(pictures) == 5
    assert all(picture.shape == pictures[0].shape and picture.dtype == np.uint8 for picture in pictures)
    assert not np.array_equal(pictures[0], pictures[1])
    assert envs.batch.sim.games.view(np.uint8).tobytes() == before
    pickle.dumps(envs)  # the painter stays behind


# --- errors that teach ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_envs": 0}, "num_envs must be an integer of at least 1, got 0"),
        ({"num_envs": 2.5}, "num_envs must be an integer .* got 2.5"),
        ({"autoreset_mode": "Never"}, "must be one of 'NextStep', .* got 'Never'"),
        ({"stagger": True, "max_steps": None}, "give max_steps"),
        ({"render_mode": "human"}, "render_mode must be 'rgb_array' or None for many envs, got 'human'"),
        ({"max_episode_steps": 0}, r"max_steps must be an integer in \[1, 10+\] or None, got 0"),
        ({"observation": "radar"}, "must be one of gaps, .*, got 'radar'"),
        ({"threads": 0}, "threads must be an integer of at least 1, got 0"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeepTrafficVectorEnv(**{"num_envs": 2, **options})


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([1, 2], r"integers of shape \(3,\), one per env, got int64 of shape \(2,\)"),
        ([1, 2, 5], "action of env 2 must be one of 0 nothing, .* got 5"),
        ([-1, 2, 3], "action of env 0 .* got -1"),
        ([1.0, 2.0, 3.0], "got float64"),
    ],
)
def test_impossible_actions_are_refused(actions: list[Any], message: str) -> None:
    envs = DeepTrafficVectorEnv(3, observation=SMALL)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        envs.step(np.array(actions))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([True, False], "must be a bool array"),
        (np.array([1, 0]), "must be a bool array"),
        (np.array([True]), r"shape \(2,\)"),
        (np.zeros(2, np.bool_), "resets no env"),
    ],
)
def test_impossible_reset_masks_are_refused(mask: Any, message: str) -> None:
    envs = DeepTrafficVectorEnv(2, observation=SMALL)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        envs.reset(options={"reset_mask": mask})


def test_impossible_seeds_and_options_are_refused() -> None:
    envs = DeepTrafficVectorEnv(2, observation=SMALL)
    with pytest.raises(gymnasium.error.Error, match="seed must be an integer in .*, or None for a random run, got -3"):
        envs.reset(seed=[1, -3])
    with pytest.raises(ValueError, match="one integer, or 2, one per env, got 3"):
        envs.reset(seed=[1, 2, 3])
    with pytest.raises(ValueError, match="reset option must be one of 'reset_mask', 'official_run', got 'mask'"):
        envs.reset(options={"mask": 1})


def test_nothing_runs_before_the_first_reset_after_an_end_or_when_closed() -> None:
    envs = DeepTrafficVectorEnv(2, observation=SMALL, max_steps=1, autoreset_mode=AutoresetMode.DISABLED)
    with pytest.raises(ResetNeeded, match="call reset"):
        envs.step(np.zeros(2, np.int64))
    with pytest.raises(ResetNeeded, match="leave reset_mask out"):
        envs.reset(options={"reset_mask": np.array([True, False])})
    envs.reset(seed=0)
    envs.step(np.zeros(2, np.int64))
    with pytest.raises(ResetNeeded, match=r"envs \[0, 1\] have ended"):
        envs.step(np.zeros(2, np.int64))
    envs.close()
    with pytest.raises(ClosedEnvironmentError):
        envs.reset(seed=0)
