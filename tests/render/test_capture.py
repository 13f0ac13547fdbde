"""Screenshots and videos of what a window shows."""

from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeptraffic.episodes.episode import Episode
from deeptraffic.episodes.trace import Start
from deeptraffic.render.capture import Capture
from deeptraffic.render.viewer import Viewer
from deeptraffic.sim.rules import RULES_2018


@pytest.fixture
def viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Viewer:
    monkeypatch.chdir(tmp_path)
    return Viewer(lambda seed: Episode(RULES_2018, Start.open(seed), lambda sim, agent: 1), size=(640, 480))


def test_a_screenshot_is_what_the_window_shows(viewer: Viewer, tmp_path: Path) -> None:
    shown = viewer.image()
    viewer.press("s")
    (path,) = tmp_path.glob("deeptraffic-*.png")
    assert np.array_equal(np.asarray(Image.open(path)), shown) and viewer._status() == f"Saved {path.name}."
    viewer.press("s")
    assert len(list(tmp_path.glob("*.png"))) == 2  # within the same second, too


def test_a_video_holds_what_was_shown_between_two_keys(viewer: Viewer, tmp_path: Path) -> None:
    import imageio.v3 as iio

    viewer.capture = Capture(tmp_path, clock=lambda: viewer.episode.frame / 30)  # a machine that shows 30 a second
    viewer.press("v")
    assert viewer._status().startswith("recording a video")
    for _ in range(20):
        viewer.record(viewer.image())
        viewer.tick()
    viewer.press("v")
    (path,) = tmp_path.iterdir()
    frames = iio.imread(path)
    assert frames.shape == (39, 480, 640, 3) and iio.immeta(path)["fps"] == 60
    assert viewer._status() == f"Saved {path.name}."


def test_a_window_of_another_size_ends_the_video(tmp_path: Path) -> None:
    capture, image = Capture(tmp_path, clock=count().__next__), np.zeros((64, 64, 3), np.uint8)
    capture.start()
    assert [capture.add(image) for _ in range(5)] == [None] * 5
    path = capture.add(np.zeros((32, 64, 3), np.uint8))
    assert path is not None and path.stat().st_size > 500 and not capture.is_recording
    assert capture.add(image) is None


def test_a_video_that_cannot_be_written_is_an_error_that_is_shown(
    viewer: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deeptraffic.render.capture.record_frames", fail)
    viewer.press("v")
    for _ in range(40):  # more than wait for the encoder
        viewer.record(viewer.image())
    if viewer.capture.is_recording:
        viewer.press("v")
    assert "No space left" in viewer._status()


def test_a_folder_that_cannot_be_written_is_named(viewer: Viewer, tmp_path: Path) -> None:
    viewer.capture.folder = tmp_path / "none"
    viewer.press("s")
    assert "cannot be written to" in viewer._status()
