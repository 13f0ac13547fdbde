"""Charts: pictures small enough for a report page, with every number and name on them."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from deeptraffic.envs.observations.grid import OCCUPIED, OWN, SPEED
from deeptraffic.figure import BLUE, GREY
from representation import plots
from representation.plots import ROAD, draw_bars, road_image, save_classes, save_confusion, save_roads, save_speeds

LARGEST = 160_000  # [bytes] at 160 dots per inch


def test_bars_carry_their_numbers_and_the_best_is_in_colour() -> None:
    axes = Figure().add_subplot()
    draw_bars(axes, {"network": 8.07, "the mean": 14.5}, "network", "error [mph]")
    assert [text.get_text() for text in axes.texts] == ["8.07", "14.5"]
    colours = [bar.get_facecolor()[:3] for bar in axes.patches]
    wanted = [tuple(int(code[k : k + 2], 16) / 255 for k in (1, 3, 5)) for code in (BLUE, GREY)]
    assert np.allclose(colours, wanted)


def test_a_baseline_that_is_better_than_the_network_gets_the_colour(tmp_path: Path, monkeypatch) -> None:
    shown: list[tuple[str, str]] = []
    draw = lambda axes, values, best, label, limit=None, own="": shown.append((best, own))  # noqa: E731
    monkeypatch.setattr(plots, "draw_bars", draw)
    speeds, table = np.linspace(30, 80, 50), np.array([[5, 1], [0, 0]])
    save_speeds(speeds, speeds[::-1], {"network": 3.0, "linear": 2.0, "mean": 9.0}, "speed", tmp_path / "speeds.png")
    save_classes(table, ["yes", "no"], {"network": 0.5, "gap": 0.9}, tmp_path / "classes.png")
    assert shown == [("linear", "network"), ("gap", "network")]


def test_pictures_are_small_files(tmp_path: Path) -> None:
    speeds = np.random.default_rng(0).uniform(30, 80, 500)
    files = [
        save_confusion(np.array([[5, 1], [0, 0]]), ["yes", "no"], tmp_path / "confusion.png", "title"),
        save_classes(
            np.array([[5, 1], [0, 0]]), ["yes", "no"], {"network": 0.9, "other": 0.5}, tmp_path / "classes.png"
        ),
        save_speeds(speeds, speeds[::-1], {"network": 1.0, "mean": 2.0}, "speed", tmp_path / "speeds.png"),
        save_roads({"true": np.zeros((3, 4, 40, 7))}, tmp_path / "roads.png", ["a", "b", "c"]),
    ]
    for file in files:
        assert file.read_bytes().startswith(b"\x89PNG")
        assert file.stat().st_size < LARGEST


def test_a_road_shows_probabilities_as_opacity_and_the_ego_car_in_its_colour() -> None:
    grid = np.zeros((4, 3, 3))
    grid[OCCUPIED, 0, :], grid[SPEED] = (0.0, 0.5, 1.0), 0.6
    grid[OWN, 2, 1] = 1.0
    image = road_image(grid)
    assert np.allclose(image[0, 1], (image[0, 0] + image[0, 2]) / 2) and np.allclose(image[0, 0], ROAD)
    assert not np.allclose(image[2, 1], ROAD)
    grid[SPEED] = np.nan  # unknown speeds
    assert len(set(image_colours := np.round(road_image(grid)[0, 2], 3).tolist())) == 1, image_colours  # grey
