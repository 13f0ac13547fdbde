"""Frames: labels are where the vehicles are, looks change pictures and never labels, seeds decide everything."""

import numpy as np
import pytest

from deeptraffic.render.styles import STYLE_SETS, STYLES
from deeptraffic.sim.rules import RULES_2018, RoadConfig
from representation.data.frames import EGO, MARK, SHOULDER, VEHICLE, draw_cameras, label_maps, paint_frames
from representation.data.recording import Recording, RecordingConfig, record

SIZE = (70, 80)  # 10 px of road down and 2 px across are one pixel


@pytest.fixture(scope="module")
def states(driving: Recording) -> np.ndarray:
    return driving.states[:6, ::5]


@pytest.fixture
def alone(driving: Recording) -> np.ndarray:
    """A scene with the ego car in lane 3 and one vehicle in lane 5, on whole pixels."""
    scene = driving.states[:1, 0].copy()
    scene["y"][0], scene["x"][0] = 5000.0, 4.0
    scene["x"][0, :2], scene["y"][0, :2] = (65.0, 105.0), (520.0, 100.0)
    return scene


def test_a_label_map_has_each_thing_where_it_is(alone: np.ndarray) -> None:
    labels = label_maps(RULES_2018, alone, *SIZE)[0]
    own = labels == EGO  # 15 px from x = 65 + 10 of shoulder: 37.5 to 45 pixels; 34 px from y = 520: 52 to 55.4
    assert np.argwhere(own).min(0).tolist() == [52, 37] and np.argwhere(own).max(0).tolist() == [54, 44]
    other = labels == VEHICLE
    assert np.argwhere(other).min(0).tolist() == [10, 57] and np.argwhere(other).max(0).tolist() == [12, 64]
    empty_row = labels[30]
    assert np.flatnonzero(empty_row == SHOULDER).tolist() == [0, 1, 2, 3, 4, 76, 77, 78, 79]
    assert np.diff(np.flatnonzero(empty_row == MARK)).tolist() == [10] * 7


@pytest.mark.parametrize("width", [16, 24, 33, 40, 80])
def test_every_lane_mark_is_visible_in_pictures_of_any_width(alone: np.ndarray, width: int) -> None:
    labels, frame = (
        label_maps(RULES_2018, alone, 64, width)[0, 20],
        paint_frames(RULES_2018, alone, 64, width)[0, :, 20],
    )
    starts = np.flatnonzero((labels == MARK) & (np.roll(labels, 1) != MARK))
    assert len(starts) == RULES_2018.lanes + 1
    assert (frame[:, labels == MARK] == np.array(STYLES["plain"].mark)[:, None]).all()


def test_a_vehicle_is_painted_on_what_its_label_says(states: np.ndarray) -> None:
    labels = label_maps(RULES_2018, states, 96, 40)
    frames = paint_frames(RULES_2018, states, 96, 40).astype(int)
    ground = paint_frames(RULES_2018, _without_vehicles(states), 96, 40).astype(int)
    changed = np.abs(frames - ground).max(-3) > 20
    vehicles = (labels == VEHICLE) | (labels == EGO)
    assert (changed & vehicles).sum() > 0.9 * vehicles.sum()  # glass is nearly as dark as the road
    assert not (np.abs(frames - ground).max(-3) > 0)[labels == SHOULDER].any()


def _without_vehicles(states: np.ndarray) -> np.ndarray:
    empty = states.copy()
    empty["y"] = 5000.0
    return empty


def test_the_same_seed_gives_the_same_frames_and_another_seed_others(states: np.ndarray) -> None:
    once, again = (paint_frames(RULES_2018, states, 48, 24, "train", seed=3) for _ in range(2))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, paint_frames(RULES_2018, states, 48, 24, "train", seed=4))


def test_pictures_of_a_clip_share_their_look(alone: np.ndarray) -> None:
    still = np.repeat(np.repeat(alone[None], 8, 0), 5, 1)  # 8 clips of 5 pictures of one scene
    road = paint_frames(RULES_2018, still, 48, 24, "train", seed=1, clips=True)[..., 8, 7].astype(float)
    assert road.std(1).max() < 0.5 * road.std(0).mean()
    apart = paint_frames(RULES_2018, still, 48, 24, "train", seed=1)[..., 8, 7].astype(float)
    assert apart.std(1).mean() > road.std(1).max()


def test_unseen_styles_are_not_among_the_training_styles() -> None:
    assert not set(STYLE_SETS["unseen"]) & set(STYLE_SETS["train"])
    assert not {STYLES[name].asphalt for name in STYLE_SETS["unseen"]} & {
        STYLES[name].asphalt for name in STYLE_SETS["train"]
    }


def test_a_moved_camera_moves_picture_and_labels_alike(alone: np.ndarray) -> None:
    camera = np.array([[1.0, 20.0, 0.0]])  # 20 px to the right: 10 pixels
    moved = label_maps(RULES_2018, alone, *SIZE, cameras=camera)[0]
    assert np.array_equal(moved[:, 5:60], label_maps(RULES_2018, alone, *SIZE)[0][:, 15:70])
    frame = paint_frames(RULES_2018, alone, *SIZE, cameras=camera)[0]
    assert np.array_equal(frame[..., 5:60], paint_frames(RULES_2018, alone, *SIZE)[0][..., 15:70])
    assert draw_cameras((4, 2), 0).shape == (4, 2, 3)


def test_other_agents_and_other_roads_are_painted() -> None:
    road = RoadConfig(other_agents=3, lanes=4, vehicles=10)
    recording = record(RecordingConfig(runs=2, decisions=3, road=road))
    labels = label_maps(recording.rules, recording.states, 64, 32)
    assert labels.shape == (2, 4, 64, 32) and np.unique(labels).tolist() == [0, 1, 2, 3, 4]
    assert paint_frames(recording.rules, recording.states, 64, 32, "unseen").shape == (2, 4, 3, 64, 32)


def test_what_cannot_be_painted_is_refused(states: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"height must be in \[16, 1024\] pixels, got 8"):
        paint_frames(RULES_2018, states, 8, 40)
    with pytest.raises(ValueError, match="there are no styles 'sepia'; choose one of clean, train, unseen"):
        paint_frames(RULES_2018, states, 48, 24, "sepia")
    with pytest.raises(ValueError, match="cameras must have shape"):
        label_maps(RULES_2018, states, 48, 24, cameras=np.zeros((3, 3)))
