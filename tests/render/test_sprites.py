"""An image of one's own for the ego car."""

import numpy as np
import pytest
from PIL import Image

from deeptraffic.render.drawing import Sheet
from deeptraffic.render.painter import Painter
from deeptraffic.render.sprites import BRAKE_LIGHT, INDICATOR, VehicleImage
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


SCALE = 4


def near(sim, vehicle: int, painter: Painter) -> np.ndarray:
    """Return the part of an image, 4 pixels per px, from 5 px left of and above a vehicle's corner on."""
    image, road = painter.paint(sim.state).astype(int), painter._road
    left = road.place.left + round((float(sim.state.x[0, vehicle]) - 5 - road.camera(sim.state[0]).left) * SCALE)
    top = round((float(sim.state.y[0, vehicle]) - 5) * SCALE)
    return image[top : top + 44 * SCALE, left : left + 25 * SCALE]


def alone(drive, vehicle: int):
    """Return a simulator in which one vehicle of the traffic is alone in the middle of lane 3, and a painter."""
    sim = drive(60)
    sim.state.y[0, 1:] = 3000.0
    sim.state.y[0, vehicle], sim.state.x[0, vehicle], sim.state.lane[0, vehicle] = 200.0, 64.0, 3
    return sim, Painter(RULES_2018, (720, 700 * SCALE), panel=False)


def pixels_of(part: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, float, float]:
    """Return how many pixels have nearly this colour, and their middle, across and along [px from the corner]."""
    down, across = np.nonzero(np.abs(part - colour).max(axis=2) < 40)
    middle = (float(each.mean()) / SCALE - 5 if len(each) else 0.0 for each in (across, down))
    return len(down), *middle


@pytest.mark.parametrize("lane, side", [(3, 0), (2, -1), (4, 1)])
def test_a_vehicle_that_changes_lanes_indicates_and_yaws(drive, lane, side):
    sim, painter = alone(drive, 7)
    sim.state.lane[0, 7] = lane
    part = near(sim, 7, painter)
    lamps, across, _ = pixels_of(part, INDICATOR)
    assert (lamps > 20) == (side != 0) and (across - 7.5) * side >= 0
    assert abs(across - 7.5) > 4 or side == 0
    ahead = pixels_of(part, DARK.headlight)[1] - pixels_of(part, DARK.tail_light)[1]
    assert ahead * side > 1.0 if side else abs(ahead) < 0.3, "its front does not point to where it goes"


@pytest.mark.parametrize("loss, lit", [(0.0, False), (0.001, False), (0.03, True), (-0.03, False)])
def test_brake_lights_are_on_while_a_vehicle_loses_speed(drive, loss, lit):
    sim, painter = alone(drive, 7)
    for _ in range(8):
        painter.observe(sim.state)
        sim.state.frame[0] += 1
        sim.state.speed_factor[0, 7] -= loss
    lights, _, along = pixels_of(near(sim, 7, painter), BRAKE_LIGHT)
    assert (lights > 60) == lit
    assert along > 28 or not lit


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
