"""The network policy: its window, its copies, and drawn actions."""

import numpy as np
import pytest

from deeptraffic.evaluation.play import PolicyRunner
from deeptraffic.policies.layers import Dense, Gru
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import NetworkPolicy, input_size, sample, uniform
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018, Sensor
from deeptraffic.sim.runs import Runs

SENSOR = Sensor(0, 2, 0)  # two cells
ONE = np.arange(1)


def linear(temporal_window: int, rows: list[list[float]], seed: int | None = None) -> NetworkPolicy:
    """A policy whose outputs are the products of these rows with its input."""
    weight = np.array(rows, float)
    network = Network(weight.shape[1], (Dense(outputs=5, bias=False),), {"1.weight": weight})
    return NetworkPolicy("linear", network, SENSOR, temporal_window, seed=seed)


def spy(temporal_window: int, entry: int) -> NetworkPolicy:
    """Answers 3 where the entry of its input is above 0, else 0."""
    rows = np.zeros((5, input_size(SENSOR, temporal_window)))
    rows[3, entry] = 1.0
    return linear(temporal_window, rows.tolist())


def drive(policy: NetworkPolicy, observations: list[list[float]]) -> list[int]:
    policy.reset(ONE)
    return [int(policy.act(np.array([obs]), ONE)[0]) for obs in observations]


def test_first_of_equal_outputs_is_taken() -> None:
    assert drive(linear(0, [[0, 0], [1, 0], [0, 0], [1, 0], [1, 0]]), [[1, 1], [0, 1], [-1, 0]]) == [1, 0, 0]


def test_no_action_until_the_window_is_full() -> None:
    rows = np.zeros((5, input_size(SENSOR, 2)))
    rows[4, 0] = 1.0
    assert drive(linear(2, rows.tolist()), [[1, 0]] * 4) == [0, 0, 4, 4]


def test_window_holds_past_observations_newest_first() -> None:
    seen = [[0, 0], [1, 0], [0, 0], [0, 0], [0, 0]]
    assert drive(spy(2, 2), seen) == [0, 0, 3, 0, 0]  # one decision ago
    assert drive(spy(2, 2 + 7), seen) == [0, 0, 0, 3, 0]  # two decisions ago


def test_window_holds_past_actions_as_one_hot_times_the_number_of_cells() -> None:
    rows = np.zeros((5, input_size(SENSOR, 1)))
    rows[1, 2 + 2 + 0] = 1.0  # action 0 was taken: 2 cells, so it reads 2
    rows[2, 0] = 1.9
    rows[2, 2 + 2 + 1] = 0.5  # action 1 was taken
    rows[4, 2 + 2 + 2] = 1.0  # action 2 was taken
    assert drive(linear(1, rows.tolist()), [[1, 0]] * 5) == [0, 1, 2, 4, 2]


def test_reset_empties_the_window_of_its_slots_alone() -> None:
    policy, both = spy(1, 2), np.arange(2)
    policy.reset(both)
    policy.act(np.array([[1.0, 0], [1.0, 0]]), both)
    policy.reset(np.array([1]))
    assert policy.act(np.zeros((2, 2)), both).tolist() == [3, 0]


def test_other_agents_get_a_copy_of_the_ego_cars_brain_when_its_window_is_full() -> None:
    policy, both = spy(1, 2), np.arange(2)
    policy.attach(Simulator(RULES_2018._replace(other_agents=1)))
    policy.reset(both)
    policy.act(np.array([[0.0, 0]]), np.array([0]))
    policy.act(np.array([[0.0, 0]]), np.array([1]))
    policy.act(np.array([[1.0, 0]]), np.array([0]))  # more than T calls: copied
    assert policy.act(np.array([[0.0, 0]]), np.array([1])).tolist() == [3]


def test_recurrent_state_is_kept_per_slot() -> None:
    random = np.random.default_rng(0)
    shapes = {"1.weight_input": (12, 2), "1.weight_hidden": (12, 4), "1.bias_input": 12, "1.bias_hidden": 12}
    tensors = {name: random.normal(size=shape) for name, shape in shapes.items()} | {"2.weight": np.eye(5, 4)}
    network = Network(2, (Gru(hidden=4), Dense(outputs=5, bias=False)), tensors)
    policy, rows = NetworkPolicy("gru", network, SENSOR), np.arange(3)
    policy.reset(rows)
    for _ in range(3):
        policy.act(np.array([[1.0, 0.5], [0.0, 2.0], [1.0, 0.5]]), rows)
    assert policy.driver.memory[0].any()
    np.testing.assert_array_equal(policy.driver.memory[0], policy.driver.memory[2])
    assert (policy.driver.memory[0] != policy.driver.memory[1]).any()


@pytest.mark.parametrize("seed", [None, 7])
def test_whole_runs_are_played_as_decision_by_decision(seed: int | None) -> None:
    sensor, random, results = Sensor(1, 10, 2), np.random.default_rng(5), []
    size = input_size(sensor, 1)
    network = Network(size, (Dense(outputs=5, bias=False),), {"1.weight": random.normal(size=(5, size))})
    for compiled in (True, False):
        sim = Simulator(RULES_2018._replace(other_agents=2), threads=1)
        sim.start_program(1)
        runner = PolicyRunner(NetworkPolicy("any", network, sensor, 1, seed=seed), sim)
        play = runner.policy.official_loop() if compiled else runner.play
        assert play is not None
        runs = Runs.official(sim, 1, 4, 1000)
        play(runs)
        results.append([*runs.speed_sums, *runs.passed, *sim.state.speed_factor[0]])
    assert results[0] == results[1]


def test_drawn_actions_have_the_chances_of_the_softmax() -> None:
    chances = np.array([0.1, 0.2, 0.3, 0.15, 0.25])
    policy = linear(0, [[np.log(c), 0] for c in chances], seed=1)
    drawn = np.bincount(drive(policy, [[1, 0]] * 5000), minlength=5) / 5000
    np.testing.assert_allclose(drawn, chances, atol=0.03)  # four standard deviations


def test_drawn_actions_depend_on_seed_and_slot_alone() -> None:
    def draws(seed: int, slots: int) -> np.ndarray:
        policy = linear(0, [[0, 0]] * 5, seed=seed)
        policy.reset(np.arange(slots))
        return np.array([policy.act(np.zeros((slots, 2)), np.arange(slots)) for _ in range(50)]).T

    np.testing.assert_array_equal(draws(1, 2)[1], draws(1, 4)[1])
    assert (draws(1, 2)[0] != draws(1, 2)[1]).any()
    assert (draws(1, 1) != draws(2, 1)).any()


def test_a_draw_takes_the_first_whose_running_sum_exceeds_it() -> None:
    scores = np.log([0.5, 0.25, 0.25])
    assert [sample(scores, u) for u in (0.0, 0.499, 0.501, 0.74, 0.76, 1.0)] == [0, 0, 1, 1, 2, 2]
    assert sample(np.array([1000.0, 0.0]), 0.999) == 0


def test_uniform_numbers_are_those_that_the_format_documents() -> None:
    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    for seed, slot, calls in ((0, 0, 0), (7, 3, 100), (2**53 - 1, 10, 10**9)):
        expected = mix((mix(mix(seed + 1) + slot) + calls * 0x9E3779B97F4A7C15) % 2**64) >> 11
        assert uniform(seed, slot, calls) == expected * 2.0**-53


def test_what_does_not_fit_is_named() -> None:
    network = Network(2, (Dense(outputs=5, bias=False),), {"1.weight": np.zeros((5, 2))})
    with pytest.raises(ValueError, match="2 inputs, but 3 cells"):
        NetworkPolicy("x", network, Sensor(0, 3, 0))
    with pytest.raises(ValueError, match="seed must be .*, got -1"):
        NetworkPolicy("x", network, SENSOR, seed=-1)


def test_slots_and_observations_that_have_no_room_are_refused() -> None:
    policy = linear(0, [[0, 0]] * 5)
    with pytest.raises(ValueError, match=r"in \[0, 0\], got 0 to 1; reset\(agent_indices\) makes room"):
        policy.act(np.zeros((2, 2)), np.arange(2))
    with pytest.raises(ValueError, match=r"in \[0, 0\], got -1 to -1"):
        policy.act(np.zeros((1, 2)), -ONE - 1)
    with pytest.raises(ValueError, match="2 numbers each"):
        policy.act(np.zeros((1, 3)), ONE)


def test_room_is_made_for_agents_without_emptying_the_memories_of_others() -> None:
    policy = spy(1, 2)
    policy.act(np.array([[1.0, 0]]), ONE)
    policy.reset(np.array([1, 3]))  # as those of the other agents alone
    assert policy.act(np.zeros((2, 2)), np.array([0, 3])).tolist() == [3, 0]
    policy.reset(np.arange(2))
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 2"):
        policy.act(np.zeros((1, 2)), np.array([2]))
