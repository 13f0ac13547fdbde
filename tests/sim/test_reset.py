"""How runs begin: the chain of official runs, open runs, and the layouts they give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.random import MODULUS, open_run_streams, seed_stream
from deeptraffic.sim.rules import RULES_2017, RULES_2018, RoadConfig, Rules
from deeptraffic.sim.state import NOBODY

BOTH = pytest.mark.parametrize("rules", [RULES_2018, RULES_2017], ids=["2018", "2017"])
VEHICLES = ("x", "y", "following_speed", "speed_factor", "lane")


def same_start(a: Simulator, b: Simulator) -> bool:
    names = (*VEHICLES, "rng", "action", "frame", "scroll", "passed", "score_sum", "speed_sum", "waiting")
    return all(np.array_equal(getattr(a.state, name), getattr(b.state, name)) for name in names)


def started(rules: Rules, runs: list[int], num_envs: int = 1) -> Simulator:
    sim = Simulator(rules, num_envs)
    sim.start_program(1)
    for run in runs:
        sim.reset(run)
    return sim


# --- layout of 2018 -----------------------------------------------------------------------------------------------


@given(st.integers(0, 2**31))
def test_grid_layout_puts_vehicles_into_the_middle_of_their_lanes(run: int) -> None:
    state = started(RULES_2018, [run]).state
    assert np.array_equal(state.x, 20.0 * state.lane + 4.0)
    assert ((0 <= state.lane) & (state.lane < 7)).all()
    assert ((0 <= state.y) & (state.y <= 690)).all()


@given(st.integers(0, 2**31))
def test_grid_layout_stands_on_rows_or_one_pixel_lower(run: int) -> None:
    y = started(RULES_2018, [run]).state.y[0, 1:]
    row = np.ceil(y / 10.0)
    assert np.array_equal(y, np.floor(row / 70 * 700))
    assert np.isin(10.0 * row - y, [0.0, 1.0]).all()


@given(st.integers(0, 2**31))
def test_grid_layout_leaves_a_gap_between_vehicles_of_a_lane(run: int) -> None:
    state = started(RULES_2018, [run]).state
    row = np.ceil(state.y[0] / 10.0)
    row[0] = 56  # the ego car's, though it stands at y = 525
    for first in range(20):
        for later in range(first + 1, 20):
            if state.lane[0, first] == state.lane[0, later]:
                assert not row[first] - 4 <= row[later] <= row[first] + 11


def test_ego_car_and_other_agents_start_with_their_own_factors() -> None:
    state = started(RoadConfig(other_agents=4).build(), [1]).state
    assert (state.x[0, 0], state.y[0, 0], state.lane[0, 0]) == (64.0, 525.0, 3)
    assert state.speed_factor[0, 0] == 2.0
    assert (state.speed_factor[0, 1:5] == 1.7).all()
    assert (state.following_speed == 1.0).all()


@given(st.integers(1, MODULUS - 1))
def test_traffic_of_2018_starts_with_factors_up_to_1_35(stream: int) -> None:
    sim = Simulator(RULES_2018)
    sim.start_program(stream)
    sim.reset(1)
    factors = sim.state.speed_factor[0, 1:]
    assert ((1.0 <= factors) & (factors < 1.35)).all()


@given(st.integers(1, 2**31), st.integers(1, 2**31))
def test_layout_of_2018_depends_on_the_run_alone(run: int, earlier: int) -> None:
    one, other = started(RULES_2018, [run]), started(RULES_2018, [earlier, run])
    for name in ("x", "y", "lane", "rng"):
        assert np.array_equal(getattr(one.state, name), getattr(other.state, name))


def test_factors_of_2018_depend_on_where_the_stream_was_left() -> None:
    one, other = started(RULES_2018, [2]), started(RULES_2018, [1, 2])
    assert not np.array_equal(one.state.speed_factor, other.state.speed_factor)


def test_reset_2018_leaves_the_stream_at_the_runs_number() -> None:
    assert started(RULES_2018, [17]).state.rng[0] == 17
    assert started(RULES_2018, [0]).state.rng[0] == MODULUS - 1


def test_construction_draws_twice_for_each_vehicle_whoever_drives() -> None:
    steps = pow(16807, 40, MODULUS)
    for agents in (0, 10):
        sim = Simulator(RoadConfig(other_agents=agents).build())
        sim.start_program(1)
        assert sim.state.rng[0] == steps


# --- layout of 2017 -----------------------------------------------------------------------------------------------


def test_construction_of_2017_draws_three_times_for_each_vehicle() -> None:
    sim = Simulator(RULES_2017)
    sim.start_program(9)
    assert sim.state.rng[0] == 9 * pow(16807, 60, MODULUS) % MODULUS
    sim.reset(1)
    assert sim.state.rng[0] == 9 * pow(16807, 120, MODULUS) % MODULUS


@given(st.integers(1, MODULUS - 1))
def test_free_layout_scatters_all_vehicles_over_the_rows(stream: int) -> None:
    sim = Simulator(RULES_2017)
    sim.start_program(stream)
    sim.reset(1)
    state = sim.state
    assert np.isin(state.y, 10.0 * np.arange(70)).all()
    assert np.array_equal(state.x, 20.0 * state.lane + 4.0)
    assert ((1.0 <= state.speed_factor) & (state.speed_factor < 1.7)).all()


def test_layout_of_2017_ignores_the_number_of_the_run() -> None:
    assert same_start(started(RULES_2017, [1]), started(RULES_2017, [99]))


def test_pending_action_of_2017_survives_a_reset_but_not_a_new_program() -> None:
    sim = started(RULES_2017, [1])
    sim.step([0])
    sim.step_frame(2)
    sim.reset(2)
    assert sim.state.action[0] == 2
    sim.start_program(1)
    assert sim.state.action[0] == 0


def test_pending_action_of_2018_does_not_survive_a_reset() -> None:
    sim = started(RULES_2018, [1])
    sim.step([0])
    sim.step_frame(2)
    sim.reset(2)
    assert sim.state.action[0] == 0


# --- both ---------------------------------------------------------------------------------------------------------


@BOTH
def test_reset_clears_the_counts_of_the_run_before(rules: Rules) -> None:
    sim = started(rules, [1])
    sim.step([2], periods=20)
    sim.reset(2)
    state = sim.state
    assert (state.frame[0], state.passed[0], state.scroll[0]) == (0, 0, 1.5)
    assert (state.speed_sum[0], state.score_sum[0], state.reward[0], state.blocked[0]) == (0.0, 0.0, 0.0, 0)
    assert state.waiting[0] == NOBODY


@BOTH
def test_each_row_may_start_another_run(rules: Rules) -> None:
    sim = Simulator(rules, 3)
    sim.start_program(1)
    sim.reset([5, 6, 7])
    for row, run in enumerate([5, 6, 7]):
        assert np.array_equal(sim.state.y[row], started(rules, [run]).state.y[0])


@BOTH
@given(seed=st.integers(0, 2**40), earlier=st.integers(0, 2**40), action=st.integers(0, 4))
def test_open_run_depends_on_its_seed_alone(rules: Rules, seed: int, earlier: int, action: int) -> None:
    fresh, used = Simulator(rules), Simulator(rules)
    used.reset_open([earlier])
    used.step([0])
    used.step([action], periods=3)
    fresh.reset_open([seed])
    used.reset_open([seed])
    assert same_start(fresh, used)
    fresh.step([action], periods=2)
    used.step([action], periods=2)
    assert same_start(fresh, used)


def test_open_run_is_the_reset_its_seed_hashes_to() -> None:
    stream, run = open_run_streams(42)
    hashed, opened = Simulator(RULES_2018), Simulator(RULES_2018)
    hashed.state.rng[0] = stream
    hashed.reset(run)
    opened.reset_open([42])
    assert same_start(hashed, opened)
    assert opened.state.rng[0] == seed_stream(run)


@BOTH
def test_neighbouring_open_runs_differ_in_traffic_and_layout(rules: Rules) -> None:
    sim = Simulator(rules, 200)
    sim.reset_open(range(200))
    assert len(np.unique(sim.state.y, axis=0)) == 200
    assert len(np.unique(sim.state.speed_factor[:, 1:], axis=0)) == 200


def test_opening_some_rows_leaves_the_others_alone() -> None:
    sim = Simulator(RULES_2018, 4)
    sim.reset_open(range(4))
    sim.step([0, 1, 2, 3], periods=3)
    before = sim.get_state()
    sim.reset_open([77], env_indices=[2])
    for row in (0, 1, 3):
        assert sim.games[row] == before[row]
    assert sim.state.frame[2] == 0


def test_as_many_seeds_as_rows_are_asked_for() -> None:
    sim = Simulator(RULES_2018, 4)
    with pytest.raises(ValueError, match="3 seeds for 4 games; give one seed per game"):
        sim.reset_open(range(3))
    with pytest.raises(ValueError, match="2 seeds for 1 games"):
        sim.reset_open([1, 2], env_indices=[0])


def test_a_full_road_can_be_laid_out() -> None:
    sim = Simulator(RoadConfig(vehicles=31).build(), 300)  # a size of its own: 31 is all that fit
    sim.reset_open(range(300))
    assert ((0 <= sim.state.y) & (sim.state.y <= 690)).all()
    assert ((0 <= sim.state.lane) & (sim.state.lane < 7)).all()
