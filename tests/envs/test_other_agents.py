"""Who drives the other agents: policy objects with a memory slot each, functions, and what both are shown."""

import copy
from typing import Any

import numpy as np
import pytest

from deeptraffic.envs.gym_env import DeepTrafficEnv
from deeptraffic.envs.observations import make_observation
from deeptraffic.envs.other_agents import OtherDrivers
from deeptraffic.policies.base import Policy
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RoadConfig, Sensor

RULES = RoadConfig(other_agents=3).build()


class Recorder(Policy):
    """A policy that keeps what it is given and answers with a fixed action."""

    label = "recorder"

    def __init__(self, observation: Any, action: int = 1) -> None:
        self.observation, self.action = observation, action
        self.resets: list[list[int]] = []
        self.asked: list[tuple[np.ndarray, list[int]]] = []

    def reset(self, rows: np.ndarray) -> None:
        self.resets.append(rows.tolist())

    def act(self, obs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        self.asked.append((obs.copy(), rows.tolist()))
        return np.full(len(rows), self.action)


def test_policy_gets_a_slot_per_agent_and_its_own_sensor_in_float64() -> None:
    sensor = Sensor(1, 10, 5)
    policy = Recorder(sensor)
    env = DeepTrafficEnv(other_agents=3, observation="gaps", others=policy)
    env.reset(seed=0)
    assert policy.resets == [[1, 2, 3]] and policy.asked == []
    env.step(0)
    assert [slots for _, slots in policy.asked] == [[1], [2], [3]]
    twin = Simulator(RULES)
    twin.reset_open([0])
    twin.run_to_decision()
    for obs, (agent,) in policy.asked:
        twin.run_to_decision(0 if agent == 1 else 1)
        assert twin.state.waiting[0] == agent
        np.testing.assert_array_equal(obs, twin.sense(sensor, agent))
        assert obs.dtype == np.float64


def test_games_of_a_batch_have_separate_slots() -> None:
    sim = Simulator(RULES, num_envs=4)
    policy = Recorder(Sensor())
    drivers = OtherDrivers(policy, sim, make_observation("vector"))
    drivers.reset(np.array([1, 3]))
    assert policy.resets == [[5, 6, 7, 13, 14, 15]]
    sim.reset_open(range(4))
    sim.run_to_decision()
    assert sim.run_to_decision(0, [1, 3]).tolist() == [1, 1]
    assert drivers.decide(sim, 1, np.array([1, 3])).tolist() == [1, 1]
    assert policy.asked[0][1] == [5, 13]


def test_declared_observation_kinds_are_given() -> None:
    shapes = []
    for observation in (make_observation("gaps_ego", dtype="float64"), make_observation("kinematics", nearest=2)):
        drivers = OtherDrivers(Recorder(observation), Simulator(RULES), make_observation("vector"))
        shapes.append(drivers.observers[0].space)
    assert shapes[0].shape == (44,) and shapes[0].dtype == np.float64
    assert shapes[1]["vehicles"].shape == (2, 6)


def test_privileged_policy_gets_the_simulator_it_drives_in() -> None:
    policy = Recorder(Sensor())
    policy.attach = lambda sim: setattr(policy, "sim", sim)
    env = DeepTrafficEnv(other_agents=1, others=policy)
    assert policy.sim is env.sim


def test_window_of_another_agent_holds_its_own_decisions() -> None:
    config = make_observation("gaps", temporal_window=1)
    seen: list[np.ndarray] = []

    def other(obs: np.ndarray) -> int:
        seen.append(obs)
        return 2

    env = DeepTrafficEnv(other_agents=1, observation=config, others=other)
    env.reset(seed=0)
    env.step(4)
    env.step(4)
    assert not seen[0][42:].any()
    np.testing.assert_array_equal(seen[1][42:84], seen[0][:42])
    assert np.flatnonzero(seen[1][84:]).tolist() == [2]


@pytest.mark.parametrize("name", ["gap", "random", "accelerate"])
def test_built_in_drivers_drive_and_are_copied_with_the_environment(name: str) -> None:
    env = DeepTrafficEnv(other_agents=4, others=make_builtin(name))
    idle = DeepTrafficEnv(other_agents=4)
    env.reset(seed=1), idle.reset(seed=1)
    for _ in range(5):
        env.step(0), idle.step(0)
    assert (env.sim.state.y != idle.sim.state.y).any()
    twin = copy.deepcopy(env)
    for _ in range(5):
        np.testing.assert_array_equal(env.step(1)[0], twin.step(1)[0])
    assert (env.sim.state.y == twin.sim.state.y).all()


@pytest.mark.parametrize("answer", [1.5, "left", None, 5, [1]])
def test_function_that_answers_nonsense_is_named_with_the_agent(answer: Any) -> None:
    env = DeepTrafficEnv(other_agents=2, others=lambda obs: answer)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="agent 1"):
        env.step(0)


def test_policy_that_answers_for_too_many_is_refused() -> None:
    policy = Recorder(Sensor())
    policy.act = lambda obs, rows: np.zeros(2)
    env = DeepTrafficEnv(other_agents=2, others=policy)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="one action in .0, 4. per env"):
        env.step(0)
