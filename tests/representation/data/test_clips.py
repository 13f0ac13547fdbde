"""Clips: cut from driving as it was recorded, labelled by what moves in them, filmed from behind the car."""

from dataclasses import replace

import numpy as np
import pytest

from deeptraffic.sim.engine import Simulator
from representation.data.clips import (
    BRAKE,
    CHANGE_LEFT,
    CHANGE_RIGHT,
    KEEP,
    MANOEUVRES,
    VIEW,
    Clips,
    cut_clips,
    follow_camera,
    render_clips,
)
from representation.data.frames import MARK, label_maps
from representation.data.recording import Recording

SMALL = 80


@pytest.fixture(scope="module")
def clips(driving: Recording) -> Clips:
    return cut_clips(driving, SMALL)


def test_clips_are_the_same_each_time_and_others_with_another_seed(driving: Recording, clips: Clips) -> None:
    again, others = cut_clips(driving, SMALL), cut_clips(driving, SMALL, seed=1)
    assert np.array_equal(again.states["x"], clips.states["x"])
    assert np.array_equal(again.labels, clips.labels)
    assert not np.array_equal(others.states["x"][: len(clips.labels)], clips.states["x"][: len(others.labels)])


def test_each_manoeuvre_gets_a_quarter_where_there_are_so_many(clips: Clips) -> None:
    assert np.bincount(clips.labels, minlength=len(MANOEUVRES)).tolist() == [20, 20, 20, 20]


def test_pictures_are_taken_between_frames_as_far_apart_as_asked(clips: Clips) -> None:
    assert clips.states.shape == (80, 4)
    assert (np.diff(clips.states["frame"], axis=1) == 5).all()
    assert (clips.states["waiting"] == -1).all()
    assert len(np.unique(clips.states["frame"][:, 0] % 30)) > 15  # from anywhere between two decisions


def test_a_clip_goes_on_as_the_game_was_recorded(driving: Recording) -> None:
    # a clip that straddles a decision carries on with the recorded action: its states lead to the recorded one
    cut = cut_clips(driving, 400).states[:, -1]
    sim = Simulator(driving.rules, len(cut))
    sim.games[:] = cut
    sim.run_to_decision()
    recorded = {state["rng"]: state["x"] for state in driving.states.ravel()}
    found = [game for game in sim.games if game["rng"] in recorded]
    assert len(found) == len(cut)
    assert all(np.allclose(recorded[game["rng"]], game["x"]) for game in found)


def test_labels_say_what_the_own_car_does_in_the_clip(clips: Clips) -> None:
    first, last = clips.states[:, 0], clips.states[:, -1]
    moved = last["x"][:, 0] - first["x"][:, 0]
    slowed = 20.0 * (first["following_speed"] * first["speed_factor"] - last["following_speed"] * last["speed_factor"])
    assert (moved[clips.labels == CHANGE_LEFT] <= -3.0).all()
    assert (moved[clips.labels == CHANGE_RIGHT] >= 3.0).all()
    assert (slowed[clips.labels == BRAKE, 0] >= 6.0).all()
    assert (np.abs(moved[clips.labels == KEEP]) < 3.0).all()
    assert (slowed[clips.labels == KEEP, 0] < 6.0).all()


def test_the_camera_keeps_the_car_in_the_middle_and_shows_its_lane_marks_moving(clips: Clips) -> None:
    changing = clips.states[clips.labels == CHANGE_LEFT][:1]
    maps = label_maps(clips.rules, changing, *VIEW, cameras=follow_camera(clips.rules, changing))[0]
    assert all(0 <= np.flatnonzero((picture == 4).any(0)).mean() - 15.5 < 1.0 for picture in maps)  # the ego car
    marks = [np.flatnonzero((picture == MARK).any(0)) for picture in maps]
    assert marks[0].tolist() != marks[-1].tolist()


def test_videos_are_luminance_and_change_from_picture_to_picture(clips: Clips) -> None:
    videos = render_clips(replace(clips, states=clips.states[:6], labels=clips.labels[:6]))
    assert videos.shape == (6, 4, *VIEW)
    assert videos.dtype == np.uint8
    assert videos.max() > 200
    assert not np.array_equal(videos[:, 0], videos[:, 3])
