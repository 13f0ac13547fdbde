"""Tracks: the positions of an episode for a web page, re-simulated from its trace.

File format, version 1: gzip over JSON,
    format "deeptraffic-track", version 1, year, lanes, rows, vehicles, other_agents, label
    frame_step   frames between two entries of everything below (2); `frames` is how many the episode has
    unit         of x, y and ground [px]
    x, y         one list per vehicle: the first entry is the position (front left corner; 20 px are a lane, smaller y
                 is ahead), every further one the difference to the previous entry
    ground       as x and y, one list: distance of the road toward larger y
    speed_mph    the ego vehicle's mean speed over the last 60 frames, floored, as in the read-out
    passed       vehicles passed
"""

import gzip
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.episodes.episode import Episode
from deeptraffic.episodes.history import Histories
from deeptraffic.episodes.trace import Trace

FORMAT, VERSION = "deeptraffic-track", 1
FRAME_STEP = 2
UNIT = 0.5  # [px]
FAR_AWAY = 1e5  # [px]


def make_track(trace: Trace) -> dict[str, Any]:
    """Replay a trace and return its track as the JSON object described above."""
    episode, histories = Episode.replay(trace), Histories(1)
    positions, ground, speed, passed = [], [], [], []
    history = histories.observe(episode.state)
    while True:
        if episode.frame % FRAME_STEP == 0:
            scene = episode.state[0]
            positions.append(np.stack([scene["x"], scene["y"]]))
            ground.append(history.ground)
            speed.append(int(history.mean_speed_mph // 1))
            passed.append(int(scene["passed"]))
        if not episode.advance():
            break
        history = histories.observe(episode.state)
    steps = _steps(np.array(positions))  # (K, 2, N)
    rules = trace.rules
    return {
        "format": FORMAT,
        "version": VERSION,
        "year": rules.year,
        "lanes": rules.lanes,
        "rows": rules.rows,
        "vehicles": rules.vehicles,
        "other_agents": rules.other_agents,
        "label": trace.label,
        "frames": trace.frames,
        "frame_step": FRAME_STEP,
        "unit": UNIT,
        "x": steps[:, 0].T.tolist(),
        "y": steps[:, 1].T.tolist(),
        "ground": _steps(np.array(ground)).tolist(),
        "speed_mph": speed,
        "passed": passed,
    }


def pack_track(trace: Trace) -> bytes:
    """Return the content of a trace's track file, deterministically."""
    text = json.dumps(make_track(trace), separators=(",", ":"))
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def _steps(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return values in units, as differences along the first axis."""
    whole = np.rint(np.nan_to_num(values, nan=FAR_AWAY).clip(-FAR_AWAY, FAR_AWAY) / UNIT).astype(np.int64)
    return np.diff(whole, axis=0, prepend=np.zeros((1, *whole.shape[1:]), np.int64))
