"""Replay buffer of the world-model agent, from which segments of consecutive decisions are drawn.

A segment is T consecutive decisions of one env. Where an episode ends within it, that decision (whose next state is
not stored) and those after it (of the next episode) are marked as invalid.

Letters in shapes: G envs, B segments, T decisions of a segment.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from deeptraffic.sim.rules import Action

I64 = NDArray[np.int64]
MIRRORED_ACTIONS = np.array([Action.NOTHING, Action.ACCELERATE, Action.DECELERATE, Action.RIGHT, Action.LEFT])
RECORDS = ("actions", "probs", "rewards", "ends")


class Segments(NamedTuple):
    """A batch of segments.

    obs: T + 1 entries of (B, ...), or of dicts of such; actions: (T, B) int64
    probs: (T, B) with which the actions were chosen; rewards: (T, B) less the mean of the whole buffer, so that values
        begin near 0 (Naik et al. 2024, "Reward centering", arXiv:2405.09999)
    valid: (T, B) float32, 1 where the decision and the state it led to are of the segment's episode, else 0
    """

    obs: list[Any]
    actions: Tensor
    probs: Tensor
    rewards: Tensor
    valid: Tensor


class SegmentReplayBuffer:
    """The last decisions of each of G envs.

    Args:
        size: replay capacity [transitions], over all envs
        num_envs: G
        space: of one stored observation
        mirror: (N,) entry k of a mirrored observation is entry mirror[k] of the flat original; None for no mirror
    """

    def __init__(self, size: int, num_envs: int, space: spaces.Space, mirror: I64 | None = None) -> None:
        self.length, self.num_envs, self.mirror = max(2, size // num_envs), num_envs, mirror
        parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
        self.obs = {
            name: np.zeros((self.length, num_envs, *(part.shape or ())), _stored_dtype(part))
            for name, part in parts.items()
        }
        self.actions = np.zeros((self.length, num_envs), np.int64)
        self.probs, self.rewards = np.ones((2, self.length, num_envs), np.float32)
        self.ends = np.zeros((self.length, num_envs), np.bool_)
        self.steps = 0  # added since the start

    @property
    def filled(self) -> int:
        """Stored decisions of each game."""
        return min(self.steps, self.length)

    def add(self, obs: Any, actions: I64, probs: NDArray, rewards: NDArray, ends: NDArray) -> None:
        """Add one decision of every env, with the probability of its action; ends: which episodes ended with it."""
        at = self.steps % self.length
        for name, part in self.obs.items():
            part[at] = obs[name] if name else obs
        records = (actions, probs, rewards, ends)
        for name, values in zip(RECORDS, records, strict=True):
            getattr(self, name)[at] = values
        self.steps += 1

    def observations(self, count: int) -> Any:
        """Return about `count` stored observations (N, ...), evenly over time and envs."""
        size = self.filled * self.num_envs
        some = np.linspace(0, size - 1, min(count, size)).astype(np.int64)
        parts = {name: part.reshape(-1, *part.shape[2:])[some] for name, part in self.obs.items()}
        return parts.get("", parts)

    def draw(self, count: int, decisions: int, random: Any, device: torch.device | str = "cpu") -> Segments:
        """Return `count` segments, half of them mirrored if there is a mirror; random: a `numpy.random.RandomState`."""
        assert self.filled > decisions, "the buffer holds no whole segment yet"
        oldest = self.steps - self.filled
        first = oldest + random.randint(self.filled - decisions, size=count)
        times = (first[None] + np.arange(decisions + 1)[:, None]) % self.length  # (T + 1, B)
        env_indices = random.randint(self.num_envs, size=count)[None]  # (1, B)
        obs = {name: part[times, env_indices] for name, part in self.obs.items()}  # (T + 1, B, ...)
        actions, probs, rewards, ends = (getattr(self, name)[times[:-1], env_indices] for name in RECORDS)
        if self.mirror is not None:
            half = count // 2
            flat = obs[""][:, :half].reshape(decisions + 1, half, -1)
            obs[""][:, :half] = flat[:, :, self.mirror].reshape(obs[""][:, :half].shape)
            actions[:, :half] = MIRRORED_ACTIONS[actions[:, :half]]
        rewards = rewards - self.rewards[: self.filled].mean()
        valid = np.cumprod(~ends, axis=0).astype(np.float32)
        tensors = {name: torch.from_numpy(part).to(device) for name, part in obs.items()}
        views = [{n: part[t] for n, part in tensors.items()} for t in range(decisions + 1)]
        parts = (torch.from_numpy(part).to(device) for part in (actions, probs, rewards, valid))
        return Segments([view.get("", view) for view in views], *parts)

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return the filled part."""
        kept = {name: getattr(self, name)[: self.filled] for name in RECORDS}
        obs = {name: part[: self.filled] for name, part in self.obs.items()}
        return {"steps": self.steps, "obs": obs, **kept}

    def restore(self, saved: dict[str, Any]) -> None:
        """Fill the buffer with the state of another one of the same sizes."""
        self.steps = saved["steps"]
        for name, part in saved["obs"].items():
            self.obs[name][: len(part)] = part
        for name in RECORDS:
            getattr(self, name)[: len(saved[name])] = saved[name]


def _stored_dtype(part: spaces.Space) -> Any:
    """The dtype of a stored observation: float64 as float32, others as they are."""
    return np.float32 if part.dtype == np.float64 else part.dtype
