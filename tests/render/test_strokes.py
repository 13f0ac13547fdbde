"""Strokes: exact areas, one blending at joints, and nothing beyond the clip."""

import numpy as np
import pytest

from deeptraffic.render.strokes import outline, stroke

WHITE = (255, 255, 255)
WHOLE = (0, 0, 100, 80)


def image() -> np.ndarray:
    return np.zeros((80, 100, 3), np.uint8)


def area(picture: np.ndarray) -> float:
    assert (picture[..., 0] == picture[..., 1]).all() and (picture[..., 0] == picture[..., 2]).all()
    return float(picture[..., 0].sum() / 255)


@pytest.mark.parametrize("ends", [(10, 40, 90, 40), (50, 10, 50, 70), (10, 10, 90, 70), (90, 10.5, 12, 60.2)])
@pytest.mark.parametrize("half", [0.5, 1.0, 3.3])
def test_a_line_covers_its_length_times_its_width(ends, half):
    picture = image()
    stroke(picture, WHOLE, np.array(ends, np.float64).reshape(2, 2), half, WHITE, 1.0)
    length = np.hypot(ends[2] - ends[0], ends[3] - ends[1])
    assert area(picture) == pytest.approx(2 * half * length + np.pi * half**2, rel=0.03)


def test_a_point_is_a_dot():
    picture = image()
    stroke(picture, WHOLE, np.array([[50.0, 40.0]]), 6.0, WHITE, 1.0)
    assert area(picture) == pytest.approx(np.pi * 36, rel=0.02)


def test_a_joint_is_blended_once():
    picture = image()
    stroke(picture, WHOLE, np.array([[10.0, 60.0], [50.0, 20.0], [90.0, 60.0], [50.0, 70.0]]), 4.0, WHITE, 0.5)
    assert picture.max() <= 128


def test_nothing_is_drawn_beyond_the_clip():
    for points in ([[-50.0, -50.0], [200.0, 200.0]], [[-9.0, 40.0], [300.0, 41.0]], [[500.0, 500.0]]):
        picture = image()
        stroke(picture, (20, 10, 60, 50), np.array(points), 5.0, WHITE, 1.0)
        inside = picture[10:50, 20:60].astype(int).sum()
        assert picture.astype(int).sum() == inside


def test_a_frame_is_a_ring_of_its_width():
    picture = image()
    outline(picture, WHOLE, (20.0, 10.0, 50.0, 60.0), 10.0, 3.0, WHITE, 1.0)
    whole = 50 * 60 - (4 - np.pi) * 100
    inner = 44 * 54 - (4 - np.pi) * 49
    assert area(picture) == pytest.approx(whole - inner, rel=0.02)
    assert picture[40, 45].max() == 0 and picture[11, 45].min() == 255
