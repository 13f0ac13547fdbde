"""The painter's images: what is where, that the game is left alone, and that bad input is told off."""

import hashlib
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeptraffic.episodes.decision import Insight
from deeptraffic.render.board import Counter, DrawingBoard
from deeptraffic.render.compositor import pace_of
from deeptraffic.render.overlays import OVERLAYS
from deeptraffic.render.painter import Painter, default_size, lay_out
from deeptraffic.render.panel import Panel, legend_entries, signed
from deeptraffic.render.theme import DARK, THEMES, TRAIL_COLOURS, contrast, mix
from deeptraffic.sim.rules import RULES_2017, RULES_2018, RoadConfig
from deeptraffic.sim.state import make_games

FOUR = RULES_2018._replace(other_agents=3)
PICTURES = Path(__file__).parent / "images"
ROAD_LEFT = 240  # [pixels] of the default image


def digest(sim) -> str:
    return hashlib.sha256(sim.games.tobytes()).hexdigest()


def colour_at(image: np.ndarray, sim, vehicle: int, along: float = 17.0) -> np.ndarray:
    """Colour of the image on a vehicle's body, `along` [px] behind its front."""
    game = sim.state[0]
    return image[round(game["y"][vehicle] + along), ROAD_LEFT + round(game["x"][vehicle] + 3.0)].astype(int)


def test_a_contest_picture_is_400_by_700_bytes_of_its_own(drive):
    sim, painter = drive(3), Painter(RULES_2018)
    first = painter.paint(sim.state)
    kept = first.copy()
    assert first.shape == (700, 400, 3) and first.dtype == np.uint8
    drive_on = drive(40)
    painter.paint(drive_on.state)
    assert np.array_equal(first, kept), "a later image wrote over an earlier one"


def test_what_the_caller_draws_on_an_image_is_in_no_other_image(drive):
    sim, painter = drive(3), Painter(RULES_2018)
    first = painter.paint(sim.state)
    kept = first.copy()
    first[:] = 99
    del first
    assert all(np.array_equal(painter.paint(sim.state), kept) for _ in range(4))


def test_memory_of_an_image_is_taken_again_only_when_nobody_refers_to_it(drive):
    sim, painter = drive(3), Painter(RULES_2018)
    images = [painter.paint(sim.state) for _ in range(5)]
    part, row = images[0][300:], images[1].reshape(700, -1)[350]
    kept = part.copy(), row.copy()
    del images
    later = drive(60).state
    addresses = {painter.paint(later).ctypes.data for _ in range(20)}
    assert np.array_equal(part, kept[0]) and np.array_equal(row, kept[1])
    assert len(addresses) == 1, "an image that was dropped is not taken again: its pages cost more than painting"


def test_painting_leaves_state_and_random_stream_as_they_are(drive):
    sim = drive(45, FOUR)
    before = digest(sim)
    painter = Painter(FOUR)
    for overlay in OVERLAYS:
        for follow in (0, 2, 15):
            painter.paint(sim.state, overlay=overlay, follow=follow)
    assert digest(sim) == before


def test_the_ego_car_other_agents_and_traffic_have_their_colours(drive):
    sim = drive(5, FOUR)
    image = Painter(FOUR).paint(sim.state)
    assert np.abs(colour_at(image, sim, 0) - DARK.ego).max() < 40
    seen = [v for v in range(1, 20) if 0 < sim.state.y[0, v] < 600]
    for vehicle in seen:
        colour = colour_at(image, sim, vehicle)
        shades = (DARK.agent,) if vehicle <= 3 else DARK.traffic
        assert min(np.abs(colour - shade).max() for shade in shades) < 40, f"vehicle {vehicle}"
    assert any(v <= 3 for v in seen) and any(v > 3 for v in seen)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("rules", [RULES_2018, RULES_2017])
def test_a_faster_traffic_car_is_lighter(drive, rules, theme):
    sim = drive(5, rules)
    image, scene = Painter(rules, theme=theme).paint(sim.state), sim.state[0]
    apart = np.maximum(np.abs(scene["x"][:, None] - scene["x"]) / 15, np.abs(scene["y"][:, None] - scene["y"]) / 34)
    covered = (apart + 9 * np.eye(20)).min(0) < 1.1  # in 2017 a car may re-enter the road where another is
    seen = [v for v in range(1, 20) if 0 < scene["y"][v] < 650 and not covered[v]]
    spread = rules.traffic_factor_range * rules.traffic_factor_share
    slowness = [(1 - (float(scene["speed_factor"][v]) - rules.traffic_factor_min) / spread) * 4 for v in seen]
    assert {int(quarter) for quarter in slowness} == {0, 1, 2, 3}
    for vehicle, quarter in zip(seen, slowness, strict=True):
        x, y = ROAD_LEFT + round(float(scene["x"][vehicle] + 7.5)), round(float(scene["y"][vehicle]))
        bonnet = np.median(image[y + 3 : y + 6, x - 2 : x + 3], (0, 1))  # ahead of every windscreen
        shades = [mix(shade, (255, 255, 255), 0.245) for shade in THEMES[theme].traffic]
        assert np.argmin([np.abs(bonnet - shade).max() for shade in shades]) == int(quarter), (vehicle, bonnet)


def test_a_traffic_car_that_is_alike_in_speed_to_all_is_a_saloon(drive):
    rules = RoadConfig(traffic_factor_range=0.0).build()
    assert Painter(rules).paint(drive(5, rules).state).shape == (700, 400, 3)
    assert pace_of(1.0, 1.0, 0.0) == 1


DICHROMATS = {  # linear RGB as it is seen, severity 1 (Machado, Oliveira and Fernandes 2009)
    "protanope": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranope": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanope": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "trichromat": np.eye(3).tolist(),
}


def seen_as_lab(colour: tuple[int, int, int], eyes: str) -> np.ndarray:
    """Return a colour in CIELAB (D65) as these eyes see it."""
    values = np.array(colour) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(DICHROMATS[eyes]) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ratios = np.array(to_xyz) @ seen / (0.9505, 1.0, 1.089)
    x, y, z = np.where(ratios > 0.008856, np.cbrt(ratios), 7.787 * ratios + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("theme", THEMES.values(), ids=list(THEMES))
@pytest.mark.parametrize("eyes", DICHROMATS)
def test_kinds_of_vehicle_differ_for_all_eyes_and_in_lightness(theme, eyes):
    kinds = {"ego": theme.ego, "agent": theme.agent, "traffic": min(theme.traffic, key=sum), "road": theme.asphalt}
    for one, other in itertools.combinations(kinds, 2):
        difference = np.linalg.norm(seen_as_lab(kinds[one], eyes) - seen_as_lab(kinds[other], eyes))
        assert difference > 20, (one, other, difference)
        assert contrast(kinds[one], kinds[other]) > 1.55, (one, other)
    assert np.linalg.norm(seen_as_lab(theme.positive, eyes) - seen_as_lab(theme.negative, eyes)) > 40
    assert contrast(theme.positive, theme.negative) > 2.5, "the pair of the network's colours is alike in lightness"


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("trail", TRAIL_COLOURS)
def test_every_trail_and_its_bar_stand_out_from_their_background(drive, theme, trail):
    painter = Painter(RULES_2018, theme=theme, trail=trail)
    sim = drive(90, each=lambda sim: painter.observe(sim.state))
    image = painter.paint(sim.state)
    x, y = ROAD_LEFT + round(float(sim.state.x[0, 0] + 7.5)), round(float(sim.state.y[0, 0] + 40))
    assert contrast(tuple(image[y, x]), THEMES[theme].asphalt) > 2.4
    assert contrast(tuple(image[209, 30]), THEMES[theme].panel) > 2.9


@pytest.mark.parametrize("theme", THEMES)
def test_agents_have_a_mark_on_the_roof_that_no_other_vehicle_has(drive, theme):
    sim = drive(5, FOUR)
    image = Painter(FOUR, theme=theme).paint(sim.state).astype(int)
    marked = set()
    for vehicle in range(1, 20):
        x, y = ROAD_LEFT + round(float(sim.state.x[0, vehicle])) + 7, round(float(sim.state.y[0, vehicle])) + 19
        if 0 < y < 680:
            roof = image[y - 4 : y + 5, x - 4 : x + 5].reshape(-1, 3)
            dark, light = roof[roof.sum(axis=1).argmin()], roof[roof.sum(axis=1).argmax()]
            if contrast(tuple(dark), tuple(light)) > 3 and light.min() > 170:
                marked.add(vehicle)
    assert marked and marked <= {1, 2, 3}


def test_the_trail_shows_where_the_ego_car_was_and_fades(drive):
    painter = Painter(RULES_2018, trail="aqua")
    sim = drive(90, each=lambda sim: painter.observe(sim.state))
    with_trail, without = painter.paint(sim.state), Painter(RULES_2018, trail="aqua").paint(sim.state)
    x, y = ROAD_LEFT + round(sim.state.x[0, 0] + 7.5), round(sim.state.y[0, 0] + 34)
    lane = np.s_[ROAD_LEFT : ROAD_LEFT + 140]
    distance = np.abs(with_trail[:, lane].astype(int) - TRAIL_COLOURS["aqua"]).max(axis=2).min(axis=1)
    near, far = distance[y + 8], distance[695]
    assert near < 50 and near < far < 130, "the trail is missing, or does not fade"
    changed = np.abs(with_trail.astype(int) - without).sum(axis=2) > 30
    assert changed[y + 8, x - 10 : x + 10].any() and not changed[y + 8, ROAD_LEFT : x - 30].any()


def test_the_marks_scroll_with_the_road(drive):
    painter = Painter(RULES_2018)
    sim = drive(1, each=lambda sim: painter.observe(sim.state))
    before = painter.paint(sim.state)[:, ROAD_LEFT + 20].astype(int)
    shift = 0.0
    for _ in range(4):
        shift += float(sim.state.scroll[0])
        sim.step_frame(0)
        if sim.state.waiting[0] == 0:
            sim.step_frame(0)
        painter.observe(sim.state)
    after = painter.paint(sim.state)[:, ROAD_LEFT + 20].astype(int)
    errors = [np.abs(after[k:300] - before[: 300 - k]).mean() for k in range(24)]
    assert abs(int(np.argmin(errors)) - shift) <= 1.0


@pytest.mark.parametrize("frames", [1, 2, 3, 6, 10, 15])
def test_marks_of_a_film_run_to_the_rear_however_few_images_it_has(drive, frames):
    painter = Painter(RULES_2018, film=True)
    sim = drive(1, each=lambda sim: painter.observe(sim.state))
    sim.state.y[0, 1:] = 2000.0  # out of the way
    before = painter.paint(sim.state)[:, ROAD_LEFT + 20].astype(int)
    moved = 0.0
    for _ in range(frames):
        sim.state.scroll[0] = 4.0  # 80 mph
        painter.observe(sim.state)
        sim.state.frame[0] += 1
        moved += 4.0
    painter.observe(sim.state)
    after = painter.paint(sim.state)[:, ROAD_LEFT + 20].astype(int)
    errors = [np.abs(np.roll(before, k, axis=0)[40:640] - after[40:640]).mean() for k in range(-19, 20)]
    assert int(np.argmin(errors)) - 19 == min(moved, 16.0)


def test_a_followed_vehicle_shows_its_own_readings_alone(drive, monkeypatch):
    sim = drive(200, FOUR)
    sim.state.passed[0] = 77
    shown, draw = [], Panel.draw
    monkeypatch.setattr(Panel, "draw", lambda panel, readout: shown.append(readout) or draw(panel, readout))
    decision = Insight((), None, 3, refused=True)
    painter = Painter(FOUR, label="mine")
    painter.paint(sim.state, decision=decision)
    painter.paint(sim.state, follow=12, decision=decision)
    assert (shown[0].lane, shown[0].passed, shown[0].action, shown[0].label) == (0, 77, "left", "mine")
    assert (shown[1].lane, shown[1].action, shown[1].refused) == (sim.state.lane[0, 12] + 1, "", False)
    monkeypatch.undo()
    followed = painter.paint(sim.state, follow=12)
    sim.state.passed[0] = 5
    assert np.array_equal(followed, painter.paint(sim.state, follow=12)), "the ego car's count beside another's speed"


@pytest.mark.parametrize("overlay", ["input", "safety", "map"])
def test_an_overlay_has_its_legend_on_a_road_without_a_panel(drive, overlay):
    state = drive(60).state
    size, small = default_size(RULES_2018, panel=False), (90, 350)
    plain, shown = (Painter(RULES_2018, size, panel=False).paint(state, overlay=each) for each in ("none", overlay))
    entries = legend_entries(overlay, 0.04)
    plate = (shown[560:, :130].astype(int) <= np.array(DARK.page) + 40).all(2)
    dark = (plain[560:, :130].astype(int) <= np.array(DARK.page) + 40).all(2)
    assert plate.sum() - dark.sum() > 17 * len(entries) * 60
    letters = np.abs(shown[560:, 30:110].astype(int) - DARK.text).max(2) < 20
    assert letters.sum() > 25 * len(entries)
    Painter(RULES_2018, small, panel=False).paint(state, overlay=overlay)  # has no room for it


def test_live_numbers_stand_still(drive):
    painter = Painter(RULES_2018)
    text = painter._panel._board.text
    assert len({text.width(digit, 14) for digit in "0123456789"}) == 1
    sim = drive(111, each=lambda sim: painter.paint(sim.state))  # digit by digit, from 1 to 111
    assert np.array_equal(painter.paint(sim.state)[650:, :220], Painter(RULES_2018).paint(sim.state)[650:, :220])


@pytest.mark.parametrize("number", [0, 7, -8, 123, -1234, 1_234_567, -98_765_432])
def test_a_counted_number_looks_like_its_text(number):
    boards = [DrawingBoard(np.full((90, 400, 3), DARK.panel, np.uint8), DARK, 1.0) for _ in range(2)]
    counter = Counter(boards[0], (22, 10), 54, DARK.text)
    counter.write(-88_888_888)
    counter.write(number)
    boards[1].write(signed(number), (22, 10), 54, DARK.text)
    assert np.abs(boards[0].pixels.astype(int) - boards[1].pixels).max() <= 3


def test_the_speed_readout_is_the_floored_mean_of_the_last_60_frames(drive):
    painter, speeds = Painter(RULES_2018), []

    def note(sim):
        painter.observe(sim.state)
        speeds.append(float(sim.speed_mph()[0]))

    sim = drive(200, each=note)
    history = painter.observe(sim.state)
    assert history.mean_speed_mph == pytest.approx(np.mean(speeds[-60:]))
    assert history.mean_speed_mph != pytest.approx(speeds[-1])


def test_two_rows_keep_their_own_trails_and_speeds(drive):
    painter = Painter(RULES_2018)
    one, other = drive(50), drive(80)
    both = np.concatenate([one.get_state(), other.get_state()])
    alone = Painter(RULES_2018).paint(both, 1)
    painter.paint(both, 0)
    assert np.array_equal(painter.paint(both, 1), alone)


@pytest.mark.parametrize("size", [(32, 32), (200, 300), (600, 600), (120, 500), (1000, 300), (801, 1399)])
def test_any_size_is_filled(drive, size):
    sim = drive(30)
    image = Painter(RULES_2018, size).paint(sim.state, overlay="input")
    assert image.shape == (size[1], size[0], 3)
    assert image.std() > 5
    layout = lay_out(RULES_2018, size)
    assert layout.road.left + layout.road.width == size[0]


@pytest.mark.parametrize("lanes, rows, vehicles", [(1, 40, 3), (16, 70, 60), (3, 200, 12)])
def test_research_roads_can_be_painted(lanes, rows, vehicles):
    rules = RoadConfig(lanes=lanes, rows=rows, vehicles=vehicles).build()
    state = make_games(rules, 1)  # laid out here: a simulator would be compiled anew for each size of road
    rng = np.random.default_rng(0)
    state["lane"] = rng.integers(lanes, size=vehicles)
    state["x"], state["y"] = 20.0 * state["lane"] + 4, rng.uniform(0, 10.0 * rows, vehicles)
    state["y"][:, 0] = rules.ego_y
    width, height = default_size(rules)
    image = Painter(rules, overlay="input").paint(state)
    assert image.shape == (height, width, 3)
    assert (np.abs(image.astype(int) - DARK.ego).max(axis=2) < 20).sum() > 20


def test_the_camera_follows_any_vehicle(drive):
    sim = drive(60, FOUR)
    painter = Painter(FOUR)
    followed = painter.paint(sim.state, follow=2)
    x = ROAD_LEFT + round(sim.state.x[0, 2] + 7.5)
    assert np.abs(followed[525 + 31, x].astype(int) - DARK.agent).max() < 40


def test_a_vehicle_thrown_off_to_infinity_does_not_stop_the_painter(drive):
    sim = drive(30)
    sim.state.y[0, 0], sim.state.y[0, 5], sim.state.x[0, 3] = np.inf, np.nan, 64.0
    painter = Painter(RULES_2018)
    for overlay in OVERLAYS:
        for follow in (0, 5):
            assert painter.paint(sim.state, overlay=overlay, follow=follow).shape == (700, 400, 3)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"theme": "neon"}, "dark, light"),
        ({"trail": "pink"}, "fuchsia"),
        ({"overlay": "radar"}, "none, input, safety, map"),
        ({"size": (20, 700)}, r"in \[32, 4096\] pixels"),
        ({"size": (400, 9000)}, r"in \[32, 4096\] pixels"),
    ],
)
def test_impossible_looks_are_refused_with_the_choices(options, words):
    with pytest.raises(ValueError, match=words):
        Painter(RULES_2018, **options)


def test_following_a_vehicle_that_does_not_exist_is_refused(drive):
    with pytest.raises(ValueError, match=r"follow must be in \[0, 19\]"):
        Painter(RULES_2018).paint(drive(1).state, follow=20)


def test_painting_starts_neither_a_display_nor_sound(tmp_path):
    code = (
        "import pygame; from deeptraffic.render.painter import Painter; from deeptraffic.sim.engine import Simulator;"
        "from deeptraffic.sim.rules import RULES_2017 as R; s = Simulator(R, 1); s.reset_open([1]);"
        "Painter(R).paint(s.state); assert not pygame.display.get_init() and pygame.mixer.get_init() is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_painting_goes_on_after_somebody_ended_pygame(drive):
    import pygame

    painter, sim = Painter(RULES_2018, label="before"), drive(20)
    painter.paint(sim.state)
    for restart in (False, True):
        pygame.quit()
        if restart:
            pygame.freetype.init()
        painter.label = f"after {restart}"
        assert painter.paint(sim.state).shape == (700, 400, 3)


@pytest.mark.parametrize("name", ["plain", "input", "safety", "map", "light", "2017", "followed"])
def test_pictures_look_as_those_that_were_looked_at(drive, name):
    rules = RULES_2017 if name == "2017" else FOUR
    painter = Painter(rules, theme="light" if name == "light" else "dark", label="golden")
    sim = drive(200, rules, each=lambda sim: painter.observe(sim.state))
    overlay = name if name in OVERLAYS else "none"
    image = painter.paint(sim.state, overlay=overlay, follow=12 if name == "followed" else 0)
    path = PICTURES / f"{name}.png"
    wanted = np.asarray(Image.open(path).convert("RGB")).astype(int)
    difference = np.abs(image.astype(int) - wanted)
    assert difference.mean() < 1.0 and (difference.max(axis=2) > 60).mean() < 0.002, f"{path.name} differs"
