"""Paired rollouts: returns against arithmetic, common random numbers, and no use of the simulator's real future."""

from typing import Any

import numpy as np
import pytest

from agents.compiled.network import layer_params
from agents.lane_network import CANDIDATES, VALUE_SCALE, LaneNetwork
from agents.paired_rollouts import PairedRollouts, RolloutSettings, draw_streams
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Action, RoadConfig, Rules, Sensor
from deeptraffic.sim.state import F64, I64

SENSOR = Sensor(1, 6, 2)
GAMMA, LAMBDA, VALUE = 0.9, 0.7, 2.5
SINGLE = np.array([[Action.ACCELERATE], [Action.LEFT], [Action.RIGHT]])  # plans of one action
PAIRS = np.array([[Action.ACCELERATE, Action.LEFT], [Action.RIGHT, Action.RIGHT], [Action.LEFT, Action.ACCELERATE]])


def speed_up() -> LaneNetwork:
    """A network that accelerates and values every state the same."""
    network = LaneNetwork(SENSOR, 1, [], "relu")
    layer_params(network.net.dense)[-1]["bias"][:] = 1.0, 0.0, 0.0, VALUE / VALUE_SCALE
    return network


def any_network() -> LaneNetwork:
    """A network whose actions and values depend on the observation."""
    network = LaneNetwork(SENSOR, 4, [5], "relu")
    network.params[:] = np.random.default_rng(3).normal(0.0, 0.5, network.params.size)
    return network


def waiting_simulator(count: int, others: int = 0) -> Simulator:
    sim = Simulator(RoadConfig(other_agents=others).build(), count, threads=1)
    sim.reset_open(range(count))
    for _ in range(4):
        sim.step(np.full(count, int(Action.ACCELERATE)))
    return sim


def try_all(
    sim: Simulator,
    streams: I64,
    depth: int = 3,
    lambda_: float = LAMBDA,
    plans: I64 = SINGLE,
    network: LaneNetwork | None = None,
    agent: int = 0,
) -> F64:
    rollouts = PairedRollouts(network or speed_up(), RolloutSettings(SENSOR, depth, GAMMA, lambda_))
    rows = np.arange(sim.num_envs)
    return rollouts.returns(sim, rows, np.ones((rows.size, len(plans)), bool), plans, streams, agent)


def rewards_of(rules: Rules, game: Any, stream: Any, plan: I64, depth: int) -> list[float]:
    """Rewards of one copy of an env, decision by decision, with another random stream."""
    sim = Simulator(rules, 1, threads=1)
    sim.games[0] = game
    sim.games["rng"][0] = stream
    rewards = []
    for step in range(depth):
        before = float(sim.state.score_sum[0])
        sim.run_to_decision(plan[step] if step < len(plan) else int(Action.ACCELERATE))
        rewards.append((20.0 * (float(sim.state.score_sum[0]) - before) / 30.0 - 60.0) / 20.0)  # (mph - 60) / 20
    return rewards


@pytest.mark.parametrize(("plans", "depth"), [(SINGLE, 1), (SINGLE, 4), (PAIRS, 2), (PAIRS, 4)])
@pytest.mark.parametrize("lambda_", [0.0, LAMBDA, 1.0])
def test_a_return_is_the_lambda_return_of_its_copy(plans: I64, depth: int, lambda_: float) -> None:
    sim = waiting_simulator(3)
    streams = draw_streams(np.random.default_rng(0), 3, 2)
    found, length = try_all(sim, streams, depth, lambda_, plans), plans.shape[1]
    for b, k, r in np.ndindex(found.shape):
        rewards = rewards_of(sim.rules, sim.games[b], streams[b, r], plans[k], depth)
        expected = VALUE  # G[t] = r[t] + gamma ((1 - lambda) V + lambda G[t + 1]), and r + gamma V at the end;
        for t in reversed(range(depth)):  # within a plan there is no value: r + gamma G[t + 1]
            mixed = (1 - lambda_) * VALUE + lambda_ * expected
            expected = rewards[t] + GAMMA * (expected if t < length - 1 or t == depth - 1 else mixed)
        assert found[b, k, r] == pytest.approx(expected, abs=1e-9)


def test_actions_share_their_random_numbers() -> None:
    sim = waiting_simulator(20)
    streams = draw_streams(np.random.default_rng(0), 20, 3)
    twice = np.array([[Action.ACCELERATE], [Action.ACCELERATE]])
    found = try_all(sim, streams, depth=20, plans=twice, network=any_network())
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    assert np.any(found[:, 0, 0] != found[:, 0, 1])  # another rollout meets other traffic


def test_returns_neither_use_nor_change_the_simulators_random_stream() -> None:
    sim = waiting_simulator(20)
    streams = draw_streams(np.random.default_rng(0), 20, 2)
    before = sim.games.copy()
    found = try_all(sim, streams, depth=20, network=any_network())
    for name in before.dtype.names or ():
        np.testing.assert_array_equal(sim.games[name], before[name])
    sim.games["rng"] = np.arange(20) + 7
    np.testing.assert_array_equal(try_all(sim, streams, depth=20, network=any_network()), found)


def test_what_is_not_tried_has_no_return() -> None:
    sim = waiting_simulator(4)
    tried = np.array([[True, False, True], [True, True, True], [False, False, False], [True, False, False]])
    streams = draw_streams(np.random.default_rng(0), 4, 2)
    rollouts = PairedRollouts(speed_up(), RolloutSettings(SENSOR, 2, GAMMA, LAMBDA))
    found = rollouts.returns(sim, np.arange(4), tried, SINGLE, streams)
    np.testing.assert_array_equal(np.isnan(found), np.repeat(~tried[:, :, None], 2, 2))
    np.testing.assert_array_equal(found[tried], try_all(sim, streams, 2)[tried])


def test_a_return_depends_neither_on_the_other_copies_nor_on_threads() -> None:
    sim = waiting_simulator(300)
    streams = draw_streams(np.random.default_rng(0), 300, 1)
    together = try_all(sim, streams, network=any_network())
    sim.threads = 2
    np.testing.assert_array_equal(try_all(sim, streams, network=any_network()), together)
    sim.threads = 1
    rollouts = PairedRollouts(any_network(), RolloutSettings(SENSOR, 3, GAMMA, LAMBDA))
    for b in (0, 199):
        alone = rollouts.returns(sim, np.array([b]), np.ones((1, 3), bool), SINGLE, streams[[b]])
        np.testing.assert_array_equal(alone[0], together[b])


def act(network: LaneNetwork, sim: Simulator, agent: int) -> tuple[int, float]:
    advantages, values = network.evaluate(sim.sense(SENSOR, agent).astype(np.float32))
    return int(CANDIDATES[advantages[0].argmax()]), float(values[0])


@pytest.mark.parametrize("uses_values", [True, False])
def test_other_agents_act_too_each_by_its_own_observation(uses_values: bool) -> None:
    sim, network, depth = waiting_simulator(12, others=2), any_network(), 3
    streams = draw_streams(np.random.default_rng(0), 12, 1)
    rollouts = PairedRollouts(network, RolloutSettings(SENSOR, depth, GAMMA, 1.0, uses_values))
    found = rollouts.returns(sim, np.arange(12), np.ones((12, 3), bool), SINGLE, streams)
    seen = set()
    for b, k in np.ndindex(12, 3):
        copy = Simulator(sim.rules, 1, threads=1)
        copy.set_state(sim.get_state([b]))
        copy.games["rng"][0] = streams[b, 0]
        action, total = int(SINGLE[k, 0]), 0.0
        for step in range(depth):
            before, waiting = float(copy.state.score_sum[0]), int(copy.run_to_decision(action)[0])
            while waiting:
                action, _ = act(network, copy, waiting)
                seen.add((waiting, action))
                waiting = int(copy.run_to_decision(action)[0])
            total += GAMMA**step * (20.0 * (float(copy.state.score_sum[0]) - before) / 30.0 - 60.0) / 20.0
            action, value = act(network, copy, 0)
        assert found[b, k, 0] == pytest.approx(total + uses_values * GAMMA**depth * value, abs=1e-6)
    assert {agent for agent, _ in seen} == {1, 2} and len({action for _, action in seen}) > 1


def test_another_agents_plan_is_worth_what_the_team_earns() -> None:
    sim = waiting_simulator(2, others=2)
    sim.run_to_decision(int(Action.ACCELERATE))
    assert sim.state.waiting.tolist() == [1, 1]
    streams, game = draw_streams(np.random.default_rng(0), 2, 1), sim.get_state([0])
    found = try_all(sim, streams, depth=1, agent=1)
    for k, (action,) in enumerate(SINGLE):
        copy = Simulator(sim.rules, 1, threads=1)
        copy.set_state(game)
        copy.games["rng"][0] = streams[0, 0]
        before, waiting = float(copy.state.score_sum[0]), int(copy.run_to_decision(action)[0])
        while waiting != 1:
            waiting = int(copy.run_to_decision(int(Action.ACCELERATE))[0])
        mph = 20.0 * (float(copy.state.score_sum[0]) - before) / 30.0
        assert found[0, k, 0] == pytest.approx((mph - 60.0) / 20.0 + GAMMA * VALUE, abs=1e-9)
