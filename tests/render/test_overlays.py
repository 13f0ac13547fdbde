"""Overlays against the simulator: what is drawn is what a policy sees and what the safety system tests."""

import numpy as np
import pytest

from deeptraffic.render.overlays import input_cells, map_cells, safety_cells
from deeptraffic.render.painter import Painter
from deeptraffic.render.theme import DARK, mix
from deeptraffic.sim.rules import RULES_2017, RULES_2018, Action, Sensor

FOUR = RULES_2018._replace(other_agents=3)


@pytest.mark.parametrize("rules", [RULES_2017, RULES_2018, FOUR], ids=["2017", "2018", "2018 with others"])
@pytest.mark.parametrize("sensor", [Sensor(3, 50, 10), Sensor(0, 4, 0), Sensor(6, 70, 20)])
def test_input_cells_hold_the_observation_vector_entry_by_entry(drive, rules, sensor):
    for frames in (0, 31, 200):
        sim = drive(frames, rules)
        for agent in range(rules.other_agents + 1):
            cells = input_cells(rules, sim.state[0], sensor, agent)
            assert np.array_equal(cells.value, sim.sense(sensor, agent)[0])


def test_the_drawn_input_shows_each_cell_as_the_observation_says(drive):
    sensor = Sensor(2, 30, 8)
    painter = Painter(RULES_2018, overlay="input", sensor=sensor)
    sim = drive(61)
    cells, obs = input_cells(RULES_2018, sim.state[0], sensor), sim.sense(sensor)[0]
    sim.state.y[0] += 5000.0  # take the vehicles away: cells lie under them, and keep what they hold
    sim.state.y[0, 0] -= 5000.0
    drawn = painter.paint(sim.state)
    y, x = sim.state.y[0, 0], sim.state.x[0, 0]
    checked = 0
    for column, line, value in zip(cells.column, cells.line, obs, strict=True):
        left, top = 240 + 20 * column, 10 * line
        if not (0 <= column < 7 and 0 <= line < 70) or abs(top - y) < 60 and abs(left - 240 - x) < 30:
            continue
        checked += 1
        colour = drawn[top + 3, left + 6].astype(int)
        if value == 1.0:
            dot = drawn[top + 4, left + 9].astype(int)
            assert np.abs(dot - DARK.free).max() < 60
        else:
            shade = mix(
                DARK.occupied_slow, DARK.occupied_fast, round(min(max((value * 2000 - 40) / 40, 0), 1) * 15) / 15
            )
            wanted = np.array(shade) * 0.86 + np.array(DARK.asphalt) * 0.14
            assert np.abs(colour - wanted).max() < 12, (column, line, value)
    assert checked > 100 and (obs != 1.0).sum() > 8


def test_the_safety_overlay_says_blocked_exactly_when_a_lane_change_is_refused(drive):
    sim, outcomes = drive(30), set()
    for _ in range(400):
        sim.step(np.array([0]))
        for action, side in ((Action.LEFT, -1), (Action.RIGHT, 1)):
            trial = sim.get_state()
            cells = safety_cells(RULES_2018, trial[0])
            own = int((trial.x[0, 0] + 7.5) // 20)
            blocked = bool(cells.value[cells.column == own + side].any())
            lane = int(trial.lane[0, 0])
            sim.step_frame(int(action))
            assert blocked == (sim.state.lane[0, 0] == lane)
            outcomes.add((side, blocked))
            if blocked:
                sim.set_state(trial)
            else:
                break
    assert len(outcomes) == 4


def test_everything_beside_is_blocked_while_a_lane_change_is_under_way(drive):
    sim = drive(30)
    sim.state.x[0, 0] += 5.0
    cells = safety_cells(RULES_2018, sim.state[0])
    own = int((sim.state.x[0, 0] + 7.5) // 20)
    assert cells.value[cells.column != own].all()


def test_cells_ahead_block_where_a_vehicle_stands(drive):
    sim = drive(30)
    sim.state.cells[0] = 0
    sim.state.x[0, 0], sim.state.lane[0, 0], sim.state.y[0, 0] = 64.0, 3, 525.0
    sim.state.cells[0, 3, 16 + 50] = 7
    cells = safety_cells(RULES_2018, sim.state[0])
    ahead = {int(line): value for line, value in zip(cells.line[:4], cells.value[:4], strict=True)}
    assert ahead == {51: 0.0, 50: 1.0, 49: 0.0, 48: 0.0}


def test_the_full_map_shows_every_occupied_cell_with_its_mark(drive):
    sim = drive(100)
    cells = map_cells(RULES_2018, sim.state[0])
    whole = sim.sense(Sensor(6, 69, 69))[0].reshape(138, 13)
    game = sim.state[0]
    base, lane = int(game["y"][0] // 10), int(game["lane"][0])
    for column, line, value in zip(cells.column, cells.line, cells.value, strict=True):
        assert whole[line - base + 69, column - lane + 6] == value
    assert len(cells.value) == ((whole != 1.0) & (whole != 0.0)).sum()
