"""Small images for learning agents: shape, colours, sub-pixel motion, independence of everything but State."""

import hashlib

import numpy as np
import pytest

from deeptraffic.render.road import PixelPainter
from deeptraffic.render.styled import StyledPainter
from deeptraffic.render.styles import styles_by_name
from deeptraffic.render.theme import DARK
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018

FOUR = RULES_2018._replace(other_agents=3)


def games(num_envs: int) -> Simulator:
    sim = Simulator(FOUR, num_envs, threads=1)
    sim.reset_open(range(num_envs))
    sim.step(np.zeros(num_envs, np.int64))
    return sim


@pytest.mark.parametrize("grey, channels", [(False, 3), (True, 1)])
@pytest.mark.parametrize("height, width", [(84, 84), (64, 48)])
def test_pictures_have_the_asked_shape(grey, channels, height, width):
    images = PixelPainter(FOUR, height, width, grey=grey).paint(games(5).state)
    assert images.shape == (5, height, width, channels) and images.dtype == np.uint8


def test_a_picture_depends_on_its_own_row_alone():
    sim = games(6)
    painter = PixelPainter(FOUR)
    together = painter.paint(sim.state)
    for row in (3, 0, 5):
        assert np.array_equal(painter.paint(sim.state, np.array([row]))[0], together[row])
    assert not np.array_equal(together[0], together[1])


def test_the_ego_car_is_where_state_says_and_red():
    sim = games(1)
    image = PixelPainter(FOUR).paint(sim.state)[0].astype(int)
    row, column = int((sim.state.y[0, 0] + 17) * 0.12), int((sim.state.x[0, 0] + 7.5) * 0.6)
    area = image[row - 2 : row + 3, column - 3 : column + 4].reshape(-1, 3)
    assert np.abs(area - DARK.ego).max(axis=1).min() < 25


def test_grey_is_the_luminance_of_colour():
    state = games(2).state
    colour, grey = PixelPainter(FOUR).paint(state), PixelPainter(FOUR, grey=True).paint(state)
    assert np.abs(colour @ np.array([0.299, 0.587, 0.114]) - grey[..., 0]).max() < 1.6


def test_a_move_of_a_tenth_of_a_pixel_shows():
    sim = games(1)
    painter = PixelPainter(FOUR)
    before = painter.paint(sim.state).astype(int)
    sim.state.y[0, 7] = 300.0
    first = painter.paint(sim.state).astype(int)
    sim.state.y[0, 7] += 0.1 / 0.12
    second = painter.paint(sim.state).astype(int)
    assert np.abs(first - second).max() > 5 and np.abs(first - before).max() > 50


def test_covered_area_adds_up_wherever_a_vehicle_stands():
    sim = games(1)
    sim.state.y[0] = -500.0
    painter = PixelPainter(RULES_2018, grey=True)
    empty = painter.paint(sim.state).astype(int)
    sums = []
    for y in (100.0, 101.3, 104.7):
        sim.state.y[0, 1] = y
        sums.append((painter.paint(sim.state).astype(int) - empty).sum())
    assert max(sums) - min(sums) < 0.05 * max(sums) and min(sums) > 500


def test_vehicles_thrown_off_to_infinity_are_left_out():
    sim = games(1)
    sim.state.y[0, :3] = np.nan, np.inf, -np.inf
    assert PixelPainter(FOUR).paint(sim.state).shape == (1, 84, 84, 3)


@pytest.mark.parametrize(
    "height, width, grey, wanted",
    [
        (84, 84, False, "e3db3b49f185225a"),
        (84, 84, True, "48ca07b0d3376768"),
        (70, 28, True, "3fc2b5fde4364617"),
        (70, 28, False, "2478651ab1eec32c"),
        (64, 48, False, "b92a63ac5d3657a8"),
    ],
)
def test_images_that_champions_were_trained_on_stay_as_they_are_to_the_last_byte(height, width, grey, wanted):
    sim = Simulator(FOUR, 32, threads=1)
    sim.reset_open(range(32))
    for _ in range(12):
        sim.step(np.arange(32) * 7919 % 5)
    sim.state.y[3, 4], sim.state.y[4, 0], sim.state.y[5, 2] = np.nan, np.inf, -20.5
    sim.state.x[6, 3], sim.state.y[6, 3] = sim.state.x[6, 2] + 3, sim.state.y[6, 2] + 5  # one vehicle over another
    images = PixelPainter(FOUR, height, width, grey=grey).paint(sim.state)
    assert hashlib.sha256(images.tobytes()).hexdigest()[:16] == wanted


@pytest.mark.parametrize("styles, wanted", [("train", "4132e5da88248e13"), ("unseen", "ec77a4c21c4bfa3a")])
def test_styled_images_stay_as_they_are_to_the_last_byte(styles, wanted):
    sim = Simulator(FOUR, 32, threads=1)
    sim.reset_open(range(32))
    for _ in range(12):
        sim.step(np.arange(32) * 7919 % 5)
    run_keys = np.arange(32) * 7919 + 13
    painter = StyledPainter(FOUR, 84, 84, styles_by_name(styles))
    images = painter.paint(sim.state, np.arange(32), run_keys, run_keys * 31 + 7)
    assert hashlib.sha256(images.tobytes()).hexdigest()[:16] == wanted


def test_impossible_sizes_and_buffers_are_refused():
    with pytest.raises(ValueError, match=r"height must be in \[16, 1024\] pixels, got 4"):
        PixelPainter(FOUR, height=4)
    with pytest.raises(ValueError, match=r"\(1, 84, 84, 3\)"):
        PixelPainter(FOUR).paint(games(1).state, out=np.empty((1, 84, 84), np.uint8))
