"""Inspection: what a policy file says of itself, and the picture of its first weights."""

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from deeptraffic.policies.builtin import make_builtin
from deeptraffic.policies.file import PolicyFile, pack_policy
from deeptraffic.policies.inspection import describe, draw_first_layer, first_layer, policy_facts, summarise
from deeptraffic.policies.layer import Layer
from deeptraffic.policies.layers import Clip, Conv2d, Dense, Relu, Reshape, Scale, Slice
from deeptraffic.policies.network import Network
from deeptraffic.policies.sensor_layers import Gaps
from deeptraffic.sim.rules import Sensor

SENSOR = Sensor(1, 3, 2)  # 15 cells


def pack(*layers: Layer, label: str = "mine", window: int = 0) -> PolicyFile:
    """A policy whose tensors count upward from 0."""
    inputs = 15 + window * 20
    shapes = [(inputs,)]
    tensors = {}
    for number, layer in enumerate(layers, start=1):
        given = [shapes[i] for i in layer.inputs or (number - 1,)]
        for name, shape in layer.tensor_shapes(given).items():  # type: ignore[arg-type]
            tensors[f"{number}.{name}"] = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        shapes.append(layer.output_shape(given))  # type: ignore[arg-type]
    return pack_policy(Network(inputs, layers, tensors), SENSOR, label, window, training={"steps": 3})


def shown(policy_file: PolicyFile) -> str:
    console = Console(width=200, record=True, file=None, quiet=True)
    with console.capture() as capture:
        console.quiet = False
        console.print(describe(policy_file))
    return capture.get()


def test_description_names_what_counts() -> None:
    text = shown(pack(Dense(outputs=7), Relu(), Dense(outputs=5), label="[bold]x[/bold]"))
    for words in (
        "[bold]x[/bold]",
        "152 parameters stored as float32",
        "outputs 7",
        "training: steps",
        "rules of 2018",
    ):
        assert words in text
    assert "112" in text  # parameters of the first layer


def test_summary_is_json_with_the_same_numbers() -> None:
    summary = json.loads(json.dumps(summarise(pack(Dense(outputs=7), Relu(), Dense(outputs=5)))))
    assert (summary["parameters"], summary["inputs"], summary["access"]) == (152, 15, "contest")
    assert summary["layers"][0] == {
        "type": "dense",
        "outputs": 7,
        "output_shape": [7],
        "parameters": 112,
        "operations": 105,
    }


def test_first_weights_lie_as_the_sensor_does() -> None:
    found = first_layer(pack(Scale(per="all"), Clip(low=0, high=1), Dense(outputs=5)))
    assert (found.number, found.over, found.weight.shape) == (3, "sensor", (5, 5, 3))
    assert found.weight[2, 4, 1] == 2 * 15 + 4 * 3 + 1


def test_first_weights_of_a_window_are_those_of_the_present() -> None:
    found = first_layer(pack(Dense(outputs=5), window=1))
    assert found.weight[2, 4, 1] == 2 * 35 + 4 * 3 + 1


def test_first_weights_over_lane_gaps_are_features_by_lanes() -> None:
    found = first_layer(pack(Gaps(lanes_side=1, patches_ahead=3, patches_behind=2), Dense(outputs=5)))
    assert (found.over, found.weight.shape) == ("gaps", (5, 6, 3))
    assert found.weight[1, 4, 2] == 18 + 2 * 6 + 4


def test_first_weights_of_a_convolution_are_its_windows() -> None:
    layers = (Reshape(shape=(5, 3, 1)), Conv2d(filters=4, kernel=(5, 3)), Dense(outputs=5), Reshape(shape=(5,)))
    found = first_layer(pack(*layers))
    assert (found.over, found.weight.shape) == ("window", (4, 5, 3))


def test_a_network_without_weights_over_the_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="reads the sensor's cells"):
        first_layer(pack(Slice(start=2, stop=7), Dense(outputs=5)))


@pytest.mark.parametrize(
    "layers", [(Dense(outputs=5),), (Dense(outputs=40), Dense(outputs=5))], ids=["all", "strongest"]
)
def test_picture_shows_red_above_and_blue_below_zero(layers: tuple[Layer, ...], tmp_path: Path) -> None:
    from matplotlib.image import imread

    path, policy_file = tmp_path / "weights.png", pack(*layers, label="$x_1")
    weight = policy_file.network.tensors["1.weight"]
    weight[:] = 0.0
    draw_first_layer(policy_file, path)
    assert not coloured(imread(path)).any()
    weight[-1, 0], weight[-1, 14] = 1.0, -1.0
    draw_first_layer(policy_file, path)
    picture = coloured(imread(path))
    assert picture[0].any() and picture[1].any()


def coloured(picture: np.ndarray) -> np.ndarray:
    """(2, H, W) where the picture, the colour bar aside, is dark red and dark blue."""
    red, _, blue = np.moveaxis(picture[:, : -int(1.0 * 160), :3], 2, 0)
    return np.array([(red > blue + 0.2), (blue > red + 0.2)])


def test_facts_for_a_card_are_of_the_input_and_the_network() -> None:
    made = pack(Dense(outputs=7), Relu(), Dense(outputs=5)).policy()
    size = (("LAYERS WITH WEIGHTS", "2"), ("PARAMETERS", "152"))
    assert policy_facts(made) == (("INPUT", "15 cells"), *size)
    assert policy_facts(make_builtin("idle"))[1:] == (), "a policy without a network has a network's size"
