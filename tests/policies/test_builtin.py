"""The built-in policies and what they have in common."""

import numpy as np
import pytest

from deeptraffic.policies.builtin import BUILTINS, ConstantPolicy, RandomPolicy, make_builtin
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018, Action, Sensor
from deeptraffic.sim.runs import Runs

COLUMNS, AHEAD = 7, 50


def free_road() -> np.ndarray:
    """Cells (60, 7) of a road without traffic, the ego car in the middle lane at 80 mph."""
    cells = np.ones((60, COLUMNS))
    cells[AHEAD : AHEAD + 4, 3] = 0.04
    return cells


def gap_action(cells: np.ndarray) -> int:
    return int(make_builtin("gap").act(cells.reshape(1, -1), np.zeros(1, np.int64))[0])


@pytest.mark.parametrize("name", BUILTINS)
def test_every_builtin_answers_one_action_per_row(name: str) -> None:
    policy = make_builtin(name)
    policy.reset(np.arange(6))
    actions = policy.act(np.tile(free_road().ravel(), (3, 1)), np.array([1, 3, 5]))
    assert actions.shape == (3,)
    assert actions.dtype == np.int64
    assert set(actions) <= set(Action)


def test_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match="idle, accelerate, decelerate, random, gap"):
        make_builtin("brake")


def test_constant_policies_do_what_their_names_say() -> None:
    actions = {n: make_builtin(n).act(np.ones((1, 420)), np.arange(1))[0] for n in ("idle", "accelerate", "decelerate")}
    assert actions == {"idle": 0, "accelerate": 1, "decelerate": 2}


def test_constant_policies_runs_in_one_call_equal_runs_decision_by_decision() -> None:
    policy = ConstantPolicy("left", Action.LEFT)
    whole, stepped = (Simulator(RULES_2018._replace(other_agents=4), threads=1) for _ in range(2))
    whole.start_program(1)
    runs = Runs.official(whole, 1, 2, 500)
    policy.official_loop()(runs)
    stepped.start_program(1)
    for run in (1, 2):
        stepped.reset(run)
        while stepped.run_to_frame(500, 3)[0] >= 0:
            pass
        assert runs.speed_sums[run - 1] == stepped.state.score_sum[0]
        assert runs.passed[run - 1] == stepped.state.passed[0]


def test_random_actions_depend_on_seed_and_slot_alone() -> None:
    def play(policy: RandomPolicy, rows: np.ndarray) -> np.ndarray:
        policy.reset(rows)
        return np.stack([policy.act(np.ones((rows.size, 420)), rows) for _ in range(200)], axis=1)

    together, alone = play(RandomPolicy(5), np.arange(8)), play(RandomPolicy(5), np.array([6]))
    assert np.array_equal(together[6], alone[0])
    assert not np.array_equal(together[6], together[7])
    assert not np.array_equal(alone, play(RandomPolicy(6), np.array([6])))


def test_random_actions_are_equally_frequent() -> None:
    policy = RandomPolicy()
    rows = np.arange(1000)
    policy.reset(rows)
    counts = np.bincount(np.concatenate([policy.act(np.ones((1000, 420)), rows) for _ in range(50)]), minlength=5)
    # 50,000 draws, 10,000 expected of each; the standard deviation is sqrt(50,000 * 0.2 * 0.8) = 89.
    assert np.all(np.abs(counts - 10_000) < 5 * 89)


def test_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="seed must be .*, got -1"):
        RandomPolicy(-1)


def test_gap_accelerates_on_a_free_road() -> None:
    assert gap_action(free_road()) == Action.ACCELERATE


@pytest.mark.parametrize(("free_lane", "action"), [(2, Action.LEFT), (4, Action.RIGHT)])
def test_gap_turns_into_the_free_lane_beside_a_slow_car(free_lane: int, action: Action) -> None:
    cells = free_road()
    for lane in set(range(COLUMNS)) - {free_lane}:
        cells[40:44, lane] = 0.02
    assert gap_action(cells) == action


def test_gap_stays_while_a_car_stands_beside_it() -> None:
    cells = free_road()
    for lane in range(COLUMNS):
        cells[40:44, lane] = 0.02
    cells[40:44, 2] = 1.0
    cells[48:52, 2] = 0.04  # as fast as the ego car: it stays beside it
    assert gap_action(cells) == Action.ACCELERATE


def test_gap_never_turns_off_the_road() -> None:
    cells = free_road()
    cells[:, :3] = 0.0  # the ego car is in the leftmost lane
    cells[40:44, 3:] = 0.02
    cells[30:36, 4:] = 0.02
    assert gap_action(cells) != Action.LEFT


def test_gap_sees_the_same_under_both_rule_sets() -> None:
    """Free cells stand for 100 px/frame in 2018 and for 7 in 2017, and readings are divided by it."""
    sensor, random = Sensor(), np.random.default_rng(0)
    sim = Simulator(RULES_2018, num_envs=200)
    sim.reset_open(range(200))
    for _ in range(4):
        sim.step(random.integers(0, 5, 200))
    obs = sim.sense(sensor)
    cars = obs < 1.0
    obs_2017 = np.where(cars, obs * (100.0 / 7.0), obs)
    rows = np.arange(200)
    assert np.array_equal(make_builtin("gap", 2018).act(obs, rows), make_builtin("gap", 2017).act(obs_2017, rows))
