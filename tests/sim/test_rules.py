"""The numbers of both contests, and the door through which research roads come in."""

import dataclasses
import re
from pathlib import Path

import pytest

import deeptraffic
from deeptraffic.sim.rules import CONTESTS, RULES_2017, RULES_2018, Action, RoadConfig, Sensor


def test_default_road_is_the_2018_contest() -> None:
    assert RoadConfig().build() == RULES_2018


def test_2017_road_is_the_2017_contest() -> None:
    assert RoadConfig(rules=2017).build() == RULES_2017


@pytest.mark.parametrize("other_agents", range(11))
def test_other_agents_change_nothing_but_their_number(other_agents: int) -> None:
    assert RoadConfig(other_agents=other_agents).build() == RULES_2018._replace(other_agents=other_agents)


def test_contests_have_the_published_numbers() -> None:
    for rules in CONTESTS.values():
        assert (rules.lanes, rules.vehicles, rules.rows, rules.decision_period) == (7, 20, 70, 30)
        assert (rules.road_length, rules.road_width, rules.ego_y, rules.ego_row) == (700.0, 140.0, 525.0, 56)
        assert (rules.turn_threshold, rules.turn_slope) == (0.99, 0.004)
    assert (RULES_2018.empty, RULES_2017.empty) == (100.0, 7.0)
    assert (RULES_2018.ego_factor, RULES_2018.agent_factor) == (2.0, 1.7)


def test_actions_have_the_games_numbers() -> None:
    assert {action.name: action.value for action in Action} == {
        "NOTHING": 0,
        "ACCELERATE": 1,
        "DECELERATE": 2,
        "LEFT": 3,
        "RIGHT": 4,
    }


def test_research_road_derives_what_depends_on_its_size() -> None:
    rules = RoadConfig(lanes=3, vehicles=5, rows=40, decision_period=50, lane_change_rate=0.25).build()
    assert (rules.lanes, rules.vehicles, rules.rows) == (3, 5, 40)
    assert (rules.road_length, rules.road_width) == (400.0, 60.0)
    assert (rules.ego_y, rules.ego_row) == (300.0, 32)
    assert (rules.decision_period, rules.agent_stagger) == (50, 5)
    assert (rules.turn_threshold, rules.turn_slope) == (0.75, 0.1)


@pytest.mark.parametrize("whole", [{"traffic_factor_min": 1}, {"lane_change_rate": 0}, {"traffic_factor_range": 1}])
def test_whole_numbers_are_taken_as_real_ones(whole: dict[str, int]) -> None:
    rules = RoadConfig(**whole).build()  # type: ignore[arg-type]
    assert [type(value) for value in rules] == [type(value) for value in RULES_2018]


def test_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RoadConfig().lanes = 3  # type: ignore[misc]


IMPOSSIBLE = [
    ({"rules": 2019}, "rules must be one of 2017, 2018, got 2019"),
    ({"rules": "2018"}, "rules must be one of 2017, 2018, got '2018'"),
    ({"rules": 2017, "other_agents": 1}, "other_agents must be 0 under the 2017 rules.*got 1; use rules=2018"),
    ({"other_agents": 11}, r"other_agents must be an integer in \[0, 10\], got 11"),
    ({"other_agents": -1}, r"other_agents must be an integer in \[0, 10\], got -1"),
    ({"other_agents": True}, "other_agents must be an integer .* got True"),
    ({"other_agents": 3, "vehicles": 3}, "other_agents=3 do not fit into vehicles=3.*raise vehicles above 3"),
    ({"lanes": 0}, r"lanes must be an integer in \[1, 16\], got 0"),
    ({"lanes": 17}, r"lanes must be an integer in \[1, 16\], got 17"),
    ({"lanes": 7.0}, "lanes must be an integer .* got 7.0"),
    ({"vehicles": 0}, r"vehicles must be an integer in \[1, 200\], got 0"),
    ({"vehicles": 201}, r"vehicles must be an integer in \[1, 200\], got 201"),
    ({"vehicles": 32}, "vehicles=32 cannot be placed.*holds 31; lower vehicles or raise lanes or rows"),
    ({"rows": 19}, r"rows must be an integer in \[20, 1000\], got 19"),
    ({"rows": 1001}, r"rows must be an integer in \[20, 1000\], got 1001"),
    ({"decision_period": 0}, r"decision_period must be an integer in \[10, 300\], got 0"),
    ({"decision_period": 310}, r"decision_period must be an integer in \[10, 300\], got 310"),
    ({"decision_period": 34}, "decision_period=34.*multiple of 10.*use 30"),
    ({"traffic_factor_min": 0.0}, r"traffic_factor_min must be a number in \[0.01, 2\], got 0.0"),
    ({"traffic_factor_min": float("nan")}, "traffic_factor_min must .* got nan"),
    ({"traffic_factor_range": -0.1}, r"traffic_factor_range must be a number in \[0, 2\], got -0.1"),
    ({"lane_change_rate": 1.01}, r"lane_change_rate must be a number in \[0, 1\], got 1.01"),
    ({"lane_change_rate": "0.5"}, "lane_change_rate must be a number .* got '0.5'"),
]


@pytest.mark.parametrize(("values", "message"), IMPOSSIBLE, ids=[str(values) for values, _ in IMPOSSIBLE])
def test_impossible_road_is_refused_with_a_remedy(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RoadConfig(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"vehicles": 31},
        {"rules": 2017, "vehicles": 200, "lanes": 1, "rows": 20},
        {"lanes": 16, "vehicles": 200, "rows": 200},
        {"lanes": 1, "vehicles": 1},
        {"other_agents": 10, "vehicles": 11},
    ],
    ids=str,
)
def test_largest_and_smallest_roads_are_possible(values: dict) -> None:
    RoadConfig(**values).build()


def test_sensor_counts_its_cells() -> None:
    sensor = Sensor(3, 50, 10)
    assert (sensor.columns, sensor.length, sensor.size) == (7, 60, 420)


@pytest.mark.parametrize("sensor", [Sensor(0, 1, 0), Sensor(0, 0, 1), Sensor(50, 1000, 1000), Sensor()], ids=str)
def test_sensible_sensor_is_accepted(sensor: Sensor) -> None:
    assert sensor.check() is sensor


@pytest.mark.parametrize(
    ("sensor", "message"),
    [
        (Sensor(51, 50, 10), r"lanes_side must be an integer in \[0, 50\], got 51"),
        (Sensor(3, 1001, 10), r"patches_ahead must be an integer in \[0, 1000\], got 1001"),
        (Sensor(3, 50, -1), "patches_behind must be an integer in .*, got -1"),
        (Sensor(3.0, 50, 10), "lanes_side must be an integer in .*, got 3.0"),  # type: ignore[arg-type]
        (Sensor(True, 50, 10), "lanes_side must be an integer in .*, got True"),
        (Sensor(3, 0, 0), "patches_ahead=0 and patches_behind=0 see nothing; raise one"),
    ],
    ids=str,
)
def test_senseless_sensor_is_refused_with_the_limit(sensor: Sensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sensor.check()


def test_sections_and_steps_of_the_rules_that_docstrings_cite_exist() -> None:
    package = Path(deeptraffic.__file__).parent
    rules = (package / "sim/RULES.md").read_text(encoding="utf-8")
    headings = [line.lstrip("# ") for line in rules.splitlines() if line.startswith("#")]
    cited = 0
    for source in package.rglob("*.py"):
        for section in re.findall(r'RULES\.md`,\s+"([^"]+)"', source.read_text(encoding="utf-8")):
            cited += 1
            assert any(heading.startswith(section) for heading in headings), (source, section)
    kernel = (package / "sim/kernel.py").read_text(encoding="utf-8")
    for step in re.findall(r'"""Steps? (\d[ab]?)', kernel):
        cited += 1
        assert any(heading.startswith(f"Step {step[0]}:") for heading in headings)
        assert step.isdigit() or f"({step})" in rules
    assert cited >= 12
