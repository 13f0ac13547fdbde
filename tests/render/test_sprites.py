"""An image of one's own for the ego car."""

import numpy as np
import pytest
from PIL import Image

from deeptraffic.render.drawing import Sheet
from deeptraffic.render.painter import Painter
from deeptraffic.render.sprites import VehicleImage
from deeptraffic.render.theme import DARK
from deeptraffic.sim.rules import RULES_2018


@pytest.fixture
def car(tmp_path):
    """An image as the original page took it: green, its front blue, transparent to the left and right."""
    pixels = np.zeros((586, 268, 4), np.uint8)
    pixels[:, 5:-5] = (0, 200, 0, 255)
    pixels[:200, 5:-5] = (0, 0, 250, 255)
    path = tmp_path / "car.png"
    Image.fromarray(pixels).save(path)
    return path


def test_the_picture_replaces_the_ego_car_front_up(drive, car):
    sim = drive(10)
    image = Painter(RULES_2018, image=VehicleImage(car)).paint(sim.state)
    x, y = 240 + round(sim.state.x[0, 0] + 7.5), round(sim.state.y[0, 0])
    assert np.abs(image[y + 6, x].astype(int) - (0, 0, 250)).max() < 40
    assert np.abs(image[y + 24, x].astype(int) - (0, 200, 0)).max() < 40


def test_a_wide_picture_is_cropped_around_its_middle(tmp_path, drive):
    pixels = np.full((340, 900, 3), 255, np.uint8)
    pixels[:, 375:525] = (0, 200, 0)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    sprite = VehicleImage(tmp_path / "wide.png").drawn(Sheet(22, 41, 1.0, -10.5, -20.0), DARK.rim)
    inside = sprite[5:35, 5:16, :3].reshape(-1, 3)
    assert (inside == (0, 200, 0)).all()


def test_an_image_is_rounded_and_rimmed_so_that_it_is_seen_whatever_its_colour(tmp_path, drive):
    Image.new("RGB", (150, 340), DARK.asphalt).save(tmp_path / "road.png")
    sim = drive(10)
    image = Painter(RULES_2018, image=VehicleImage(tmp_path / "road.png")).paint(sim.state).astype(int)
    x, y = 240 + round(float(sim.state.x[0, 0])), round(float(sim.state.y[0, 0]))
    area = image[y - 3 : y + 38, x - 3 : x + 19]
    assert (np.abs(area - DARK.rim).max(axis=2) < 60).sum() > 60, "no rim"
    corners = [image[y + down, x + across] for down in (0, 33) for across in (0, 14)]
    assert all(np.abs(corner - image[y + 16, x + 7]).max() > 30 for corner in corners), "corners are not rounded"


def test_an_image_that_could_not_be_seen_is_refused(tmp_path):
    pixels = np.zeros((340, 150, 4), np.uint8)
    pixels[:20] = 255
    Image.fromarray(pixels).save(tmp_path / "ghost.png")
    with pytest.raises(ValueError, match="transparent in its middle .* fill at least 25%"):
        VehicleImage(tmp_path / "ghost.png")


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n but no more", b"GIF89a"])
def test_what_is_no_image_is_refused(tmp_path, content):
    path = tmp_path / "car.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a readable PNG"):
        VehicleImage(path)


def test_a_missing_a_cut_short_and_a_tiny_file_are_refused(tmp_path, car):
    with pytest.raises(ValueError, match="does not exist"):
        VehicleImage(tmp_path / "none.png")
    car.write_bytes(car.read_bytes()[:400])
    with pytest.raises(ValueError, match="not a readable PNG"):
        VehicleImage(car)
    Image.new("RGB", (4, 4)).save(tmp_path / "tiny.png")
    with pytest.raises(ValueError, match=r"in \[8, 8192\] pixels"):
        VehicleImage(tmp_path / "tiny.png")
