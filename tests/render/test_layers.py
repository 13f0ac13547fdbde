"""Layers of third parties: as a function, as a class, in a file and as an entry point."""

from importlib.metadata import EntryPoint

import numpy as np
import pytest

from deeptraffic.render import layers as module
from deeptraffic.render.layers import LayerContext, layer_names, make_layer
from deeptraffic.render.painter import Painter
from deeptraffic.render.theme import LIGHT
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018

GREEN = (0, 255, 0)
FILE = """
import pygame


def layer(canvas, camera, state):
    x, y = camera.pixel(state.x[0, 0], state.y[0, 0] - 20)
    pygame.draw.rect(canvas, (0, 255, 0), (x, y, 15 * camera.scale, 10 * camera.scale))
"""


def games(count: int = 1) -> Simulator:
    sim = Simulator(RULES_2018, count, threads=1)
    sim.reset_open(range(1, count + 1))
    for _ in range(40):
        sim.step_frame(1)
    return sim


def green(image: np.ndarray) -> np.ndarray:
    return (image == GREEN).all(axis=2)


@pytest.mark.parametrize("size", [(400, 700), (800, 1400), (140, 300)])
def test_a_file_is_a_layer_at_every_size(tmp_path, size):
    path, sim = tmp_path / "mine.py", games()
    path.write_text(FILE)
    painter = Painter(RULES_2018, size, layers=[str(path)])
    rows, columns = np.nonzero(green(painter.paint(sim.state)))
    scale = painter.layout.scale
    assert np.ptp(columns) + 1 == pytest.approx(15 * scale, abs=2) and np.ptp(rows) + 1 == pytest.approx(
        10 * scale, abs=2
    )
    assert rows.mean() == pytest.approx((sim.state.y[0, 0] - 15) * scale, abs=3)


def test_a_layer_sees_the_env_that_is_painted():
    sim, seen = games(3), []
    painter = Painter(RULES_2018, layers=[lambda canvas, camera, state: seen.append(state)])
    for env in range(3):
        painter.paint(sim.state, env)
        assert len(seen[-1]) == 1 and np.array_equal(seen[-1].x[0], sim.state.x[env])


def test_a_layer_cannot_leave_the_road():
    sim = games()
    painter = Painter(RULES_2018, layers=[lambda canvas, camera, state: canvas.fill(GREEN)])
    covered = green(painter.paint(sim.state))
    place = painter.layout.road
    assert covered[:, place.left :].all() and not covered[:, : place.left].any()


def test_an_entry_point_is_a_layer_by_its_name(monkeypatch):
    class Made:
        def __init__(self, context):
            self.context = context

        def __call__(self, canvas, camera, state):
            canvas.fill(GREEN)

    point = EntryPoint("greened", "nowhere:Made", module.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda self: Made)
    monkeypatch.setattr(module, "entry_points", lambda group: [point] if group == module.GROUP else [])
    assert layer_names()[-1] == "greened"
    context = LayerContext(RULES_2018, "policy", LIGHT)
    assert make_layer("greened", context).context == context


def test_a_layer_that_does_not_exist_is_named_with_those_there_are(tmp_path):
    with pytest.raises(ValueError, match="no layer 'missing'; choose one of attention, futures, values"):
        make_layer("missing", LayerContext(RULES_2018))
    empty = tmp_path / "empty.py"
    empty.write_text("")
    with pytest.raises(ValueError, match="no attribute 'layer'"):
        make_layer(str(empty), LayerContext(RULES_2018))
    empty.write_text("layer = 3")
    with pytest.raises(ValueError, match="not a callable"):
        make_layer(str(empty), LayerContext(RULES_2018))
