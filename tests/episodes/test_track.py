"""Tracks: what a web page plays is where the vehicles were."""

import gzip
import json

import numpy as np

from deeptraffic.episodes.episode import Episode
from deeptraffic.episodes.trace import Start
from deeptraffic.episodes.track import pack_track
from deeptraffic.sim.rules import RULES_2018


def test_a_track_holds_every_second_frames_positions():
    episode = Episode(RULES_2018, Start.open(9), lambda sim, agent: sim.state.frame[0] // 30 % 5, frames=101)
    trace = episode.finish().trace()
    track = json.loads(gzip.decompress(pack_track(trace)))
    assert (track["frames"], track["frame_step"], track["vehicles"]) == (101, 2, 20)
    y, x = np.cumsum(track["y"], axis=1) * track["unit"], np.cumsum(track["x"], axis=1) * track["unit"]
    assert y.shape == (20, 51)
    for entry in (0, 13, 50):
        episode.seek(2 * entry)
        assert np.abs(y[:, entry] - episode.state.y[0]).max() <= 0.25
        assert np.abs(x[:, entry] - episode.state.x[0]).max() <= 0.25
        assert track["passed"][entry] == episode.state.passed[0]
    assert len(track["speed_mph"]) == len(track["ground"]) == 51 and track["ground"][1:] != [0] * 50


def test_the_same_trace_gives_the_same_bytes():
    trace = Episode(RULES_2018, Start.open(9), lambda sim, agent: 1, frames=60).finish().trace()
    assert pack_track(trace) == pack_track(trace)
