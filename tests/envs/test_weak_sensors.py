"""Weak sensors: what each option changes, and that noise is the same in every environment, copy and restored state."""

import copy
import pickle
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from agents.settings import build_config
from deeptraffic.envs.aec_env import DeepTrafficAECEnv
from deeptraffic.envs.gym_env import DeepTrafficEnv
from deeptraffic.envs.observations import OBSERVATIONS, PRESETS, Observer, make_observation
from deeptraffic.envs.observations.degradation import WeakSensor
from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv
from deeptraffic.envs.vector_env import DeepTrafficVectorEnv
from deeptraffic.evaluation.protocol import evaluate_official, evaluate_open
from deeptraffic.policies.base import Policy
from deeptraffic.policies.gaps import gap_features
from deeptraffic.render.styles import STYLES
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2017, RULES_2018, RoadConfig

ENVS = 400
SMALL_IMAGE = {"kind": "pixels", "height": 35, "width": 28}
WEAK: dict[str, dict[str, Any]] = {
    "lost frames": {"kind": "gaps", "drop_rate": 0.4},
    "lost cells": {"kind": "vector", "drop_rate": 0.4, "temporal_window": 1},
    "slow": {"kind": "gaps", "period": 3},
    "slow images": {**SMALL_IMAGE, "period": 2, "latency": 1},
    "no speeds": {"kind": "grid", "shows_speeds": False},
    "noisy": {"kind": "grid", "miss_rate": 0.2, "ghost_rate": 0.03, "speed_noise": 8.0},
    "occluded": {"kind": "gaps_ego", "occlusion": True},
    "occluded list": {"kind": "kinematics", "occlusion": True, "drop_rate": 0.2, "latency": 1},
    "late": {"kind": "gaps", "latency": 2},
    "late and stacked": {"kind": "grid", "latency": 1, "temporal_window": 1, "patches_ahead": 10},
    "lost images": {**SMALL_IMAGE, "drop_rate": 0.4, "temporal_window": 1},
    "styled": {**SMALL_IMAGE, "style": "unseen", "temporal_window": 1},
    "noisy grey": {**SMALL_IMAGE, "grey": True, "pixel_noise": 10.0, "latency": 1},
}


def driven(rules: Any = RULES_2018, envs: int = ENVS, decisions: int = 12) -> Simulator:
    sim = Simulator(rules, envs, threads=1)
    sim.reset_open(range(envs))
    random = np.random.default_rng(0)
    for _ in range(decisions):
        sim.step(random.integers(0, 5, envs))
    return sim


def seen(sim: Simulator, kind: str, agent: int = 0, **options: Any) -> Any:
    return Observer(sim.rules, make_observation(kind, **options), sim.num_envs, agent).observe(sim)


def parts(obs: Any) -> list[np.ndarray]:
    return [obs[name] for name in sorted(obs)] if isinstance(obs, dict) else [obs]


def assert_same(found: Any, expected: Any) -> None:
    for one, other in zip(parts(found), parts(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def some_actions(steps: int, num_envs: int) -> np.ndarray:
    return np.random.default_rng(5).integers(5, size=(steps, num_envs))


# --- the same noise everywhere ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WEAK)
def test_vector_sb3_and_single_envs_see_the_same_and_drive_as_with_a_perfect_sensor(name: str) -> None:
    options = {"observation": WEAK[name], "max_steps": 4}
    single = SyncVectorEnv([lambda: DeepTrafficEnv(**options)] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    envs = DeepTrafficVectorEnv(3, **options, autoreset_mode="SameStep", threads=2)
    sb3 = DeepTrafficVecEnv(3, **options)
    perfect = DeepTrafficVectorEnv(3, max_steps=4, autoreset_mode="SameStep")
    sb3.seed(7)
    perfect.reset(seed=7)
    expected = single.reset(seed=7)[0]
    assert_same(envs.reset(seed=7)[0], expected)
    assert_same(sb3.reset(), expected)
    for actions in some_actions(9, 3):
        expected = single.step(actions)[0]
        assert_same(envs.step(actions)[0], expected)
        assert_same(sb3.step(actions)[0], expected)
        perfect.step(actions)
        np.testing.assert_array_equal(envs.action_masks(), perfect.action_masks())
        np.testing.assert_array_equal(envs.batch.sim.games, perfect.batch.sim.games)


@pytest.mark.parametrize("name", WEAK)
def test_copies_and_restored_states_see_the_same(name: str) -> None:
    options = {"observation": WEAK[name], "max_steps": 5}
    envs, restored = (DeepTrafficVecEnv(4, **options) for _ in range(2))
    envs.seed(2)
    envs.reset()
    for actions in some_actions(7, 4):
        envs.step(actions)
    restored.set_state(envs.get_state())
    twins = [restored, copy.deepcopy(envs), pickle.loads(pickle.dumps(envs))]
    for actions in some_actions(8, 4):
        expected = envs.step(actions)[0]
        for twin in twins:
            assert_same(twin.step(actions)[0], expected)


@pytest.mark.parametrize("name", [name for name in WEAK if WEAK[name]["kind"] != "pixels"])
def test_every_agent_has_noise_of_its_own(name: str) -> None:
    env = DeepTrafficAECEnv(other_agents=2, observation=WEAK[name])
    env.reset(seed=0)
    for _ in range(9):
        assert all(np.isfinite(part).all() for part in parts(env.observe(env.agent_selection)))
        env.step(1)
    rules = RoadConfig(other_agents=2).build()
    sim = driven(rules)
    lost = [(seen(sim, "vector", agent, drop_rate=0.5) == 0).all(1) for agent in range(3)]
    assert 0.4 < (lost[0] != lost[1]).mean() < 0.6
    assert 0.4 < (lost[1] != lost[2]).mean() < 0.6


def test_noise_depends_on_the_run_the_frame_and_the_noise_seed() -> None:
    sim = driven()
    first = (seen(sim, "vector", drop_rate=0.5) == 0).all(1)
    np.testing.assert_array_equal(first, (seen(sim, "vector", drop_rate=0.5) == 0).all(1))
    assert 0.4 < (first != (seen(sim, "vector", drop_rate=0.5, noise_seed=1) == 0).all(1)).mean() < 0.6
    sim.step(sim.idle)
    assert 0.4 < (first != (seen(sim, "vector", drop_rate=0.5) == 0).all(1)).mean() < 0.6


# --- what the options change --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", [RULES_2018, RULES_2017], ids=["2018", "2017"])
def test_a_lost_frame_reads_0_in_every_cell_and_lists_no_vehicle(rules: Any) -> None:
    sim = driven(rules, decisions=3)
    cells = seen(sim, "vector", drop_rate=0.3)
    lost = (cells == 0).all(1)
    assert lost.mean() == pytest.approx(0.3, abs=0.07)
    np.testing.assert_array_equal(cells[~lost], seen(sim, "vector")[~lost])
    images, plain = (seen(sim, "pixels", height=20, width=20, **o) for o in ({"drop_rate": 0.3}, {}))
    np.testing.assert_array_equal((images == 0).all((1, 2, 3)), lost)
    np.testing.assert_array_equal(images[~lost], plain[~lost])
    listed, own = seen(sim, "kinematics", drop_rate=0.3), seen(sim, "kinematics")["ego"]
    np.testing.assert_array_equal(~listed["mask"].any(1), lost)
    np.testing.assert_array_equal(listed["ego"], own)


@pytest.mark.parametrize("agent", [0, 2])
def test_a_slow_sensor_sends_a_frame_every_period_and_loses_those_between(agent: int) -> None:
    sim = driven(RoadConfig(other_agents=2).build(), envs=9, decisions=0)
    sent = []
    for _ in range(14):
        cells = seen(sim, "vector", agent, period=4)
        sent.append((cells != 0).any(1))
        np.testing.assert_array_equal(cells, seen(sim, "vector", agent) * sent[-1][:, None])
        np.testing.assert_array_equal(seen(sim, "kinematics", agent, period=4)["mask"].any(1), sent[-1])
        sim.step(np.ones((9, 3), np.int64))
    due = np.isin(np.arange(14), [0, 1, 5, 9, 13])  # frame 0 is that of the reset and of the first decision, too
    np.testing.assert_array_equal(np.stack(sent), np.repeat(due[:, None], 9, 1))


def test_lane_gaps_of_a_weak_sensor_are_those_of_its_cells() -> None:
    sim = driven()
    weak = {"drop_rate": 0.2, "occlusion": True, "miss_rate": 0.1, "ghost_rate": 0.02, "speed_noise": 5.0}
    cells, gaps = seen(sim, "vector", **weak), seen(sim, "gaps", dtype="float64", **weak)
    expected = np.empty_like(gaps)
    for k in range(ENVS):
        gap_features(cells[k], 3, 50, 10, RULES_2018.empty, expected[k])
    np.testing.assert_array_equal(gaps, expected)


def test_a_sensor_without_speeds_reads_40_mph_for_every_vehicle() -> None:
    sim = driven()
    grid, plain = seen(sim, "grid", shows_speeds=False), seen(sim, "grid")
    others = (plain[:, 0] > 0) & (plain[:, 3] == 0) & (plain[:, 1] != 0.5)
    others &= np.abs(plain[:, 1] - (sim.speed_mph() / 80)[:, None, None]) > 1e-6  # the own car's marks stay
    assert (grid[:, 1][others] == 0.5).all()
    np.testing.assert_array_equal(grid[:, 0], plain[:, 0])
    listed = seen(sim, "kinematics", shows_speeds=False)["vehicles"]
    assert (listed[..., 2] == 0.5).all()


def test_errors_of_speeds_have_the_standard_deviation_that_was_asked_for() -> None:
    sim = driven()
    noisy, plain = (seen(sim, "kinematics", **o)["vehicles"][..., 2] for o in ({"speed_noise": 4.0}, {}))
    inside = (plain > 0.2) & (plain < 0.8)
    error = 80 * (noisy - plain)[inside]
    assert error.std() == pytest.approx(4.0, rel=0.06)
    assert error.mean() == pytest.approx(0.0, abs=0.3)
    assert noisy.min() >= 0.0 and noisy.max() <= 1.0


def test_misses_and_ghosts_come_at_their_rates_but_never_in_the_own_cars_cells() -> None:
    sim = driven()
    plain, off = seen(sim, "grid")[:, 0] > 0, seen(sim, "grid")[:, 2] > 0
    own = seen(sim, "grid")[:, 3] > 0
    missed = seen(sim, "grid", miss_rate=0.3)[:, 0] > 0
    ghosts = seen(sim, "grid", ghost_rate=0.05)[:, 0] > 0
    marks = np.zeros_like(plain)  # cells that the own car marks, which may be more than it covers
    marks[:, 45:60, 3] = True
    assert (plain & ~missed)[plain & ~marks].mean() == pytest.approx(0.3, abs=0.02)
    assert not (missed & ~plain).any()
    assert ghosts[~plain & ~off & ~own].mean() == pytest.approx(0.05, abs=0.005)
    assert not (plain & ~ghosts).any()
    np.testing.assert_array_equal(missed[own], plain[own])
    np.testing.assert_array_equal(ghosts[own], plain[own])


def reference_hidden(sim: Simulator, env: int) -> set[int]:
    """Vehicles whose middle is behind another's box, by walking along the line in small steps."""
    x, y = sim.state.x[env] - sim.state.x[env, 0], sim.state.y[env] - sim.state.y[env, 0]
    way = np.linspace(0.0, 1.0, 4001)[1:-1]
    hidden = set()
    for j in range(1, x.size):
        for m in range(1, x.size):
            inside = (np.abs(way * x[j] - x[m]) < 7.5) & (np.abs(way * y[j] - y[m]) < 17.0)
            if m != j and inside.any():
                hidden.add(j)
    return hidden


def test_vehicles_hide_those_behind_them_from_every_kind() -> None:
    sim = driven(envs=40)
    count = sim.rules.vehicles - 1
    listed = seen(sim, "kinematics", nearest=count, occlusion=True)
    hidden = [reference_hidden(sim, env) for env in range(40)]
    assert np.mean([len(one) for one in hidden]) > 3
    np.testing.assert_array_equal(listed["mask"].sum(1), [count - len(one) for one in hidden])
    plain, weak = seen(sim, "grid"), seen(sim, "grid", occlusion=True)
    fewer = (plain[:, 0] > 0) & (weak[:, 0] == 0)
    assert not ((weak[:, 0] > 0) & (plain[:, 0] == 0)).any()
    assert fewer.any((1, 2)).mean() > 0.5
    images = [seen(sim, "pixels", occlusion=on) for on in (False, True)]
    assert (images[0] != images[1]).any((1, 2, 3)).mean() > 0.5


def test_latency_shows_what_was_seen_some_decisions_before() -> None:
    for kind in ("gaps", "kinematics", "pixels"):
        now, late = (DeepTrafficEnv(observation={"kind": kind, "latency": k}) for k in (0, 2))
        for seed in (3, 4):
            history = [now.reset(seed=seed)[0]]
            assert_same(late.reset(seed=seed)[0], history[0])
            for action in some_actions(6, 1)[:, 0]:
                history.append(now.step(action)[0])
                assert_same(late.step(action)[0], history[max(0, len(history) - 3)])


def test_latency_comes_before_a_temporal_window() -> None:
    envs = [
        DeepTrafficEnv(observation={"kind": "grid", "latency": a, "temporal_window": b}) for a, b in ((0, 3), (2, 1))
    ]
    stacks = [[env.reset(seed=1)[0]] for env in envs]
    for action in some_actions(6, 1)[:, 0]:
        for env, stack in zip(envs, stacks, strict=True):
            stack.append(env.step(action)[0])
    for long, short in zip(*stacks, strict=True):
        np.testing.assert_array_equal(short, long[:8])  # the two oldest of four frames


# --- styles -------------------------------------------------------------------------------------------------------


def test_a_run_keeps_its_style_and_runs_differ() -> None:
    envs = DeepTrafficVectorEnv(60, observation={"kind": "pixels", "style": "unseen"}, max_steps=3)
    first = np.median(envs.reset(seed=0)[0], (1, 2))
    names = ("neon", "snow", "mars")
    nearest = [min(names, key=lambda name: np.abs(colour - STYLES[name].asphalt).sum()) for colour in first]
    assert {name: nearest.count(name) > 8 for name in names} == dict.fromkeys(names, True)
    later = np.median(envs.step(np.zeros(60, int))[0], (1, 2))
    assert np.abs(later - first).max() < 12  # noise and cars; another colour differs by more
    for _ in range(3):
        obs = envs.step(np.zeros(60, int))[0]
    assert np.abs(np.median(obs, (1, 2)) - first).max() > 50  # other runs, other styles


def test_pixel_noise_has_its_standard_deviation() -> None:
    sim = driven(envs=20)
    plain, noisy = (seen(sim, "pixels", pixel_noise=level).astype(int) for level in (0.0, 8.0))
    error = (noisy - plain)[(plain > 40) & (plain < 200)]
    assert error.std() == pytest.approx(8.0, rel=0.03)
    assert error.mean() == pytest.approx(0.0, abs=0.1)
    assert len({image.tobytes() for image in noisy - plain}) == 20


def test_styled_images_show_vehicles_where_plain_ones_do() -> None:
    sim = driven(envs=20)
    plain = seen(sim, "pixels", grey=True).astype(int)[..., 0]
    road = np.median(plain, 1, keepdims=True)
    for style in ("plain", "neon", "snow"):
        styled = seen(sim, "pixels", grey=True, style=style).astype(int)[..., 0]
        changed = np.abs(styled - np.median(styled, 1, keepdims=True)) > 30
        vehicles = np.abs(plain - road) > 60
        assert changed[vehicles].mean() > 0.6, style
        assert changed[np.abs(plain - road) < 1].mean() < 0.05, style


# --- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "gaps", "drop_rate": 1.5}, r"drop_rate must be a number in \[0, 1\], got 1.5"),
        ({"kind": "gaps", "latency": 16}, r"latency must be an integer in \[0, 15\], got 16"),
        ({"kind": "gaps", "period": 0}, r"period must be an integer in \[1, 15\], got 0"),
        ({"kind": "grid", "occlusion": 1}, "occlusion must be true or false, got 1"),
        ({"kind": "pixels", "style": "venus"}, "style must be one of .*'unseen'.*, got 'venus'"),
        ({"kind": "pixels", "miss_rate": 0.1}, "miss_rate=0.1 has no meaning for observation kind 'pixels'"),
        ({"kind": "kinematics", "ghost_rate": 0.1}, "no meaning for observation kind 'kinematics'"),
        ({"kind": "full", "drop_rate": 0.1}, "no meaning for observation kind 'full'"),
        ({"kind": "gaps", "drop_rat": 0.1}, "unknown observation option 'drop_rat'; did you mean 'drop_rate'"),
        ({"kind": "two-eyes"}, "kind must be one of .* or a preset .*two-frames.*, got 'two-eyes'"),
    ],
)
def test_impossible_settings_are_refused_with_the_limit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_observation(options)


@pytest.mark.parametrize("kind", OBSERVATIONS)
def test_only_a_weakened_sensor_is_weak_and_it_is_not_the_contests(kind: str) -> None:
    perfect = make_observation(kind)
    assert not perfect.is_weak and perfect.weakness is None
    assert make_observation(kind, noise_seed=3 if isinstance(perfect, WeakSensor) else None).is_weak is False
    for option, value in {"drop_rate": 0.1, "latency": 1, "period": 2, "shows_speeds": False, "style": "day"}.items():
        if option in [each.name for each in fields(perfect)]:
            weak = make_observation(kind, **{option: value})
            assert weak.is_weak and not weak.contest and weak.layers(RULES_2018) is None


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_observations_by_name(name: str) -> None:
    env = DeepTrafficEnv(observation=name)
    assert env.observation_space.contains(env.reset(seed=0)[0])
    assert env.observation == make_observation(PRESETS[name].options)
    assert 10 < len(PRESETS[name].summary) < 90
    assert name not in OBSERVATIONS


def test_settings_of_a_run_name_the_options() -> None:
    config = build_config("ppo", settings=["observation.kind=lossy", "observation.drop_rate=0.5", "latency=1"])
    expected = make_observation("gaps", shows_speeds=False, drop_rate=0.5, latency=1)
    assert config.observation == expected
    assert build_config("ppo", settings=config.to_json()).observation == expected
    for algo in ("deepqlearn", "expert_iteration"):
        with pytest.raises(ValueError, match="weakened sensor"):
            build_config(algo, settings=["drop_rate=0.5"])


class Watcher(Policy):
    """Does nothing, and keeps whether frames were lost."""

    label = "watcher"

    def __init__(self, **options: Any) -> None:
        self.observation, self.lost = make_observation(**options), []  # type: ignore[var-annotated]

    def act(self, obs: np.ndarray, agent_indices: np.ndarray) -> np.ndarray:
        self.lost.append((obs == 0).all(1))
        return np.zeros(len(agent_indices), np.int64)


def test_official_evaluation_refuses_a_weakened_sensor_and_open_runs_take_it() -> None:
    policy = Watcher(value="vector", drop_rate=0.3)
    with pytest.raises(ValueError, match="watcher observes vector through a weakened sensor.*--protocol open"):
        evaluate_official(policy)
    score = evaluate_open(policy, runs=20)
    assert np.mean(policy.lost) == pytest.approx(0.3, abs=0.04)
    assert score.access == "open"
