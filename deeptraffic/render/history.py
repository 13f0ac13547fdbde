"""History of an episode for its rendering: positions for the trail, speeds for the read-out, distance of the road.

Kept beside State, one `History` per env, so that rendering never changes State or its random streams.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.render.theme import SPEED_FRAMES, TRAIL_FRAMES
from deeptraffic.sim.rules import MPH_PER_PX
from deeptraffic.sim.state import NOBODY, State

KEPT = TRAIL_FRAMES + 1  # [frames]


class Trail(NamedTuple):
    """Past positions of a vehicle, newest first, relative to the moving road.

    x, y: (K,) float64 [px] front left corners
    age: (K,) int64 [frames]
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    age: NDArray[np.int64]


class History:
    """The last frames of one env; restarts when the frame number falls or jumps by more than a trail.

    Rings of K = 101 observed frames: `_x`, `_y`, `_speed` (K, N), `_ground` (K,) [px], `_frame` (K,). A frame counts
    as soon as its moves are done: an env that waits for a decision has moved but not ended its frame.

    Args:
        vehicles: N
        ground: initial distance of the road [px], for a run that is entered midway
    """

    def __init__(self, vehicles: int, ground: float = 0.0) -> None:
        self._x, self._y, self._speed = (np.zeros((KEPT, vehicles)) for _ in range(3))
        self._ground, self._frame = np.zeros(KEPT), np.zeros(KEPT, np.int64)
        self._newest, self._count = 0, 0
        self._ground[0] = ground
        self._scroll = 0.0

    @property
    def frame(self) -> int:
        """Number of frames in which the vehicles had moved when last observed."""
        return int(self._frame[self._newest])

    @property
    def ground(self) -> float:
        """Distance [px] that the road has moved to the rear since the first observed frame."""
        return float(self._ground[self._newest])

    def observe(self, state: State, env_index: int) -> None:
        """Record the env's current frame; a frame that was recorded before changes nothing."""
        scene = state[env_index]
        frame = int(scene["frame"]) + int(scene["waiting"] != NOBODY)
        new_frames = frame - int(self._frame[self._newest])
        ground = self.ground
        if self._count == 0 or not 0 <= new_frames <= TRAIL_FRAMES:
            self._count, new_frames = 1, 0
        if new_frames > 0:
            self._newest = (self._newest + 1) % KEPT
            self._count = min(self._count + 1, KEPT)
            ground += self._scroll * new_frames
        at = self._newest
        self._x[at], self._y[at] = scene["x"], scene["y"]
        self._speed[at] = scene["following_speed"] * scene["speed_factor"]
        self._ground[at], self._frame[at] = ground, frame
        self._scroll = float(scene["scroll"])

    def mean_speed_mph(self, vehicle: int) -> float:
        """Return the mean speed over the last 60 observed frames [mph]; 0 before the first."""
        at = self._newest_first()
        recent = self._speed[at[self._frame[at] > self._frame[self._newest] - SPEED_FRAMES], vehicle]
        return MPH_PER_PX * float(recent.mean()) if len(recent) else 0.0

    def trail(self, vehicle: int) -> Trail:
        """Return the vehicle's last 100 positions relative to the road, from where it last entered the road."""
        at = self._newest_first()
        y = self._y[at, vehicle] + (self.ground - self._ground[at])
        frames = np.diff(self._frame[at])
        jumps = np.flatnonzero(~(np.abs(np.diff(y)) <= 5.0 * np.abs(frames)))
        kept = jumps[0] + 1 if len(jumps) else len(y)
        return Trail(self._x[at[:kept], vehicle], y[:kept], (self._frame[self._newest] - self._frame[at[:kept]]))

    def get_state(self) -> dict[str, Any]:
        """Return copies of all fields, as arrays."""
        return {name: np.array(value) for name, value in vars(self).items()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        for name, value in state.items():
            setattr(self, name, value.copy() if value.ndim else value.item())

    def _newest_first(self) -> NDArray[np.int64]:
        return (self._newest - np.arange(self._count)) % KEPT


class Histories:
    """The histories of several envs by index, each made when its env is first observed."""

    def __init__(self, vehicles: int) -> None:
        self.vehicles = vehicles
        self._by_env: dict[int, History] = {}

    def observe(self, state: State, env_index: int = 0) -> History:
        """Record an env's current frame; return its history."""
        history = self._by_env.get(env_index)
        if history is None:
            history = self._by_env[env_index] = History(self.vehicles)
        history.observe(state, env_index)
        return history

    def enter(self, ground: float) -> None:
        """Restart the history of env 0 at another frame, by which its road has moved `ground` [px]."""
        self._by_env[0] = History(self.vehicles, ground)

    def forget(self, env_indices: Sequence[int] | NDArray[np.int64] | None = None) -> None:
        """Clear the histories of these envs, or of all."""
        if env_indices is None:
            self._by_env.clear()
        elif self._by_env:
            for env in env_indices:
                self._by_env.pop(int(env), None)

    def get_state(self) -> dict[str, Any]:
        """Return all histories as nested dicts of arrays (copies)."""
        return {str(env): history.get_state() for env, history in self._by_env.items()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        self._by_env = {int(env): History(self.vehicles) for env in state}
        for env, history in self._by_env.items():
            history.set_state(state[str(env)])
