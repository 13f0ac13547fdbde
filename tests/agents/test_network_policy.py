"""Networks that drive: compiled layers equal torch's, whole runs equal runs decision by decision."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from agents.config import TrainConfig
from agents.network_policy import NetworkPolicy, Weights, pack_layers, run_layers
from deeptraffic.competition.protocol import Drivers, access_of
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RoadConfig


def random_weights(*sizes: int, seed: int = 0) -> Weights:
    random = np.random.default_rng(seed)
    weights: Weights = {}
    for k, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        weights[f"{k}.weight"] = random.normal(size=(outputs, inputs), scale=inputs**-0.5).astype(np.float32)
        weights[f"{k}.bias"] = random.normal(size=outputs, scale=0.1).astype(np.float32)
    return weights


@pytest.mark.parametrize(("activation", "module"), [(0, torch.nn.Tanh), (1, torch.nn.ReLU)])
@pytest.mark.parametrize("hidden", [(), (7,), (16, 3, 8)])
def test_compiled_layers_equal_torch(activation: int, module: type[torch.nn.Module], hidden: tuple[int, ...]) -> None:
    weights = random_weights(6, *hidden, 5)
    layers: list[torch.nn.Module] = []
    for k in range(len(hidden) + 1):
        weight, bias = torch.tensor(weights[f"{k}.weight"]), torch.tensor(weights[f"{k}.bias"])
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
        linear.load_state_dict({"weight": weight, "bias": bias})
        layers += [linear, module()]
    x = np.random.default_rng(1).normal(size=6)
    expected = torch.nn.Sequential(*layers[:-1])(torch.tensor(x)).detach().numpy()
    sizes, packed = pack_layers(weights)
    values = np.full((sizes.size, sizes.max()), np.nan)
    values[0, :6] = x
    run_layers(sizes, packed, activation, values)
    np.testing.assert_allclose(values[-1, :5], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["gaps", "vector"])
@pytest.mark.parametrize(("rules", "other_agents"), [(2018, 0), (2018, 3), (2017, 0)])
def test_whole_runs_equal_runs_decision_by_decision(
    small_config: Callable[..., TrainConfig], kind: str, rules: int, other_agents: int
) -> None:
    config = small_config("ppo", kind=kind, rules=rules, other_agents=other_agents)
    policy = NetworkPolicy(config, random_weights(42 if kind == "gaps" else 420, 16, 5), "random")
    sums, passed = np.zeros((2, 3)), np.zeros((2, 3), np.int64)
    for row, compiled in enumerate((True, False)):
        sim = Simulator(RoadConfig(rules=rules, other_agents=other_agents).build(), threads=1)
        sim.start_program(1)
        drivers = Drivers(policy, sim)
        play = policy.official_runner() if compiled else drivers.play_runs
        assert play is not None
        play(sim.table, sim.games, 1, 700, sums[row], passed[row])
    np.testing.assert_array_equal(sums[0], sums[1])
    np.testing.assert_array_equal(passed[0], passed[1])
    assert sums[0].std() > 0


def test_the_first_of_equal_outputs_is_chosen(small_config: Callable[..., TrainConfig]) -> None:
    weights = {"0.weight": np.zeros((5, 42), np.float32), "0.bias": np.array([0, 2, 1, 2, 0], np.float32)}
    policy = NetworkPolicy(small_config("ppo"), weights, "tie")
    assert policy.act(np.ones((3, 420)), np.arange(3)).tolist() == [1, 1, 1]


def test_it_sees_cells_where_it_can_and_says_what_it_knows(small_config: Callable[..., TrainConfig]) -> None:
    plain = NetworkPolicy(small_config("ppo"), random_weights(42, 5), "gaps")
    assert plain.official_runner() is not None and access_of(plain) == "contest"
    ego = NetworkPolicy(small_config("ppo", kind="gaps_ego"), random_weights(44, 5), "gaps and own speed")
    assert ego.official_runner() is None and access_of(ego) == "open"
    assert ego.observation.kind == "gaps_ego"


def test_a_network_of_another_sensor_is_refused(small_config: Callable[..., TrainConfig]) -> None:
    with pytest.raises(ValueError, match="reads 41 numbers, its sensor gives 42"):
        NetworkPolicy(small_config("ppo"), random_weights(41, 5), "damaged")
