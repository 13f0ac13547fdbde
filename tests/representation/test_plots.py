"""Charts: pictures small enough for a report page, with every number and name on them."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from deeptraffic.figure import BLUE, GREY
from representation.plots import draw_bars, save_confusion, save_speeds

LARGEST = 60_000  # [bytes]


def test_bars_carry_their_numbers_and_the_best_is_in_colour() -> None:
    axes = Figure().add_subplot()
    draw_bars(axes, {"network": 8.07, "the mean": 14.5}, "network", "error [mph]")
    assert [text.get_text() for text in axes.texts] == ["8.07", "14.5"]
    colours = [bar.get_facecolor()[:3] for bar in axes.patches]
    wanted = [tuple(int(code[k : k + 2], 16) / 255 for k in (1, 3, 5)) for code in (BLUE, GREY)]
    assert np.allclose(colours, wanted)


def test_pictures_are_small_files(tmp_path: Path) -> None:
    speeds = np.random.default_rng(0).uniform(30, 80, 500)
    files = [
        save_confusion(np.array([[5, 1], [0, 0]]), ["yes", "no"], tmp_path / "confusion.png", "title"),
        save_speeds(speeds, speeds[::-1], {"network": 1.0, "mean": 2.0}, tmp_path / "speeds.png"),
    ]
    for file in files:
        assert file.read_bytes().startswith(b"\x89PNG")
        assert file.stat().st_size < LARGEST
