"""Batches of games: saved and restored states, and other starts than the road's own."""

from typing import Any

import numpy as np
import pytest

from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2017, RULES_2018
from deeptraffic.sim.state import I64


def own_car_in_lane(lane: int, games: int) -> Any:
    sim = Simulator(RULES_2018, games)
    sim.reset_open(range(games))
    sim.games["lane"][:, 0], sim.games["x"][:, 0] = lane, 20 * lane + 4
    return sim.games.copy()


def lanes(env: DeepTrafficVecEnv) -> list[int]:
    return env.batch.sim.games["lane"][:, 0].tolist()


def test_games_that_start_anew_begin_where_they_are_told() -> None:
    env = DeepTrafficVecEnv(4, observation="gaps", max_steps=2)
    asked: list[list[int]] = []

    def starts(rows: I64) -> tuple[I64, Any]:
        asked.append(rows.tolist())
        return rows[rows >= 2], own_car_in_lane(6, 2)

    env.seed(0)
    env.batch.starts = starts
    env.reset()
    assert lanes(env) == [3, 3, 3, 3]  # seeds that are asked for are kept
    assert asked == []
    for _ in range(2):
        obs, _, dones, infos = env.step(np.zeros(4, np.int64))
    assert dones.all()
    assert asked == [[0, 1, 2, 3]]
    assert lanes(env) == [3, 3, 6, 6]
    assert env.batch.sim.games["frame"].tolist() == [0, 0, 0, 0]
    assert env.get_attr("lane") == [3, 3, 6, 6]
    np.testing.assert_array_equal(obs, env.batch.observe(None, None))
    assert [info["lane"] for info in infos] == [3, 3, 3, 3]  # of the runs that ended


def test_nothing_changes_where_no_other_starts_are_given() -> None:
    def play(starts: Any) -> list[Any]:
        env = DeepTrafficVecEnv(3, observation="gaps", max_steps=2)
        env.seed(1)
        env.batch.starts = starts
        env.reset()
        return [env.step(np.ones(3, np.int64))[0] for _ in range(5)]

    none = play(lambda rows: (rows[:0], own_car_in_lane(6, 1)[:0]))
    for plain, other in zip(play(None), none, strict=True):
        np.testing.assert_array_equal(plain, other)


def test_games_of_another_road_are_refused() -> None:
    env = DeepTrafficVecEnv(1, observation="gaps", rules=2017)
    env.batch.starts = lambda rows: (rows, Simulator(RULES_2017._replace(vehicles=5), 1).games)
    with pytest.raises(ValueError, match="these records are of another road"):
        env.reset()


# --- saving and restoring -------------------------------------------------------------------------------------------


def play(env: DeepTrafficVecEnv, actions: np.ndarray) -> list[Any]:
    """Observations, rewards and ends of these steps, (steps, B)."""
    return [part for given in actions for part in env.step(given)[:3]]


@pytest.mark.parametrize(
    ("options", "official"),
    [
        ({"observation": {"kind": "gaps", "temporal_window": 2}, "stagger": True}, False),
        ({"observation": "vector", "rules": 2017, "reward": "passed"}, False),
        ({"observation": "gaps", "other_agents": 3, "others": lambda obs: int(obs.sum() * 1000) % 5}, True),
    ],
)
def test_a_restored_batch_plays_on_as_the_saved_one(options: dict[str, Any], official: bool) -> None:
    def make() -> DeepTrafficVecEnv:
        env = DeepTrafficVecEnv(3, max_steps=4, **options)
        env.set_options({"official_run": 1} if official else {})
        return env

    actions = np.random.default_rng(0).integers(5, size=(14, 3))
    env, other = make(), make()
    env.reset()
    play(env, actions[:6])
    state = env.get_state()
    expected = play(env, actions[6:])
    assert any(array.any() for array in expected[2::3])  # episodes ended, so that the seeds matter, too
    other.reset()
    play(other, actions[::-1])
    for restored in (env, other):
        restored.set_state(state)
        for one, two in zip(play(restored, actions[6:]), expected, strict=True):
            np.testing.assert_array_equal(one, two)
