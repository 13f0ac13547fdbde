"""Images of overlay cells: what a value looks like, and where speeds are written."""

import numpy as np
import pytest

from deeptraffic.render.overlays import CellTiles, input_cells
from deeptraffic.render.painter import Painter
from deeptraffic.render.theme import DARK
from deeptraffic.sim.rules import RULES_2017, RULES_2018, Sensor

FOUR = RULES_2018._replace(other_agents=3)


def test_only_the_value_1_looks_free(drive) -> None:
    tiles = CellTiles(DARK, 1.0)
    sim = drive(60, RULES_2017)
    cells = input_cells(RULES_2017, sim.state[0], Sensor())
    wanted = {1.0: ("free", 0), 0.0: ("off", 0)}
    chosen = tiles.place(cells, "input", RULES_2017.empty).number
    for value, number in zip(cells.value, chosen, strict=True):
        mph = value * RULES_2017.empty * 20
        level = round(min(max((mph - 40) / 40, 0), 1) * 15)
        assert number == tiles.numbers[wanted.get(value, ("occupied", level))]
    assert (chosen == tiles.numbers["occupied", 15]).any(), "the ego car of 2017 reads itself ten times as fast"


@pytest.mark.parametrize("scale, outlined", [(1.0, False), (1.29, False), (1.31, True), (2.0, True)])
def test_cars_stay_visible_under_the_input_and_show_one_speed_each(drive, scale, outlined) -> None:
    sim = drive(200, FOUR)
    painter = Painter(FOUR, (round(600 * scale), round(700 * scale)))
    plain, image = painter.paint(sim.state).astype(int), painter.paint(sim.state, overlay="input").astype(int)
    road = painter._road
    camera, scale = road.camera(sim.state[0]), road.scale
    cells = input_cells(FOUR, sim.state[0], Sensor())
    seen = set(cells.mark[(cells.mark > 0) & (cells.mark <= 20)] - 1) - {0}
    assert len(seen) > 10
    for vehicle in seen:
        left = road.place.left + (sim.state.x[0, vehicle] - camera.left) * scale
        top = (sim.state.y[0, vehicle] - camera.top) * scale
        body = np.s_[
            round(top + 2 * scale) : round(top + 32 * scale), round(left + 3 * scale) : round(left + 12 * scale)
        ]
        if top < 0 or top + 34 * scale > image.shape[0]:
            continue
        changed = np.abs(image[body] - plain[body]).max(axis=2) > 60
        assert changed.mean() < 0.45, f"vehicle {vehicle} is covered"
        assert changed.any() == outlined


def test_a_label_is_the_speed_in_mph_that_the_cells_read(drive) -> None:
    sim, painter, written = drive(200, FOUR), Painter(FOUR, (1000, 1400)), []
    label = painter._road._tiles.label
    painter._road._tiles.label = lambda speed: written.append(speed) or label(speed)
    painter.paint(sim.state, overlay="input")
    cells = input_cells(FOUR, sim.state[0], Sensor())
    marks = sorted(set(cells.mark.tolist()) - {0, 1, 21})
    assert written == [round(float(sim.state.map_speed[0, mark]) * 20) for mark in marks]
