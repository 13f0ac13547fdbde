"""Envs and rollouts of compiled learners against the simulator and the policies that users have."""

from collections.abc import Callable

import numpy as np
import pytest

from agents.compiled.envs import Envs
from agents.compiled.model import Model, model_weights, new_model
from agents.compiled.rollout import SAMPLED, Rollout, collect, draw_action, new_rollout
from agents.config import TrainConfig
from agents.export import TrainedPolicy
from deeptraffic.sim.engine import Simulator

Config = Callable[..., TrainConfig]
Played = tuple[Envs, Model, Rollout]
LANES = {"kind": "vector", "lane_units": 6}


def play(config: TrainConfig, steps: int, epsilon: float = 0.3, outputs: tuple[int, ...] = (5,)) -> Played:
    """Return the envs, a random network and a rollout of it."""
    envs = Envs(config)
    model = new_model(config, envs.state.obs.shape[1], outputs, layer_norm=True)
    model.dense.params[:] = np.random.default_rng(1).normal(0.0, 0.3, model.dense.params.size)
    model.functions.prepare(model.net)
    rollout = new_rollout(envs, steps)
    collect(envs, model, rollout, epsilon)
    return envs, model, rollout


@pytest.mark.parametrize("settings", [{}, {"kind": "vector"}, LANES, {"lanes": 4, "vehicles": 10}, {"other_agents": 2}])
def test_decisions_are_those_of_the_simulator_and_of_the_exported_network(small_config: Config, settings: dict) -> None:
    config = small_config("pqn", num_envs=5, max_steps=100, **settings)
    _, model, rollout = play(config, 6, epsilon=0.0)
    policy = TrainedPolicy("p", model_weights(model, 1), config.road, config.observation, "relu")
    sim = Simulator(config.road.build(), 5)
    sim.reset_open(range(3, 8))  # the config's seed and the next
    sim.step(sim.idle)
    for t in range(6):
        cells = sim.sense(config.observation.sensor)
        actions = policy.act(cells, np.arange(5))
        np.testing.assert_array_equal(rollout.actions[:, t], actions)
        sim.step(actions)
        np.testing.assert_array_equal(rollout.mit[:, t], sim.games["reward"])
    np.testing.assert_array_equal(rollout.passed.sum(1), sim.games["passed"])
    assert not rollout.ended.any()
    assert len(np.unique(rollout.obs, axis=1)) > 1


def test_episodes_end_in_turn_and_new_runs_begin(small_config: Config) -> None:
    envs, _, rollout = play(small_config("pqn", num_envs=4, max_steps=8), 20)
    lengths = [np.flatnonzero(row).tolist() for row in rollout.ended]
    assert lengths == [[7, 15], [5, 13], [3, 11, 19], [1, 9, 17]]  # the first: 8, 6, 4 and 2 decisions
    np.testing.assert_array_equal(envs.state.steps, [4, 6, 0, 2])
    assert len({tuple(game["y"]) for game in envs.sim.games}) == 4


def test_a_value_is_the_last_output_of_two_branches_or_the_largest_of_one(small_config: Config) -> None:
    for settings in ({}, LANES):
        config = small_config("pqn", num_envs=4, max_steps=5, **settings)
        for outputs in ((5,), (5, 1)):
            envs, model, rollout = play(config, 12, outputs=outputs)
            obs = np.concatenate([rollout.obs[:, 1:].reshape(-1, rollout.obs.shape[2]), envs.state.obs])
            found = model.functions.predict(model.net, model.functions.new_tape(model.net, True), obs, np.arange(48))[0]
            expected = (found[5] if len(outputs) > 1 else found.max(0))[:48]
            np.testing.assert_array_equal(rollout.values[:, 1:-1].ravel(), expected[:44])
            np.testing.assert_array_equal(rollout.values[:, -1], expected[44:])
            np.testing.assert_array_equal(rollout.outputs[:, 1:].reshape(-1, 5), found[:5, :44].T)
            assert (rollout.end_values[rollout.ended] != rollout.values[:, 1:][rollout.ended]).any()


@pytest.mark.parametrize("settings", [{}, LANES])
@pytest.mark.parametrize("epsilon", [0.3, SAMPLED])
def test_a_rollout_does_not_depend_on_threads(
    small_config: Config, monkeypatch: pytest.MonkeyPatch, epsilon: float, settings: dict
) -> None:
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("DEEPTRAFFIC_THREADS", threads)
        envs, _, rollout = play(small_config("pqn", num_envs=140, batch_size=64, **settings), 12, epsilon)
        assert envs.sim.threads == int(threads)
        found.append((*rollout, envs.sim.games.tobytes(), *envs.state))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_random_actions_are_as_frequent_as_asked(small_config: Config) -> None:
    config = small_config("pqn", num_envs=200)
    greedy = play(config, 1, epsilon=0.0)[2]
    mixed = play(config, 1, epsilon=0.5)[2]
    np.testing.assert_array_equal(greedy.actions[:, 0], greedy.outputs[:, 0].argmax(1))
    same = (greedy.actions == mixed.actions).mean()
    assert 0.5 < same < 0.7  # 0.6 expected: half of them, and a fifth of the other half


def test_sampled_actions_have_the_probabilities_of_their_logits() -> None:
    logits = np.log(np.array([0.1, 0.2, 0.3, 0.0625, 0.3375], np.float32)) + np.float32(50.0)
    drawn = [draw_action(logits, (k + 0.5) / 10_000) for k in range(10_000)]
    np.testing.assert_allclose(np.bincount(drawn) / 10_000, [0.1, 0.2, 0.3, 0.0625, 0.3375], atol=2e-3)


@pytest.mark.parametrize("kind", ["mit", "speed", "passed"])
def test_rewards_are_those_of_the_environments(small_config: Config, kind: str) -> None:
    _, _, rollout = play(small_config("pqn"), 6)
    expected = {"mit": rollout.mit, "speed": 0.5 + rollout.mit / 6.0, "passed": rollout.passed}[kind]
    np.testing.assert_allclose(rollout.rewards(kind), expected, rtol=1e-6)
