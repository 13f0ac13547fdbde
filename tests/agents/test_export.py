"""Export of weights: the policy acts as the network that was trained, and nothing else is read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.config import NetworkConfig, TrainConfig
from agents.export import TrainedPolicy, Weights, read_weights, to_network, weights_content
from deeptraffic.evaluation.play import PolicyRunner
from deeptraffic.policies.gaps import gap_features
from deeptraffic.policies.network import Network
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RoadConfig
from deeptraffic.sim.runs import Runs

Config = Callable[..., TrainConfig]


def make_policy(
    config: TrainConfig, weights: Weights, label: str, notes: dict[str, str] | None = None
) -> TrainedPolicy:
    return TrainedPolicy(label, weights, config.road, config.observation, activation_of(config), notes)


def activation_of(config: TrainConfig) -> str:
    assert isinstance(config.agent, NetworkConfig)
    return config.agent.activation


def network_of(config: TrainConfig, weights: Weights) -> Network:
    return to_network(weights, config.road, config.observation, activation_of(config))


def random_weights(*sizes: int) -> Weights:
    random = np.random.default_rng(0)
    weights: Weights = {}
    for k, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        weights[f"{k}.weight"] = random.normal(size=(outputs, inputs), scale=inputs**-0.5).astype(np.float32)
        weights[f"{k}.bias"] = random.normal(size=outputs, scale=0.1).astype(np.float32)
    return weights


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden", [(), (7,), (16, 3, 8)])
@pytest.mark.parametrize("rules", [2018, 2017])
def test_a_network_equals_torch_on_lane_gaps(
    small_config: Config, activation: str, hidden: tuple[int, ...], rules: int
) -> None:
    config = small_config("ppo", activation=activation, hidden=list(hidden), rules=rules)
    weights = random_weights(42, *hidden, 5)
    sim = Simulator(config.road.build(), threads=1)
    sim.reset_open([4])
    sim.step([0])
    cells, gaps = sim.sense(config.observation.sensor)[0], np.empty(42)
    gap_features(cells, 3, 50, 10, sim.rules.empty, gaps)
    values = torch.tensor(gaps)
    for k in range(len(hidden) + 1):
        weight, bias = (torch.tensor(weights[f"{k}.{part}"], dtype=torch.float64) for part in ("weight", "bias"))
        values = weight @ values + bias
        if k < len(hidden):
            values = torch.tanh(values) if activation == "tanh" else torch.relu(values)
    found = network_of(config, weights).assemble().run(cells)
    np.testing.assert_allclose(found, values.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["gaps", "vector"])
def test_official_runs_equal_runs_decision_by_decision(small_config: Config, kind: str) -> None:
    config = small_config("ppo", kind=kind, other_agents=2)
    policy = make_policy(config, random_weights(42 if kind == "gaps" else 420, 16, 5), "random")
    played = []
    for compiled in (True, False):
        sim = Simulator(RoadConfig(other_agents=2).build(), threads=1)
        sim.start_program(1)
        runner = PolicyRunner(policy, sim)
        play = runner.policy.official_loop() if compiled else runner.play
        assert play is not None
        runs = Runs.official(sim, 1, 3, 700)
        play(runs)
        played.append(runs)
    np.testing.assert_array_equal(played[0].speed_sums, played[1].speed_sums)
    np.testing.assert_array_equal(played[0].passed, played[1].passed)
    assert played[0].speed_sums.std() > 0


def test_a_driver_says_what_it_knows_and_what_it_was_trained_for(small_config: Config) -> None:
    config = small_config("ppo", other_agents=3)
    policy = make_policy(config, random_weights(42, 5), "mine", {"decisions": "7"})
    assert policy.access == "contest"
    assert (policy.label, policy.other_agents, policy.notes) == ("mine", 3, {"decisions": "7"})  # type: ignore[attr-defined]
    wide = make_policy(small_config("ppo", lanes_side=6), random_weights(78, 5), "wide")
    assert wide.access == "open"


def test_weights_of_another_sensor_are_refused(small_config: Config) -> None:
    with pytest.raises(ValueError, match=r"shape \(5, 41\); its layer needs \(5, 42\)"):
        network_of(small_config("ppo"), random_weights(41, 5))
    assert isinstance(network_of(small_config("ppo"), random_weights(42, 5)), Network)


def test_weights_and_notes_survive_the_file_whose_bytes_depend_on_nothing_else(tmp_path: Path) -> None:
    weights, notes = random_weights(4, 3, 5), {"decisions": "7", "tuning_mean_mph": "70.1"}
    path = tmp_path / "w.safetensors"
    path.write_bytes(weights_content(weights, notes))
    found, found_notes = read_weights(path)
    assert found_notes == notes and found.keys() == weights.keys()
    for name, tensor in weights.items():
        np.testing.assert_array_equal(found[name], tensor)
    assert len({weights_content(weights, notes) for _ in range(20)}) == 1
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="cannot be read"):
        read_weights(path)
