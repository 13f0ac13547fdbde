"""What is written for the original game reads back as the same driver."""

import json
from pathlib import Path

import numpy as np
import pytest

from deeptraffic.policies import layers as v
from deeptraffic.policies.convnetjs.read import network_from_json, read_convnetjs
from deeptraffic.policies.convnetjs.write import write_convnetjs
from deeptraffic.policies.layer import Layer
from deeptraffic.policies.network import Network
from deeptraffic.policies.sensor_layers import Gaps
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018, Sensor

SENSOR = Sensor(2, 12, 6)
SUBMISSIONS = json.loads((Path(__file__).parents[2] / "golden" / "submission_networks.json").read_text())


def network(*layers: Layer, inputs: int = SENSOR.size, seed: int = 0) -> Network:
    """The layers with random tensors."""
    rng = np.random.default_rng(seed)
    empty = object.__new__(Network)
    for name, value in (("inputs", inputs), ("layers", layers), ("tensors", {})):
        object.__setattr__(empty, name, value)
    return Network(inputs, layers, {name: rng.normal(size=shape) for name, shape in empty.tensor_shapes().items()})


def seen(sensor: Sensor, games: int = 64, periods: int = 20) -> np.ndarray:
    """What drivers see in open runs, (games * periods, D)."""
    sim = Simulator(RULES_2018, games)
    sim.reset_open(range(games))
    rows = []
    for period in range(periods):
        sim.step((np.arange(games) + period) % 5)
        rows.append(sim.sense(sensor))
    return np.concatenate(rows)


def answers(net: Network, obs: np.ndarray) -> np.ndarray:
    program = net.assemble()
    return np.array([program.run(x) for x in obs])


@pytest.mark.parametrize("record", SUBMISSIONS, ids=lambda record: record["name"])
def test_original_network_is_written_back_weight_by_weight(record: dict) -> None:
    net = network_from_json(record["net"])
    sensor = Sensor(record["lanesSide"], record["patchesAhead"], record["patchesBehind"])
    text = write_convnetjs(net, sensor, record["temporal_window"], other_agents=4, label="a <b> */ name")
    again = read_convnetjs(text, "again")
    assert (again.sensor, again.temporal_window, again.other_agents) == (sensor, record["temporal_window"], 4)
    assert [layer.kind for layer in again.network.layers] == [layer.kind for layer in net.layers]
    assert all(np.array_equal(again.network.tensors[name], tensor) for name, tensor in net.tensors.items())


EYES = v.Reshape(shape=(18, 5, 1))
FOLDED = {
    "scale": (v.Scale(per="all"), v.Dense(outputs=8), v.Relu(), v.Scale(), v.Dense(outputs=5)),
    "conv": (EYES, v.Conv2d(filters=3, kernel=(4, 3), stride=(2, 1), padding=(1, 1)), v.Relu(), v.Dense(outputs=5)),
    "dueling": (
        v.Dense(outputs=8),
        v.Sigmoid(),
        v.Dense(outputs=1),
        v.Dense(outputs=5, inputs=(2,)),
        v.Dueling(inputs=(3, 4)),
    ),
    "gaps": (
        Gaps(lanes_side=2, patches_ahead=12, patches_behind=6),
        v.Dense(outputs=16),
        v.Relu(),
        v.Dense(outputs=5),
    ),
    "maxout": (v.Dense(outputs=12), v.Maxout(group=3), v.Dense(outputs=5), v.Dropout(factor=0.5)),
    "slices": (
        v.Slice(start=0, stop=30),
        v.Slice(start=60, stop=90, inputs=(0,)),
        v.Add(inputs=(1, 2)),
        v.Dense(outputs=5),
    ),
}


@pytest.mark.parametrize("name", FOLDED)
def test_folded_network_gives_the_same_values_and_actions(name: str) -> None:
    layers = FOLDED[name]
    if name == "conv":
        layers = (*layers[:3], v.Flatten(), *layers[3:])
    net = network(*layers)
    again = read_convnetjs(write_convnetjs(net, SENSOR), "again").network
    obs = seen(SENSOR)
    before, after = answers(net, obs), answers(again, obs)
    np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(after.argmax(1), before.argmax(1))


def test_gaps_of_a_sensor_that_sees_nothing_behind() -> None:
    sensor = Sensor(1, 9, 0)
    gaps = Gaps(lanes_side=1, patches_ahead=9, patches_behind=0)
    net = network(gaps, v.Dense(outputs=5), inputs=sensor.size)
    obs = seen(sensor)
    again = read_convnetjs(write_convnetjs(net, sensor), "again").network
    np.testing.assert_allclose(answers(again, obs), answers(net, obs), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ((v.Gru(hidden=4), v.Dense(outputs=5)), "gru"),
        ((v.Dense(outputs=8), v.LayerNorm(), v.Relu(), v.Dense(outputs=5)), "layer_norm"),
        ((v.Dense(outputs=8), v.Relu(), v.Dense(outputs=5, inputs=(0,))), "before an activation"),
        ((v.Dense(outputs=30000), v.Relu(), v.Dense(outputs=5)), "weights, a file of about"),
    ],
)
def test_what_cannot_be_written_says_why(layers: tuple[Layer, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        write_convnetjs(network(*layers), SENSOR)


def test_network_of_another_sensor_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        write_convnetjs(network(v.Dense(outputs=5)), Sensor(3, 50, 10))


def test_random_actions_are_written_as_the_original_library_reads_them() -> None:
    net = network(v.Dense(outputs=5))
    plain = write_convnetjs(net, SENSOR)
    assert "opt.epsilon_test_time = 0.0;" in plain and "random_action_distribution" not in plain
    assert (read_convnetjs(plain, "p").epsilon, read_convnetjs(plain, "p").random_actions) == (0.0, ())
    chances = (0.1, 0.2, 0.3, 0.4, 0.0)
    again = read_convnetjs(write_convnetjs(net, SENSOR, epsilon=0.25, random_actions=chances), "again")
    assert (again.epsilon, again.random_actions) == (again.policy().epsilon, chances) == (0.25, chances)
