"""Images of overlay cells: what a value looks like, and where it is written out."""

import pygame

from deeptraffic.render.overlays import CellTiles, input_cells
from deeptraffic.render.painter import Painter
from deeptraffic.render.theme import DARK
from deeptraffic.sim.rules import RULES_2018, Sensor


def pixels(surface: pygame.Surface) -> bytes:
    return pygame.image.tobytes(surface, "RGBA")


def test_only_the_value_1_looks_free() -> None:
    tiles = CellTiles(DARK, 1.0)
    pick = tiles.picker("input", empty=7.0)
    assert pick(1.0) is tiles.tile("free", 0)
    assert pick(5.767) is tiles.tile("occupied", 15), "the ego car of 2017 reads itself ten times as fast"
    assert pick(0.0) is tiles.tile("off", 0)


def test_numbers_tell_values_apart_that_share_a_shade() -> None:
    pick = CellTiles(DARK, 1.5).picker("value", empty=100.0)
    assert pixels(pick(0.020)) == pixels(pick(0.0201)) != pixels(pick(0.021))


def test_numbers_are_written_only_where_cells_are_large_enough(drive) -> None:
    sim = drive(60)
    for height, written in ((700, False), (1080, True)):
        road = Painter(RULES_2018, (700, height))._road
        canvas = pygame.Surface((700, height), 0, 32)
        cells = input_cells(RULES_2018, sim.state[0], Sensor())
        road.draw_cells(canvas, cells, road.camera(sim.state[0]), "value")
        assert bool(pygame.surfarray.array3d(canvas).any()) == written
