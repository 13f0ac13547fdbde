"""History of runs for their rendering: positions for the trail, speeds for the read-out, distance of the road.

Kept beside State, so that rendering never changes State or its random streams.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.kernel import drive
from deeptraffic.sim.rules import MPH_PER_PX
from deeptraffic.sim.state import F64, I64, NOBODY, Game, Games, State

TRAIL_FRAMES = 100  # [frames] of the trail
SPEED_FRAMES = 60  # [frames] of the speed read-out's average, as in the original game
KEPT = TRAIL_FRAMES + 1  # [frames]


class Rings(NamedTuple):
    """The last K = 101 observed frames of B envs of N vehicles, each env's in a ring.

    x, y, speed: (B, K, N) front left corners [px], speed [px/frame]
    lane, factor: (B, N) float64, in the newest frame, lanes that they are in or change to, and speed factors
    ground: (B, K) distance of the road [px] since the first observed frame
    frame: (B, K) number of frames in which the vehicles had moved
    heads: (B, 2) entry of the newest frame, and number of observed frames, at most K
    scroll: (B,) by which the road moves until the next frame [px]
    """

    x: F64
    y: F64
    speed: F64
    lane: F64
    factor: F64
    ground: F64
    frame: I64
    heads: I64
    scroll: F64


class Histories:
    """The last frames of several envs; an env's restart when its frame number falls or jumps by more than a trail.

    A frame counts as soon as its moves are done: an env that waits for a decision has moved but not ended its frame.

    Args:
        vehicles: number of vehicles that are recorded, the first ones
    """

    def __init__(self, vehicles: int) -> None:
        self.vehicles = vehicles
        self.rings = _empty_rings(0, vehicles)

    def observe(self, state: State, env_index: int = 0, vehicle: int = 0) -> "History":
        """Record an env's current frame, unless it was recorded before; return the env's history."""
        self._make_room(len(state))
        return History(self.rings, env_index, *_observe(self.rings, state.view(np.ndarray), env_index, vehicle))

    def run_to_frame(self, sim: Simulator, end_frames: I64, actions: I64, env_indices: I64) -> I64:
        """As `Simulator.run_to_frame` with arrays (B,), and record every frame that ends."""
        self._make_room(sim.num_envs)
        _drive_recorded(self.rings, sim.table, sim.games, env_indices, actions, end_frames)
        return sim.games["waiting"][env_indices]

    def enter(self, ground: float) -> None:
        """Restart the history of env 0 at another frame, by which its road has moved `ground` [px]."""
        self.rings = _empty_rings(1, self.vehicles)
        self.rings.ground[:] = ground

    def forget(self, env_indices: Sequence[int] | NDArray[np.int64] | None = None) -> None:
        """Clear the histories of these envs, or of all."""
        known = len(self.rings.heads)
        if env_indices is None or not known:
            self.rings = _empty_rings(0, self.vehicles)
            return
        envs = np.asarray(env_indices, np.int64)
        for ring in self.rings:
            ring[envs[envs < known]] = 0

    def get_state(self) -> dict[str, Any]:
        """Return copies of all arrays."""
        return {name: array.copy() for name, array in self.rings._asdict().items()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        self.rings = Rings(**{name: array.copy() for name, array in state.items()})

    def _make_room(self, envs: int) -> None:
        if (missing := envs - len(self.rings.heads)) > 0:
            more = _empty_rings(missing, self.vehicles)
            self.rings = Rings(*(np.concatenate(pair) for pair in zip(self.rings, more, strict=True)))


class History(NamedTuple):
    """The history of one env when it was observed.

    frame: number of frames in which the vehicles had moved
    ground: distance [px] that the road has moved to the rear since the first observed frame
    mean_speed_mph: mean speed of the vehicle that was asked for, over the last 60 observed frames
    """

    rings: Rings
    env: int
    frame: int
    ground: float
    mean_speed_mph: float


def _empty_rings(envs: int, vehicles: int) -> Rings:
    x, y, speed = (np.zeros((envs, KEPT, vehicles)) for _ in range(3))
    lane, factor = np.zeros((envs, vehicles)), np.zeros((envs, vehicles))
    ground, frame = np.zeros((envs, KEPT)), np.zeros((envs, KEPT), np.int64)
    return Rings(x, y, speed, lane, factor, ground, frame, np.zeros((envs, 2), np.int64), np.zeros(envs))


@compiled
def _observe(rings: Rings, games: Games, env: int, vehicle: int) -> tuple[int, float, float]:
    """Record the current frame of an env; return frame, ground and mean speed of `History`."""
    _record(rings, games[env], env)
    newest = rings.heads[env, 0]
    mean_speed = MPH_PER_PX * _mean_speed(rings, env, vehicle)
    return rings.frame[env, newest], rings.ground[env, newest], mean_speed


# parameters: called from Python for each step, where a tuple would cost more
@compiled
def _drive_recorded(
    rings: Rings, rules: NDArray[Any], games: Games, env_indices: I64, actions: I64, end_frames: I64
) -> None:
    for k in range(env_indices.size):
        game, action = games[env_indices[k]], actions[k]
        while True:
            drive(rules[0], game, action, min(end_frames[k], game.frame + 1))
            if game.waiting != NOBODY:
                break
            _record(rings, game, env_indices[k])
            if game.frame >= end_frames[k]:
                break


@compiled
def _record(rings: Rings, game: Game, env: int) -> None:
    """Record the current frame of an env."""
    newest, count = rings.heads[env]
    frame, ground = game.frame + (game.waiting != NOBODY), rings.ground[env, newest]
    new_frames = frame - rings.frame[env, newest]
    if count == 0 or not 0 <= new_frames <= TRAIL_FRAMES:
        count, new_frames = 1, 0
    if new_frames > 0:
        newest, count = (newest + 1) % KEPT, min(count + 1, KEPT)
        ground += rings.scroll[env] * new_frames
    for vehicle in range(rings.x.shape[2]):
        rings.x[env, newest, vehicle], rings.y[env, newest, vehicle] = game.x[vehicle], game.y[vehicle]
        rings.speed[env, newest, vehicle] = game.following_speed[vehicle] * game.speed_factor[vehicle]
        rings.lane[env, vehicle], rings.factor[env, vehicle] = game.lane[vehicle], game.speed_factor[vehicle]
    rings.ground[env, newest], rings.frame[env, newest] = ground, frame
    rings.heads[env, 0], rings.heads[env, 1] = newest, count
    rings.scroll[env] = game.scroll


@compiled
def _mean_speed(rings: Rings, env: int, vehicle: int) -> float:
    """Return the mean speed of a vehicle [px/frame] over the last 60 frames."""
    newest, count = rings.heads[env]
    total, number = 0.0, 0
    for k in range(count):
        at = (newest - k) % KEPT
        if rings.frame[env, at] > rings.frame[env, newest] - SPEED_FRAMES:
            total += rings.speed[env, at, vehicle]
            number += 1
    return total / max(number, 1)
