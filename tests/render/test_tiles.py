"""Several games in one picture."""

import numpy as np
import pytest

from deeptraffic.render.painter import Painter
from deeptraffic.render.theme import DARK
from deeptraffic.render.tiles import TiledPainter, side_by_side
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018


def batch(num_envs: int) -> Simulator:
    sim = Simulator(RULES_2018, num_envs, threads=1)
    sim.reset_open(range(num_envs))
    sim.step(np.ones(num_envs, np.int64))
    return sim


@pytest.mark.parametrize("games", [1, 2, 7, 16])
def test_every_tile_shows_its_own_game(games):
    sim = batch(games)
    painter = TiledPainter(RULES_2018, games, (900, 700))
    picture = painter.paint(sim.state)
    assert picture.shape == (700, 900, 3)
    width, height = painter._painter.size
    tiles = []
    for k in range(games):
        top, left = 6 + k // painter.columns * (height + 6), 6 + k % painter.columns * (width + 6)
        tile = picture[top : top + height, left : left + width]
        assert (np.abs(tile.astype(int) - DARK.ego).max(axis=2) < 20).sum() > 10, f"no ego car in tile {k}"
        tiles.append(tile.tobytes())
    assert len(set(tiles)) == games


def test_rows_can_be_chosen_and_too_many_are_refused():
    sim = batch(9)
    painter = TiledPainter(RULES_2018, 2, (500, 500))
    chosen = painter.paint(sim.state, [8, 3])
    assert np.array_equal(chosen, TiledPainter(RULES_2018, 2, (500, 500)).paint(sim.state, [8, 3]))
    assert not np.array_equal(chosen, painter.paint(sim.state, [0, 1]))
    with pytest.raises(ValueError, match="at most 2"):
        painter.paint(sim.state, [0, 1, 2])


def test_tiles_that_would_be_too_small_are_refused():
    with pytest.raises(ValueError, match="fewer or larger"):
        TiledPainter(RULES_2018, 100, (200, 200))
    with pytest.raises(ValueError, match="at least 1"):
        TiledPainter(RULES_2018, 0)


def test_pictures_stand_side_by_side_in_order():
    one, other = np.full((20, 10, 3), 1, np.uint8), np.full((20, 30, 3), 2, np.uint8)
    both = side_by_side([one, other], gap=4)
    assert both.shape == (20, 44, 3) and both[0, 0, 0] == 1 and both[0, 12, 0] == 0 and both[0, 43, 0] == 2
    with pytest.raises(ValueError, match="one height"):
        side_by_side([one, other[:5]])


def test_a_ghost_that_drives_faster_appears_ahead_and_then_as_an_arrow():
    fast, slow = Simulator(RULES_2018, 1, threads=1), Simulator(RULES_2018, 1, threads=1)
    painter, leads = Painter(RULES_2018), []
    for sim in (fast, slow):
        sim.reset_open([3])
    slow.state.speed_factor[0, 0] = 0.5
    pictures = {}
    for frame in range(400):
        fast.step_frame(0)
        slow.step_frame(0)
        for sim, action in ((fast, 0), (slow, 0)):
            while sim.state.waiting[0] >= 0:
                sim.step_frame(action)
        pictures[frame] = painter.paint(slow.state, ghost=fast.state)
        leads.append(painter._ghost_history.ground - painter.observe(slow.state).ground)
    assert leads[10] < leads[150] < leads[399] and leads[399] > 600
    x = 240 + round(fast.state.x[0, 0] + 7.5)
    top = pictures[399][:20, x - 12 : x + 12]
    assert (np.abs(top.astype(int) - DARK.ego).max(axis=2) < 20).sum() > 10, "no arrow at the upper edge"
