"""Fields with limits: every kind takes what is within, refuses what is not, and says both."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from deeptraffic.settings import Checked, boolean, check_integer, choice, integer, integers, real


@dataclass(frozen=True)
class Example(Checked):
    count: int = integer(3, 1, 10)
    rate: float = real(0.5, 0.0, 1.0)
    name: str | None = choice("a", None, "a", "b")
    on: bool = boolean(False)
    sizes: tuple[int, ...] = integers((4,), 1, 8, 0, 2)


@dataclass(frozen=True)
class StrictExample(Example):
    strict: ClassVar[bool] = True


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"count": 1e1}, Example(count=10)),
        ({"rate": 1}, Example(rate=1.0)),
        ({"name": None}, Example(name=None)),
        ({"sizes": [8, 2.0]}, Example(sizes=(8, 2))),
        ({"sizes": []}, Example(sizes=())),
    ],
)
def test_values_take_their_one_form(values: dict[str, Any], expected: Example) -> None:
    made = Example(**values)
    assert repr(made) == repr(expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "count must be an integer in [1, 10], got 0"),
        ({"count": 11}, "count must be an integer in [1, 10], got 11"),
        ({"count": 2.5}, "count must be an integer in [1, 10], got 2.5"),
        ({"count": True}, "count must be an integer in [1, 10], got True"),
        ({"count": "3"}, "count must be an integer in [1, 10], got '3'"),
        ({"rate": 1.5}, "rate must be a number in [0, 1], got 1.5"),
        ({"rate": float("nan")}, "rate must be a number in [0, 1], got nan"),
        ({"rate": False}, "rate must be a number in [0, 1], got False"),
        ({"name": "c"}, "name must be one of None, 'a', 'b', got 'c'"),
        ({"name": ["a"]}, "name must be one of None, 'a', 'b', got ['a']"),
        ({"on": 1}, "on must be true or false, got 1"),
        ({"sizes": 4}, "sizes must be a list of 0 to 2 integers in [1, 8], got 4"),
        ({"sizes": [1, 2, 3]}, "sizes must be a list of 0 to 2 integers in [1, 8], got [1, 2, 3]"),
        ({"sizes": [1, 9]}, "sizes[1] must be an integer in [1, 8], got 9"),
    ],
    ids=str,
)
def test_values_beyond_their_limits_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Example(**values)


def test_strict_fields_refuse_integers_written_as_floats() -> None:
    with pytest.raises(ValueError, match=r"count must be an integer in \[1, 10\], got 3.0"):
        StrictExample(count=3.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"sizes\[0\] must be an integer"):
        StrictExample(sizes=(2.0,))  # type: ignore[arg-type]


def test_an_integer_without_an_upper_limit() -> None:
    assert check_integer("n", 10**9, 1) == 10**9
    with pytest.raises(ValueError, match="n must be an integer of at least 1, got 0"):
        check_integer("n", 0, 1)
