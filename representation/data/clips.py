"""Video clips from a camera that follows the ego vehicle, labelled with their manoeuvre.

    >>> clips = cut_clips(record(RecordingConfig(runs=100)), 1000)
    >>> videos = render_clips(clips)                       # (1000, 4, 88, 32) uint8, luminance
    >>> MANOEUVRES[clips.labels[0]]
    'change left'

A decision is carried out over 30 frames of the simulation; a clip takes a few of them, at a random offset, so that the
position in the lane does not reveal the manoeuvre. The camera keeps the vehicle in the middle from side to side: in a
single frame, a vehicle between two lanes may come from either; in several, the lane marks move.

Letters in shapes: (S...) any batch shape of states, K clips, T frames of a clip, H rows and W columns of pixels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.render.theme import LUMINANCE
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import MPH_PER_PX, VEHICLE_WIDTH, Action, Rules
from deeptraffic.sim.state import NOBODY
from representation.data.frames import paint_frames
from representation.data.recording import Recording

MANOEUVRES = ("keep", "change left", "change right", "brake")
KEEP, CHANGE_LEFT, CHANGE_RIGHT, BRAKE = range(len(MANOEUVRES))
PERIOD = 30  # frames from one decision to the next
FRAMES, SPACING = 4, 5  # T; frames of the simulation between two of them; a clip is shorter than a period
MOVED_PX = 3.0  # least sideways motion of a lane change in a clip; a whole change is 20 px
SLOWED_MPH = 6.0  # least loss of speed of braking
VIEW = (88, 32)  # H, W: at zoom 2, 4 pixels a cell and 8 a lane
ZOOM, DOWN_PX = 2.0, 150.0  # shows 200 px ahead of the ego front and 150 px behind it, four lanes wide
CHUNK = 1024  # clips processed at a time

I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Clips:
    """Clips as state records.

    states: (K, T) state records, between two frames
    labels: (K,) int64 indices of `MANOEUVRES`
    """

    rules: Rules
    states: NDArray[Any]
    labels: NDArray[np.int64]


def cut_clips(recording: Recording, count: int, seed: int = 0) -> Clips:
    """Return at most `count` clips from all over a recording, in random order, a quarter of each manoeuvre."""
    random = np.random.default_rng(seed)
    decisions = recording.actions[:, :-1]  # a clip may last into the period after the next decision
    room = np.full(len(MANOEUVRES), count // len(MANOEUVRES))
    states, labels = [], []
    order = random.permutation(decisions.size)
    for start in range(0, decisions.size, CHUNK):
        run, decision = np.unravel_index(order[start : start + CHUNK], decisions.shape)
        offsets = random.integers(1, PERIOD + 1, run.size)
        cut = _drive(recording, run, decision, offsets)
        shown = _manoeuvre(cut)
        for manoeuvre in range(len(MANOEUVRES)):
            some = np.flatnonzero(shown == manoeuvre)[: room[manoeuvre]]
            room[manoeuvre] -= some.size
            states.append(cut[some])
            labels.append(shown[some])
        if not room.any():
            break
    mixed = random.permutation(sum(map(len, labels)))
    return Clips(recording.rules, np.concatenate(states)[mixed], np.concatenate(labels)[mixed])


def _drive(recording: Recording, run: I64, decision: I64, offsets: I64) -> NDArray[Any]:
    """Return states (K, T) of clips that begin `offsets` frames after decisions, (K,) each."""
    sim = Simulator(recording.rules, run.size)
    sim.games[:] = recording.states[run, decision]
    begin = sim.games["frame"] + offsets
    out = np.empty((run.size, FRAMES), sim.games.dtype)
    for k in range(FRAMES):
        _run_to(sim, begin + k * SPACING, recording.actions, run, decision)
        out[:, k] = sim.games
    return out


def _run_to(sim: Simulator, end: I64, actions: I64, run: I64, decision: I64) -> None:
    """Run each env to the frame `end` as recorded; other agents do nothing. Counts `decision` (K,) up in place."""
    while ((waiting := sim.games["waiting"].copy()) != NOBODY).any() or (sim.games["frame"] < end).any():
        own = waiting == 0
        given = np.where(own, actions[run, np.minimum(decision, actions.shape[1] - 1)], int(Action.NOTHING))
        decision += own
        sim.run_to_frame(end, given)


def _manoeuvre(states: NDArray[Any]) -> I64:
    """Return the manoeuvre of each clip (K, T) from its first frame to its last, (K,)."""
    first, last = states[:, 0], states[:, -1]
    right = last["x"][:, 0] - first["x"][:, 0]  # [px]
    speeds = [MPH_PER_PX * state["following_speed"][:, 0] * state["speed_factor"][:, 0] for state in (first, last)]
    return np.select(
        [right <= -MOVED_PX, right >= MOVED_PX, speeds[0] - speeds[1] >= SLOWED_MPH],
        [CHANGE_LEFT, CHANGE_RIGHT, BRAKE],
        KEEP,
    )


# --- video ------------------------------------------------------------------------------------------------------------


def follow_camera(
    rules: Rules, states: NDArray[Any], zoom: float = ZOOM, down_px: float = DOWN_PX
) -> NDArray[np.float64]:
    """Return cameras (S..., 3) for `paint_frames` that hold the ego vehicle in the middle from side to side.

    down_px: distance of the camera's centre below the middle of the simulated road
    """
    right = states["x"][..., 0] + VEHICLE_WIDTH / 2 - rules.road_width / 2
    return np.stack([np.full(states.shape, zoom), right, np.full(states.shape, down_px)], -1)


def render_clips(clips: Clips, styles: str = "clean", seed: int = 0) -> NDArray[np.uint8]:
    """Return the luminance of clips, (K, T, H, W) uint8; styles, seed: as for `paint_frames`."""
    out = np.empty((*clips.states.shape, *VIEW), np.uint8)
    for start in range(0, len(out), CHUNK):
        piece = clips.states[start : start + CHUNK]
        cameras = follow_camera(clips.rules, piece)
        colour = paint_frames(clips.rules, piece, *VIEW, styles, seed + start, cameras=cameras, clips=True)
        out[start : start + CHUNK] = np.einsum("ktchw,c->kthw", colour.astype(np.float32), LUMINANCE) + 0.5
    return out
