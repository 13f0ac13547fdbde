"""Networks with weight sharing over lanes: torch, the policy file and the original game's file agree."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from agents.compiled.network import layer_params
from agents.config import TrainConfig
from agents.export import to_network
from agents.lane_network import (
    CANDIDATES,
    MIRRORED,
    NEVER,
    LaneNetwork,
    load_lane_network,
    split_cells,
)
from deeptraffic.policies.convnetjs.read import read_convnetjs
from deeptraffic.policies.convnetjs.write import write_convnetjs
from deeptraffic.policies.network import Network
from deeptraffic.sim.rules import Action, Sensor

Config = Callable[..., TrainConfig]
SENSOR = Sensor(1, 8, 2)


def make_network(sensor: Sensor = SENSOR, activation: str = "relu") -> LaneNetwork:
    lanes = LaneNetwork(sensor, 3, [6, 5], activation)
    lanes.params[:] = np.random.default_rng(0).normal(0.0, 0.3, lanes.params.size)
    bias = layer_params(lanes.net.dense)[-1]["bias"]
    bias[:-1] -= lanes.evaluate(random_cells(200, sensor))[0].mean(0)  # so that no action is the best everywhere
    return lanes


def random_cells(count: int, sensor: Sensor = SENSOR) -> NDArray[np.float32]:
    """Cells that are off the road, free, or a car of any speed, (count, D)."""
    random = np.random.default_rng(1)
    uniform = random.random((count, sensor.size))
    fractions = random.random((count, 1))  # of free cells, different for each road
    cells = np.where(uniform < fractions, 1.0, random.uniform(0.0, 0.0404, uniform.shape))
    return np.where(random.random(uniform.shape) < 0.2, 0.0, cells).astype(np.float32)


def lane_config(small_config: Config, **settings: Any) -> TrainConfig:
    window = {"lanes_side": SENSOR.lanes_side, "patches_ahead": SENSOR.patches_ahead}
    return small_config("expert_iteration", **window, patches_behind=SENSOR.patches_behind, **settings)


def test_cells_are_split_into_speed_and_free() -> None:
    cells = torch.tensor([[0.0, 1.0, 0.02, 0.04, 1.0, 0.0]])  # two rows of three lanes
    found = split_cells(cells, 3)
    # lane by lane: the speeds of both rows in units of 80 mph (free road 1), then whether they are free
    expected = torch.tensor([[[0.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.5, 0.0, 0.0, 0.0]]])
    torch.testing.assert_close(found, expected)


def lane_network(small_config: Config, lanes: LaneNetwork, activation: str = "relu") -> Network:
    config = lane_config(small_config)
    return to_network(lanes.weights(), config.road, config.observation, activation)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_policy_files_network_equals_the_compiled_one(small_config: Config, activation: str) -> None:
    lanes = make_network(activation=activation)
    program, cells = lane_network(small_config, lanes, activation).assemble(), random_cells(50)
    found = np.stack([program.run(row) for row in cells.astype(np.float64)])
    np.testing.assert_allclose(found[:, CANDIDATES], lanes.evaluate(cells)[0], rtol=1e-4, atol=1e-4)
    assert np.all(found[:, [Action.NOTHING, Action.DECELERATE]] == NEVER)


def test_the_original_games_file_picks_the_same_actions(small_config: Config) -> None:
    network, cells = lane_network(small_config, make_network()), random_cells(200)
    original = read_convnetjs(write_convnetjs(network, SENSOR), "lanes").policy()
    program = network.assemble()
    expected = [int(program.run(row).argmax()) for row in cells.astype(np.float64)]
    original.reset(np.arange(200))
    assert original.act(cells.astype(np.float64), np.arange(200)).tolist() == expected
    assert len(set(expected)) > 1


def test_candidates_are_mirrored() -> None:
    assert CANDIDATES[MIRRORED].tolist() == [Action.ACCELERATE, Action.RIGHT, Action.LEFT]


def test_new_weights_are_drawn_as_torch_draws_them() -> None:
    lanes = LaneNetwork(SENSOR, 3, [6], "relu")
    torch.manual_seed(5)
    lanes.initialise()
    torch.manual_seed(5)
    layers = [nn.Linear(2 * 10, 3), nn.Linear(3 * 3, 6), nn.Linear(6, 4)]
    found = lanes.weights()
    for name, layer in zip(("lanes", "0"), layers[:2], strict=True):
        np.testing.assert_array_equal(found[f"{name}.weight"], layer.weight.detach())
        np.testing.assert_array_equal(found[f"{name}.bias"], layer.bias.detach())
    np.testing.assert_array_equal(found["1.weight"][CANDIDATES], layers[2].weight.detach()[:3])
    np.testing.assert_array_equal(found["value.weight"], layers[2].weight.detach()[3:])


def test_a_network_is_read_back_from_its_weights() -> None:
    lanes, cells = make_network(), random_cells(5)
    again = load_lane_network(lanes.weights(), SENSOR)
    for found, expected in zip(again.evaluate(cells), lanes.evaluate(cells), strict=True):
        np.testing.assert_array_equal(found, expected)
    for name, tensor in again.weights().items():
        np.testing.assert_array_equal(tensor, lanes.weights()[name])


def test_weights_of_another_network_or_sensor_are_refused() -> None:
    weights = make_network().weights()
    for given, sensor in ((weights, Sensor(1, 9, 2)), ({}, SENSOR)):
        with pytest.raises(ValueError, match="take those of a run of expert_iteration"):
            load_lane_network(given, sensor)


def test_values_that_weights_do_not_hold_are_0() -> None:
    lanes, cells = make_network(), random_cells(5)
    bare = {name: tensor for name, tensor in lanes.weights().items() if not name.startswith("value")}
    advantages, values = load_lane_network(bare, SENSOR).evaluate(cells)
    assert np.array_equal(advantages, lanes.evaluate(cells)[0]) and not values.any()


def test_shifting_values_does_not_change_advantages() -> None:
    lanes, cells = make_network(), random_cells(5)
    advantages, values = lanes.evaluate(cells)
    lanes.shift_values(3.0)
    np.testing.assert_allclose(lanes.evaluate(cells)[1], values + 3.0, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(lanes.evaluate(cells)[0], advantages)
