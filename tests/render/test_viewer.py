"""The viewer: what its image shows after which keys."""

from functools import partial
from itertools import count

import numpy as np
import pytest

from deeptraffic.episodes.decision import ActionValues, Insight
from deeptraffic.episodes.episode import Episode
from deeptraffic.episodes.trace import Start
from deeptraffic.render.dashboard import _fitted
from deeptraffic.render.screen import MakeEpisode, ViewerOptions
from deeptraffic.render.theme import DARK
from deeptraffic.render.timeline import HEIGHT
from deeptraffic.render.viewer import Viewer
from deeptraffic.sim.rules import RULES_2018, Action

MARKER = np.linspace(-1, 1, 420).reshape(60, 7)


def driver(action: int, label: str = "test driver") -> MakeEpisode:
    """Return what makes episodes of a driver that always takes the same action."""
    return lambda seed: Episode(RULES_2018, Start.open(seed), lambda sim, agent: action, frames=400, label=label)


make = driver(1)


def insight() -> Insight:
    return Insight([MARKER, np.ones(16), -np.ones(5)], values(0.1, 0.9, 0.2, -0.5, 0.0), int(Action.ACCELERATE))


def values(*each: float, kind: str = "value", candidates: tuple[int, ...] = (0, 1, 2, 3, 4)) -> ActionValues:
    return ActionValues(kind, "", np.array(each), np.isin(range(5), candidates))


def ticked(viewer: Viewer, ticks: int) -> Viewer:
    for _ in range(ticks):
        viewer.tick()
    return viewer


def test_paces_run_a_quarter_one_and_ten_frames_a_tick():
    viewer = ticked(Viewer(make), 20)
    assert viewer.episode.frame == 20
    viewer.press("1")
    assert ticked(viewer, 20).episode.frame == 25
    viewer.press("3")
    assert ticked(viewer, 3).episode.frame == 55
    viewer.press("space")
    assert ticked(viewer, 5).episode.frame == 55


def test_an_image_is_painted_again_only_when_something_in_it_changes():
    viewer = ticked(Viewer(make, options=ViewerOptions(insight=insight)), 40)
    viewer.press("space")
    shown = viewer.image()
    assert ticked(viewer, 5).image() is shown
    for key in (".", "o", "f", "c", "t", "n", "h", "1"):
        viewer.press(key)
        before, shown = shown, viewer.image()
        assert shown is not before and (key == "1" or not np.array_equal(shown, before)), key
    viewer.press("r")
    viewer.press("return")
    assert viewer.image() is not shown
    viewer.size = (700, 500)
    assert viewer.image().shape == (500, 700, 3)


def test_the_dashboard_shows_every_new_decision():
    viewer = ticked(Viewer(make, options=ViewerOptions(insight=insight)), 40)
    beside, below = viewer.screen.place_beside, slice(230, None)
    before = viewer.image()[below, beside.left :].copy()
    assert np.array_equal(ticked(viewer, 5).image()[below, beside.left :], before)
    viewer.log.insights[viewer.episode.decisions] = insight()._replace(action=int(Action.LEFT))
    assert not np.array_equal(ticked(viewer, 1).image()[below, beside.left :], before)


@pytest.mark.parametrize("size", [(1060, 760), (240, 900), (500, 400)])
@pytest.mark.parametrize("rivals", [[], [make]])
def test_a_click_follows_the_vehicle_that_is_painted_there(size, rivals):
    viewer = ticked(Viewer(make, options=ViewerOptions(rivals=rivals), size=size), 100)
    viewer.press("space")
    for _ in range(4):
        red = np.argwhere((viewer.image().astype(int) - np.array(DARK.ego)).__abs__().sum(2) < 60)
        left = viewer.screen.roads[-1].left if rivals else 0
        red = red[red[:, 1] >= left]  # of the road that is clicked
        y, x = np.median(red, axis=0)
        viewer.controls.follow = 0
        viewer.click(int(x), int(y))
        assert viewer.controls.follow == 0, "the ego car is the red one"
        viewer.press("f")
        viewer.press("e")
        viewer.press("+")
    assert viewer.controls.zoom == 3.0
    viewer.controls.change_zoom(-9)
    painter, scene = viewer.screen.painters[0], viewer.episode.state[0]
    road, camera = painter.layout.road, painter._road.camera(scene, 0)
    seen = 0
    for vehicle in range(1, 20):
        x = road.left + (scene["x"][vehicle] + 7.5 - camera.left) * painter.layout.scale
        y = road.top + (scene["y"][vehicle] + 17 - camera.top) * painter.layout.scale
        if 0 <= y < road.height:
            viewer.controls.follow, seen = 0, seen + 1
            viewer.click(round(float(x)), round(float(y)))
            assert viewer.controls.follow == vehicle
    assert seen > 3
    viewer.click(2, size[1] - 2)
    assert viewer.controls.follow == vehicle or size[0] < 300


def test_the_mouse_tells_the_value_of_the_unit_that_is_drawn_there():
    viewer = ticked(Viewer(make, options=ViewerOptions(insight=insight)), 40)
    viewer.press("space")
    plain, beside = viewer.image().copy(), viewer.screen.place_beside
    tips = {}
    for y in range(380, 720, 2):
        for x in range(beside.left, 1060, 2):
            viewer.pointer = (x, y)
            if tip := viewer.tip():
                tips.setdefault(tip, []).append((x, y))
    assert {f"layer 1 of 2, unit {unit}: 1" for unit in range(16)} <= set(tips)
    assert {f"layer 2 of 2, unit {unit}: -1" for unit in range(5)} <= set(tips)
    wanted = {f"input, unit {unit}: {value:.4g}" for unit, value in enumerate(MARKER.ravel())}
    assert {tip for tip in tips if tip.startswith("input")} == wanted
    for unit, is_positive in ((0, False), (419, True)):  # blue, or red
        x, y = tips[f"input, unit {unit}: {MARKER.ravel()[unit]:.4g}"][0]
        red, _, blue = plain[y, x].astype(int)
        assert (blue > red) == is_positive
    viewer.pointer = (x, y)
    assert not np.array_equal(viewer.image(), plain)
    viewer.pointer = (5, 5)
    assert np.array_equal(viewer.image(), plain)


def test_the_mouse_tells_the_value_of_the_overlays_cell():
    viewer = ticked(Viewer(make), 100)
    viewer.pointer = (330, 100)
    assert viewer.tip() == ""
    painter, scene = viewer.screen.painters[0], viewer.episode.state[0]
    road, camera = painter.layout.road, painter._road.camera(scene, 0)
    for overlay, free in (("input", "1: free road"), ("map", "")):
        viewer.controls.overlay, seen = overlay, set()
        for y in range(0, 760, 3):
            for x in range(road.left, road.left + road.width, 3):
                viewer.pointer = (x, y)
                seen.add(viewer.tip())
        assert free in seen and any("a vehicle at" in text for text in seen)
        vehicle = int(np.argmin(np.abs(scene["y"][1:] - 300))) + 1
        x = road.left + (scene["x"][vehicle] + 7.5 - camera.left) * painter.layout.scale
        y = road.top + (scene["y"][vehicle] + 17 - camera.top) * painter.layout.scale
        viewer.pointer = (round(float(x)), round(float(y)))
        assert f"a vehicle at {scene['map_speed'][vehicle + 1] * 20:.0f} mph" in viewer.tip()


def test_the_wheel_and_keys_zoom_between_the_whole_road_and_a_third():
    viewer = Viewer(make)
    heights = []
    for _ in range(5):
        painter = viewer.screen.painters[0]
        heights.append(painter.layout.road.height / painter.layout.scale)
        viewer.press("+")
    assert heights == pytest.approx([700, 700 / 1.5, 350, 700 / 3, 700 / 3])
    viewer.press("-")
    assert viewer.controls.zoom == 2.0


def test_a_narrow_close_view_holds_the_followed_vehicle_within():
    viewer = ticked(Viewer(make, size=(200, 900)), 100)
    viewer.controls.change_zoom(3)
    for vehicle in range(20):
        viewer.controls.follow = vehicle
        painter, scene = viewer.screen.painters[0], viewer.episode.state[0]
        camera = painter._road.camera(scene, vehicle)
        x = (scene["x"][vehicle] - camera.left) * painter.layout.scale
        assert 0 <= x <= 200 - 15 * painter.layout.scale
        viewer.image()


def test_decisions_in_which_two_policies_differ_are_marked_and_counted():
    def mostly(seed: int) -> Episode:
        return Episode(
            RULES_2018, Start.open(seed), lambda sim, agent: 2 if sim.state.frame[0] == 60 else 1, frames=400
        )

    viewer = ticked(Viewer(make, options=ViewerOptions(rivals=[mostly])), 130)
    marks = viewer.log.marks
    assert [mark.other for mark in marks.values()].count(2) == 1 and len(marks) == 5
    different = next(mark for mark in marks.values() if mark.differs)
    same = ticked(Viewer(make, options=ViewerOptions(rivals=[make])), 130)
    assert not any(mark.differs for mark in same.log.marks.values())
    timeline, blue = viewer.screen.timeline, np.array(DARK.positive)
    found = np.argwhere((viewer.image() == blue).all(2)[-timeline.size[1] :])
    assert abs(np.median(found[:, 1]) - timeline._x(different.frame)) <= 1
    assert not (same.image() == blue).all(2)[-timeline.size[1] :].any()
    page, plain = viewer.screen.place_beside.left, same.image()
    assert not np.array_equal(viewer.image()[380:410, page:], plain[380:410, page:])


def test_single_frames_pages_and_jumps_go_where_they_say():
    viewer = ticked(Viewer(make), 30)
    for keys, frame in ((".", 31), (",", 30), (["page down"], 130), (["page up"], 30), ("g250\n", 250), (["home"], 0)):
        for key in keys:
            viewer.press("return" if key == "\n" else key)
        assert viewer.episode.frame == frame, keys
    viewer.press("g")
    assert ticked(viewer, 3).episode.frame == 0, "time stands still while a number is typed"


def test_winding_back_shows_the_same_picture_again():
    viewer = ticked(Viewer(make), 200)
    viewer.press("space")
    before = viewer.image()
    for key in ("page down", "page up"):
        viewer.press(key)
    after = viewer.image()
    assert np.array_equal(before[:, :434], after[:, :434]), "read-outs, trail or lane marks differ after winding"
    assert (np.abs(before[630:, 239:434].astype(int) - (225, 190, 41)).max(axis=2) < 40).sum() > 150, "no trail"


@pytest.mark.parametrize("pace", ["2", "3"])
def test_a_ghost_keeps_its_lead_when_wound_and_at_any_pace(pace):
    wound, plain = (Viewer(driver(2), options=ViewerOptions(rivals=[make], arrangement="ghost")) for _ in range(2))
    wound.press(pace)
    while wound.episode.frame < 300:
        wound.tick()
        wound.image()
    wound.press("space")
    for key in ("home", "page down", "page down"):
        wound.press(key)
    assert np.array_equal(wound.image()[:, :434], ticked(plain, 200).image()[:, :434])


def test_a_restart_takes_the_typed_seed():
    viewer = ticked(Viewer(make, seed=1), 50)
    for key in ("r", "9", "return"):
        viewer.press(key)
    assert viewer.seed == 9 and viewer.episode.frame == 0
    assert viewer.episode.start == Start.open(9)
    for key in ("r", "return"):
        viewer.press(key)
    assert viewer.seed == 9


def test_a_sentence_about_the_decision_stands_over_the_status_line():
    sentences = ("", "road ahead free, no lane free, speeding up")
    looks = [ViewerOptions(insight=partial(Insight, (), None, 1, words)) for words in sentences]
    silent, said = (ticked(Viewer(make, options=options), 40).image() for options in looks)
    rows, columns = np.nonzero((silent != said).any(axis=2))
    assert 650 < rows.min() and rows.max() < 690 and columns.min() > 434 and np.ptp(columns) > 200


def bars(insight: Insight) -> list[int]:
    """Length in pixels of each action's bar, in whichever colour it is drawn; 0 for an action that has none."""
    image = ticked(Viewer(make, options=ViewerOptions(insight=lambda: insight)), 40).image()
    height = 760 - round(HEIGHT * 760 / 700)
    unit, left = height / 700, round(height * 400 / 700)
    rows = [round((246 + 22 * k + 6.5) * unit) for k in range(5)]
    columns = np.s_[left + round(136 * unit) + 8 : 1060 - round(86 * unit)]
    background = np.array([DARK.panel, DARK.track])
    strips = [image[row, columns].astype(int) for row in rows]
    return [int((np.abs(strip[:, None] - background).max(axis=2) > 8).all(axis=1).sum()) for strip in strips]


def test_actions_that_are_no_candidates_get_no_bar_and_flatten_no_other():
    found = bars(Insight([], values(0, -0.3, 0, -0.23, -0.1, kind="difference", candidates=(1, 3, 4)), 4))
    assert found[0] == found[2] == 0
    assert found[1] < found[3] < found[4] and found[3] > 0.3 * found[4] > 50


def test_a_probability_is_a_fraction_of_the_whole_bar():
    found = bars(Insight([], values(0.0, 0.25, 0.0, 0.5, 0.25, kind="probability"), 3))
    assert found[1] == pytest.approx(found[4], abs=2) and found[3] == pytest.approx(2 * found[1], rel=0.1)


def test_a_refused_lane_change_is_struck_out_in_dashboard_and_panel():
    viewer = ticked(Viewer(driver(3)), 400)  # at the left edge every further lane change is refused
    assert viewer.episode.refused and viewer.episode.ego_action == Action.LEFT
    image = viewer.image()
    red = np.abs(image.astype(int) - DARK.blocked).max(axis=2) < 12
    assert red[550:650, :220].sum() > 60, "the panel does not say so"
    assert red[320:400, 434:].sum() > 60, "the dashboard does not say so"
    allowed = ticked(Viewer(make), 400).image()
    assert (np.abs(allowed.astype(int) - DARK.blocked).max(axis=2) < 12)[:, np.r_[0:220, 434:1060]].sum() == 0


@pytest.mark.parametrize("count", [1, 2, 12, 40])
@pytest.mark.parametrize("units", [1, 5, 64, 3920, 28224])
def test_the_columns_of_a_network_never_overlap(units, count):
    for layer in (np.ones(units), np.ones((units, 7)), np.ones((84, units))):
        place = int(578 / count * 0.8), 180
        shown, (rows, columns), side = _fitted(layer, place, 19)
        assert side >= 1 and rows * side <= place[1] and columns * side <= place[0]
        assert shown.size <= rows * columns


def test_insights_belong_to_their_decision_when_wound_back():
    numbers = count()
    options = ViewerOptions(insight=lambda: Insight([], values(*range(5)), next(numbers) % 5))
    viewer = ticked(Viewer(make, options=options), 100)
    first = dict(viewer.log.insights)
    viewer.press("home")
    ticked(viewer, 100)
    assert viewer.log.insights == first and len(first) >= 3


def test_a_rival_stands_beside_and_a_ghost_does_not():
    rival = driver(2, "rival")

    def ego_cars(viewer):
        rows = ticked(viewer, 60).image()[560:610]
        columns = (np.abs(rows.astype(int) - DARK.ego).max(axis=2) < 16).any(axis=0)
        return (np.diff(np.flatnonzero(columns)) > 60).sum() + 1

    assert ego_cars(Viewer(make, options=ViewerOptions(rivals=[rival]), size=(1500, 760))) == 2
    assert ego_cars(Viewer(make, options=ViewerOptions(rivals=[rival], arrangement="ghost"), size=(1500, 760))) == 1


def test_a_click_on_the_timeline_goes_to_its_frame_and_a_drag_follows():
    viewer = ticked(Viewer(make), 30)
    width, height = viewer.size
    for fraction, frame in ((0.0, 0), (0.5, 200), (1.0, 400), (0.25, 100)):
        viewer.click(round(26 + (width - 52) * fraction), height - 10)
        assert viewer.episode.frame == pytest.approx(frame, abs=2)
    viewer.drag(round(26 + (width - 52) * 0.75))
    assert viewer.episode.frame == pytest.approx(300, abs=2)
    viewer.click(300, 300)
    viewer.drag(500)
    assert viewer.episode.frame == pytest.approx(300, abs=2), "a click on the road is no jump"


def test_the_timeline_of_a_trace_is_whole_from_the_start():
    trace = make(3).finish().trace()
    replay = Viewer(lambda seed: Episode.replay(trace), options=ViewerOptions(stuck=lambda sim: 1))
    live = ticked(Viewer(make, seed=3, options=ViewerOptions(stuck=lambda sim: 1)), 400)
    assert replay.episode.frame == 0 and replay.log.marks == live.log.marks and len(live.log.marks) == 14
    assert np.array_equal(replay.log.stuck, live.log.stuck)
    whole = replay.image()[-20:].copy()
    replay.log.marks.clear()
    replay._shown = None
    assert not np.array_equal(replay.image()[-20:], whole)


def test_the_timeline_shows_the_present_frame_decisions_and_stuck_phases():
    def turning(seed):
        decide = lambda sim, agent: [1, 3, 4][int(sim.state.frame[0]) // 30 % 3]  # noqa: E731
        return Episode(RULES_2018, Start.open(seed), decide, frames=400)

    def strip(stuck):
        viewer = ticked(Viewer(turning, options=ViewerOptions(stuck=stuck)), 390)
        return viewer.image()[-round(HEIGHT * 760 / 700) :].astype(int)

    def columns(image, colour, row):
        return np.flatnonzero(np.abs(image[round(row * unit)] - colour).max(axis=1) < 12)

    unit, plain = 760 / 700, strip(None)
    place = {frame: 24 * unit + (1060 - 48 * unit) * frame / 400 for frame in range(0, 401, 10)}
    assert columns(plain, DARK.text, 4).mean() == pytest.approx(place[390], abs=2)
    for row, turn in ((8, 1), (22, 2)):  # above the track ticks of the turns to the left, below those to the right
        ticks = np.flatnonzero((plain[round(row * unit)] != DARK.panel).any(axis=1))
        turns = [frame for frame in range(0, 390, 30) if frame // 30 % 3 == turn]
        assert all(np.abs(ticks - place[frame]).min() < 2 for frame in turns)
        assert len(ticks) <= 2 * len(turns) + 6
    stuck = strip(lambda sim: 2 * (100 <= sim.state.frame[0] < 200))
    amber = columns(stuck, DARK.occupied_fast, 15)
    assert amber.min() == pytest.approx(place[100], abs=2) and amber.max() == pytest.approx(place[200], abs=2)
    assert len(columns(plain, DARK.occupied_fast, 15)) == 0


@pytest.mark.parametrize("size", [(1060, 760), (400, 700), (300, 300), (2000, 1000), (700, 1400)])
@pytest.mark.parametrize("keys", ["", "h", "n", "t", "o", "c"])
def test_the_picture_fits_the_window(size, keys):
    viewer = ticked(Viewer(make, size=size, options=ViewerOptions(insight=insight)), 5)
    for key in keys:
        viewer.press(key)
    height, width = viewer.image().shape[:2]
    assert (width, height) == size


def test_images_stand_side_by_side_in_order_above_the_timeline():
    screen = Viewer(make, options=ViewerOptions(rivals=[make])).screen
    width, height = screen.painters[0].size
    sizes = (height, width), (height, width), (height, screen.beside.size[0])
    parts = [np.full((*size, 3), k + 1, np.uint8) for k, size in enumerate(sizes)]
    whole = screen.put_together(parts, np.full((screen.timeline.size[1], screen.timeline.size[0], 3), 4, np.uint8))
    assert whole.shape[:2] == (760, 1366) and (whole[height:] == 4).all()
    assert (whole[:height, :width] == 1).all() and (whole[:height, width : 2 * width] == 2).all()
    assert (whole[:height, 2 * width :] == 3).all()
