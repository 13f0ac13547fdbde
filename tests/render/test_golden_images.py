"""Golden images of the other styles: viewer, help and showcase; each was inspected by eye when it was taken."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeptraffic.episodes.decision import ActionValues, Insight
from deeptraffic.episodes.episode import Episode
from deeptraffic.episodes.trace import Start
from deeptraffic.render.screen import ViewerOptions
from deeptraffic.render.showcase import Showcase, showcase_frames
from deeptraffic.render.viewer import Viewer
from deeptraffic.sim.rules import RULES_2018

PICTURES = Path(__file__).parent / "images"
FOUR = RULES_2018._replace(other_agents=3)


def make(seed: int) -> Episode:
    return Episode(FOUR, Start.open(seed), lambda sim, agent: int(sim.state.frame[0]) // 30 % 5, label="golden")


def insight() -> Insight:
    wave = np.sin(np.arange(420) / 7.0)
    return Insight(
        [wave.reshape(60, 7), wave[:64], -wave[:5]],
        ActionValues("value", "reward", np.array([0.1, 0.9, 0.2, -0.5, 0.0]), np.ones(5, bool)),
        1,
    )


def viewer() -> np.ndarray:
    view = Viewer(make, options=ViewerOptions(insight=insight))
    for _ in range(250):
        view.tick()
    view.press("o")
    return view.image()


def rivals_with_help() -> np.ndarray:
    view = Viewer(make, options=ViewerOptions(rivals=[make]), size=(1400, 700))
    for _ in range(100):
        view.tick()
    view.press("h")
    return view.image()


def showcase() -> np.ndarray:
    card = Showcase("Ada Lovelace", best_mph=74.21, rank=3, of=120, trail="aqua")
    return list(showcase_frames(make(3), card, seconds=4))[90]


STYLES = {style.__name__: style for style in (viewer, rivals_with_help, showcase)}


@pytest.mark.parametrize("name", STYLES)
def test_styles_look_as_when_they_were_looked_at(name):
    wanted = np.asarray(Image.open(PICTURES / f"{name}.png").convert("RGB")).astype(int)
    difference = np.abs(STYLES[name]().astype(int) - wanted)
    assert difference.mean() < 1.5 and (difference.max(axis=2) > 60).mean() < 0.003, f"{name} differs"
