"""Races: ghosts where the others would be, standings in the order of the road, curves of the gaps."""

import numpy as np
import pytest

from deeptraffic.episodes.episode import Episode
from deeptraffic.episodes.trace import Start
from deeptraffic.evaluation.episodes import policy_episode
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.render.race import COLOURS, Entrant, RaceBoard
from deeptraffic.render.screen import ViewerOptions
from deeptraffic.render.theme import DARK, FEET_PER_PX
from deeptraffic.render.viewer import Viewer, viewer_frames
from deeptraffic.sim.rules import RULES_2018

BLUE, YELLOW = COLOURS[1:3]


def driver(action: int, label: str):
    return lambda seed: Episode(RULES_2018, Start.open(seed), lambda sim, agent: action, frames=600, label=label)


def gap(seed: int) -> Episode:
    return policy_episode(make_builtin("gap"), RULES_2018, Start.open(seed), 600)


def race(*others, frames: int = 300, first=gap) -> Viewer:
    viewer = Viewer(first, seed=3, options=ViewerOptions(rivals=others, arrangement="race"), size=(1280, 720))
    for _ in range(frames):
        viewer.tick()
    return viewer


def near(image: np.ndarray, colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    return np.nonzero(np.abs(image.astype(int) - colour).max(axis=2) < 40)


def on_road(viewer: Viewer) -> np.ndarray:
    place = viewer.screen.roads[0]
    return viewer.image()[:, place.left : place.left + place.width]


def test_a_ghost_that_drives_alike_is_on_the_car_itself():
    viewer = race(driver(1, "the same"), first=driver(1, "one"))
    rows, columns = near(on_road(viewer), BLUE)
    scale, scene = viewer.screen.roads[0].height / 700, viewer.episode.state[0]
    assert len(rows) > 50
    assert rows.min() == pytest.approx(scene["y"][0] * scale, abs=3)
    assert rows.max() == pytest.approx((scene["y"][0] + 34) * scale, abs=3)
    assert viewer.log.entrants()[0].distance == viewer.log.entrants()[1].distance


def test_a_ghost_is_behind_by_the_distance_that_it_has_lost():
    for frames in range(100, 300, 10):
        viewer = race(driver(2, "slow"), frames=frames)
        fast, slow = viewer.log.entrants()
        lost = fast.distance - slow.distance
        if lost > 40:
            break
    scale = viewer.screen.roads[0].height / 700
    rows, _ = near(on_road(viewer), BLUE)
    assert 40 < lost < 130
    assert rows.min() == pytest.approx((viewer.episode.state.y[0, 0] + lost) * scale, abs=3)


def test_a_ghost_out_of_view_is_an_arrow_at_the_edge():
    viewer = race(driver(2, "slow"), frames=590)
    rows, _ = near(on_road(viewer), BLUE)
    place = viewer.screen.roads[0]
    assert len(rows) > 30 and rows.min() > place.height - 40 * place.height / 700


def test_a_rival_that_drives_faster_is_a_ghost_ahead_and_then_an_arrow():
    viewer, leads = Viewer(driver(2, "slow"), seed=3, options=ViewerOptions(rivals=[gap], arrangement="ghost")), []
    road, scale = viewer.screen.roads[0], viewer.screen.roads[0].height / 700
    for _ in range(590):
        viewer.tick()
        leads.append(-viewer.log.lead())
        if 60 < leads[-1] < 64:
            across = (float(viewer.episodes[1].state.x[0, 0]) - 70) * scale + road.width / 2
            rows, _ = near(on_road(viewer)[:, round(across) : round(across + 15 * scale)], COLOURS[0])
            expected = (viewer.episode.state.y[0, 0] - leads[-1]) * scale
            assert np.abs(rows - expected).min() < 2 and ((rows > expected - 3) & (rows < expected + 36)).sum() > 60
    assert leads[10] < leads[150] < leads[-1] and leads[-1] > 180
    for _ in range(3):
        viewer.press("+")  # until it is out of view
    rows, columns = near(on_road(viewer)[: round(20 * scale)], COLOURS[0])
    assert len(rows) > 30 and columns.max() - columns.min() < 60 * scale, "no arrow at the upper edge"


def test_ghosts_are_where_they_were_after_winding_back():
    viewer = race(driver(2, "slow"), driver(3, "left"))
    viewer.press("space")
    before = viewer.image().copy()
    for key in ("home", *["page down"] * 3):
        viewer.press(key)
    assert viewer.episode.frame == 300 and np.array_equal(viewer.image(), before)


def test_standings_are_in_the_order_of_the_road():
    board = RaceBoard((600, 700), DARK)
    entrants = [
        Entrant(name, COLOURS[k], mph, distance)
        for k, (name, mph, distance) in enumerate([("a", 60.0, 100.0), ("b", 70.0, 300.0), ("c", 65.0, 200.0)])
    ]
    distances = np.linspace(0, 1, 106)[:, None] * [100.0, 300.0, 200.0]
    image = board.paint(entrants, distances, 105)
    boxes = [near(image[60:160, 50:80], colour)[0].mean() for colour in COLOURS[:3]]
    assert boxes[1] < boxes[2] < boxes[0]
    curves = [near(image[220:, 300:590], colour)[0].mean() for colour in COLOURS[:3]]
    assert curves[1] < curves[2] < curves[0], "the leader's curve is the highest"
    middle = near(image[220:, 60:590], COLOURS[2])[0]
    assert np.ptp(middle) < 16, "the one in the middle keeps its distance to the mean"


def test_a_board_before_the_start_has_no_curve_yet():
    image = RaceBoard((600, 700), DARK).paint([Entrant("a", BLUE, 0.0, 0.0)] * 2, np.zeros((11, 2)), 0)
    assert len(near(image[200:], BLUE)[0]) < 200


def test_the_film_of_a_race_has_an_image_of_every_second_frame():
    options = ViewerOptions(rivals=[driver(2, "slow")], arrangement="race")
    viewer = Viewer(driver(1, "fast"), options=options, size=(640, 480))
    images = list(viewer_frames(viewer, 2))
    assert len(images) == 300 and {image.shape for image in images} == {(480, 640, 3)}
    assert any(not np.array_equal(images[0], image) for image in images[1:])


def test_a_race_has_two_to_eight_entrants():
    with pytest.raises(ValueError, match="2 to 8 entrants, got 9"):
        Viewer(driver(1, "a"), options=ViewerOptions(rivals=[driver(1, "b")] * 8, arrangement="race"))


def test_gaps_are_in_feet_of_the_road():
    assert 20 < 100 * FEET_PER_PX < 60  # [ft] of 100 px: 20 mph is 1 px a frame
