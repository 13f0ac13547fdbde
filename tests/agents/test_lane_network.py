"""Networks with weight sharing over lanes: torch, the policy file and the original game's file agree."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from agents.config import TrainConfig
from agents.export import to_network
from agents.lane_network import (
    CANDIDATES,
    MIRRORED,
    NEVER,
    LaneFeatures,
    LaneNetwork,
    load_lane_network,
    mirror_cells,
    split_cells,
)
from deeptraffic.policies.convnetjs.read import read_convnetjs
from deeptraffic.policies.convnetjs.write import write_convnetjs
from deeptraffic.policies.network import Network
from deeptraffic.sim.rules import Action, Sensor

Config = Callable[..., TrainConfig]
SENSOR = Sensor(1, 8, 2)


def make_network(sensor: Sensor = SENSOR, activation: type[nn.Module] = nn.ReLU) -> LaneNetwork:
    torch.manual_seed(0)
    space = spaces.Box(0.0, 1.0, (sensor.size,), np.float32)
    lanes = LaneNetwork(LaneFeatures(space, sensor.columns, 3), [6, 5], activation)
    for parameter in lanes.parameters():
        nn.init.normal_(parameter, 0.0, 0.3)
    with torch.no_grad():  # so that no action is the best everywhere
        lanes.advantage.bias.sub_(lanes(random_cells(200, sensor))[0].mean(0))
    return lanes


def random_cells(count: int, sensor: Sensor = SENSOR) -> torch.Tensor:
    """Cells that are off the road, free, or a car of any speed, (count, D)."""
    random = np.random.default_rng(1)
    uniform = random.random((count, sensor.size))
    fractions = random.random((count, 1))  # of free cells, different for each road
    cells = np.where(uniform < fractions, 1.0, random.uniform(0.0, 0.0404, uniform.shape))
    return torch.tensor(np.where(random.random(uniform.shape) < 0.2, 0.0, cells), dtype=torch.float32)


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
def test_the_policy_files_network_equals_torch(small_config: Config, activation: str) -> None:
    lanes = make_network(activation={"relu": nn.ReLU, "tanh": nn.Tanh}[activation])
    program, cells = lane_network(small_config, lanes, activation).assemble(), random_cells(50)
    expected = lanes(cells)[0].detach().numpy()
    found = np.stack([program.run(row) for row in cells.double().numpy()])
    np.testing.assert_allclose(found[:, CANDIDATES], expected, rtol=1e-4, atol=1e-4)
    assert np.all(found[:, [Action.NOTHING, Action.DECELERATE]] == NEVER)


def test_the_original_games_file_picks_the_same_actions(small_config: Config) -> None:
    network, cells = lane_network(small_config, make_network()), random_cells(200)
    original = read_convnetjs(write_convnetjs(network, SENSOR), "lanes").policy()
    program = network.assemble()
    expected = [int(program.run(row).argmax()) for row in cells.double().numpy()]
    original.reset(np.arange(200))
    assert original.act(cells.double().numpy(), np.arange(200)).tolist() == expected
    assert len(set(expected)) > 1


def test_left_and_right_are_exchanged_in_cells_and_candidates() -> None:
    cells = random_cells(4)
    there = mirror_cells(cells, SENSOR.columns)
    np.testing.assert_array_equal(there.view(4, -1, 3)[:, :, 0], cells.view(4, -1, 3)[:, :, 2])
    assert torch.equal(mirror_cells(there, SENSOR.columns), cells)
    assert CANDIDATES[MIRRORED].tolist() == [Action.ACCELERATE, Action.RIGHT, Action.LEFT]


def test_a_network_is_read_back_from_its_weights() -> None:
    lanes, cells = make_network(), random_cells(5)
    again = load_lane_network(lanes.weights(), SENSOR)
    for found, expected in zip(again(cells), lanes(cells), strict=True):
        assert torch.equal(found, expected)
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
    advantages, values = load_lane_network(bare, SENSOR)(cells)
    assert torch.equal(advantages, lanes(cells)[0]) and not values.any()


def test_shifting_values_does_not_change_advantages() -> None:
    lanes, cells = make_network(), random_cells(5)
    advantages, values = lanes(cells)
    lanes.shift_values(torch.tensor(3.0))
    torch.testing.assert_close(lanes(cells)[1], values + 3.0)
    assert torch.equal(lanes(cells)[0], advantages)
