from typing import Any

import pytest

from agents.study.space import Choices, Layers, Range, parse_space


def parse_one(name: str, **given: Any) -> Any:
    (parameter,) = parse_space({name: given})
    return parameter


def test_every_kind_of_parameter_is_read() -> None:
    given = {
        "gamma": {"float": [0.5, 0.99]},
        "learning_rate": {"float": [1e-4, 1e-1], "log": True},
        "experience_size": {"int": [1000, 9000], "step": 2000},
        "observation": {"lanes_side": {"int": [0, 3]}},
        "batch_size": {"choices": [32, 64]},
    }
    assert list(parse_space(given)) == [
        Range("gamma", 0.5, 0.99),
        Range("learning_rate", 1e-4, 1e-1, log=True),
        Range("experience_size", 1000, 9000, step=2000, is_int=True),
        Range("observation.lanes_side", 0, 3, is_int=True),
        Choices("batch_size", (32, 64)),
    ]


def test_layers_are_drawn_as_a_count_and_units() -> None:
    layers = parse_one("layers", layers=[1, 3], units=[5, 100], log=True, activation="relu")
    assert isinstance(layers, Layers)
    assert set(layers.distributions()) == {"layers.count", "layers.units"}
    assert layers.value({"layers.count": 2, "layers.units": 7}) == [[7, "relu"], [7, "relu"]]
    plain = parse_one("hidden", layers=[0, 3], units=[5, 100])
    assert plain.value({"hidden.count": 3, "hidden.units": 8}) == [8, 8, 8]
    assert plain.value({"hidden.count": 0, "hidden.units": 8}) == []


def test_choices_may_be_lists() -> None:
    hidden = parse_one("hidden", choices=[[64], [64, 64]])
    assert hidden.value({"hidden": "[64, 64]"}) == [64, 64]
    assert hidden.distributions()["hidden"].choices == ("[64]", "[64, 64]")


def test_a_grid_holds_both_ends_of_a_range() -> None:
    assert parse_one("n", int=[1, 7], step=3).grid() == {"n": [1, 4, 7]}
    assert parse_one("x", float=[0.0, 0.3], step=0.1).grid()["x"] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="x needs a step in a grid"):
        parse_one("x", float=[0.0, 0.3]).grid()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (0.5, "must be a range or choices, got 0.5"),
        ({"float": [0.1, 0.2], "int": [1, 2]}, "must be a range or choices"),
        ({"float": [0.1]}, r"must be a pair of numbers, .*; write \[low, high\]"),
        ({"float": [0.9, 0.5]}, "is empty; write the lower number first"),
        ({"float": [0.0, 0.5], "log": True}, "starts at 0, which has no logarithm"),
        ({"float": [0.1, 0.5], "log": 1}, "log must be true or false, got 1"),
        ({"float": [0.1, 0.5], "step": -1}, "step must be a number above 0"),
        ({"float": [0.1, 0.5], "base": 2}, "has no option 'base'; there are for float: log, step"),
        ({"int": [0.5, 2]}, "must have integers"),
        ({"choices": []}, "must be a list of values"),
        ({"choices": [1, 1]}, "has a value twice"),
        ({"layers": [1, 2]}, "lacks the units of a layer"),
    ],
)
def test_what_is_no_parameter_is_refused_with_a_remedy(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(parse_space({"gamma": given}))
