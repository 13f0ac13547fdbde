"""Arguments, seeds and options: one rule for the environments of Gymnasium, Stable-Baselines3 and PettingZoo."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded

import deeptraffic  # noqa: F401  # registers the environments
from deeptraffic.envs.aec_env import DeepTrafficAECEnv
from deeptraffic.envs.arguments import resolve_rules
from deeptraffic.envs.gym_env import DeepTrafficEnv
from deeptraffic.envs.observations import OBSERVATIONS, make_observation
from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv
from deeptraffic.envs.seeding import MAX_SEED, SeedError
from deeptraffic.envs.vector_env import DeepTrafficVectorEnv
from deeptraffic.policies.builtin import ConstantPolicy, GapPolicy, RandomPolicy
from deeptraffic.sim.rules import RULES_2017, RULES_2018, Action, RoadConfig, Sensor

NAME = "DeepTraffic2018-v0"
SMALL = {"kind": "vector", "lanes_side": 1, "patches_ahead": 6, "patches_behind": 3}
ENVIRONMENTS: dict[str, Callable[..., Any]] = {
    "gymnasium": DeepTrafficEnv,
    "vector": lambda **options: DeepTrafficVectorEnv(2, **options),
    "sb3": lambda **options: DeepTrafficVecEnv(2, **options),
    "aec": DeepTrafficAECEnv,
}
each_environment = pytest.mark.parametrize("name", ENVIRONMENTS)


def reset(env: Any, seed: Any = None, options: Any = None) -> Any:
    """Return the first observation of env 0."""
    if isinstance(env, DeepTrafficVecEnv):
        if seed is not None:
            env.seed(seed)
        if options is not None:
            env.set_options(options)
        return env.reset()[0]
    started = env.reset(seed=seed, options=options)
    if isinstance(env, DeepTrafficAECEnv):
        return env.observe("car_0")
    return started[0][0] if isinstance(env, DeepTrafficVectorEnv) else started[0]


def same(first: Any, second: Any) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[name], second[name]) for name in first)
    return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=first.dtype.kind == "f")


# --- seeds --------------------------------------------------------------------------------------------------------


@each_environment
@pytest.mark.parametrize(
    "seed",
    [1.0, np.array(3.0), np.array([3]), [1, 2, 3], True, np.True_, "1", "ab", -1, 2**63, {}, float("nan")],
    ids=repr,
)
def test_what_is_no_seed_is_refused_by_name_everywhere(name: str, seed: Any) -> None:
    env = ENVIRONMENTS[name](observation=SMALL)
    with pytest.raises(SeedError, match="seed must be .*, got ") as refused:
        reset(env, seed)
    assert repr(seed)[:20] in str(refused.value)
    assert isinstance(refused.value, gymnasium.error.Error) and isinstance(refused.value, ValueError)


@each_environment
@pytest.mark.parametrize("seed", [np.int64(7), np.uint8(7), np.array(7)], ids=repr)
def test_integers_of_every_type_are_seeds(name: str, seed: Any) -> None:
    others = 4 if name == "aec" else 0
    assert same(reset(ENVIRONMENTS[name](other_agents=others), seed), reset(DeepTrafficEnv(other_agents=others), 7))


@pytest.mark.parametrize("name", ["vector", "sb3"])
def test_a_list_seeds_each_env(name: str) -> None:
    env = ENVIRONMENTS[name]()
    assert same(reset(env, [7, None]), reset(DeepTrafficEnv(), 7))
    with pytest.raises(SeedError, match="one integer, or 2, one per env, got 1"):
        reset(env, [7])
    with pytest.raises(SeedError, match="got True"):
        reset(env, [1, True])
    with pytest.raises(SeedError, match=f"at most {MAX_SEED - 1} for 2 envs"):
        reset(env, MAX_SEED)


@each_environment
def test_a_refused_seed_or_option_leaves_the_generator_as_it_was(name: str) -> None:
    first, second = ENVIRONMENTS[name](), ENVIRONMENTS[name]()
    for env in (first, second):
        reset(env, 3)
    with pytest.raises(ValueError, match="official"):
        reset(first, 5, {"official_run": 9})
    with pytest.raises(SeedError):
        reset(first, -5)
    assert same(reset(first), reset(second))


# --- options ------------------------------------------------------------------------------------------------------


@each_environment
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"official_run": 5}, "official_run"),
        ({"official_run": 1.0}, "official_run"),
        ({"run": 1}, "got 'run'"),
        ({1: 2}, "got 1"),
        (5, "options must be .*, got 5"),
        ("abc", "options must be .*, got 'abc'"),
    ],
    ids=repr,
)
def test_impossible_options_are_refused_by_name_everywhere(name: str, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reset(ENVIRONMENTS[name](observation=SMALL), options=options)


def test_options_of_many_envs_are_one_mapping_or_one_each() -> None:
    env = DeepTrafficVecEnv(2)
    reset(env, options=[{"official_run": 1}, {}])
    assert env.batch.chain.run.tolist() == [1, 0]
    with pytest.raises(ValueError, match="one mapping, or 2, one per env, got 1"):
        env.set_options([{}])


# --- before the first reset ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("gymnasium", lambda env: env.step(0)),
        ("gymnasium", lambda env: env.render()),
        ("gymnasium", lambda env: env.action_masks()),
        ("vector", lambda env: env.step([0, 0])),
        ("vector", lambda env: env.render()),
        ("vector", lambda env: env.action_masks()),
        ("sb3", lambda env: env.step([0, 0])),
        ("sb3", lambda env: env.step_wait()),
        ("sb3", lambda env: env.render()),
        ("sb3", lambda env: env.get_images()),
        ("sb3", lambda env: env.action_masks()),
        ("sb3", lambda env: env.env_method("action_masks")),
        ("sb3", lambda env: env.get_attr("speed_mph")),
        ("sb3", lambda env: env.get_state()),
        ("aec", lambda env: env.step(0)),
        ("aec", lambda env: env.render()),
        ("aec", lambda env: env.observe("car_0")),
        ("aec", lambda env: env.last()),
        ("aec", lambda env: list(env.agent_iter())),
        ("aec", lambda env: env.infos),
        ("aec", lambda env: env.agent_selection),
    ],
)
def test_what_needs_an_episode_asks_for_a_reset(name: str, call: Callable[[Any], Any]) -> None:
    env = ENVIRONMENTS[name](render_mode="rgb_array", observation=SMALL)
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        call(env)


def test_attributes_of_an_episode_are_missing_before_it() -> None:
    env = DeepTrafficAECEnv()
    assert not hasattr(env, "infos") and not hasattr(env, "speed")
    env.reset(seed=0)
    assert hasattr(env, "infos")
    with pytest.raises(ValueError, match="agent must be one of car_0, .*, got 'car_9'"):
        env.observe("car_9")


# --- masks --------------------------------------------------------------------------------------------------------


def test_masks_are_what_action_spaces_sample_from() -> None:
    env, envs, turns = DeepTrafficEnv(), DeepTrafficVectorEnv(3), DeepTrafficAECEnv()
    env.reset(seed=1), envs.reset(seed=1), turns.reset(seed=1)
    masks = env.action_masks(), envs.action_masks(), turns.infos["car_0"]["action_mask"]
    assert [mask.dtype for mask in masks] == [np.int8] * 3
    for _ in range(30):
        assert masks[0][env.action_space.sample(masks[0])] == 1
        assert np.all(masks[1][np.arange(3), envs.action_space.sample(tuple(masks[1]))] == 1)
        assert masks[2][turns.action_space("car_0").sample(masks[2])] == 1


# --- rules and specifications -------------------------------------------------------------------------------------


ROAD = RoadConfig(lanes=4, vehicles=15, lane_change_rate=0.0137, traffic_factor_min=0.9)


def test_rules_are_named_in_every_form() -> None:
    expected = ROAD.build()
    for rules in (ROAD, {"lanes": 4, "vehicles": 15, "lane_change_rate": 0.0137, "traffic_factor_min": 0.9}, expected):
        assert resolve_rules(rules) == expected
    assert resolve_rules(list(expected)) == expected  # as JSON makes it
    assert resolve_rules(np.int64(2017)) == resolve_rules(RULES_2017) == RULES_2017
    assert resolve_rules({"lanes": np.int64(5)}, np.int64(2)).other_agents == 2


@pytest.mark.parametrize("rate", [0.0, 0.01, 1 / 3, 0.1 + 0.2, 0.9999999999999999, 1.0])
def test_a_road_is_found_again_from_its_rules(rate: float) -> None:
    road = RoadConfig(lanes=3, rows=33, other_agents=2, decision_period=50, lane_change_rate=rate)
    assert RoadConfig.of(road.build()).build() == road.build()


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (2019, "rules must be one of 2017, 2018, a RoadConfig or a mapping of its fields, got 2019"),
        ("2018", "rules must be .*, got '2018'"),
        (2018.0, "rules must be .*, got 2018.0"),
        (None, "rules must be .*, got None"),
        ([1, 2], r"rules must be .*, got \[1, 2\]"),
        ({"lane": 3}, "must be one of 'rules', .*'lanes', .*, got 'lane'"),
        ({"lanes": 17}, r"lanes must be an integer in \[1, 16\], got 17"),
        (RULES_2018._replace(empty=50.0), "no RoadConfig builds rules of empty=50.0: it would be 100.0"),
    ],
    ids=str,
)
@each_environment
def test_impossible_rules_are_refused_by_name(name: str, rules: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ENVIRONMENTS[name](rules=rules)


@pytest.mark.parametrize("rules", [2017, ROAD, ROAD.build(), {"lanes": 2}], ids=str)
@pytest.mark.parametrize("kind", OBSERVATIONS)
def test_a_specification_makes_the_same_environment_again(rules: Any, kind: str) -> None:
    env = gymnasium.make(NAME, rules=rules, observation=make_observation(kind), reward="speed", max_episode_steps=9)
    envs = gymnasium.make_vec(
        NAME, 2, rules=rules, observation=make_observation(kind), autoreset_mode="SameStep", stagger=True
    )
    for each, make in ((env, gymnasium.make), (envs, gymnasium.make_vec)):
        again = make(EnvSpec.from_json(each.spec.to_json()))
        copied = make(each.spec)
        steps = [one.reset(seed=3) for one in (each, again, copied)]
        for action in range(5):
            assert same(steps[0][0], steps[1][0]) and same(steps[0][0], steps[2][0])
            actions = action if each is env else np.full(2, action)
            steps = [one.step(actions) for one in (each, again, copied)]
        assert steps[0][1:2] == steps[1][1:2] if each is env else np.array_equal(steps[0][1], steps[1][1])


# --- narrow and short roads ---------------------------------------------------------------------------------------


def shapes(sensor: Sensor) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return kinds of observations and their shapes with a sensor."""
    return (
        ("vector", (sensor.size,)),
        ("gaps", (6 * sensor.columns,)),
        ("gaps_ego", (6 * sensor.columns + 2,)),
        ("grid", (4, sensor.length, sensor.columns)),
    )


@pytest.mark.parametrize(
    ("road", "sensor"),
    [
        (RoadConfig(lanes=1), Sensor(0, 50, 10)),
        (RoadConfig(lanes=2), Sensor(1, 50, 10)),
        (RoadConfig(lanes=3), Sensor(2, 50, 10)),
        (RoadConfig(lanes=4), Sensor(3, 50, 10)),
        (RoadConfig(rows=20), Sensor(3, 20, 10)),
        (RoadConfig(lanes=16, rows=1000), Sensor(3, 50, 10)),
        (RoadConfig(), Sensor(3, 50, 10)),
    ],
    ids=str,
)
def test_the_space_is_narrowed_to_the_road(road: RoadConfig, sensor: Sensor) -> None:
    for kind, shape in shapes(sensor):
        assert DeepTrafficEnv(road, observation=kind).observation_space.shape == shape


@pytest.mark.parametrize(
    ("road", "sensor"),
    [
        (RoadConfig(lanes=2), Sensor(1, 50, 10)),
        (RoadConfig(lanes=1, rows=20), Sensor(0, 20, 10)),
        (RoadConfig(), Sensor(3, 50, 10)),
        pytest.param(RoadConfig(lanes=4), Sensor(3, 50, 10), marks=pytest.mark.slow),
        pytest.param(RoadConfig(lanes=16, rows=1000), Sensor(3, 50, 10), marks=pytest.mark.slow),
    ],
    ids=str,
)
@each_environment
def test_the_sensor_is_narrowed_to_the_road(name: str, road: RoadConfig, sensor: Sensor) -> None:
    others = {"other_agents": 1} if name == "aec" else {}
    for kind, shape in shapes(sensor):
        env = ENVIRONMENTS[name](rules=road, observation=kind, **others)
        assert reset(env, 0).shape == shape


def test_cells_that_the_narrowed_sensor_leaves_out_are_always_off_the_road() -> None:
    env = DeepTrafficEnv(RoadConfig(lanes=2), observation="vector")
    wide = DeepTrafficEnv(RoadConfig(lanes=4, vehicles=18))  # whose sensor has the contests' 7 columns
    assert env.observation_space.shape == (180,) and wide.observation_space.shape == (420,)
    obs, lanes = env.reset(seed=0)[0], set()
    for action in (3, 3, 4, 4, 1):
        lane = int(env.sim.state.lane[0, 0])
        columns = obs.reshape(60, 3)
        on_road = [0 <= lane + side < 2 for side in (-1, 0, 1)]
        assert [bool(columns[:, side].any()) for side in range(3)] == on_road
        lanes.add(lane)
        obs = env.step(action)[0]
    assert lanes == {0, 1}


def test_a_sensor_of_any_size_is_narrowed() -> None:
    given = {"kind": "gaps", "lanes_side": 9, "patches_ahead": 300, "patches_behind": 0}
    assert DeepTrafficEnv(RoadConfig(lanes=2), observation=given).observation.sensor == Sensor(1, 70, 0)
    assert DeepTrafficEnv(observation=given).observation.sensor == Sensor(6, 70, 0)


def test_a_road_holds_the_contests_vehicles_or_as_many_as_it_has_room_for() -> None:
    assert [RoadConfig(lanes=lanes).vehicles for lanes in (1, 2, 3, 4, 5, 16)] == [5, 9, 14, 18, 20, 20]
    assert RoadConfig(rules=2017, lanes=1).vehicles == 20
    assert RoadConfig() == RoadConfig(vehicles=20) and RoadConfig().build() == RULES_2018
    with pytest.raises(ValueError, match="vehicles=20 cannot be placed on lanes=1"):
        RoadConfig(lanes=1, vehicles=20)


# --- other arguments ----------------------------------------------------------------------------------------------


@each_environment
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("other_agents", 11),
        ("other_agents", -1),
        ("other_agents", 1.0),
        ("other_agents", "1"),
        ("observation", "pixel"),
        ("observation", 3),
        ("observation", None),
        ("reward", "score"),
        ("reward", None),
        ("max_steps", 0),
        ("max_steps", 2.5),
        ("max_steps", True),
        ("max_steps", 10**20),
        ("render_mode", "ansi"),
    ],
)
def test_impossible_arguments_are_refused_by_name(name: str, argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{argument} .*must be .*{value!r}"):
        ENVIRONMENTS[name](**{argument: value})


@pytest.mark.parametrize("name", ["vector", "sb3"])
@pytest.mark.parametrize(
    ("argument", "value"), [("stagger", "no"), ("stagger", 1), ("threads", 0), ("threads", 1.5), ("threads", True)]
)
def test_impossible_arguments_of_many_envs_are_refused_by_name(name: str, argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{argument} must be .*{value!r}"):
        ENVIRONMENTS[name](**{argument: value})


@pytest.mark.parametrize("name", ["vector", "sb3"])
@pytest.mark.parametrize("actions", [[[1], [2, 3]], None, "ab", [1.0, 2.0], [True, False], [1]], ids=repr)
def test_impossible_actions_of_many_envs_are_refused(name: str, actions: Any) -> None:
    env = ENVIRONMENTS[name](observation=SMALL)
    env.reset()
    with pytest.raises(ValueError, match=r"actions must be integers of shape \(2,\), one per env, got "):
        env.step(actions)


def test_options_of_an_observation_are_named() -> None:
    with pytest.raises(ValueError, match="unknown observation option 1 "):
        DeepTrafficEnv(observation={"kind": "gaps", 1: 2})


def test_minus_one_means_no_end_in_make_vec_as_in_make() -> None:
    assert gymnasium.make_vec(NAME, 2, max_episode_steps=-1).unwrapped.batch.max_steps is None


def test_other_agents_of_a_road_count_in_turns_too() -> None:
    assert DeepTrafficAECEnv(RoadConfig(other_agents=2)).possible_agents == ["car_0", "car_1", "car_2"]
    assert len(DeepTrafficAECEnv().possible_agents) == len(DeepTrafficAECEnv(RoadConfig()).possible_agents) == 5
    assert DeepTrafficAECEnv(RoadConfig(lanes=1, rows=20)).possible_agents == ["car_0", "car_1"]
    assert DeepTrafficAECEnv(other_agents=0).possible_agents == ["car_0"]


@pytest.mark.parametrize(
    "policy",
    [GapPolicy(100.0), RandomPolicy(5), ConstantPolicy("idle", Action.LEFT), "gap"],
    ids=lambda policy: str(policy),
)
def test_a_specification_keeps_built_in_policies_of_the_other_agents(policy: Any) -> None:
    env = gymnasium.make(NAME, other_agents=3, others=policy)
    again = gymnasium.make(EnvSpec.from_json(env.spec.to_json()))
    games = []
    for each in (env, again):
        each.reset(seed=2)
        for action in range(12):
            each.step(action % 5)
        games.append(each.unwrapped.sim.games.tobytes())
    assert games[0] == games[1]


@pytest.mark.parametrize("others", ["gaps", {"empty": 1.0}, {}, 5, GapPolicy], ids=str)
def test_impossible_drivers_of_other_agents_are_refused_by_name(others: Any) -> None:
    with pytest.raises(ValueError, match="others.*(no built-in policy|must be)"):
        DeepTrafficEnv(other_agents=2, others=others)


@each_environment
@pytest.mark.parametrize(
    ("keyword", "remedy"),
    [
        ({"lanes": 4}, r"rules=deeptraffic\.sim\.rules\.RoadConfig\(lanes=4\)"),
        ({"lanes_side": 2}, r"observation=\{'kind': \.\.\., 'lanes_side': 2\}"),
        ({"rewards": "mit"}, "did you mean reward"),
        ({"zzz": 1}, "environments have rules, other_agents"),
    ],
)
def test_an_unknown_keyword_is_refused_with_its_right_place(name: str, keyword: dict[str, Any], remedy: str) -> None:
    with pytest.raises(TypeError, match=f"there is no keyword '{next(iter(keyword))}'; .*{remedy}"):
        ENVIRONMENTS[name](**keyword)


def test_an_action_may_be_an_array_of_one() -> None:
    env = gymnasium.make(NAME)
    env.reset(seed=1)
    for action in (np.array([1]), np.array(1), np.int8(1), np.array([[1]])):
        env.step(action)
    for wrong in (np.array([1, 1]), np.array([1.0]), np.array([5]), [1]):
        with pytest.raises(ValueError, match="action must be one of"):
            env.step(wrong)


def test_pettingzoo_finds_its_environment_as_in_its_own_modules() -> None:
    from deeptraffic.envs import aec_env

    assert aec_env.env(other_agents=2).possible_agents == ["car_0", "car_1", "car_2"]
