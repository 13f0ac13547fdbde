"""Plots: pictures small enough for a page, with every number and name on them, and roads as windows show them."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.figure import BLUE, GREY, draw_bars, empty_figure
from deeptraffic.render.painter import Painter
from deeptraffic.render.theme import LIGHT
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import FULL_SPEED_MPH, RULES_2018
from representation.paradigms.encoder_decoder.segmentation_experiment import add_class_legend
from representation.plots import (
    AHEAD,
    BEHIND,
    MetricScore,
    road_image,
    save_confusion,
    save_roads,
    save_scores,
    save_speeds,
    scene_images,
)

LARGEST = 160_000  # [bytes] at 160 dots per inch
ROOT = Path(__file__).resolve().parents[2]
ERRORS = {"network": 3.0, "linear": 2.0, "mean": 9.0}


def test_bars_carry_their_numbers_and_the_best_is_in_colour() -> None:
    for best, winner in ((min, "linear"), (max, "mean")):
        axes = Figure().add_subplot()
        draw_bars(axes, ERRORS, "error [mph]", best=best, own="network")
        assert [text.get_text() for text in axes.texts] == ["3", "2", "9"]
        colours = {name: bar.get_facecolor()[:3] for name, bar in zip(ERRORS, axes.patches, strict=True)}
        for name, colour in colours.items():
            wanted = BLUE if name == winner else GREY
            assert np.allclose(colour, [int(wanted[k : k + 2], 16) / 255 for k in (1, 3, 5)]), name
        assert [tick.get_fontweight() for tick in axes.get_yticklabels()] == ["bold", "normal", "normal"]


def test_bars_show_the_intervals_that_exist_within_the_axis() -> None:
    axes = Figure().add_subplot()
    draw_bars(axes, ERRORS, "error [mph]", intervals={"network": (2.5, 3.5), "mean": (-1.0, 19.0)})
    drawn = [line.get_segments()[0][:, 0] for line in axes.collections]
    assert np.allclose(drawn, [(2.5, 3.5), (-1.0, 19.0)])
    low, high = axes.get_xlim()
    assert low <= -1.0 and high >= 19.0


def test_pictures_are_small_files(tmp_path: Path) -> None:
    speeds = np.random.default_rng(0).uniform(30, 80, 500)
    score = MetricScore("error", ERRORS, {"network": (2.0, 4.0)}, higher_is_better=False)
    files = [
        save_confusion(np.array([[5, 1], [0, 0]]), ["yes", "no"], tmp_path / "confusion.png", "title"),
        save_scores({"one": score, "two": score, "three": score}, tmp_path / "scores.png"),
        save_speeds(speeds, speeds[::-1], "speed", tmp_path / "speeds.png"),
        save_roads({"true": np.zeros((3, 4, 40, 7))}, tmp_path / "roads.png", ["a", "b", "c"]),
    ]
    for file in files:
        assert file.read_bytes().startswith(b"\x89PNG")
        assert file.stat().st_size < LARGEST


# --- roads ------------------------------------------------------------------------------------------------------------


def test_titles_of_roads_are_whole(tmp_path: Path) -> None:
    road = np.full((400, 160, 3), 90, np.uint8)
    path = save_roads({name: [road] * 7 for name in "abc"}, tmp_path / "roads.png", ["+1"] * 7)
    assert (np.asarray(Image.open(path).convert("L"))[0] > 250).all()


def test_a_scene_is_drawn_as_the_window_draws_it() -> None:
    sim = Simulator(RULES_2018)
    sim.reset_open([1])
    sim.step(sim.idle, periods=5)
    (image,) = scene_images(RULES_2018, sim.games)
    first = round(RULES_2018.ego_y) - AHEAD
    window = Painter(RULES_2018, (160, 700), theme="light", overlay="map", panel=False).paint(sim.state)
    shown = window[first : first + AHEAD + BEHIND]
    different = np.abs(image.astype(int) - shown).max(2) > 0
    assert image.shape == shown.shape and different.mean() < 0.25, different.mean()
    assert not different[: AHEAD // 2].any(), "the road ahead, where the window has no read-out"


def grid(**cells: float) -> np.ndarray:
    """Return a grid (4, 8, 3) whose right column is off the road, the ego car below, one cell occupied."""
    made = np.zeros((4, 8, 3))
    made[OFF_ROAD, :, 2] = 1.0
    made[OWN, 4:, 1] = 1.0
    made[OCCUPIED, 1, 0], made[SPEED, 1, 0] = cells.get("occupied", 1.0), cells.get("mph", 80.0) / FULL_SPEED_MPH
    return made


def test_a_grid_shows_road_verge_ego_car_and_cells_in_the_colours_of_the_painter() -> None:
    image = road_image(grid())
    assert image.shape == (80, 60, 3)
    assert tuple(image[45, 45]) == LIGHT.verge and tuple(image[5, 8]) == LIGHT.asphalt
    ego = np.abs(image[40:, 20:40].astype(int) - LIGHT.ego).max(2) < 30
    assert ego.mean() > 0.15
    fast, slow = (road_image(grid(mph=mph))[15, 10] for mph in (80.0, 40.0))
    expected = 0.86 * np.array([LIGHT.occupied_fast, LIGHT.occupied_slow]) + 0.14 * np.array(LIGHT.asphalt)
    assert np.allclose([fast, slow], expected, atol=2)


def test_a_grid_shows_probabilities_as_opacity_and_unknown_speeds_as_grey() -> None:
    free, half, full = (road_image(grid(occupied=p)).astype(int)[15, 10] for p in (0.0, 0.5, 1.0))
    assert np.allclose(half, (free + full) / 2, atol=1)
    unknown = grid()
    unknown[SPEED] = np.nan
    expected = 0.86 * np.array(LIGHT.traffic[3]) + 0.14 * np.array(LIGHT.asphalt)
    assert np.allclose(road_image(unknown)[15, 10], expected, atol=2)
    edge = grid()
    edge[OFF_ROAD, 2, 2] = 0.5
    assert np.allclose(road_image(edge)[25, 50], (np.array(LIGHT.verge) + LIGHT.asphalt) / 2, atol=1)


@pytest.mark.parametrize("width", [1.2, 3.8, 9.0])
def test_a_legend_below_stays_within_its_figure(width: float) -> None:
    figure = empty_figure((width, 4.0))
    figure.subplots()
    add_class_legend(figure)
    figure.canvas.draw()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and len(legend.get_texts()) == 5


# --- rules for all plotting code --------------------------------------------------------------------------------------


@cache
def all_calls() -> list[tuple[str, str, ast.Call]]:
    """Name, path and call of every call in all modules of the product."""
    return [
        (getattr(node.func, "attr", getattr(node.func, "id", "")), path.relative_to(ROOT).as_posix(), node)
        for package in ("agents", "deeptraffic", "representation")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]


def calls(*names: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield (path, call) of calls of functions or methods of these names in all modules of the product."""
    yield from ((path, node) for name, path, node in all_calls() if name in names)


def test_every_figure_is_made_and_written_in_one_place() -> None:
    assert {path for path, _ in calls("savefig", "Figure", "FigureCanvasAgg")} == {"deeptraffic/figure.py"}


@pytest.mark.parametrize("name", ["imshow", "pcolormesh"])
def test_every_palette_has_a_scale_that_does_not_depend_on_the_values_of_one_panel(name: str) -> None:
    free = []
    for path, call in calls(name):
        given = {keyword.arg for keyword in call.keywords}
        if "cmap" in given and not ({"vmin", "vmax"} <= given or "norm" in given):
            free.append(f"{path}:{call.lineno}")
    assert not free
