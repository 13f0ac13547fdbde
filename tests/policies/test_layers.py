"""Layers on their own: parameters within their limits, JSON there and back, shapes."""

import math
from dataclasses import MISSING, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptraffic.policies.layer import Layer, layer_from_json
from deeptraffic.policies.layers import LAYER_KINDS, Clip, Conv2d, Dense, Lstm, MaxPool, Reshape, Slice
from deeptraffic.policies.sensor_layers import SensorCells


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Every value that a parameter may have."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "boolean":
        return st.booleans()
    if schema["type"] == "array":
        size = {"min_size": schema["minItems"], "max_size": min(schema["maxItems"], 5)}
        return st.lists(values(schema["items"]), **size).map(tuple)
    if schema["type"] == "integer":
        return st.integers(schema["minimum"], schema["maximum"])
    return st.floats(schema["minimum"], schema["maximum"])


def any_layer(kind: type[Layer]) -> st.SearchStrategy[Layer]:
    return st.builds(kind, **{f.name: values(f.metadata["schema"]) for f in fields(kind)})


@given(st.sampled_from(sorted(LAYER_KINDS)).flatmap(lambda name: any_layer(LAYER_KINDS[name])))
def test_json_comes_back_as_the_same_layer(layer: Layer) -> None:
    assert layer_from_json(layer.to_json(), LAYER_KINDS, "here") == layer


@pytest.mark.parametrize("name", LAYER_KINDS)
def test_defaults_are_left_out_of_the_json(name: str) -> None:
    needed = {f.name: f for f in fields(LAYER_KINDS[name]) if f.default is MISSING}
    lowest = {n: lowest_value(f.metadata["schema"]) for n, f in needed.items()}
    assert LAYER_KINDS[name](**lowest).to_json().keys() == {"type", *needed}


def lowest_value(schema: dict[str, Any]) -> Any:
    if schema["type"] == "array":
        return (schema["items"]["minimum"],) * schema["minItems"]
    return schema["minimum"]


@pytest.mark.parametrize("value", [0, -1, 2**20 + 1, 1.0, True, "5", None, math.nan, [5]])
def test_a_size_beyond_its_limits_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match=r"dense\.outputs must be an integer in \[1, 1048576\]"):
        Dense(outputs=value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e301, True, "1"])
def test_a_number_that_is_not_finite_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match=r"clip\.high must be"):
        Clip(low=0.0, high=value)


@pytest.mark.parametrize("kernel", [(3,), (3, 3, 3), (0, 3), (3.0, 3), 3, "33"])
def test_a_window_that_is_none_is_named(kernel: Any) -> None:
    with pytest.raises(ValueError, match=r"conv2d\.kernel"):
        Conv2d(filters=1, kernel=kernel)


FAULTS = [
    ([], "list; a layer is an object"),
    ({}, "unknown layer type None"),
    ({"type": ["dense"]}, "unknown layer type"),
    ({"type": "dense"}, "outputs is missing"),
    ({"type": "dense", "outputs": 5, "units": 5}, "unknown key 'units'"),
    ({"type": "tanh", "form": "fast"}, "must be one of 'standard', 'convnetjs'"),
    ({"type": "dense", "outputs": 5, "bias": 1}, "must be true or false"),
    ({"type": "relu", "inputs": [-1]}, "must be an integer in \\[0, 255\\]"),
]


@pytest.mark.parametrize(("record", "named"), FAULTS, ids=str)
def test_a_fault_of_the_json_is_named_with_its_place(record: Any, named: str) -> None:
    with pytest.raises(ValueError, match=f"layers\\[3\\].*{named}"):
        layer_from_json(record, LAYER_KINDS, "layers[3]")


def test_windows_are_counted_as_pytorch_counts_them() -> None:
    assert Conv2d(filters=2, kernel=(3, 4), stride=(2, 3), padding=(1, 0)).output_shape([(60, 7, 1)]) == (30, 2, 2)
    assert MaxPool(kernel=(2, 2), stride=(2, 2)).output_shape([(5, 5, 3)]) == (2, 2, 3)


def test_sizes_bound_time_and_memory() -> None:
    assert Dense(outputs=24).operations([(420,)]) == 420 * 24
    assert Conv2d(filters=2, kernel=(3, 3)).operations([(5, 5, 4)]) == 3 * 3 * 2 * 9 * 4
    assert (Lstm(hidden=8).memory([(4,)]), Lstm(hidden=8).operations([(4,)])) == (16, 4 * 8 * 12)


def test_scores_of_other_columns_than_the_image_has_are_named() -> None:
    layer = SensorCells(lanes_side=1, patches_ahead=3, patches_behind=1, row=2)
    with pytest.raises(ValueError, match=r"4 columns need as many scores, not shape \(5,\)"):
        layer.output_shape([(9, 4, 2), (5,)])


def test_what_does_not_fit_its_input_is_named() -> None:
    for layer, shape, named in (
        (Reshape(shape=(2, 3)), (5,), "needs 6 values, not 5"),
        (Slice(start=2, stop=2), (5,), r"slice 2\.\.2"),
        (Slice(start=2, stop=6), (5,), "last axis of 5"),
        (Clip(low=1, high=0), (5,), "above high"),
        (MaxPool(kernel=(2, 2), stride=(1, 1), padding=(2, 0)), (5, 5, 1), "more than half"),
        (SensorCells(lanes_side=1, patches_ahead=3, patches_behind=1, row=2), (9, 4, 3), "must have 2 channels"),
        (SensorCells(lanes_side=1, patches_ahead=3, patches_behind=1, row=2), (72,), "an image"),
    ):
        with pytest.raises(ValueError, match=named):
            layer.output_shape([shape])
