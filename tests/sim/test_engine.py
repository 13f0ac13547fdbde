"""The engine: many games at once, every way of stepping the same, states that can be moved, errors that teach."""

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2017, RULES_2018, RoadConfig, Rules, Sensor
from deeptraffic.sim.state import NOBODY

WITH_AGENTS = RoadConfig(other_agents=3).build()
EVERY_RULES = pytest.mark.parametrize("rules", [RULES_2018, RULES_2017, WITH_AGENTS], ids=["2018", "2017", "agents"])


def opened(rules: Rules, num_envs: int = 1, threads: int | None = 1, first_seed: int = 0) -> Simulator:
    """Games that wait for the ego car's first decision."""
    sim = Simulator(rules, num_envs, threads)
    sim.reset_open(range(first_seed, first_seed + num_envs))
    sim.step(np.zeros(num_envs, np.int64))
    return sim


def differing_fields(one: NDArray[Any], other: NDArray[Any]) -> list[str]:
    """Names of the fields in which two arrays of game records differ; NaN equals NaN."""
    names = one.dtype.names or ()
    return [name for name in names if not np.array_equal(one[name], other[name], equal_nan=True)]


def random_actions(rules: Rules, num_envs: int, periods: int, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, 5, (periods, num_envs, rules.other_agents + 1))


# --- ways of stepping -------------------------------------------------------------------------------------------------


@EVERY_RULES
def test_period_equals_decision_after_decision(rules: Rules) -> None:
    by_period, by_decision = opened(rules, 5), opened(rules, 5)
    for actions in random_actions(rules, 5, periods=20):
        by_period.step(actions)
        waiting = by_decision.state.waiting.copy()
        while True:
            waiting = by_decision.run_to_decision(actions[np.arange(5), waiting])
            if (waiting == 0).all():
                break
        assert differing_fields(by_period.games, by_decision.games) == []


@EVERY_RULES
def test_period_equals_frame_after_frame(rules: Rules) -> None:
    by_period, by_frame = opened(rules), opened(rules)
    for actions in random_actions(rules, 1, periods=20):
        by_period.step(actions)
        agent = 0
        while True:
            agent = int(by_frame.step_frame(actions[0, max(agent, 0)])[0])
            if agent == 0:
                break
        assert differing_fields(by_period.games, by_frame.games) == []


def test_step_frame_ends_exactly_one_frame() -> None:
    sim = opened(RULES_2018, 2)
    for frame in range(1, 30):
        assert sim.step_frame([1, 4]).tolist() == [NOBODY, NOBODY]
        assert sim.state.frame.tolist() == [frame, frame]


def test_run_to_frame_stops_where_it_is_told_or_at_a_decision() -> None:
    sim = opened(RULES_2018, 3)
    assert sim.run_to_frame([10, 30, 45]).tolist() == [NOBODY, NOBODY, 0]
    assert sim.state.frame.tolist() == [10, 30, 30]


def test_agents_decide_at_their_own_frames() -> None:
    sim = opened(RoadConfig(other_agents=10).build())
    decided = []
    for _ in range(20):
        agent = int(sim.run_to_decision(0)[0])
        decided.append((agent, int(sim.state.frame[0])))
    period = [(agent, 3 * agent) for agent in range(10)]  # the tenth never decides
    assert decided == [(a, f) for a, f in period[1:]] + [(a, f + 30) for a, f in period] + [(0, 60)]


def test_several_periods_equal_as_many_calls() -> None:
    at_once, one_by_one = opened(WITH_AGENTS, 4), opened(WITH_AGENTS, 4)
    actions = random_actions(WITH_AGENTS, 4, periods=1)[0]
    at_once.step(actions, periods=7)
    for _ in range(7):
        one_by_one.step(actions)
    assert differing_fields(at_once.games, one_by_one.games) == []


def test_actions_of_the_ego_car_alone_leave_other_agents_idle() -> None:
    alone, spelt_out = opened(WITH_AGENTS, 2), opened(WITH_AGENTS, 2)
    for ego in random_actions(RULES_2018, 2, periods=10):
        alone.step(ego[:, 0])
        spelt_out.step(np.concatenate([ego, np.zeros((2, 3), np.int64)], axis=1))
    assert differing_fields(alone.games, spelt_out.games) == []


def test_action_of_an_agent_reaches_those_that_follow_it_in_that_frame() -> None:
    sim = opened(WITH_AGENTS)
    before = sim.state.speed_factor[0, :4].copy()
    sim.step([[0, 0, 2, 0]])  # agent 2 brakes, agent 3 and the ego car execute it as well
    assert np.allclose(sim.state.speed_factor[0, :4] - before, [-0.02, 0.0, -0.02, -0.02])


def test_2017_repeats_its_action_each_frame_of_the_period() -> None:
    sim = opened(RULES_2017)
    before = sim.state.speed_factor[0, 0]
    sim.step([2])
    assert np.isclose(sim.state.speed_factor[0, 0], before - 30 * 0.02)


def test_2018_executes_its_action_once() -> None:
    sim = opened(RULES_2018)
    sim.step([2])
    assert sim.state.speed_factor[0, 0] == 2.0 - 0.02


@EVERY_RULES
def test_first_step_after_a_reset_only_runs_to_the_first_sensing(rules: Rules) -> None:
    idle, braking = Simulator(rules), Simulator(rules)
    for sim, action in ((idle, 0), (braking, 2)):
        sim.reset_open([3])
        sim.step([action])
        assert (sim.state.frame[0], sim.state.waiting[0]) == (0, 0)
    assert differing_fields(idle.games, braking.games) == []


def test_reward_is_the_mean_speed_of_the_period() -> None:
    sim = opened(RULES_2018)
    for action in (0, 1, 3, 4, 2) * 4:
        speeds = []
        agent = int(sim.step_frame(action)[0])
        while True:
            if agent == NOBODY:
                agent = int(sim.step_frame()[0])
            speeds.append(sim.state.following_speed[0, 0] * sim.state.speed_factor[0, 0])
            if agent == 0:
                break
        assert len(speeds) == 30
        assert np.isclose(sim.state.reward[0], (sum(speeds) - 60) / 20, rtol=0, atol=1e-12)


def test_refused_lane_change_is_told() -> None:
    sim = opened(RULES_2018, 64)
    for _ in range(6):
        lanes = sim.state.lane[:, 0].copy()
        sim.step_frame(np.full(64, 3))
        moved = sim.state.lane[:, 0] != lanes
        assert np.array_equal(sim.state.blocked == 1, ~moved)
        sim.step(np.zeros(64, np.int64))
    assert (sim.state.lane[:, 0] == 0).any()  # at the edge, where every change to the left was refused


def test_action_without_lane_change_is_never_refused() -> None:
    sim = opened(RULES_2018, 5)
    sim.step_frame([0, 1, 2, 0, 1])
    assert not sim.state.blocked.any()


def test_speed_is_given_in_miles_per_hour() -> None:
    sim = opened(RULES_2018, 3)
    speeds = 20 * sim.state.following_speed[:, 0] * sim.state.speed_factor[:, 0]
    assert np.array_equal(sim.speed_mph(), speeds)
    assert np.array_equal(sim.speed_mph(env_indices=[2]), speeds[2:])


def test_score_sums_the_clamped_speed_of_the_ego_car() -> None:
    sim = opened(RULES_2018)
    total = 0.0
    for _ in range(100):
        frame = sim.state.frame[0]
        while sim.state.frame[0] == frame:
            sim.step_frame(2)
        total += max(0.0, sim.state.following_speed[0, 0] * sim.state.speed_factor[0, 0])
    assert sim.state.score_sum[0] == total


# --- rows and threads -------------------------------------------------------------------------------------------------


@EVERY_RULES
def test_threads_change_nothing(rules: Rules) -> None:
    one, four = opened(rules, 67, threads=1), opened(rules, 67, threads=4)
    for actions in random_actions(rules, 67, periods=10):
        one.step(actions)
        four.step(actions)
    assert differing_fields(one.games, four.games) == []
    assert np.array_equal(one.sense(Sensor()), four.sense(Sensor()))


def test_stepping_some_rows_leaves_the_others_alone() -> None:
    sim = opened(RULES_2018, 5)
    before = sim.get_state()
    sim.step([1, 3], env_indices=[4, 1])
    assert sim.state.frame.tolist() == [0, 30, 0, 0, 30]
    untouched = [0, 2, 3]
    assert differing_fields(sim.games[untouched], before[untouched]) == []


def test_results_come_in_the_order_of_the_rows_asked_for() -> None:
    sim = opened(RULES_2018, 5)
    everything = sim.sense(Sensor())
    assert np.array_equal(sim.sense(Sensor(), env_indices=[4, 0, 2]), everything[[4, 0, 2]])
    assert sim.run_to_frame([10, 20], env_indices=[3, 1]).tolist() == [NOBODY, NOBODY]
    assert sim.state.frame.tolist() == [0, 20, 0, 10, 0]


def test_sense_writes_into_the_array_it_is_given() -> None:
    sim = opened(RULES_2018, 3)
    out = np.full((3, Sensor().size), -1.0)
    assert sim.sense(Sensor(), out=out) is out
    assert np.array_equal(out, sim.sense(Sensor()))


def test_number_of_threads_can_be_set_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPTRAFFIC_THREADS", "3")
    assert Simulator(RULES_2018).threads == 3
    assert Simulator(RULES_2018, threads=2).threads == 2
    monkeypatch.setenv("DEEPTRAFFIC_THREADS", "many")
    with pytest.raises(ValueError, match="DEEPTRAFFIC_THREADS='many'.*give 1 or more, or unset it"):
        Simulator(RULES_2018)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_goes_on_with_a_simulator_whose_threads_it_lacks() -> None:
    sim = opened(RULES_2018, 64, threads=2)
    sim.step(np.ones(64, np.int64))  # the pool's threads run, which a fork does not copy
    expected = copy.deepcopy(sim)
    expected.step(np.full(64, 3))
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=step_and_send, args=(sim, sender))
    child.start()
    try:
        assert receiver.poll(60), "the forked process hangs"
        assert np.array_equal(receiver.recv(), expected.state.y)
    finally:
        child.kill()
        child.join()


def step_and_send(sim: Simulator, sender: Any) -> None:
    sim.step(np.full(64, 3))
    sender.send(np.asarray(sim.state.y))


# --- saving and restoring ---------------------------------------------------------------------------------------------


@EVERY_RULES
def test_copied_state_continues_as_the_original_does(rules: Rules) -> None:
    original, clone = opened(rules, 3), Simulator(rules, 3)
    original.step(np.array([1, 2, 3]), periods=4)
    original.run_to_decision(1)
    clone.set_state(original.get_state())
    for actions in random_actions(rules, 3, periods=10):
        original.step(actions)
        clone.step(actions)
    assert differing_fields(original.games, clone.games) == []


def test_state_of_one_row_can_be_written_into_many() -> None:
    sim, many = opened(RULES_2018, 3), Simulator(RULES_2018, 10)
    many.set_state(sim.get_state(env_indices=[1]))
    assert all(many.games[row] == sim.games[1] for row in range(10))
    many.set_state(sim.get_state(env_indices=[0, 2]), env_indices=[9, 4])
    assert many.games[9] == sim.games[0]
    assert many.games[4] == sim.games[2]
    assert many.games[5] == sim.games[1]


def test_copied_state_shares_no_memory() -> None:
    sim = opened(RULES_2018, 2)
    saved = sim.get_state()
    frozen = copy.deepcopy(saved)
    sim.step([1, 1], periods=3)
    assert differing_fields(saved, frozen) == []
    saved.y[:] = 0.0
    assert (sim.state.y != 0.0).any()


def test_state_from_the_other_contest_meets_this_contests_rules() -> None:
    sim = Simulator(RULES_2017)
    sim.set_state(opened(RULES_2018).get_state())
    sim.step([0])
    obs = sim.sense(Sensor(0, 50, 0))
    assert obs.max() == 1.0  # free road reads 1, whichever number stands for it


def test_state_of_another_road_is_refused() -> None:
    sim = opened(RULES_2018)
    with pytest.raises(ValueError, match=r"another road.*take them from a simulator with the same lanes"):
        sim.set_state(Simulator(RoadConfig(lanes=5).build()).get_state())


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda sim: pickle.loads(pickle.dumps(sim))], ids=["copy", "pickle"]
)
def test_duplicated_simulator_continues_on_its_own(duplicate: Callable[[Simulator], Simulator]) -> None:
    original = opened(WITH_AGENTS, 20, threads=2)
    twin = duplicate(original)
    before = original.get_state()
    actions = random_actions(WITH_AGENTS, 20, periods=1)[0]
    twin.step(actions)
    assert differing_fields(original.games, before) == []
    original.step(actions)
    assert differing_fields(original.games, twin.games) == []
    assert np.array_equal(twin.state.y, twin.games["y"])


def test_a_game_is_small() -> None:
    assert Simulator(RULES_2018).games.itemsize < 2048  # [bytes], so that search can copy states freely


# --- errors that teach ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_envs", [0, -4])
def test_no_games_are_refused(num_envs: int) -> None:
    with pytest.raises(ValueError, match=f"num_envs must be an integer of at least 1, got {num_envs}"):
        Simulator(RULES_2018, num_envs)


def test_no_threads_are_refused() -> None:
    with pytest.raises(ValueError, match="threads must be an integer of at least 1, got 0"):
        Simulator(RULES_2018, threads=0)


@pytest.mark.parametrize("actions", [0, [0], [0, 0, 0], [[0, 0]], [[0], [0], [0]]], ids=str)
def test_actions_of_a_wrong_shape_are_refused(actions: Any) -> None:
    with pytest.raises(ValueError, match=r"actions of shape .* for 2 games; give shape \(2,\) or \(2, 4\)"):
        opened(WITH_AGENTS, 2).step(actions)


@pytest.mark.parametrize("agent", [-1, 4])
def test_sensing_for_nobody_is_refused(agent: int) -> None:
    with pytest.raises(ValueError, match=f"agent={agent} does not drive here; agents are 0..3"):
        opened(WITH_AGENTS).sense(Sensor(), agent)


def test_senseless_sensor_is_refused() -> None:
    with pytest.raises(ValueError, match="lanes_side must be .*, got 51"):
        opened(RULES_2018).sense(Sensor(51, 10, 10))


CALLS: dict[str, Callable[[Simulator, Any], Any]] = {
    "start_program": lambda sim, rows: sim.start_program(env_indices=rows),
    "reset": lambda sim, rows: sim.reset(1, env_indices=rows),
    "reset_open": lambda sim, rows: sim.reset_open([1], env_indices=rows),
    "run_to_decision": lambda sim, rows: sim.run_to_decision(env_indices=rows),
    "step_frame": lambda sim, rows: sim.step_frame(env_indices=rows),
    "step": lambda sim, rows: sim.step([0], env_indices=rows),
    "sense": lambda sim, rows: sim.sense(Sensor(), env_indices=rows),
    "get_state": lambda sim, rows: sim.get_state(rows),
    "set_state": lambda sim, rows: sim.set_state(sim.get_state([0]), rows),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("row", [2, -1])
def test_env_that_does_not_exist_is_refused(call: Callable[[Simulator, Any], Any], row: int) -> None:
    with pytest.raises(IndexError, match=rf"env_indices must lie in \[0, 1\], got {row}"):
        call(opened(RULES_2018, 2), [row])


@pytest.mark.parametrize(
    "out",
    [np.empty((1, 420)), np.empty((2, 419)), np.empty(840), np.empty((2, 420), np.int64)],
    ids=lambda out: str(out.shape),
)
def test_sensing_into_an_array_that_does_not_fit_is_refused(out: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"out of shape .*give \(2, 420\)"):
        opened(RULES_2018, 2).sense(Sensor(), out=out)


def test_mask_in_place_of_env_indices_is_refused() -> None:
    with pytest.raises(TypeError, match=r"env_indices must be integers, got type bool; for a mask give np.flatnonzero"):
        opened(RULES_2018, 2).step([0, 0], env_indices=[True, False])


def test_no_rows_at_all_are_stepped_without_ado() -> None:
    sim = opened(RULES_2018, 2)
    before = sim.get_state()
    sim.step(np.zeros(0), env_indices=[])
    assert differing_fields(sim.games, before) == []
