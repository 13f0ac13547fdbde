"""What must hold of every game, whatever the seed, the rules and the driving."""

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.random import MODULUS
from deeptraffic.sim.rules import RULES_2018, RoadConfig, Rules, Sensor

# One size, so that the kernel compiles once; test_kernel.py takes the other sizes to the reference.
ROADS = st.sampled_from(
    [
        RoadConfig(),
        RoadConfig(rules=2017),
        RoadConfig(other_agents=4),
        RoadConfig(other_agents=10, decision_period=20),
        RoadConfig(lane_change_rate=0.5),
        RoadConfig(rules=2017, lane_change_rate=1.0, traffic_factor_range=1.5),
    ]
).map(RoadConfig.build)
SEEDS = st.integers(0, 2**63)
ACTIONS = st.lists(st.integers(0, 4), min_size=1, max_size=12)
HAIR = 1e-9  # [px] sideways steps of 20/30 px add up to a lane's width only almost
SLOWEST = 0.5  # a normal driver brakes no further than to this speed factor


def opened(rules: Rules, seed: int) -> Simulator:
    """One game that waits for the ego car's first decision."""
    sim = Simulator(rules, threads=1)
    sim.reset_open([seed])
    sim.step([0])
    return sim


def normal(sim: Simulator, action: int) -> int:
    """The action, or 0 where braking further would be no driver's sense."""
    slow = sim.state.speed_factor[0, : sim.rules.other_agents + 1].min() < SLOWEST + 30 * 0.02
    return 0 if slow and action == 2 else action


def next_frame(sim: Simulator, action: int) -> None:
    """Finish one frame; whoever decides in it does `action`."""
    frame = sim.state.frame[0]
    while sim.state.frame[0] == frame:
        sim.step_frame(normal(sim, action))


def differing_fields(one: NDArray[Any], other: NDArray[Any]) -> list[str]:
    names = one.dtype.names or ()
    return [name for name in names if not np.array_equal(one[name], other[name], equal_nan=True)]


# --- safety -----------------------------------------------------------------------------------------------------------


def pairs_in_a_lane(sim: Simulator) -> NDArray[np.bool_]:
    """(N, N) whether j stands ahead of i in the same lane, both in its middle and on the map, and clear of i."""
    s = sim.state
    settled = s.x[0] == 20.0 * s.lane[0] + 4.0
    settled &= (s.y[0] >= 0.0) & (s.y[0] < sim.rules.road_length)
    lane = np.where(settled, s.lane[0], -1 - np.arange(s.lane.shape[1]))  # the others share it with nobody
    same_lane = lane[:, None] == lane[None, :]
    return same_lane & (s.y[0][:, None] - s.y[0][None, :] >= 34.0)


@given(ROADS, SEEDS, ACTIONS)
def test_nobody_runs_into_the_vehicle_ahead(rules: Rules, seed: int, actions: list[int]) -> None:
    # A vehicle with one free cell ahead (fronts 40 px apart or more) moves at most 0.5 a; without one it stands still.
    sim = opened(rules, seed)
    for action in actions:
        for _ in range(15):
            follows, y = pairs_in_a_lane(sim), sim.state.y[0].copy()
            factor = sim.state.speed_factor[0].copy()
            next_frame(sim, action)
            moved = sim.state.y[0] - y
            stayed = np.abs(moved) < 50.0  # else it left the picture and came back at the other end
            before, after = y[:, None] - y[None, :], sim.state.y[0][:, None] - sim.state.y[0][None, :]
            least = np.minimum(before, 40.0 - 0.5 * factor[:, None])
            unsafe = follows & stayed[:, None] & stayed[None, :] & (after < least - 1e-9)
            assert not unsafe.any(), f"frame {sim.state.frame[0]}: {np.argwhere(unsafe)}"


def columns(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The map columns that a vehicle at x marks."""
    return np.floor(x / 20.0), np.floor((x + 10.0) / 20.0)


@given(ROADS, SEEDS, ACTIONS)
def test_lanes_are_changed_only_into_gaps(rules: Rules, seed: int, actions: list[int]) -> None:
    # From three factors' worth of cells ahead to three cells behind, no cell of the new lane may be taken.
    sim = opened(rules, seed)
    changes = 0
    for action in actions:
        for _ in range(15):
            lane, y_before = sim.state.lane[0].copy(), sim.state.y[0].copy()
            factor = sim.state.speed_factor[0].copy()
            next_frame(sim, action)
            x, y = sim.state.x[0], sim.state.y[0]
            left, right = columns(x)
            on_map = (y + 30.0 >= 0.0) & (y < rules.road_length)
            for i in np.flatnonzero((sim.state.lane[0] != lane) & (np.abs(y - y_before) < 50.0)):
                target = sim.state.lane[0, i]
                assert abs(target - lane[i]) == 1
                there = on_map & ((left == target) | (right == target))
                there[i] = False
                ahead = y[i] - y[there]
                assert ((ahead <= -30.0) | (ahead > 30.0 + 30.0 * min(factor[i], sim.state.speed_factor[0, i]))).all()
                changes += 1
    assume(changes > 0 or rules.turn_threshold > 0.9)


@given(ROADS, SEEDS, ACTIONS)
def test_vehicles_stay_on_the_road(rules: Rules, seed: int, actions: list[int]) -> None:
    sim = opened(rules, seed)
    for action in actions:
        for _ in range(10):
            sim.step_frame(action)  # braking without end included
            state = sim.state
            assert ((4.0 - HAIR <= state.x) & (state.x <= rules.road_width - 16.0 + HAIR)).all()
            assert ((0 <= state.lane) & (state.lane < rules.lanes)).all()
            assert ((-68.0 <= state.y) & (state.y <= rules.road_length + 68.0)).all()
            assert (state.following_speed <= 2.0).all()
            assert (np.abs(state.x - (20.0 * state.lane + 4.0)) <= 20.0 + HAIR).all()
            assert 1 <= state.rng[0] < MODULUS


@given(ROADS, SEEDS, ACTIONS)
def test_normal_driving_moves_forward_up_to_the_speed_limit(rules: Rules, seed: int, actions: list[int]) -> None:
    sim = opened(rules, seed)
    fastest = max(2.02, rules.traffic_factor_min + rules.traffic_factor_range)
    for action in actions:
        for _ in range(10):
            next_frame(sim, action)
            assert (sim.state.following_speed >= 0.0).all()
            assert ((0.0 < sim.state.speed_factor) & (sim.state.speed_factor <= fastest)).all()


# --- sensing ----------------------------------------------------------------------------------------------------------


@given(SEEDS, ACTIONS, st.integers(0, 10))
def test_2018_sensors_read_free_road_nothing_or_a_slow_vehicle(seed: int, actions: list[int], agents: int) -> None:
    sim = opened(RoadConfig(other_agents=agents).build(), seed)
    for action in actions:
        sim.step([normal(sim, action)])
        for agent in range(agents + 1):
            obs = sim.sense(Sensor(), agent)
            assert ((obs == 0.0) | (obs == 1.0) | ((0.0 < obs) & (obs <= 2 * 2.02 / 100))).all()


@given(SEEDS, ACTIONS)
def test_2017_sensors_show_the_ego_car_ten_times_as_fast(seed: int, actions: list[int]) -> None:
    sim = opened(RoadConfig(rules=2017).build(), seed)
    for action in actions:
        sim.step([normal(sim, action)])
        obs = sim.sense(Sensor())
        own = 10 * sim.state.following_speed[0, 0] * sim.state.speed_factor[0, 0] / 7
        assert ((obs == 1.0) | ((0.0 <= obs) & (obs <= 3.4 / 7)) | np.isclose(obs, own)).all()


@given(ROADS, SEEDS, st.integers(0, 6), st.integers(0, 70), st.integers(0, 70))
def test_narrow_sensor_sees_a_part_of_what_a_wide_one_does(
    rules: Rules, seed: int, side: int, ahead: int, behind: int
) -> None:
    assume(ahead + behind > 0)
    sim = opened(rules, seed)
    wide = sim.sense(Sensor(6, 70, 70)).reshape(140, 13)
    narrow = sim.sense(Sensor(side, ahead, behind)).reshape(ahead + behind, 2 * side + 1)
    assert np.array_equal(narrow, wide[70 - ahead : 70 + behind, 6 - side : 7 + side])


@given(ROADS, SEEDS, ACTIONS)
def test_looking_changes_nothing(rules: Rules, seed: int, actions: list[int]) -> None:
    sim = opened(rules, seed)
    for action in actions:
        sim.run_to_decision(action)
        before = hashlib.sha256(sim.games.tobytes()).digest()
        for agent in range(rules.other_agents + 1):
            sim.sense(Sensor(6, 70, 70), agent)
        sim.speed_mph()
        sim.get_state()
        assert hashlib.sha256(sim.games.tobytes()).digest() == before


# --- rows, threads, copies --------------------------------------------------------------------------------------------


@given(ROADS, SEEDS, st.integers(1, 40), st.integers(1, 4), ACTIONS, st.randoms(use_true_random=False))
def test_a_row_of_a_batch_equals_the_game_on_its_own(
    rules: Rules, seed: int, num_envs: int, threads: int, actions: list[int], random: Any
) -> None:
    batch, row = Simulator(rules, num_envs, threads), random.randrange(num_envs)
    batch.reset_open(range(seed, seed + num_envs))
    batch.step(np.zeros(num_envs, np.int64))
    alone = opened(rules, seed + row)
    for action in actions:
        others = np.array([random.randrange(5) for _ in range(num_envs)])
        others[row] = action
        batch.step(others)
        alone.step([action])
    assert differing_fields(batch.games[row : row + 1], alone.games) == []


@given(ROADS, SEEDS, st.integers(2, 30), ACTIONS, st.randoms(use_true_random=False))
def test_the_order_of_calls_and_of_rows_does_not_matter(
    rules: Rules, seed: int, num_envs: int, actions: list[int], random: Any
) -> None:
    at_once, in_pieces = (Simulator(rules, num_envs, threads=2) for _ in range(2))
    order = random.sample(range(num_envs), num_envs)
    cut = random.randrange(num_envs + 1)
    for sim in (at_once, in_pieces):
        sim.reset_open(range(seed, seed + num_envs))
        sim.step(np.zeros(num_envs, np.int64))
    for action in actions:
        given = (action + np.arange(num_envs)) % 5
        at_once.step(given)
    for rows in (order[:cut], order[cut:]):
        for action in actions:
            in_pieces.step((action + np.array(rows, np.int64)) % 5, env_indices=rows)
    assert differing_fields(at_once.games, in_pieces.games) == []


@given(ROADS, SEEDS, ACTIONS, st.integers(0, 60), st.integers(1, 5))
def test_a_clone_made_anywhere_continues_as_the_original(
    rules: Rules, seed: int, actions: list[int], frames: int, num_envs: int
) -> None:
    original, other = opened(rules, seed), Simulator(rules, num_envs)
    for _ in range(frames):
        original.step_frame(actions[0])
    other.reset_open(range(num_envs))
    other.set_state(original.get_state(), env_indices=[num_envs - 1])
    for action in actions:
        original.step([action])
        other.step([action], env_indices=[num_envs - 1])
    assert differing_fields(original.games, other.games[-1:]) == []


# --- left and right ---------------------------------------------------------------------------------------------------
# Only where every vehicle is in the middle of its lane: between two lanes the rules themselves are lopsided, since a
# vehicle marks its left side and a point 10 px from it.

NO_CHANGES = RoadConfig(lane_change_rate=0.0).build()


def mirrored(sim: Simulator) -> Simulator:
    """The same game with left and right exchanged."""
    twin = Simulator(sim.rules, threads=1)
    state = sim.get_state()
    state.lane = sim.rules.lanes - 1 - state.lane
    state.x = 20.0 * state.lane + 4.0
    twin.set_state(state)
    return twin


def opened_mirrored(seed: int) -> tuple[Simulator, Simulator]:
    """A game between reset and first frame, and its mirror image."""
    sim = Simulator(NO_CHANGES, threads=1)
    sim.reset_open([seed])
    return sim, mirrored(sim)


@given(SEEDS, st.lists(st.integers(0, 2), min_size=40, max_size=40))
def test_a_mirrored_road_is_driven_alike(seed: int, actions: list[int]) -> None:
    sim, twin = opened_mirrored(seed)
    frames = 0
    for action in actions:
        y_before = sim.state.y[0].copy()
        sim.run_to_frame(frames + 1, action)
        twin.run_to_frame(frames + 1, action)
        if np.abs(sim.state.y[0] - y_before).max() > 50.0:
            break  # a vehicle came back at the other end, in a lane that was drawn
        frames = int(sim.state.frame[0])
        assert np.array_equal(sim.state.y, twin.state.y)
        assert np.array_equal(sim.state.following_speed, twin.state.following_speed)
        assert np.array_equal(sim.state.lane, 6 - twin.state.lane)


@given(SEEDS, st.integers(0, 6))
def test_a_mirrored_road_is_seen_mirrored(seed: int, side: int) -> None:
    sim, twin = opened_mirrored(seed)
    sensor = Sensor(side, 50, 10)
    for each in (sim, twin):
        each.step([0])
    there, back = (each.sense(sensor).reshape(60, 2 * side + 1) for each in (sim, twin))
    assert np.array_equal(there, back[:, ::-1])


@given(SEEDS)
def test_a_lane_change_is_allowed_as_its_mirror_image_is(seed: int) -> None:
    for left, right in ((3, 4), (4, 3)):
        sim, twin = opened_mirrored(seed)
        for each, action in ((sim, left), (twin, right)):
            each.step([0])
            each.step_frame(action)
        assert sim.state.blocked[0] == twin.state.blocked[0]
        assert np.array_equal(sim.state.lane, 6 - twin.state.lane)


def test_both_answers_to_a_lane_change_occur() -> None:
    sim = Simulator(RULES_2018, 100)
    sim.reset_open(range(100))
    sim.step(np.zeros(100, np.int64))
    sim.step_frame(np.full(100, 3))
    assert 0 < sim.state.blocked.sum() < 100


@pytest.mark.parametrize("road", [RoadConfig(), RoadConfig(rules=2017)], ids=["2018", "2017"])
def test_other_draws_lead_to_another_game(road: RoadConfig) -> None:
    one, other = opened(road.build(), 5), opened(road.build(), 5)
    other.state.rng[0] = one.state.rng[0] % (MODULUS - 1) + 1
    for sim in (one, other):
        sim.step([0], periods=60)
    assert not np.array_equal(one.state.y, other.state.y)
