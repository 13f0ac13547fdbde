"""Sequences under a poor sensor: what it shows and hides, which frames are lost, and whose speed is asked for."""

import numpy as np
import pytest

from deeptraffic.policies.builtin import make_builtin
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018
from representation.data.recording import Recording, RecordingConfig, observe, record
from representation.data.sequences import (
    DEGRADED,
    LANES,
    SensorConfig,
    expert_actions,
    hidden_speeds,
    lane_features,
    sequence_inputs,
)


@pytest.fixture(scope="module")
def runs() -> Recording:
    return record(RecordingConfig(split="validation", runs=6, decisions=12))


def test_lane_lists_tell_what_stands_where() -> None:
    grid = np.zeros((4, 60, 7))
    grid[2, :, 6] = 1.0  # the rightmost column is off the road
    grid[0, 50:54, 3] = 1.0  # the ego car
    for nearest, speed in ((45, 0.5), (30, 0.6), (10, 0.7)):  # three cars of four cells in the ego lane
        grid[0, nearest - 3 : nearest + 1, 3], grid[1, nearest - 3 : nearest + 1, 3] = 1.0, speed
    grid[0, 56:60, 3] = 1.0  # two cells behind the ego car
    grid[0, 51:55, 2] = 1.0  # beside it
    lists = lane_features(grid)
    assert lists.shape == (LANES, 5)
    # free cells ahead: 49 - 45, 49 - 30, 49 - 10; behind, from the ego bonnet: 6; in lengths of four cells
    np.testing.assert_allclose(lists[3], [1.0, 19 / 4, 39 / 4, 6 / 4, 1.0], rtol=1e-6)
    np.testing.assert_allclose(lists[2], [12.5, 12.5, 12.5, 1 / 4, 1.0])
    assert lists[6, 4] == 0.0


def test_a_poor_sensor_hides_speeds_and_loses_frames_but_not_the_own_action(runs: Recording) -> None:
    rows, full = sequence_inputs(runs, DEGRADED, seed=3), sequence_inputs(runs, SensorConfig(drop_rate=0.0), seed=3)
    assert rows.shape == (6, 12, DEGRADED.size)
    arrived = rows[..., -1] == 1.0
    assert 0.5 < arrived.mean() < 0.9
    assert (rows[~arrived][:, :-6] == 0).all()
    assert (full[..., -1] == 1.0).all()
    np.testing.assert_array_equal(rows[arrived][:, :-6], full[arrived][:, :-6])
    actions = rows[..., -6:-1]
    assert (actions[:, 0] == 0).all()
    np.testing.assert_array_equal(actions[:, 1:].argmax(-1), runs.actions[:, :-1])
    assert DEGRADED.space.contains(rows[0, 0])


def test_the_same_seed_loses_the_same_frames(runs: Recording) -> None:
    np.testing.assert_array_equal(sequence_inputs(runs, DEGRADED, seed=3), sequence_inputs(runs, DEGRADED, seed=3))
    assert (sequence_inputs(runs, DEGRADED, seed=4) != sequence_inputs(runs, DEGRADED, seed=3)).any()


def test_hidden_speeds_are_those_of_the_cars_whose_distance_the_lists_give(runs: Recording) -> None:
    speeds, known = hidden_speeds(runs)
    assert not known[:, 0].any()
    assert np.abs(speeds[known]).max() < 100
    lists = lane_features(observe(runs.rules, runs.states[:, :-1], "grid"))
    near = known[:, 1:] & known[:, :-1]
    closing = -(lists[:, 1:, :, 0] - lists[:, :-1, :, 0]) * 40.0 / 30 * 20  # [mph]
    error = np.abs(closing + speeds[:, 1:])[near]
    assert np.median(error) < 4.0  # cells are 10 px: 6.7 mph


def test_the_expert_answers_as_it_would_in_the_game() -> None:
    sim = Simulator(RULES_2018, 5)
    sim.reset_open(range(5))
    sim.step(sim.idle, periods=4)
    policy = make_builtin("gap")
    expected = policy.act(np.asarray(sim.sense(policy.observation), np.float64), np.arange(5))
    np.testing.assert_array_equal(expert_actions(RULES_2018, sim.get_state()), expected)


def test_an_impossible_sensor_is_refused() -> None:
    with pytest.raises(ValueError, match="drop_rate"):
        SensorConfig(drop_rate=1.0)
