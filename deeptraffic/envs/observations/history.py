"""Histories of observations: features with their actions (`ObservationHistory`), frames, and delayed observations.

Both move on by one step where an action was carried out, and replace the latest entry where none was.
"""

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import Simulator, run_in_chunks
from deeptraffic.sim.rules import Action
from deeptraffic.sim.state import I64, Games

Floats = NDArray[np.floating]
Arrays = dict[str, NDArray]
NO_ACTION = -1


def actions_of(env_indices: I64, actions: ArrayLike | None) -> I64:
    """Return the actions carried out in these envs, (len(env_indices),); `NO_ACTION` where there was none."""
    taken = np.full(env_indices.size, NO_ACTION) if actions is None else np.asarray(actions, np.int64)
    return np.ascontiguousarray(taken)


# --- features and actions -------------------------------------------------------------------------------------------


class ObservationHistory:
    """Previous observations and actions of B envs, for a temporal window of T.

    last: (B, size) the latest observation
    entries: (B, T, size + 5) entry t is the observation t + 1 steps ago, then the action taken on it
    """

    def __init__(self, num_envs: int, size: int, window: int, dtype: str) -> None:
        self.last = np.zeros((num_envs, size), dtype)
        self.entries = np.zeros((num_envs, window, size + len(Action)), dtype)

    def reset(self, env_indices: I64 | slice) -> None:
        """Empty the history of these envs: all 0."""
        self.entries[env_indices] = 0.0

    def stack(self, sim: Simulator, env_indices: I64, obs: Floats, actions: ArrayLike | None) -> Floats:
        """Return the observations (len(env_indices), size) followed by their history; take them into the history."""
        out = np.empty((env_indices.size, obs.shape[1] + self.entries[0].size), obs.dtype)
        stack_history(env_indices, actions_of(env_indices, actions), obs, self.last, self.entries, out)
        return out

    def arrays(self) -> Arrays:
        """Return the arrays that later observations depend on, by name."""
        return {"last": self.last, "entries": self.entries}


@compiled
def stack_history(env_indices: I64, actions: I64, obs: Floats, last: Floats, entries: Floats, out: Floats) -> None:
    """Write each observation and its history to out[k]; move the history on where an action was carried out."""
    size = obs.shape[1]
    for k in range(env_indices.size):
        history = entries[env_indices[k]]
        if actions[k] >= 0:
            for t in range(history.shape[0] - 1, 0, -1):
                history[t] = history[t - 1]
            history[0, :size] = last[env_indices[k]]
            history[0, size:] = 0.0
            history[0, size + actions[k]] = size
        last[env_indices[k]] = obs[k]
        out[k, :size] = obs[k]
        for t in range(history.shape[0]):
            out[k, size + t * history.shape[1] : size + (t + 1) * history.shape[1]] = history[t]


# --- frames ---------------------------------------------------------------------------------------------------------


class FrameHistory:
    """The latest frames of B envs, stacked along an axis from the oldest to the newest, and delayed.

    Args:
        num_envs: B
        shape, dtype: of a frame of n values
        axis: 0 or -1, along which frames are stacked
        shown: frames in a stack
        delay: [decisions] age of the newest frame in a stack

    After a reset, the first frame stands for those before it, as in gymnasium.wrappers.FrameStackObservation.

    frames: (B, shown + delay, n) ring buffers
    newest: (B,) int64 slot of the latest frame; the next slot holds the oldest
    moved: (B,) bool whether an action was carried out since the reset; until then all slots hold the same frame
    """

    # parameters: sizes of one buffer, all of them plain
    def __init__(
        self, num_envs: int, shape: tuple[int, ...], dtype: np.dtype, axis: int = 0, shown: int = 1, delay: int = 0
    ) -> None:
        size = int(np.prod(shape))
        self.channels = shape[-1] if axis == -1 else size
        self.shown = shown
        sides = list(shape)
        sides[axis] *= shown
        self.shape = tuple(sides)  # of a stack
        self.frames = np.zeros((num_envs, shown + delay, size), dtype)
        self.newest, self.moved = np.zeros(num_envs, np.int64), np.zeros(num_envs, np.bool_)

    def reset(self, env_indices: I64 | slice) -> None:
        """Empty the history of these envs: the next frame fills it."""
        self.moved[env_indices] = False

    def stack(self, sim: Simulator, env_indices: I64, obs: NDArray, actions: ArrayLike | None) -> NDArray:
        """Take frames (len(env_indices), *shape) into the history; return the stacks that end `delay` steps before."""
        size = self.frames.shape[2]
        out = np.empty((env_indices.size, size // self.channels, self.shown * self.channels), obs.dtype)
        arrays = actions_of(env_indices, actions), obs.reshape(env_indices.size, size), out
        run_in_chunks(sim, stack_frames, env_indices, arrays, ((self.frames, self.newest, self.moved),))
        return out.reshape(env_indices.size, *self.shape)

    def arrays(self) -> Arrays:
        """Return the arrays that later observations depend on, by name."""
        return {"frames": self.frames, "newest": self.newest, "moved": self.moved}


class Delay:
    """Observations of B envs, arrays or dicts of them, from some decisions before.

    Args:
        num_envs: B
        space: of one env's observation
        latency: [decisions] age of what `stack` returns
    """

    def __init__(self, num_envs: int, space: spaces.Space, latency: int) -> None:
        parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
        self.parts = {
            name: FrameHistory(num_envs, tuple(part.shape or ()), np.dtype(part.dtype), delay=latency)
            for name, part in parts.items()
        }

    def reset(self, env_indices: I64 | slice) -> None:
        """Empty the history of these envs: the next observation stands for those before it."""
        for part in self.parts.values():
            part.reset(env_indices)

    def stack(self, sim: Simulator, env_indices: I64, obs: Any, actions: ArrayLike | None) -> Any:
        """Take observations (len(env_indices), ...) into the history; return those of `latency` steps before."""
        if isinstance(obs, dict):
            return {name: self.parts[name].stack(sim, env_indices, part, actions) for name, part in obs.items()}
        return self.parts[""].stack(sim, env_indices, obs, actions)

    def arrays(self) -> Arrays:
        """Return the arrays that later observations depend on, by name."""
        parts = self.parts.items()
        return {f"delay.{name}.{array}": values for name, part in parts for array, values in part.arrays().items()}


@compiled
def stack_frames(
    rules: NDArray, ring: tuple[Any, ...], games: Games, env_indices: I64, actions: I64, obs: NDArray, out: NDArray
) -> None:
    """Write obs (K, n) into the rings, and to out (K, n / C, shown * C) the oldest frames of each ring side by side.

    ring: frames, newest and moved of `FrameHistory`
    """
    frames, newest, moved = ring
    slots, size = frames.shape[1], frames.shape[2]
    channels = size // out.shape[1]
    for k in range(env_indices.size):
        env = env_indices[k]
        if actions[k] >= 0:
            newest[env], moved[env] = (newest[env] + 1) % slots, True
        for slot in range(slots):
            if slot == newest[env] or not moved[env]:
                copy_values(obs[k], frames[env, slot])
        for t in range(out.shape[2] // channels):
            frame, place = frames[env, (newest[env] + 1 + t) % slots], t * channels
            if channels == size:
                copy_values(frame, out[k, 0, place : place + size])
            else:
                for c in range(channels):
                    copy_values(frame[c::channels], out[k, :, place + c])


@compiled
def copy_values(values: NDArray, out: NDArray) -> None:
    """Copy values (n,) one by one: Numba's assignment of whole arrays takes three times as long."""
    for i in range(values.size):
        out[i] = values[i]
