"""The single-game Gymnasium environment: exactness, seeding, official runs, pictures, and the ecosystem's tools."""

import copy
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import deeptraffic  # noqa: F401  # registers the environments
from deeptraffic.envs.gym_env import DeepTrafficEnv
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018, Action, RoadConfig, Sensor

GOLDEN = Path(__file__).parent.parent / "golden"
SINGLE = ("2018_solo", "2017_solo", "2017_narrow", "2017_decelerate")
OTHERS = ("2018_one_other", "2018_four_others", "2018_ten_others", "2018_ten_decelerate")
IDS = ("DeepTraffic2017-v0", "DeepTraffic2018-v0")


def play(env: gymnasium.Env, actions: list[int], seed: int) -> list[Any]:
    obs, info = env.reset(seed=seed)
    steps: list[Any] = [(obs, None, info)]
    for action in actions:
        obs, reward, _, _, info = env.step(action)
        steps.append((obs, reward, info))
    return steps


def assert_same(first: list[Any], second: list[Any]) -> None:
    for (obs_a, *rest_a), (obs_b, *rest_b) in zip(first, second, strict=True):
        np.testing.assert_array_equal(obs_a, obs_b)
        assert rest_a == rest_b


def open_golden(name: str) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    data = np.load(GOLDEN / f"{name}.npz")
    meta = json.loads(str(data["meta"]))
    sensor = {key: meta[key] for key in ("lanes_side", "patches_ahead", "patches_behind")}
    return data, meta, sensor


# --- exactness ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SINGLE)
def test_golden_first_episode_through_the_environment(name: str) -> None:
    data, meta, sensor = open_golden(name)
    env = DeepTrafficEnv(rules=int(meta["rules"]), observation={"kind": "vector", **sensor})
    if "rng_seed" in meta:  # 2017's recorded program was seeded otherwise than an official one
        obs = start_golden_2017(env, data)
    else:
        obs, _ = env.reset(options={"official_run": 1})
    np.testing.assert_array_equal(obs, data["ep0_decision_obs"][0])
    actions = data["ep0_decision_action"]
    for k in range(len(actions) - 1):
        obs, reward, terminated, truncated, info = env.step(actions[k])
        np.testing.assert_array_equal(obs, data["ep0_decision_obs"][k + 1])
        assert reward == data["ep0_decision_reward"][k + 1]
        assert info["frame"] == data["ep0_decision_frame"][k + 1]
        assert info["passed"] == data["ep0_passed"][info["frame"]]
        assert (terminated, truncated) == (False, False)


def start_golden_2017(env: DeepTrafficEnv, data: Any) -> np.ndarray:
    env.reset(options={"official_run": 1})
    env.sim.state.rng[0], env.sim.state.action[0] = data["ep0_rng_before_reset"], 0
    return env.reset(options={"official_run": 2})[0]


@pytest.mark.parametrize("name", OTHERS)
def test_golden_first_episode_with_other_agents_driven_by_a_function(name: str) -> None:
    data, meta, sensor = open_golden(name)
    seen: list[np.ndarray] = []
    actions = data["ep0_decision_action"]

    def other(obs: np.ndarray) -> int:
        seen.append(obs)
        return int(actions[len(seen) - 1])

    env = DeepTrafficEnv(2018, meta["other_agents"], {"kind": "vector", **sensor}, others=other)
    obs, _ = env.reset(options={"official_run": 1})
    seen.append(obs)
    while len(seen) < len(actions) - meta["other_agents"]:
        obs, reward, *_ = env.step(actions[len(seen) - 1])
        assert reward == data["ep0_decision_reward"][len(seen)]
        seen.append(obs)
    np.testing.assert_array_equal(np.array(seen), data["ep0_decision_obs"][: len(seen)])


def test_observations_equal_the_simulators_whatever_the_game_did_before() -> None:
    env, sim = DeepTrafficEnv(), Simulator(RULES_2018)
    for seed in (5, 0, 5):
        obs, _ = env.reset(seed=seed)
        sim.reset_open([seed])
        sim.step([0])
        for action in (1, 3, 3, 4, 2, 0, 4):
            np.testing.assert_array_equal(obs, sim.sense(Sensor())[0])
            obs, reward, _, _, info = env.step(action)
            sim.step([action])
            assert reward == sim.state.reward[0]
            assert info["speed_mph"] == sim.speed_mph()[0]


# --- official runs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [0, 2])
def test_official_run_goes_on_from_the_stream_after_two_thousand_frames(others: int) -> None:
    driver = (lambda obs: 3) if others else None
    env = DeepTrafficEnv(2018, others, others=driver)
    sim = Simulator(RoadConfig(other_agents=others).build())
    sim.start_program(1)
    for run in (1, 2, 3):
        obs, _ = env.reset(options={"official_run": run})
        sim.reset(run)
        sim.step_frame()
        np.testing.assert_array_equal(obs, sim.sense(Sensor())[0])
        for _ in range(67):
            env.step(1)
        while sim.state.frame[0] < 2000:
            sim.run_to_frame(2000, 1 if sim.state.waiting[0] == 0 else 3)


def test_official_run_out_of_turn_is_refused() -> None:
    env = DeepTrafficEnv()
    with pytest.raises(ValueError, match="run 2 first"):
        env.reset(options={"official_run": 3})
    env.reset(options={"official_run": 1})
    with pytest.raises(ValueError, match="after official run 1"):
        env.reset(options={"official_run": 3})
    env.reset(seed=4)
    with pytest.raises(ValueError, match="outside the official chain"):
        env.reset(options={"official_run": 2})


def test_pending_action_of_2017_survives_in_the_official_chain_only() -> None:
    env = DeepTrafficEnv(2017)
    env.reset(options={"official_run": 1})
    for _ in range(3):
        env.step(2)
    factor = env.sim.state.speed_factor[0, 0]
    env.reset(options={"official_run": 2})
    assert env.sim.state.action[0] == Action.DECELERATE
    env.reset(seed=1)
    assert env.sim.state.action[0] == Action.NOTHING
    assert factor < 2.0


# --- seeding and episodes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", IDS)
def test_same_seed_gives_the_same_run_and_another_seed_another(env_id: str) -> None:
    actions = [1, 3, 4, 4, 2, 0, 3]
    env = gymnasium.make(env_id)
    first = play(env, actions, 11)
    play(env, actions, 12)
    assert_same(first, play(env, actions, 11))
    assert not np.array_equal(first[0][0], play(env, actions, 12)[0][0])


def test_reset_without_seed_draws_another_run_reproducibly() -> None:
    env = DeepTrafficEnv()
    env.reset(seed=3)
    second = env.reset()[0]
    third = env.reset()[0]
    assert not np.array_equal(second, third)
    env.reset(seed=3)
    np.testing.assert_array_equal(env.reset()[0], second)


def test_episode_is_truncated_after_67_steps_or_as_set() -> None:
    for env, steps in ((DeepTrafficEnv(), 67), (DeepTrafficEnv(max_steps=5), 5)):
        env.reset(seed=0)
        ends = [env.step(0)[2:4] for _ in range(steps)]
        assert ends == [(False, False)] * (steps - 1) + [(False, True)]
        assert env.sim.state.frame[0] == 30 * steps
    env = DeepTrafficEnv(max_steps=None)
    env.reset(seed=0)
    assert not any(env.step(0)[3] for _ in range(200))


def test_rewards_are_mean_speed_and_vehicles_passed() -> None:
    envs = {name: DeepTrafficEnv(reward=name) for name in ("mit", "speed", "passed")}
    passed = {name: env.reset(seed=9)[1]["passed"] for name, env in envs.items()}
    for _ in range(10):
        before = envs["mit"].sim.get_state()
        steps = {name: env.step(1) for name, env in envs.items()}
        total = summed_speed(before)
        assert steps["mit"][1] == pytest.approx((total - 60) / 20, abs=1e-12)
        assert steps["speed"][1] == pytest.approx(20 * total / 30 / 80, abs=1e-12)
        assert steps["passed"][1] == steps["passed"][4]["passed"] - passed["passed"]
        passed["passed"] = steps["passed"][4]["passed"]


def summed_speed(paused: Any) -> float:
    """Speed of the ego car [px/frame] summed frame by frame over the period that an action 1 starts."""
    sim = Simulator(RULES_2018)
    sim.set_state(paused)
    total = 0.0
    sim.step_frame(1)
    for _ in range(30):
        sim.step_frame()
        if sim.state.waiting[0] == 0:
            break
        total += sim.speed_mph()[0] / 20
    return total + float(sim.speed_mph()[0]) / 20


# --- masks --------------------------------------------------------------------------------------------------------


def test_masked_lane_changes_are_those_that_have_no_effect() -> None:
    env = DeepTrafficEnv(max_steps=None)
    env.reset(seed=2)
    rng, refused, allowed = np.random.default_rng(0), 0, 0
    for _ in range(300):
        before, held = env.sim.get_state(), env.sim.games.tobytes()
        masks = env.action_masks().astype(bool)
        assert env.sim.games.tobytes() == held
        for action, side in ((3, -1), (4, 1)):
            env.sim.set_state(before)
            env.sim.step_frame(action)
            moved = env.sim.state.lane[0, 0] - before.lane[0, 0]
            assert moved == (side if masks[action] else 0)
            assert env.sim.state.blocked[0] == (not masks[action])
            refused, allowed = refused + (not masks[action]), allowed + masks[action]
        assert masks[1] == (before.speed_factor[0, 0] < 2)
        env.sim.set_state(before)
        env.step(int(rng.integers(5)))
    assert refused > 50 and allowed > 50


# --- teaching errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [5, -1, 1.0, None, "left", np.array([1.0]), np.array([[1, 2]])])
def test_bad_action_is_refused_with_the_actions_named(action: Any) -> None:
    env = DeepTrafficEnv()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="3 left, 4 right"):
        env.step(action)


@pytest.mark.parametrize("action", [1, np.int64(1), np.uint8(1), np.array(1), Action.ACCELERATE])
def test_whole_numbers_of_every_type_are_actions(action: Any) -> None:
    env = DeepTrafficEnv()
    env.reset(seed=0)
    first = env.step(action)[0]
    assert_same([(first,)], [(play(DeepTrafficEnv(), [1], 0)[1][0],)])


def test_step_and_render_before_reset_ask_for_a_reset() -> None:
    env = DeepTrafficEnv(render_mode="rgb_array")
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
        env.step(0)
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
        env.render()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": 2019}, "one of 2017, 2018"),
        ({"other_agents": 11}, r"\[0, 10\], got 11"),
        ({"rules": 2017, "other_agents": 1}, "2017 rules"),
        ({"reward": "mph"}, "'mit', 'speed', 'passed'"),
        ({"max_steps": 0}, r"max_steps must be an integer in \[1, 10+\] or None, got 0"),
        ({"render_mode": "ansi"}, "None, 'human', 'rgb_array'"),
        ({"observation": "lidar"}, "vector"),
        ({"others": 3}, "act"),
        (
            {"render_size": (400,)},
            r"render_size must be \(width, height\), two integers in \[32, 4096\] pixels, or None",
        ),
        ({"render_size": (400, 4097)}, r"got \(400, 4097\)"),
        ({"render_size": (31, 400)}, r"got \(31, 400\)"),
        ({"render_size": (400.0, 700)}, r"got \(400.0, 700\)"),
        ({"render_size": "big"}, "got 'big'"),
        ({"overlay": "radar"}, "overlay must be one of 'none', 'input', 'safety', 'map', got 'radar'"),
        ({"theme": "neon"}, "theme must be one of 'dark', 'light', got 'neon'"),
    ],
)
def test_impossible_settings_are_refused_with_a_remedy(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeepTrafficEnv(**options)


@pytest.mark.parametrize("run", [0, -1, 1.5, "1", True])
def test_impossible_official_run_is_refused(run: Any) -> None:
    with pytest.raises(ValueError, match="official_run must be an integer of at least 1, got"):
        DeepTrafficEnv().reset(options={"official_run": run})


def test_unknown_reset_option_is_refused() -> None:
    with pytest.raises(ValueError, match="official_run"):
        DeepTrafficEnv().reset(options={"offical_run": 1})


def test_others_that_answer_nonsense_are_named() -> None:
    env = DeepTrafficEnv(other_agents=1, others=lambda obs: 7)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="agent 1"):
        env.step(0)


# --- pictures -----------------------------------------------------------------------------------------------------


def test_rgb_array_is_a_new_picture_and_changes_no_result() -> None:
    watched, plain = DeepTrafficEnv(render_mode="rgb_array"), DeepTrafficEnv()
    watched.reset(seed=1), plain.reset(seed=1)
    pictures = []
    for action in (1, 3, 4):
        seen, expected = watched.step(action), plain.step(action)
        np.testing.assert_array_equal(seen[0], expected[0])
        assert seen[1:] == expected[1:]
        before = watched.sim.games.tobytes()
        pictures.append(watched.render())
        assert watched.sim.games.tobytes() == before == plain.sim.games.tobytes()
    assert pictures[0].shape == (700, 400, 3) and pictures[0].dtype == np.uint8
    assert (pictures[0] != pictures[1]).any() and (pictures[1] != pictures[2]).any()


def test_human_window_shows_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    from deeptraffic.render.window import Window

    shown: list[np.ndarray] = []
    show = Window.show

    def show_quickly(window: Window, picture: np.ndarray, fps: float | None = None) -> bool:
        shown.append(picture)
        return show(window, picture)  # no waiting

    monkeypatch.setattr(Window, "show", show_quickly)
    env = DeepTrafficEnv(render_mode="human")
    env.reset(seed=1)
    assert len(shown) == 1
    env.step(1)
    assert len(shown) == 1 + 30
    assert env.render() is None
    env.close()
    env.close()


def test_closed_human_window_lets_the_game_go_on_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    import pygame

    from deeptraffic.render.window import Window

    shown: list[bool] = []
    show = Window.show

    def show_quickly(window: Window, picture: np.ndarray, fps: float | None = None) -> bool:
        shown.append(show(window, picture))
        return shown[-1]

    monkeypatch.setattr(Window, "show", show_quickly)
    env = DeepTrafficEnv(render_mode="human")
    env.reset(seed=1)
    env.step(1)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    assert np.isfinite(env.step(1)[1])
    assert shown == [True] * 31 + [False]
    copy.deepcopy(env).step(1)
    env.reset(seed=2)
    assert len(shown) == 32, "the window that the user has closed stays closed"
    env.close()


# --- the ecosystem ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("kind", ["vector", "gaps", "gaps_ego"])
def test_gymnasium_checker_is_content(env_id: str, kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*shows nothing: there is no display")
        check_env(gymnasium.make(env_id, observation=kind, render_mode="rgb_array").unwrapped)


def test_make_finds_the_environment_in_its_module_and_takes_every_option() -> None:
    env = gymnasium.make(
        "deeptraffic:DeepTraffic2018-v0",
        other_agents=3,
        observation={"kind": "vector", "lanes_side": 1, "patches_ahead": 10, "patches_behind": 0},
        reward="speed",
        max_steps=4,
    )
    assert env.observation_space.shape == (30,)
    assert env.unwrapped.rules == RoadConfig(other_agents=3).build()


def test_research_road_is_an_environment() -> None:
    env = DeepTrafficEnv(RoadConfig(lanes=4, vehicles=10, decision_period=20))
    check_env(env)
    env.reset(seed=0)
    assert env.step(0)[4]["frame"] == 20
    assert env.metadata["render_fps"] == 3


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_copy_goes_on_as_the_original_does(clone: Any, render_mode: str | None) -> None:
    observation = {"kind": "gaps", "temporal_window": 2}
    env = gymnasium.make("DeepTraffic2018-v0", observation=observation, render_mode=render_mode)
    play(env, [1, 3, 4], 5)
    twin = clone(env)
    for action in (3, 3, 1, 4):
        obs, *rest = env.step(action)
        twin_obs, *twin_rest = twin.step(action)
        np.testing.assert_array_equal(obs, twin_obs)
        assert rest == twin_rest
    np.testing.assert_array_equal(env.reset()[0], twin.reset()[0])


def test_infos_are_plain_numbers() -> None:
    env = DeepTrafficEnv()
    _, info = env.reset(seed=0)
    obs, reward, terminated, truncated, info = env.step(0)
    assert [type(info[key]) for key in ("speed_mph", "passed", "lane", "frame", "blocked")] == [
        float,
        int,
        int,
        int,
        bool,
    ]
    assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
